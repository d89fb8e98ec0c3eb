"""The `munin` command. Exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C."""

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.table import Table

from odins_ravne_assets.camera_runs import INTERRUPTED, CameraRun, CameraRuns
from odins_ravne_assets.cameras import (
    Camera,
    CameraCatalog,
    camera_id,
    camera_id_for_folder,
    find_cameras,
)
from odins_ravne_assets.home import catalog_folder, prepare_home
from odins_ravne_assets.terminal import ProgressBars, out, print_error, print_visits
from resources.errors import RavneError, UsageError
from resources.object_store import local_path
from resources.profile import Profile, find_profile, load_profile

app = typer.Typer(
    name="munin",
    help="From the memory cards of camera traps to wildlife observations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
models_app = typer.Typer(help="The models that look at footage.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@dataclass
class Choice:
    """The profile of this call, by name."""

    name: str


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


# Options that several commands share.
Input = Annotated[str | None, typer.Argument(help="A camera's footage: a folder or a file:// URL.")]
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
        str | None, typer.Option(help="Copy Stage 3's results here too, a folder per camera.")
    ] = None,
    download_stage3: Annotated[
        bool, typer.Option("--download-stage3", help="The same, to ./results by default.")
    ] = False,
    cost_report: Annotated[
        bool, typer.Option("--cost-report", help="Say at the end what it cost.")
    ] = False,
    priority: Annotated[
        str | None, typer.Option(help="Cloud: low, normal or high; high waits the least.")
    ] = None,
    spot_bid_percentage: Annotated[
        int | None, typer.Option(help="Cloud: cap on the spot price, in percent of on-demand.")
    ] = None,
    max_vcpus: Annotated[int | None, typer.Option(help="Cloud: most vCPUs at once.")] = None,
    region: Annotated[str | None, typer.Option(help="Cloud: AWS region.")] = None,
    no_gpu: NoGpu = False,
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
        "--priority": priority,
        "--spot-bid-percentage": spot_bid_percentage,
        "--max-vcpus": max_vcpus,
        "--region": region,
    }
    job = _prepare(context, "camera", overrides, cloud_only)
    chosen = _cameras(
        _one_of("INPUT", input, input_option),
        _one_of("OUTPUT", output, output_option, needed=False),
        camera,
        cameras,
        job.profile,
    )
    runs = job.run(chosen)
    if download_stage3 or local_output:
        _copy_stage3(runs, local_path(local_output or "results"))
    if cost_report:
        _say_cost(runs)


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
    job = _prepare(context, "stage1", overrides, {})
    job.run(
        _cameras(
            _one_of("INPUT", input, input_option),
            _one_of("OUTPUT", output, output_option, needed=False),
            camera,
            cameras,
            job.profile,
        )
    )


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
    _prepare(context, "stage2", overrides, {}).run([_camera_of_results(output)])


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
    _prepare(context, "stage3", overrides, {}).run([_camera_of_results(output)])


@dataclass
class _Job:
    """A job that is about to run, with its settings checked."""

    name: str
    choice: Choice
    profile: Profile
    overrides: dict[str, Any]

    def run(self, cameras: list[Camera]) -> list[CameraRun]:
        """Run it for some cameras, show the visits, and exit if anything went wrong."""
        catalog = CameraCatalog(catalog_folder())
        for camera in cameras:
            catalog.put(camera)
        with ProgressBars() as watcher:
            at_once = self.profile.pipeline.cost_optimization.max_parallel_jobs
            name = str(find_profile(self.choice.name).absolute())
            runs = CameraRuns(self.name, name, self.overrides, at_once, watcher)
            ended = runs.run(cameras)
        _show_results([run for run in ended if run.succeeded], visits=self.name != "stage1")
        failed = [run for run in ended if not run.succeeded]
        if failed and runs.interrupted:
            raise typer.Exit(INTERRUPTED)
        if failed:
            if len(ended) > 1:
                names = ", ".join(run.camera.camera_id for run in failed)
                print_error(f"{len(failed)} of {len(ended)} cameras failed: {names}")
            raise typer.Exit(1)
        return ended


def _prepare(
    context: typer.Context, job: str, options: dict[str, Any], cloud_only: dict[str, Any]
) -> _Job:
    """Check the settings before anything is done."""
    choice: Choice = context.obj
    overrides = {key: value for key, value in options.items() if value is not None}
    profile = load_profile(choice.name, overrides)
    if profile.cloud is None:
        for option, value in cloud_only.items():
            if value is not None:
                raise UsageError(
                    f"{option} has no meaning with profile {choice.name}, which runs on this "
                    "machine; leave it out, or name a cloud profile"
                )
    else:
        raise RavneError(
            f"profile {choice.name} launches on AWS Batch, which this version can check but not "
            "do; use --profile local"
        )
    prepare_home()
    return _Job(job, choice, profile, overrides)


def _one_of(name: str, argument: str | None, option: str | None, needed: bool = True) -> str | None:
    if argument and option:
        raise UsageError(f"{name} is given twice, as {argument} and as {option}; give it once")
    if needed and not (argument or option):
        raise UsageError(f"{name} is missing; see munin batch --help")
    return argument or option


def _cameras(
    input: str | None, output: str | None, camera: str | None, many: bool, profile: Profile
) -> list[Camera]:
    """The cameras that INPUT holds, and where their results go."""
    source = local_path(input or "")
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise UsageError(f"INPUT {source}: {what}; name a folder of footage")
    if many:
        if camera:
            raise UsageError("--camera names one camera, --cameras takes many; use one of them")
        root = local_path(output or profile.output.root)
        return [
            _camera(found.camera_id, found.path, root / found.camera_id)
            for found in find_cameras(source)
        ]
    name = camera_id(camera) if camera else camera_id_for_folder(source)
    target = local_path(output) if output else local_path(profile.output.root) / name
    return [_camera(name, source, target)]


def _camera(name: str, source: Path, target: Path) -> Camera:
    if target == source or source in target.parents or target in source.parents:
        raise UsageError(
            f"OUTPUT {target} and INPUT {source} lie in each other; results are not footage, "
            "name another OUTPUT"
        )
    return Camera(name, source.as_uri(), target.as_uri())


def _camera_of_results(output: str) -> Camera:
    folder = local_path(output)
    for camera in CameraCatalog(catalog_folder()).list():
        if local_path(camera.output_url) == folder:
            return camera
    raise UsageError(
        f"OUTPUT {folder}: no camera's results that this machine knows; `munin status` lists them"
    )


def _show_results(runs: list[CameraRun], visits: bool) -> None:
    folders = [local_path(run.camera.output_url) for run in runs]
    if visits and folders:
        print_visits([folder / "stage3" for folder in folders])
    for folder in folders:
        out.print(f"results: {folder}", soft_wrap=True)


def _copy_stage3(runs: list[CameraRun], root: Path) -> None:
    for run in runs:
        target = root / run.camera.camera_id / "stage3"
        source = local_path(run.camera.output_url) / "stage3"
        if target.resolve() != source.resolve():
            shutil.copytree(source, target, dirs_exist_ok=True)
        out.print(f"Stage 3 of {run.camera.camera_id}: {target}", soft_wrap=True)


def _say_cost(runs: list[CameraRun]) -> None:
    out.print(
        f"cost: $0.00 for {len(runs)} camera{'s' * (len(runs) != 1)}; everything ran on this "
        "machine, nothing was rented or transferred"
    )


@app.command()
def status() -> None:
    """The cameras this machine knows, their last run, and where their results are."""
    prepare_home()
    from odins_ravne_assets.camera_status import camera_status

    table = Table()
    for heading in ("camera", "last run", "media", "failed", "visits", "results"):
        table.add_column(heading)
    known = camera_status(CameraCatalog(catalog_folder()).list())
    for row in known:
        table.add_row(*row)
    if known:
        out.print(table)
    else:
        out.print("No camera yet. `munin batch INPUT OUTPUT` makes the first.")


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


def main() -> None:
    """The entry point: errors in one line, exit codes as the top of this file says."""
    try:
        code = app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except RavneError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
