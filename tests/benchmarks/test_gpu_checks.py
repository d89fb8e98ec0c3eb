"""The checks for a GPU, rehearsed without one: their own mistakes must not cost a GPU's time."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_check_engines
import gpu_check_kernels
import gpu_check_pipeline
import gpu_checks
import numpy as np
import pytest
import warp as wp
from gpu_bench import Bench, CheckFailedError, CheckResult, CheckSkippedError
from gpu_checks import run_check
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine
from paths import ROOT
from synthetic_media import synthetic_still

from gpu_kernels.device.gpu import Gpu, find_gpu
from gpu_kernels.engines.engine import Engine
from gpu_kernels.heads.gpu_box_decoding import GpuBoxDecoder
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.device_picture import DevicePicture

BENCHMARKS = ROOT / "benchmarks"
REHEARSED = {
    "kernels fit as opencv does",
    "fitting uses the memorys bandwidth",
    "heads are decoded as on the cpu",
    "engines answer as the cpu does",
    "looking ahead is faster than looking in turn",
    "frames stay on the device and are those of the cpu",
    "the pipeline finds the same",
    "the pipeline finds the same in frames of the device",
}
NEED_A_GPU = {
    "cubins are loaded",
    "an engine for several gpus answers as its own",
    "a damaged engine is built anew",
    "too little memory halves the batch",
}


def checks_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu_checks.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def test_every_check_passes_its_rehearsal_or_is_named_as_one_that_needs_a_gpu(
    tmp_path: Path,
) -> None:
    results = BENCHMARKS / "results"
    before = sorted(results.glob("*")) if results.is_dir() else []
    ended = checks_run("--rehearse", "--footage", str(tmp_path / "none"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told: dict[str, CheckResult] = {}
    for line in ended.stdout.splitlines():
        name, _, content = line[8:].partition(": ")
        told[name.strip()] = json.loads(content)
    assert {name for name, each in told.items() if each["result"] == "passed"} == REHEARSED
    left_out = {name for name, each in told.items() if each.get("why") == "needs a GPU"}
    assert left_out == NEED_A_GPU
    assert "not judged" in told["fitting uses the memorys bandwidth"]["aim"]
    assert (sorted(results.glob("*")) if results.is_dir() else []) == before


def test_without_a_gpu_and_without_a_rehearsal_one_line_says_so() -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    ended = checks_run()
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("Warp")]
    assert line.startswith("error: no GPU")
    assert ended.stdout == ""


def test_whatever_goes_wrong_in_a_check_is_told_as_its_failure() -> None:
    def breaks(bench: Bench) -> CheckResult:
        raise ZeroDivisionError("of its own")

    told = run_check(breaks, Bench(None, Path(), None))
    assert told == {"result": "FAILED", "why": "ZeroDivisionError: of its own"}


def test_what_a_gpu_found_is_kept_as_each_check_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later one may take the process with it."""
    kept = tmp_path / "gpu-nvidia-t4.json"

    def first(bench: Bench) -> CheckResult:
        return {"figure": 1}

    def second(bench: Bench) -> CheckResult:
        return {"told_before": json.loads(kept.read_text("utf-8"))["checks"]["first"]["figure"]}

    monkeypatch.setattr(gpu_checks, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu_checks, "CHECKS", [first, second])
    gpu_checks.run_all(Bench(Gpu("NVIDIA T4", "sm_75", 1, 13000), tmp_path, None))
    about = json.loads(kept.read_text("utf-8"))
    assert (about["gpu"], about["arch"], about["driver_cuda"]) == ("NVIDIA T4", "sm_75", "13.0")
    assert about["checks"]["second"]["told_before"] == 1


# A check that cannot fail says nothing: each is given a device that is wrong in one thing

DETECTOR = "megadetector-lite"
SMALL = "ssd-mobilenet-v2-cam16"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(None, tmp_path, None)


def test_a_picture_that_is_fitted_otherwise_than_opencv_does_fails() -> None:
    manifest, picture = load_manifest(SMALL), synthetic_still(120, 160, 0)
    darker = picture - np.minimum(picture, 2)
    buffer = wp.array(darker.ravel(), dtype=wp.uint8, device="cpu")
    shown = [DevicePicture(120, 160, 0, 160 * 3)]
    with pytest.raises(CheckFailedError, match="differs from OpenCV's, in grey levels"):
        gpu_check_kernels.fitted_alike(manifest, [picture], buffer, shown)


def test_boxes_that_are_read_at_another_threshold_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(DETECTOR)
    rows = [gpu_check_engines.crowded()[:, :300]]

    def stricter(manifest: ModelManifest, threshold: float) -> GpuBoxDecoder:
        return GpuBoxDecoder(manifest, threshold * 1.5)

    gpu_check_engines.heads_compared(bench, manifest, rows, [(720, 1280)] * 2)
    monkeypatch.setattr(gpu_check_engines, "HeadsOnDevice", stricter)
    with pytest.raises(CheckFailedError, match="without a partner"):
        gpu_check_engines.heads_compared(bench, manifest, rows, [(720, 1280)] * 2)


class OfTheNextPicture(OnnxRuntimeDeviceEngine):
    """Gives each picture the answer of its neighbour."""

    def run(self, images: Any) -> list[Any]:
        return [np.roll(each, 1, axis=0) for each in super().run(images)]


class OfTheNextBatch(OnnxRuntimeDeviceEngine):
    """Gives a batch that was not waited for what came after it, as if lanes shared a buffer."""

    def start(self, count: int, fill: Any, read: Any) -> Callable[[], list[Any]]:
        self._latest = super().start(count, fill, read)
        return lambda: self._latest()


class Blind(OnnxRuntimeDeviceEngine):
    """Is given no pictures."""

    def start(self, count: int, fill: Any, read: Any) -> Callable[[], list[Any]]:
        return super().start(count, lambda *_: None, read)


class BenchOf(Bench):
    """With engines of another kind."""

    kind: type[OnnxRuntimeDeviceEngine]

    def engine(self, manifest: ModelManifest) -> Any:
        return self.kind(manifest, "cpu", 3, self.notes.append)

    def open_engine(self, manifest: ModelManifest, kind: Any, *rest: Any) -> Engine:
        if kind == "tensorrt":
            return self.kind(manifest, "cpu", 3, self.notes.append)
        return super().open_engine(manifest, kind, *rest)


def bench_of(kind: type[OnnxRuntimeDeviceEngine], folder: Path) -> Bench:
    bench = BenchOf(None, folder, None)
    bench.kind = kind
    return bench


def test_an_engine_that_mixes_up_its_pictures_fails(tmp_path: Path) -> None:
    bench, manifest = bench_of(OfTheNextPicture, tmp_path), load_manifest(DETECTOR)
    images, sizes = gpu_check_engines.images_of(bench, manifest)
    engine = bench.engine(manifest)
    total = gpu_check_engines.answers_compared(bench, manifest, engine, images, sizes)
    assert total.unmatched


def test_an_engine_that_mixes_up_what_was_started_ahead_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="looking ahead finds other boxes"):
        gpu_check_engines.looking_ahead_is_faster_than_looking_in_turn(
            bench_of(OfTheNextBatch, tmp_path)
        )


def test_a_clip_that_the_device_leaves_to_the_cpu_fails(tmp_path: Path, make_video: Any) -> None:
    class OddClip(Bench):
        def clip(self) -> Path:
            return make_video(tmp_path / "odd.avi", frames=3, size=(65, 49))

    with pytest.raises(CheckFailedError, match="not the device: odd sizes have no NV12"):
        gpu_check_pipeline.frames_stay_on_the_device_and_are_those_of_the_cpu(
            OddClip(None, tmp_path, None)
        )


def test_a_pipeline_that_sees_nothing_on_the_device_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="clear boxes"):
        gpu_check_pipeline.the_pipeline_finds_the_same(bench_of(Blind, tmp_path))


def test_a_speed_is_judged_on_a_gpu_alone(bench: Bench) -> None:
    on_gpu = Bench(Gpu("a GPU", "sm_90", 1, 13000), bench.work, None)
    assert bench.judged({"share": 0.1}, False, "0.7") == {"share": 0.1, "aim": "0.7, not judged"}
    assert on_gpu.judged({"share": 0.8}, True, "0.7") == {"share": 0.8, "aim": "0.7"}
    with pytest.raises(CheckFailedError, match=r"0\.1.*aim: 0\.7"):
        on_gpu.judged({"share": 0.1}, False, "0.7")


def test_on_a_gpu_that_tensorrt_does_not_know_what_needs_it_is_left_out(bench: Bench) -> None:
    unknown = Bench(Gpu("a GPU", "sm_90", 1, 13000), bench.work, None, "GPUs sm_90 are not known")
    with pytest.raises(CheckSkippedError, match="GPUs sm_90 are not known"):
        gpu_check_engines.a_damaged_engine_is_built_anew(unknown)
    assert unknown.judged({}, False, "ahead", of_tensorrt=True) == {"aim": "ahead, not judged"}
