"""The `munin` command. Exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C."""

import os
import signal
import sys
from contextlib import ExitStack
from datetime import date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from odins_ravne_assets.cameras import Camera, CameraCatalog
from odins_ravne_assets.cli_backfill import backfill
from odins_ravne_assets.cli_cost import app as cost_app
from odins_ravne_assets.cli_plan import plan
from odins_ravne_assets.cli_results import app as results_app
from odins_ravne_assets.cli_results import show_home, show_page_of_all
from odins_ravne_assets.cli_sandbox import app as sandbox_app
from odins_ravne_assets.compute_around import compute_around
from odins_ravne_assets.costs_printed import print_costs
from odins_ravne_assets.home import catalog_folder, prepare_home
from odins_ravne_assets.home_counted import bring_results
from odins_ravne_assets.job_run import Choice, prepare
from odins_ravne_assets.machines_changed import change_machines
from odins_ravne_assets.sandbox_reached import require_sandbox
from odins_ravne_assets.terminal import (
    out,
    print_error,
    say,
)
from odins_ravne_assets.which_cameras import (
    camera_of_results,
    cameras_named,
)
from resources.clock import Clock, clock_at
from resources.errors import RavneError, UsageError
from resources.object_store import local_path
from resources.profile import Aws, Profile, find_profile, load_profile
from resources.spot_policy import PRIORITY_TAG, Priority

app = typer.Typer(
    name="munin",
    help="From the memory cards of camera traps to wildlife observations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

models_app = typer.Typer(help="The models that look at footage.", no_args_is_help=True)
app.add_typer(models_app, name="models")
cost_app.add_typer(results_app)
app.add_typer(cost_app, name="cost")
app.command()(plan)
app.add_typer(sandbox_app, name="sandbox")


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
) -> None:
    context.obj = Choice(profile)


app.command()(backfill)


# Options that several commands share.
Input = Annotated[str | None, typer.Argument(help="A camera's footage: a folder, or an s3:// URL.")]
Output = Annotated[
    str | None, typer.Argument(help="Where the results go. Default: results/CAMERA.")
]
InputOption = Annotated[str | None, typer.Option("--input", help="INPUT, as an option.")]
OutputOption = Annotated[str | None, typer.Option("--output", help="OUTPUT, as an option.")]
CameraOption = Annotated[
    str | None, typer.Option("--camera", help="The camera's id. Default: its folder's name.")
]
CamerasFlag = Annotated[
    bool, typer.Option("--cameras", help="INPUT is a folder of camera folders.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Detector: a shipped one's name, or a manifest.")
]
ConfThreshold = Annotated[
    float | None, typer.Option("--conf-threshold", help="Least confidence of a box, 0 to 1.")
]
Window = Annotated[
    float | None, typer.Option("--compression-window", help="Minutes that one visit may span.")
]
MinConfidence = Annotated[
    float | None, typer.Option("--min-confidence", help="Rows below this are left out of visits.")
]
MinDuration = Annotated[
    float | None, typer.Option("--min-duration", help="Seconds; shorter visits on video drop out.")
]
NoGpu = Annotated[bool, typer.Option("--no-gpu", help="Run the models on the CPU.")]


@app.command()
def batch(
    context: typer.Context,
    input: Input = None,
    output: Output = None,
    input_option: InputOption = None,
    output_option: OutputOption = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    model: ModelOption = None,
    conf_threshold: ConfThreshold = None,
    compression_window: Window = None,
    min_confidence: MinConfidence = None,
    min_duration: MinDuration = None,
    local_output: Annotated[
        str | None, typer.Option(help="Take the results home, to a folder per camera in this one.")
    ] = None,
    download_stage3: Annotated[
        bool, typer.Option("--download-stage3", help="The same, to ./results by default.")
    ] = False,
    cost_report: Annotated[
        bool, typer.Option("--cost-report", help="Say at the end what it cost.")
    ] = False,
    priority: Annotated[
        Priority | None,
        typer.Option(help="Cloud: high waits the least, low for ever."),
    ] = None,
    spot_bid_percentage: Annotated[
        int | None, typer.Option(help="Cloud: cap on the spot price, in percent of on-demand.")
    ] = None,
    max_vcpus: Annotated[int | None, typer.Option(help="Cloud: most vCPUs at once.")] = None,
    region: Annotated[str | None, typer.Option(help="Cloud: AWS region.")] = None,
    with_compute: Annotated[
        bool,
        typer.Option(
            "--with-compute",
            help="Cloud: set machines and queues up before, and tear them down after, also when "
            "it fails or is stopped.",
        ),
    ] = False,
    no_gpu: NoGpu = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Look again at media that failed in earlier runs."),
    ] = False,
) -> None:
    """From footage to observations: all stages, for one camera or a folder of cameras.

    Media that were looked at before, under whatever name, are not looked at again.
    """
    overrides = {
        "models.detector": model,
        "pipeline.stage1.conf_threshold": conf_threshold,
        "pipeline.stage1.engine": "onnxruntime" if no_gpu else None,
        "pipeline.stage3.compression_window": compression_window,
        "pipeline.stage3.min_confidence": min_confidence,
        "pipeline.stage3.min_duration": min_duration,
    }
    cloud_only = {
        "--priority": (None, priority),
        "--spot-bid-percentage": ("cloud.aws.compute.bid_percentage", spot_bid_percentage),
        "--max-vcpus": ("cloud.aws.compute.max_vcpus", max_vcpus),
        "--region": ("cloud.aws.region", region),
        "--with-compute": (None, with_compute or None),
    }
    job = prepare(context, "camera", overrides, cloud_only)
    chosen = cameras_named(
        _one_of("INPUT", input, input_option) or "",
        _one_of("OUTPUT", output, output_option, needed=False),
        camera,
        cameras,
        job.profile,
    )
    if retry_failed:
        from odins_ravne_assets.failed_again import look_again_at_failed

        look_again_at_failed(chosen, job.profile, say)
    began_at = _clock(job.profile).now()
    with ExitStack() as stack:
        if with_compute and job.profile.cloud:
            stack.enter_context(compute_around(job.profile.cloud.aws, len(chosen)))
        elif job.profile.cloud and (spot_bid_percentage or max_vcpus):
            change_machines(job.profile.cloud.aws, max_vcpus, say)
        ended = job.run(chosen, {PRIORITY_TAG: priority} if priority else {})
    if not ended.interrupted:
        show_page_of_all(chosen)
    if download_stage3 or local_output:
        _take_home(ended.succeeded, job.profile, local_path(local_output or "results"))
    if cost_report:
        print_costs(chosen, job.profile, began_at)
    ended.exit_if_any_failed()


@app.command()
def stage1(
    context: typer.Context,
    input: Input = None,
    output: Output = None,
    input_option: InputOption = None,
    output_option: OutputOption = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    model: ModelOption = None,
    conf_threshold: ConfThreshold = None,
    no_gpu: NoGpu = False,
) -> None:
    """Read footage, detect and crop; no labels, no visits."""
    overrides = {
        "models.detector": model,
        "pipeline.stage1.conf_threshold": conf_threshold,
        "pipeline.stage1.engine": "onnxruntime" if no_gpu else None,
    }
    job = prepare(context, "stage1", overrides, {})
    chosen = cameras_named(
        _one_of("INPUT", input, input_option) or "",
        _one_of("OUTPUT", output, output_option, needed=False),
        camera,
        cameras,
        job.profile,
    )
    job.run(chosen).exit_if_any_failed()


Results = Annotated[str, typer.Argument(help="A camera's results: what OUTPUT was in Stage 1.")]


@app.command()
def stage2(
    context: typer.Context,
    output: Results,
    model: Annotated[
        str | None, typer.Option("--model", help="Classifier: a shipped name, or a manifest.")
    ] = None,
    no_gpu: NoGpu = False,
) -> None:
    """Classify the stored crops again; the footage is not needed."""
    overrides = {
        "models.classifier": model,
        "pipeline.stage1.engine": "onnxruntime" if no_gpu else None,
    }
    job = prepare(context, "stage2", overrides, {})
    chosen = camera_of_results(output, CameraCatalog(catalog_folder()))
    job.run([chosen]).exit_if_any_failed()


@app.command()
def stage3(
    context: typer.Context,
    output: Results,
    compression_window: Window = None,
    min_confidence: MinConfidence = None,
    min_duration: MinDuration = None,
) -> None:
    """Make the visits again, with another window or threshold; takes seconds."""
    overrides = {
        "pipeline.stage3.compression_window": compression_window,
        "pipeline.stage3.min_confidence": min_confidence,
        "pipeline.stage3.min_duration": min_duration,
    }
    job = prepare(context, "stage3", overrides, {})
    chosen = camera_of_results(output, CameraCatalog(catalog_folder()))
    job.run([chosen]).exit_if_any_failed()


@app.command()
def correct(
    context: typer.Context,
    output: Results,
    file: Annotated[
        str, typer.Argument(help="A filled observations.csv, or a Timelapse export or .ddb file.")
    ],
    by: Annotated[str, typer.Option("--by", help="Who says so.")],
    on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="When. Default: today.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="The column with the labels.")
    ] = None,
) -> None:
    """Take a reviewer's labels, which win over the machine's, and make the visits again."""
    from odins_ravne_assets.corrections_taken import take_corrections

    job = prepare(context, "stage3", {}, {})
    catalog = CameraCatalog(catalog_folder())
    chosen = camera_of_results(output, catalog)
    others = frozenset(each.camera_id for each in catalog.list()) - {chosen.camera_id}
    day = on.date() if on else date.fromtimestamp(_clock(job.profile).now())
    taken = take_corrections(chosen, others, job.profile, local_path(file), by, day, column)
    out.print(f"{chosen.camera_id}: {taken} boxes or media labelled by {by}", markup=False)
    job.run([chosen]).exit_if_any_failed()


@app.command()
def export(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="Where the files go: a folder of this machine.")],
    cameras: Annotated[
        list[str] | None, typer.Option("--camera", help="Only these. Default: all that are known.")
    ] = None,
) -> None:
    """The visits of several cameras as one: MegaDetector JSON, Camtrap DP, CSV, Parquet."""
    from odins_ravne_assets.project_export import export_cameras

    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    known = CameraCatalog(catalog_folder())
    chosen = [known.get(name) for name in cameras] if cameras else list(known.list())
    for line in export_cameras(chosen, profile, local_path(folder)):
        out.print(line, soft_wrap=True, markup=False)


def _one_of(name: str, argument: str | None, option: str | None, needed: bool = True) -> str | None:
    if argument and option:
        raise UsageError(f"{name} is given twice, as {argument} and as {option}; give it once")
    if needed and not (argument or option):
        raise UsageError(f"{name} is missing; see munin batch --help")
    return argument or option


def _take_home(cameras: list[Camera], profile: Profile, root: Path) -> None:
    """Copy the results of some cameras to this machine, unless they are there."""
    elsewhere = [
        (each.camera_id, each.output_url)
        for each in cameras
        if each.output_url != (root / each.camera_id).as_uri()
    ]
    bring_results(elsewhere, root, profile.cloud.aws if profile.cloud else Aws())
    show_home([root / camera.camera_id for camera in cameras], root)


def _clock(profile: Profile) -> Clock:
    """Of the place where the profile's jobs run."""
    return clock_at(profile.cloud.aws.clock_url if profile.cloud else None)


@app.command()
def status(context: typer.Context) -> None:
    """The cameras this machine knows, their last run, and where their results are.

    Results on S3 are looked into with a cloud profile alone.
    """
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    from odins_ravne_assets.camera_status import camera_status

    table = Table()
    for heading in ("camera", "last run", "media", "failed", "visits", "results"):
        table.add_column(heading, overflow="fold")
    known, remarks = camera_status(CameraCatalog(catalog_folder()).list(), profile)
    for row in known:
        table.add_row(*row)
    if known:
        out.print(table)
    else:
        out.print("No camera yet. `munin batch INPUT OUTPUT` makes the first.")
    for remark in remarks:
        out.print(remark, soft_wrap=True, markup=False)


@app.command()
def settings(context: typer.Context) -> None:
    """Every key of the profile: its value now, and what it means."""
    for line in load_profile(context.obj.name).explained():
        out.print(line, soft_wrap=True, markup=False)


@app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
) -> None:
    """Open the Dagster UI on this machine's instance: http://127.0.0.1:PORT."""
    load_profile(context.obj.name)
    prepare_home()
    os.environ["MUNIN_PROFILE"] = str(find_profile(context.obj.name).absolute())
    # Dagster would have `dg dev` used, a tool for developers that is not installed here.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [*quiet, "-m", "dagster", "dev", "-m", "odins_ravne_assets.definitions"]
    out.print(f"The Dagster UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
    # Shells start background jobs with SIGINT ignored, and Dagster does to SIGTERM what is done
    # to SIGINT: neither could such a UI be ended, nor a run that it launched.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *command, "-h", "127.0.0.1", "-p", str(port)])


@models_app.command("list")
def list_models() -> None:
    """The models that ship, and what each is good for."""
    from gpu_kernels.manifest import load_manifest, shipped_models

    table = Table()
    for heading in ("name", "task", "licence", "good for"):
        table.add_column(heading)
    for name in shipped_models():
        manifest = load_manifest(name)
        table.add_row(manifest.name, manifest.task, manifest.licence, manifest.honest)
    out.print(table)


@models_app.command("verify")
def verify_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Check that models are whole: every file against the sha256 in its manifest."""
    from gpu_kernels.manifest import load_manifest, verify

    models = load_profile(context.obj.name).models
    own = [models.detector, models.category_detector, models.classifier]
    for name in names or [name for name in own if name]:
        manifest = load_manifest(name)
        verify(manifest)
        out.print(f"{manifest.name}: whole")


@models_app.command("engines")
def build_engines(
    context: typer.Context,
    arch: Annotated[
        str, typer.Option(help="GPUs: sm_75 is g4dn, sm_86 is g5, sm_89 is g6.")
    ] = "sm_75,sm_86,sm_89",
    to: Annotated[
        str | None,
        typer.Option(help="A folder or s3:// URL. Default: the profile's models.engines."),
    ] = None,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models or manifests. Default: the profile's.")
    ] = None,
) -> None:
    """Build the GPU engines of models ahead of time; no GPU is needed for it.

    What is there already is not built again.
    """
    from gpu_kernels.ahead_of_time import architectures, build_ahead
    from gpu_kernels.tensorrt_api import find_tensorrt
    from gpu_kernels.tensorrt_build import Batches
    from resources.object_store import open_store

    profile = load_profile(context.obj.name)
    models = profile.models
    if not (kept := to or models.engines):
        raise UsageError("where to? name a place: --to s3://bucket/engines, or set models.engines")
    archs = architectures(arch, find_tensorrt())
    own = [models.detector, models.category_detector, models.classifier]
    batches = Batches.around(profile.pipeline.stage1.batch_size)
    clients = None
    if profile.cloud:
        from resources.aws_clients import AwsClients

        clients = AwsClients(profile.cloud.aws)
    store = open_store(kept, clients)
    build_ahead(names or [name for name in own if name], archs, batches, store, say)


def main() -> None:
    """The entry point: errors in one line, exit codes as the top of this file says."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Not every terminal knows every letter, and names on a disk need be no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except RavneError as error:
        print_error(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
