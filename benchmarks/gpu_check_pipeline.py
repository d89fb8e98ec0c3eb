"""Checks of the way from a clip to rows."""

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
from resources.storage.local_store import LocalStore

EVERY = SamplingPlan("every", 1.0, 1, False, 0.002)
KEPT = 8  # frames of each side that are compared
CLEAR = 0.3  # confidence of boxes that both sides must find


def frames_of(clip: Path, device: str | None) -> Iterator[Frame]:
    """Every frame of a clip; each may be used until the next one is asked for."""
    settings = DecodeSettings(EVERY, 2e8, 640, 60.0, 1, 16, device)
    media = iter([Medium("hash", clip.name, "video", 0, 0)])
    for event in DecodePool(LocalStore(clip.parent), media, settings).events():
        if isinstance(event, Frame):
            yield event
            event.release()
        elif isinstance(event, MediumEnded) and event.remark:
            raise CheckFailedError(f"{clip.name}: {event.remark}")


def frames_stay_on_the_device_and_are_those_of_the_cpu(bench: Bench) -> CheckResult:
    """Frames of a clip, on a GPU by NVDEC and through its memory that processes share, against
    those of the CPU."""
    told: CheckResult = {}
    pictures: dict[str, list[Picture]] = {}
    for name, device in (("host", None), ("device", bench.device)):
        started, kept, count = time.perf_counter(), [], 0
        for frame in frames_of(bench.clip(), device):
            count += 1
            if count <= KEPT:
                kept.append(host_picture(frame, bench.clip(), device))
        told[f"{name}_frames"] = count
        told[f"{name}_frames_per_second"] = round(count / (time.perf_counter() - started), 1)
        pictures[name] = kept
    if not told["host_frames"] or told["host_frames"] != told["device_frames"]:
        raise CheckFailedError(str(told))
    differ = [
        float(np.median(np.abs(one.astype(int) - other.astype(int))))
        for one, other in zip(pictures["host"], pictures["device"], strict=True)
    ]
    if max(differ) > 2:
        raise CheckFailedError(f"median difference {max(differ)} grey levels")
    return {**told, "median_difference": max(differ)}


def host_picture(frame: Frame, clip: Path, device: str | None) -> Picture:
    """A frame's picture, upright on the host.

    Raises:
        CheckFailedError: it was to be decoded on the device and was not.
    """
    if isinstance(frame.picture, DeviceFrame):
        shown = frame.picture.picture
        whole = [(shown, shown.whole)]
        return crop_to_host(frame.picture.buffer, whole, [(shown.height, shown.width)])[0]
    if device:
        raise CheckFailedError(f"the CPU decoded the clip, not the device: {why_not(clip, device)}")
    return np.array(frame.picture)


def why_not(clip: Path, device: str) -> str:
    """What FFmpeg says when this process asks it for frames on the device."""
    av.logging.set_level(av.logging.ERROR)  # its words then come with its errors
    try:
        next(decode_on_device(clip, EVERY, 2e8, SLOT_BYTES, device))
    except NotOnDeviceError as error:
        return str(error)
    return "this process has it decoded there"


def the_pipeline_finds_the_same(bench: Bench) -> CheckResult:
    """Frames of the CPU, looked at, labelled and cropped with the device."""
    return pipeline_compared(bench, "cpu")


def the_pipeline_finds_the_same_in_frames_of_the_device(bench: Bench) -> CheckResult:
    """Frames that are decoded on the device and stay there."""
    told = pipeline_compared(bench, "gpu")
    if not told["device"]["pipeline/frames_decoded_by_gpu"]:
        raise CheckFailedError("the CPU decoded the clips, not the device")
    return told


def pipeline_compared(bench: Bench, decoder: str) -> CheckResult:
    """Stages 1 and 2 of a folder of clips with the device, against all on the CPU."""
    told: CheckResult = {}
    found: dict[str, list[int]] = {}
    for name, output, settings in (
        ("cpu", "pipeline-cpu", {"engine": "onnxruntime"}),
        ("device", f"pipeline-{decoder}-frames", {"engine": "tensorrt", "video_decoder": decoder}),
    ):
        facts, found[name] = looked_at(bench, bench.work / output, settings)
        told[name] = {key: value for key, value in facts.items() if key.startswith("pipeline/")}
    boxes, others = found["cpu"][0], found["device"][0]
    if not boxes or abs(others - boxes) > max(1, 0.05 * boxes) or not all(found["device"]):
        raise CheckFailedError(f"clear boxes, labels: {found}")
    return told | {"clear_boxes_and_labels": found}


def looked_at(
    bench: Bench, output: Path, settings: dict[str, str]
) -> tuple[CheckResult, list[int]]:
    """Metadata of Stage 1, and how many clear boxes and labels the tables have."""
    overrides: dict[str, Any] = {f"pipeline.stage1.{k}": value for k, value in settings.items()}
    stages = ["footage", "detections", "classifications"]
    results = run_stages(
        bench.clip().parent, output, stages, overrides, open_engine=bench.open_engine
    )
    boxes = pl.read_parquet(output / "tables" / "detections.parquet")
    labels = pl.read_parquet(output / "tables" / "classifications.parquet")
    clear = boxes.filter(pl.col("confidence") >= CLEAR).height
    return dict(results["detections"].metadata), [clear, labels.height]


CHECKS = [
    frames_stay_on_the_device_and_are_those_of_the_cpu,
    the_pipeline_finds_the_same,
    the_pipeline_finds_the_same_in_frames_of_the_device,
]
