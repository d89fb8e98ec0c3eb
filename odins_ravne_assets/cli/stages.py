"""`munin batch`, `stage1`, `stage2`, `stage3`: commands that run stages of the pipeline."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cameras.selection import CameraOptions, CameraSelection
from odins_ravne_assets.cli.download import (
    RemoteResults,
    download_cameras,
    print_downloaded,
    renew_combined_report,
)
from odins_ravne_assets.cli.job import prepare_job
from odins_ravne_assets.cli.options import (
    CameraOption,
    CamerasFlag,
    ConfThresholdOption,
    InputArgument,
    InputOption,
    MinConfidenceOption,
    MinDurationOption,
    ModelOption,
    NoGpuFlag,
    OneCameraFlag,
    OutputArgument,
    OutputOption,
    ResultsArgument,
    UpdateFlag,
    WindowOption,
)
from odins_ravne_assets.cli.temporary_compute import temporary_compute, update_compute_limits
from odins_ravne_assets.cli.terminal import print_log
from odins_ravne_assets.instance_home import catalog_folder
from odins_ravne_assets.results.download import camera_folders
from resources.clock import clock_at
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.spot.policy import PRIORITY_TAG, Priority
from resources.storage.local_store import local_path


def batch(
    context: typer.Context,
    input: InputArgument = None,
    output: OutputArgument = None,
    input_option: InputOption = None,
    output_option: OutputOption = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    one_camera: OneCameraFlag = False,
    model: ModelOption = None,
    conf_threshold: ConfThresholdOption = None,
    compression_window: WindowOption = None,
    min_confidence: MinConfidenceOption = None,
    min_duration: MinDurationOption = None,
    local_output: Annotated[
        str | None,
        typer.Option(
            help="Download the results to FOLDER/CAMERA, or to FOLDER if it has the camera's name."
        ),
    ] = None,
    download_stage3: Annotated[
        bool, typer.Option("--download-stage3", help="The same; FOLDER is ./results by default.")
    ] = False,
    cost_report: Annotated[
        bool, typer.Option("--cost-report", help="Print the cost at the end.")
    ] = False,
    priority: Annotated[
        Priority | None,
        typer.Option(help="Cloud: high waits least for spot machines, low without limit."),
    ] = None,
    spot_bid_percentage: Annotated[
        int | None,
        typer.Option(help="Cloud: maximum spot price, in percent of the on-demand price."),
    ] = None,
    max_vcpus: Annotated[int | None, typer.Option(help="Cloud: maximum number of vCPUs.")] = None,
    region: Annotated[str | None, typer.Option(help="Cloud: AWS region.")] = None,
    with_compute: Annotated[
        bool,
        typer.Option(
            "--with-compute",
            help="Cloud: set up machines and queues before the run, and tear them down after it, "
            "also when it fails or is stopped.",
        ),
    ] = False,
    no_gpu: NoGpuFlag = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Process media again that failed in earlier runs."),
    ] = False,
    update: UpdateFlag = False,
) -> None:
    """Run all stages, from footage to observations, for one camera or a folder of cameras.

    Media that an earlier run has processed, under any name, are skipped. New media are processed
    with the models and settings of the earlier run, unless --update is given.
    """
    overrides = _detection_settings(model, conf_threshold, no_gpu) | _visit_settings(
        compression_window, min_confidence, min_duration
    )
    cloud_only = {
        "--priority": (None, priority),
        "--spot-bid-percentage": ("cloud.aws.compute.bid_percentage", spot_bid_percentage),
        "--max-vcpus": ("cloud.aws.compute.max_vcpus", max_vcpus),
        "--region": ("cloud.aws.region", region),
        "--with-compute": (None, with_compute or None),
    }
    job = prepare_job(context, "camera", overrides, cloud_only)
    footage = _argument_or_option("INPUT", input, input_option)
    results = _argument_or_option("OUTPUT", output, output_option, required=False)
    options = CameraOptions(camera, cameras, one_camera)
    chosen = select_cameras(footage or "", results, options, job.profile)
    if retry_failed:
        reset_failed_media(chosen, job.profile)
    began_at = clock_at(job.profile.aws.clock_url).now()
    with ExitStack() as stack:
        if with_compute and job.profile.cloud:
            stack.enter_context(temporary_compute(job.profile.cloud.aws, len(chosen)))
        elif job.profile.cloud and (spot_bid_percentage or max_vcpus):
            update_compute_limits(job.profile.cloud.aws, max_vcpus, print_log)
        result = job.run(chosen, {PRIORITY_TAG: priority} if priority else {}, update)
    if not result.interrupted:
        renew_combined_report(chosen)
    if download_stage3 or local_output:
        root = local_path(local_output or "results")
        _download(chosen, result.succeeded, root, job.profile)
    if cost_report:
        from odins_ravne_assets.cli.cost_tables import print_costs

        print_costs(chosen, job.profile, began_at)
    result.exit_if_any_failed()


def stage1(
    context: typer.Context,
    input: InputArgument = None,
    output: OutputArgument = None,
    input_option: InputOption = None,
    output_option: OutputOption = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    one_camera: OneCameraFlag = False,
    model: ModelOption = None,
    conf_threshold: ConfThresholdOption = None,
    no_gpu: NoGpuFlag = False,
    update: UpdateFlag = False,
) -> None:
    """Read footage, detect and crop; without labels and visits."""
    job = prepare_job(context, "stage1", _detection_settings(model, conf_threshold, no_gpu), {})
    footage = _argument_or_option("INPUT", input, input_option)
    results = _argument_or_option("OUTPUT", output, output_option, required=False)
    options = CameraOptions(camera, cameras, one_camera)
    chosen = select_cameras(footage or "", results, options, job.profile)
    job.run(chosen, update=update).exit_if_any_failed()


def stage2(
    context: typer.Context,
    output: ResultsArgument,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Classify all crops with this one: the name of a shipped model, or a manifest.",
        ),
    ] = None,
    no_gpu: NoGpuFlag = False,
    update: UpdateFlag = False,
) -> None:
    """Classify the stored crops again, with --model or with --update; needs no footage."""
    overrides = {
        "models.classifier": model,
        "pipeline.stage1.engine": "onnxruntime" if no_gpu else None,
    }
    job = prepare_job(context, "stage2", overrides, {})
    chosen = _camera_of_results(output, job.profile)
    # Whoever names a classifier wants all labels from it.
    job.run([chosen], update=update or model is not None).exit_if_any_failed()


def stage3(
    context: typer.Context,
    output: ResultsArgument,
    compression_window: WindowOption = None,
    min_confidence: MinConfidenceOption = None,
    min_duration: MinDurationOption = None,
) -> None:
    """Recompute the visits with another window or threshold; takes seconds."""
    overrides = _visit_settings(compression_window, min_confidence, min_duration)
    job = prepare_job(context, "stage3", overrides, {})
    chosen = _camera_of_results(output, job.profile)
    result = job.run([chosen])
    if not result.interrupted:
        renew_combined_report([chosen])
    result.exit_if_any_failed()


def select_cameras(
    input: str, output: str | None, options: CameraOptions, profile: Profile
) -> list[Camera]:
    """Return the cameras in INPUT; see `CameraSelection.cameras`."""
    catalog = CameraCatalog(catalog_folder())
    return CameraSelection(options, profile, catalog, print_log).cameras(input, output)


def _camera_of_results(output: str, profile: Profile) -> Camera:
    from odins_ravne_assets.cameras.known_results import camera_of_results

    return camera_of_results(output, CameraCatalog(catalog_folder()), profile, print_log)


def _detection_settings(
    model: str | None, conf_threshold: float | None, no_gpu: bool
) -> dict[str, Any]:
    """Return the settings of Stage 1 that options change; None changes nothing."""
    return {
        "models.detector": model,
        "pipeline.stage1.conf_threshold": conf_threshold,
        "pipeline.stage1.engine": "onnxruntime" if no_gpu else None,
    }


def _visit_settings(
    compression_window: float | None, min_confidence: float | None, min_duration: float | None
) -> dict[str, Any]:
    """Return the settings of Stage 3 that options change; None changes nothing."""
    return {
        "pipeline.stage3.compression_window": compression_window,
        "pipeline.stage3.min_confidence": min_confidence,
        "pipeline.stage3.min_duration": min_duration,
    }


def _argument_or_option(
    name: str, argument: str | None, option: str | None, required: bool = True
) -> str | None:
    if argument and option:
        raise UsageError(f"{name} is given twice, as {argument} and {option}; give it once")
    if required and not (argument or option):
        raise UsageError(f"{name} is missing; see munin batch --help")
    return argument or option


def _download(chosen: list[Camera], done: list[Camera], root: Path, profile: Profile) -> None:
    """Copy the results of the cameras that succeeded to this machine, unless they are there.

    Args:
        chosen: all cameras of the command; with only one, `root` may be its own folder.
    """
    names = [each.camera_id for each in chosen]
    folders = dict(zip(names, camera_folders(root, names), strict=True))
    remote = [
        RemoteResults(each.camera_id, each.output_url, folders[each.camera_id])
        for each in done
        if each.output_url != folders[each.camera_id].as_uri()
    ]
    download_cameras(remote, profile.aws)
    print_downloaded([folders[each.camera_id] for each in done], root)


def reset_failed_media(cameras: Sequence[Camera], profile: Profile) -> None:
    """Delete the failures in the cameras' journals, so that the next run retries these media.

    Raises:
        StoreError: the results cannot be reached.
    """
    from odins_ravne_assets.munin.tables.journal import withdraw_all_failures

    for camera in cameras:
        count = withdraw_all_failures(store_of(camera.output_url, profile))
        media = "medium" if count == 1 else "media"
        print_log(f"{camera.camera_id}: retrying {count or 'no'} failed {media}")
