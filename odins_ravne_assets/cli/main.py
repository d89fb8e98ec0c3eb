"""The `munin` command. Exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

import typer

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cli.backfill import backfill
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.compute import app as cost_app
from odins_ravne_assets.cli.demo import demo
from odins_ravne_assets.cli.download import app as results_app
from odins_ravne_assets.cli.job import ProfileChoice, prepare_job
from odins_ravne_assets.cli.models import app as models_app
from odins_ravne_assets.cli.options import ResultsArgument
from odins_ravne_assets.cli.plan import plan
from odins_ravne_assets.cli.sandbox import app as sandbox_app
from odins_ravne_assets.cli.sources import app as sources_app
from odins_ravne_assets.cli.sources import forget, forget_deleted_cameras, rename
from odins_ravne_assets.cli.stages import batch, stage1, stage2, stage3
from odins_ravne_assets.cli.terminal import out, print_log, run_app
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.clock import clock_at
from resources.settings.loader import find_profile, load_profile
from resources.storage.local_store import local_path

app = typer.Typer(
    name="munin",
    help="From the memory cards of camera traps to wildlife observations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

app.add_typer(sources_app, name="sources")
app.add_typer(models_app, name="models")
cost_app.add_typer(results_app)
app.add_typer(cost_app, name="cost")
app.add_typer(sandbox_app, name="sandbox")
# Help lists commands in this order, then those of this file.
for command in (demo, plan, backfill, batch, stage1, stage2, stage3, forget, rename):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"munin {version('odins-ravne')}")
        raise typer.Exit


@app.callback()
def choose_profile(
    context: typer.Context,
    profile: Annotated[
        str,
        typer.Option(
            envvar="MUNIN_PROFILE",
            help="Settings: local, cloud, cloud-cost-optimized, or the path of a YAML file.",
        ),
    ] = "local",
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    context.obj = ProfileChoice(profile)


@app.command()
def correct(
    context: typer.Context,
    output: ResultsArgument,
    file: Annotated[
        str,
        typer.Argument(
            help="A filled observations.xlsx or .csv, or a Timelapse export or .ddb file."
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Name of the reviewer.")],
    on: Annotated[
        datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], help="Date of the review. Default: today."),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="Name of the column with the labels.")
    ] = None,
) -> None:
    """Import a reviewer's labels, which override the model's, and recompute the visits.

    OUTPUT may be a folder with the results of several cameras. A file can be imported again and
    again: labels that are known already stay as they are.
    """
    from odins_ravne_assets.cameras.known_results import cameras_of_results
    from odins_ravne_assets.cli.download import renew_combined_report
    from odins_ravne_assets.hugin.review.camera_labels import Review
    from odins_ravne_assets.results.corrections import import_corrections

    job = prepare_job(context, "stage3", {}, {})
    catalog = CameraCatalog(catalog_folder())
    chosen = cameras_of_results(output, catalog, job.profile, print_log)
    others = [each for each in catalog.list() if each not in chosen]
    now = datetime.fromtimestamp(clock_at(job.profile.aws.clock_url).now(), UTC)
    day = on.date() if on else now.astimezone().date()
    review = Review(by, day, confirms=on is not None, at=now.replace(tzinfo=None))
    imported = import_corrections(chosen, others, job.profile, local_path(file), review, column)
    for line in imported.lines:
        out.print(line, soft_wrap=True, markup=False)
    result = job.run(list(imported.cameras))
    if not result.interrupted:
        renew_combined_report(chosen)
    result.exit_if_any_failed()
    if imported.failed:
        raise typer.Exit(1)


@app.command()
def export(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="A local folder for the files.")],
    cameras: Annotated[
        list[str] | None,
        typer.Option(
            "--camera", help="Only this camera; can be repeated. Default: all known cameras."
        ),
    ] = None,
) -> None:
    """Export the visits of cameras together: MegaDetector JSON, Camtrap DP, CSV, Parquet."""
    from odins_ravne_assets.results.export import export_cameras

    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    known = CameraCatalog(catalog_folder())
    chosen = [known.get(name) for name in cameras] if cameras else list(known.list())
    for line in export_cameras(chosen, profile, local_path(folder), whole_project=not cameras):
        out.print(line, soft_wrap=True, markup=False)


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for other programs.")
    ] = False,
) -> None:
    """List the known cameras, their last run, and where their results are.

    Without a cloud profile, counts of results on S3 are those of the last run from here.
    """
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    from odins_ravne_assets.cli.status import camera_status, print_status, status_json

    forget_deleted_cameras()
    known, remarks = camera_status(CameraCatalog(catalog_folder()).list(), profile)
    if as_json:
        out.print(status_json(known, remarks), soft_wrap=True, markup=False)
        return
    if known:
        print_status(known)
    else:
        out.print("No camera yet. To run the first: munin batch INPUT OUTPUT")
    for remark in remarks:
        out.print(remark, soft_wrap=True, markup=False)


@app.command()
def prune(
    context: typer.Context,
    days: Annotated[
        int | None,
        typer.Option(
            "--days", min=1, help="Keep runs of this many days. Default: history.keep_days."
        ),
    ] = None,
) -> None:
    """Delete Dagster's records of old runs; results and costs stay.

    The latest runs and metadata of each camera stay too, and what an unfinished backfill needs.
    """
    days = days or load_profile(context.obj.name).history.keep_days
    if days is None:
        out.print("history.keep_days is empty: runs are kept; name a number with --days")
        return
    prepare_home()
    from odins_ravne_assets.databases.locked import opened_instance
    from odins_ravne_assets.runs.run_history import prune_runs

    with opened_instance() as instance:
        out.print(str(prune_runs(instance, days, datetime.now(UTC))), soft_wrap=True)


@app.command()
def settings(context: typer.Context) -> None:
    """List every key of the profile with its value and meaning."""
    for line in load_profile(context.obj.name).commented_yaml():
        out.print(line, soft_wrap=True, markup=False)


@app.command()
def doctor(context: typer.Context) -> None:
    """Check the installation, the models, this machine and the profile; say what to repair."""
    from odins_ravne_assets.cli.doctor import print_findings

    raise typer.Exit(print_findings(context.obj.name))


@app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Show runs and results, change nothing; no daemon runs."),
    ] = False,
    path_prefix: Annotated[
        str, typer.Option(help="Path of the UI behind a reverse proxy, such as /dagster.")
    ] = "",
) -> None:
    """Open the Dagster UI on this machine's instance: http://127.0.0.1:PORT."""
    from odins_ravne_assets.runs.ui_server import serve_ui, ui_command

    command, variables = ui_command(port, read_only, path_prefix)
    load_profile(context.obj.name)
    folder = prepare_home()
    variables["MUNIN_PROFILE"] = str(find_profile(context.obj.name).absolute())
    line = f"The Dagster UI: http://127.0.0.1:{port}{path_prefix} (Ctrl-C ends it)"
    serve_ui(folder, port, command, variables, read_only, lambda: out.print(line))


def main() -> None:
    run_app(app)


if __name__ == "__main__":
    main()
