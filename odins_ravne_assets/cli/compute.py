"""`munin cost`: the compute of a cloud profile, from the foundation to the teardown; its costs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.cloud_profile import load_cloud_profile, require_sandbox
from odins_ravne_assets.cli.storage import app as storage_app
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Aws

app = typer.Typer(
    help="Compute, storage and costs of a cloud profile in your AWS account.", no_args_is_help=True
)
app.add_typer(storage_app)

JobCount = Annotated[
    int, typer.Option("--job-count", min=1, help="Maximum number of parallel jobs.")
]


@app.command()
def setup(
    context: typer.Context,
    job_count: JobCount,
    gpu_required: Annotated[
        bool, typer.Option("--gpu-required", help="Use only machines with a GPU.")
    ] = False,
) -> None:
    """Set up machines, queues and the lifecycle of stored footage, or update them to the profile.

    Costs nothing until jobs run, unless the profile's min_vcpus is above 0.
    """
    cloud = load_cloud_profile(context.obj.name, "cost setup")
    from resources.compute.environment import ComputeEnvironment
    from resources.retention.bucket_policy import StorageLifecycle

    changes = ComputeEnvironment(cloud.aws).setup(job_count, gpu_required, print_log)
    lifecycle = StorageLifecycle(cloud.aws, cloud.profile.storage.lifecycle).apply(print_log)
    for remark in (*lifecycle.dangers, *lifecycle.remarks):
        print_log(remark)
    changes += len(lifecycle.drift)
    out.print("Ready for jobs." if changes else "Ready for jobs; nothing had to be changed.")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is set up, its jobs and machines, and the current spot prices."""
    aws = _cloud(context, "status")
    from resources.compute.environment import ComputeEnvironment

    found = ComputeEnvironment(aws).status()
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    from odins_ravne_assets.cli.compute_tables import compute_tables

    for part in compute_tables(found, context.obj.name):
        out.print(part, soft_wrap=not isinstance(part, Table))


@app.command()
def teardown(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Terminate jobs that have not ended.")
    ] = False,
) -> None:
    """Delete what setup created. Footage, results, roles and logs stay.

    Run it again if it failed or was stopped: it continues where it stopped.
    """
    aws = _cloud(context, "teardown")
    from resources.compute.environment import ComputeEnvironment

    ComputeEnvironment(aws).teardown(force, print_log)
    out.print(f"Compute of {aws.name} is deleted; data and roles are unchanged.")


Deploy = Annotated[
    bool, typer.Option("--deploy", help="Create or update it, instead of printing its template.")
]


@app.command()
def foundation(context: typer.Context, deploy: Deploy = False) -> None:
    """Print the template of the long-lived part (bucket, network, roles), or deploy it, once.

    Deploying needs the right to create roles; setup and runs do not.
    """
    aws = _cloud(context, "foundation")
    from resources.compute.stacks import deploy_foundation, template

    if not deploy:
        print(template("foundation"), end="")
        return
    deploy_foundation(aws, print_log)
    out.print(
        "The tag Project separates costs; activate it, a day after the first job, with\n"
        "aws ce update-cost-allocation-tags-status --cost-allocation-tags-status "
        "TagKey=Project,Status=Active",
        soft_wrap=True,
    )


@app.command()
def budget(
    context: typer.Context,
    deploy: Deploy = False,
    monthly_usd: Annotated[
        float | None,
        typer.Option(
            min=1, help="Limit per month, in USD. Default: the profile's budget_usd_per_month."
        ),
    ] = None,
    email: Annotated[str | None, typer.Option(help="Recipient of the alert.")] = None,
) -> None:
    """Print the template of the budget alert, or deploy it. It sends mail and stops nothing."""
    cloud = load_cloud_profile(context.obj.name, "cost budget")
    from resources.compute.stacks import deploy_budget, template

    if not deploy:
        print(template("budget"), end="")
        return
    monthly_usd = monthly_usd or cloud.profile.pipeline.cost_optimization.budget_usd_per_month
    if monthly_usd is None or email is None:
        raise UsageError(
            "cost budget --deploy needs --email, and --monthly-usd or "
            "pipeline.cost_optimization.budget_usd_per_month"
        )
    deploy_budget(cloud.aws, monthly_usd, email, print_log)


def _cloud(context: typer.Context, command: str) -> Aws:
    return load_cloud_profile(context.obj.name, f"cost {command}").aws


@app.command()
def costs(
    context: typer.Context,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this camera; can be repeated.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Update the report until no job is left; Ctrl-C ends it."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the report as HTML, JSON and FOCUS 1.2 (CSV)."),
    ] = None,
) -> None:
    """Show all costs: machines, storage, requests, savings by spot, wasted work.

    It covers every known camera, whatever the outcome of its runs. docs/costs.md defines each
    figure.
    """
    if watch and (as_json or output):
        raise UsageError("--watch cannot be combined with --json and --output; leave these out")
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    cameras = _select_cameras(CameraCatalog(catalog_folder()).list(), camera or [])
    from odins_ravne_assets.cli.cost_tables import print_report, watch_costs

    if watch:
        watch_costs(cameras, profile)
        return
    print_report(cameras, profile, not camera, as_json, output)


def _select_cameras(known: Sequence[Camera], names: Sequence[str]) -> Sequence[Camera]:
    by_name = {camera.camera_id: camera for camera in known}
    for name in names:
        if name not in by_name:
            raise UsageError(f"--camera {name}: no such camera; `munin status` lists them")
    return [by_name[name] for name in names] if names else known
