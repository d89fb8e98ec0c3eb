"""`munin cost`: the compute of a cloud profile, from its foundation to its teardown."""

import json
from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cli.cloud_profile import load_cloud_profile
from odins_ravne_assets.cli.cost_report import app as costs_app
from odins_ravne_assets.cli.storage import app as storage_app
from odins_ravne_assets.cli.terminal import out, print_log
from resources.errors import UsageError
from resources.settings.profile import Aws

app = typer.Typer(
    help="What a cloud profile needs, does and costs in your AWS account.", no_args_is_help=True
)
app.add_typer(storage_app)
app.add_typer(costs_app)

JobCount = Annotated[int, typer.Option("--job-count", min=1, help="Jobs that may run at once.")]


@app.command()
def setup(
    context: typer.Context,
    job_count: JobCount,
    gpu_required: Annotated[
        bool, typer.Option("--gpu-required", help="Refuse machines without a GPU.")
    ] = False,
) -> None:
    """Set up machines, queues and how stored footage ages, or change them to what the profile says.

    Costs nothing until jobs run, unless the profile keeps vCPUs warm.
    """
    cloud = load_cloud_profile(context.obj.name, "cost setup")
    from resources.compute.environment import ComputeEnvironment
    from resources.retention.bucket_policy import StorageLifecycle

    changes = ComputeEnvironment(cloud.aws).setup(job_count, gpu_required, print_log)
    aged = StorageLifecycle(cloud.aws, cloud.profile.storage.lifecycle).apply(print_log)
    for remark in (*aged.dangers, *aged.remarks):
        print_log(remark)
    changes += len(aged.drift)
    out.print("Ready for jobs." if changes else "Ready for jobs; nothing had to be changed.")


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """What is set up, its jobs and machines, and what spot machines cost now."""
    aws = _cloud(context, "status")
    from resources.compute.environment import ComputeEnvironment

    found = ComputeEnvironment(aws).status()
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    from odins_ravne_assets.cli.compute_tables import compute_tables

    for part in compute_tables(found):
        out.print(part, soft_wrap=not isinstance(part, Table))


@app.command()
def teardown(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Terminate jobs that have not ended.")
    ] = False,
) -> None:
    """Take away what setup made. Footage, results, roles and logs stay.

    Can be run again after it failed or was stopped: it goes on where it was.
    """
    aws = _cloud(context, "teardown")
    from resources.compute.environment import ComputeEnvironment

    ComputeEnvironment(aws).teardown(force, print_log)
    out.print(f"Nothing of {aws.name} runs or waits any more; data and roles are as they were.")


Deploy = Annotated[
    bool, typer.Option("--deploy", help="Make or change it, instead of printing its template.")
]


@app.command()
def foundation(context: typer.Context, deploy: Deploy = False) -> None:
    """The long-lived part (bucket, network, roles): its template, or deploy it, once.

    Needs somebody who may make roles. Setting up and running then needs no such rights.
    """
    aws = _cloud(context, "foundation")
    from resources.compute.stacks import deploy_foundation, template

    if not deploy:
        print(template("foundation"), end="")
        return
    deploy_foundation(aws, print_log)
    out.print(
        "Costs are told apart by the tag Project; activate it, a day after the first job, with\n"
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
            min=1, help="USD that a month may cost. Default: the profile's budget_usd_per_month."
        ),
    ] = None,
    email: Annotated[str | None, typer.Option(help="Who is told when it goes over.")] = None,
) -> None:
    """The budget alert: its template, or deploy it. It warns by mail, it stops nothing."""
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
