"""Checks of the pipeline from a clip to tables."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
from gpu_bench import Bench, CheckFailedError, CheckResult
from stage_runner import run_stages
from synthetic_media import Picture

from gpu_kernels.device.gpu_preprocessing import crop_to_host
from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.detection.decode_pool import (
    DecodePool,
    DecodeSettings,
    Frame,
    Medium,
    MediumEnded,
)
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.gpu_video import NotOnDeviceError, decode_on_device
from odins_ravne_assets.munin.media.media_files import EXPECTED_FORMATS, Format
from resources.storage.local_store import LocalStore
from resources.storage.parquet_files import read_parquet

EVERY = SamplingPlan("every", 1.0, 1, False, 0.002)
ENSEMBLE = "lite-ensemble"
COMPARED_FRAMES = 8
CLEAR_CONFIDENCE = 0.3  # of boxes that both must find


def format_of(clip: Path) -> Format:
    """Return the format of a clip by its name."""
    return EXPECTED_FORMATS[clip.suffix.lower()][0]


def frames_of(clip: Path, device: str | None) -> Iterator[Frame]:
    """Yield every frame of a clip; each is valid until the next one is requested."""
    settings = DecodeSettings(EVERY, 2e8, 640, 60.0, 1, 16, device)
    stat = clip.stat()
    size = (stat.st_size, stat.st_mtime_ns)
    media = iter([Medium("hash", clip.name, "video", format_of(clip), 0, 0, *size)])
    for event in DecodePool(LocalStore(clip.parent), media, settings).events():
        if isinstance(event, Frame):
            yield event
            event.release()
        elif isinstance(event, MediumEnded) and event.remark:
            raise CheckFailedError(f"{clip.name}: {event.remark}")


def frames_on_the_device_equal_those_of_the_cpu(bench: Bench) -> CheckResult:
    """Compare frames decoded on the device, by NVDEC and shared memory on a GPU, with the CPU's."""
    result: CheckResult = {}
    pictures: dict[str, list[Picture]] = {}
    for name, device in (("host", None), ("device", bench.device)):
        started, compared, count = time.perf_counter(), [], 0
        for frame in frames_of(bench.clip(), device):
            count += 1
            if count <= COMPARED_FRAMES:
                compared.append(host_picture(frame, bench.clip(), device))
        result[f"{name}_frames"] = count
        result[f"{name}_frames_per_second"] = round(count / (time.perf_counter() - started), 1)
        pictures[name] = compared
    if not result["host_frames"] or result["host_frames"] != result["device_frames"]:
        raise CheckFailedError(str(result))
    differences = [
        float(np.median(np.abs(one.astype(int) - other.astype(int))))
        for one, other in zip(pictures["host"], pictures["device"], strict=True)
    ]
    if max(differences) > 2:
        raise CheckFailedError(f"median difference {max(differences)} grey levels")
    return {**result, "median_difference": max(differences)}


def host_picture(frame: Frame, clip: Path, device: str | None) -> Picture:
    """Return a frame's picture, upright on the host.

    Raises:
        CheckFailedError: it was not decoded on the given device.
    """
    if isinstance(frame.picture, DeviceFrame):
        picture = frame.picture.picture
        size = (picture.height, picture.width)
        return crop_to_host(frame.picture.buffer, [(picture, picture.whole)], [size])[0]
    if device:
        reason = decoding_error(clip, device)
        raise CheckFailedError(f"the CPU decoded the clip, not the device: {reason}")
    return np.array(frame.picture)


def decoding_error(clip: Path, device: str) -> str:
    """Return FFmpeg's error when this process decodes the clip on the device."""
    av.logging.set_level(av.logging.ERROR)  # adds its log lines to its errors
    try:
        next(decode_on_device(clip, format_of(clip), EVERY, 2e8, SLOT_BYTES, device))
    except NotOnDeviceError as error:
        return str(error)
    return "this process can decode it there"


def the_pipeline_finds_the_same_boxes(bench: Bench) -> CheckResult:
    """Compare the pipeline on the device, with frames decoded by the CPU, with that on the CPU."""
    return compare_pipeline(bench, "cpu")


def the_pipeline_finds_the_same_boxes_in_frames_of_the_device(bench: Bench) -> CheckResult:
    """The same with frames that are decoded on the device and stay there."""
    result = compare_pipeline(bench, "gpu")
    if not result["device"]["pipeline/frames_decoded_by_gpu"]:
        raise CheckFailedError("the CPU decoded the clips, not the device")
    return result


def the_ensemble_finds_the_same_boxes(bench: Bench) -> CheckResult:
    """The same with several detectors, and with frames that stay on the device."""
    return compare_pipeline(bench, "gpu", {"models.detector": ENSEMBLE})


def compare_pipeline(
    bench: Bench, decoder: str, overrides: dict[str, Any] | None = None
) -> CheckResult:
    """Compare Stages 1 and 2 of a folder of clips on the device with those on the CPU.

    Args:
        decoder: of the videos, see `pipeline.stage1.video_decoder`.
        overrides: further settings of the profile.
    """
    given = overrides or {}
    name_of_run = "-".join([decoder, *map(str, given.values())])
    result: CheckResult = {}
    found: dict[str, list[int]] = {}
    for name, output, settings in (
        ("cpu", "pipeline-cpu-" + "-".join(given.values()), {"engine": "onnxruntime"}),
        ("device", f"pipeline-{name_of_run}", {"engine": "tensorrt", "video_decoder": decoder}),
    ):
        metadata, found[name] = run_pipeline(bench, bench.work / output, settings, given)
        result[name] = {k: value for k, value in metadata.items() if k.startswith("pipeline/")}
    boxes, others = found["cpu"][0], found["device"][0]
    if not boxes or abs(others - boxes) > max(1, 0.05 * boxes) or not all(found["device"]):
        raise CheckFailedError(f"clear boxes, labels: {found}")
    return result | {"clear_boxes_and_labels": found}


def run_pipeline(
    bench: Bench, output: Path, settings: dict[str, str], given: dict[str, Any]
) -> tuple[CheckResult, list[int]]:
    """Run Stages 1 and 2; return Stage 1's metadata and the numbers of clear boxes and labels."""
    stage1 = {**settings, "batch_size": bench.sizes.batch}
    overrides = given | {f"pipeline.stage1.{k}": value for k, value in stage1.items()}
    overrides["pipeline.stage2.batch_size"] = bench.sizes.batch
    stages = ["footage", "detections", "classifications"]
    results = run_stages(
        bench.clip().parent, output, stages, overrides, open_engine=bench.open_engine
    )
    boxes = read_parquet(output / "tables" / "detections.parquet")
    labels = read_parquet(output / "tables" / "classifications.parquet")
    clear = boxes.filter(pl.col("confidence") >= CLEAR_CONFIDENCE).height
    return dict(results["detections"].metadata), [clear, labels.height]


CHECKS = [
    frames_on_the_device_equal_those_of_the_cpu,
    the_pipeline_finds_the_same_boxes,
    the_pipeline_finds_the_same_boxes_in_frames_of_the_device,
    the_ensemble_finds_the_same_boxes,
]
