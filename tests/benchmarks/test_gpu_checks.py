"""The checks for a GPU run on the CPU, to find errors in the checks themselves."""

import json
import os
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
from gpu_kernels.engines.tensorrt_api import TensorRtKind
from gpu_kernels.heads.gpu_box_decoding import GpuBoxDecoder
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.device_picture import DevicePicture
from odins_ravne_assets.munin.inference.agreement_check import PASSES
from resources.errors import EngineError

BENCHMARKS = ROOT / "benchmarks"
PASS_ON_CPU = {
    "kernels fit as opencv does",
    "fitting reaches the memory bandwidth",
    "boxes are decoded as on the cpu",
    "engines agree with the cpu",
    "a worker chooses an engine",
    "layouts of public exports agree with the cpu",
    "pipelined inference is faster than sequential",
    "frames on the device equal those of the cpu",
    "the pipeline finds the same boxes",
    "the pipeline finds the same boxes in frames of the device",
    "the ensemble finds the same boxes",
}
NEED_A_GPU = {
    "cubins are loaded",
    "tensorrt rtx agrees with the cpu",
    "a shared engine agrees with a separate one",
    "a damaged engine is rebuilt",
    "insufficient memory halves the batch",
}


def run_checks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu_checks.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=580)


@pytest.mark.timeout(600)  # 38 s of CPU time
def test_every_check_passes_on_the_cpu_or_needs_a_gpu(
    tmp_path: Path,
) -> None:
    folder = BENCHMARKS / "results"
    before = sorted(folder.glob("*")) if folder.is_dir() else []
    ended = run_checks("--rehearse", "--footage", str(tmp_path / "none"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results: dict[str, CheckResult] = {}
    for line in ended.stdout.splitlines():
        name, _, content = line[8:].partition(": ")
        results[name.strip()] = json.loads(content)
    assert {name for name, each in results.items() if each["result"] == "passed"} == PASS_ON_CPU
    skipped = {name for name, each in results.items() if each.get("reason") == "needs a GPU"}
    assert skipped == NEED_A_GPU
    assert "not judged" in results["fitting reaches the memory bandwidth"]["target"]
    assert (sorted(folder.glob("*")) if folder.is_dir() else []) == before


def test_without_a_gpu_the_command_fails_with_one_line() -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    ended = run_checks()
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("Warp")]
    assert line.startswith("error: no GPU")
    assert ended.stdout == ""


def test_any_exception_of_a_check_is_its_failure() -> None:
    def failing_check(bench: Bench) -> CheckResult:
        raise ZeroDivisionError("a bug")

    result = run_check(failing_check, Bench(None, Path(), None))
    assert result == {"result": "FAILED", "reason": "ZeroDivisionError: a bug"}


def test_results_of_a_gpu_are_saved_after_each_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later check may crash the process."""
    monkeypatch.setattr(gpu_checks, "RESULTS", tmp_path)
    gpu = Gpu("NVIDIA T4", "sm_75", 1, 13000)
    saved = gpu_checks.results_path(gpu)
    assert saved.name == "gpu-nvidia-t4.json"

    def first(bench: Bench) -> CheckResult:
        return {"figure": 1}

    def second(bench: Bench) -> CheckResult:
        return {"figure_before": json.loads(saved.read_text("utf-8"))["checks"]["first"]["figure"]}

    monkeypatch.setattr(gpu_checks, "CHECKS", [first, second])
    gpu_checks.run_all(Bench(gpu, tmp_path, None), saved, {})
    content = json.loads(saved.read_text("utf-8"))
    assert (content["gpu"], content["arch"], content["driver_cuda"]) == (
        "NVIDIA T4",
        "sm_75",
        "13.0",
    )
    assert content["checks"]["second"]["figure_before"] == 1


# Three checks of which the second does not end by itself.
INTERRUPTED = """
import sys, time
import gpu_checks
from pathlib import Path
def quick(bench): return {"figure": time.time()}
def crashes_the_process(bench):
    print("here", flush=True)
    time.sleep(600)
def after_it(bench): return {}
gpu_checks.CHECKS = [quick, crashes_the_process, after_it]
gpu_checks.main()
"""


def test_a_killed_process_keeps_its_results_and_the_next_one_continues(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [sys.executable, "-c", INTERRUPTED, "--rehearse", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "here\n":
            process.kill()
    process.wait()
    killed = json.loads(out.read_text("utf-8"))
    assert killed["running"] == "crashes the process" and killed["rehearsal"]
    assert list(killed["checks"]) == ["quick"]
    ended = subprocess.run([*command, "--continue"], env=environment, timeout=60)
    assert ended.returncode == 1
    content = json.loads(out.read_text("utf-8"))
    assert content["running"] is None
    assert content["checks"]["quick"] == killed["checks"]["quick"]
    assert content["checks"]["crashes the process"] == {
        "result": "FAILED",
        "reason": "the process ended during this check",
    }
    assert content["checks"]["after it"]["result"] == "passed"


def test_it_runs_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    """As on a machine with carried wheels: without the project among the packages."""
    packages = subprocess.run(
        [sys.executable, "-c", "import onnxruntime as o; print(o.__path__[0])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; "
        f"sys.path += [{str(Path(packages).parent)!r}]; "
        f"sys.path.insert(0, {str(BENCHMARKS)!r}); import gpu_checks, subprocess; "
        "subprocess.run([sys.executable, '-S', '-c', "
        "'import odins_ravne_assets; print(odins_ravne_assets.__path__[0])'], check=True)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.stdout.strip() == str(ROOT / "odins_ravne_assets"), ended.stderr


# Each check must fail on a device with one defect

DETECTOR = "megadetector-lite"
SMALL = "ssd-mobilenet-v2-cam16"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(None, tmp_path, None)


def test_pictures_fitted_differently_from_opencv_fail() -> None:
    manifest, picture = load_manifest(SMALL), synthetic_still(120, 160, 0)
    darker = picture - np.minimum(picture, 2)
    buffer = wp.array(darker.ravel(), dtype=wp.uint8, device="cpu")
    on_device = [DevicePicture(120, 160, 0, 160 * 3)]
    with pytest.raises(CheckFailedError, match="differs from OpenCV, in grey levels"):
        gpu_check_kernels.compare_fitting(manifest, [picture], buffer, on_device)


def test_boxes_decoded_at_another_threshold_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(DETECTOR)
    rows = [gpu_check_engines.crowded_rows()[:, :300]]

    def strict_decoder(manifest: ModelManifest, threshold: float) -> GpuBoxDecoder:
        return GpuBoxDecoder(manifest, threshold * 1.5)

    gpu_check_engines.compare_decoding(bench, manifest, rows, [(720, 1280)] * 2)
    monkeypatch.setattr(gpu_check_engines, "GpuBoxDecoder", strict_decoder)
    with pytest.raises(CheckFailedError, match="without a match"):
        gpu_check_engines.compare_decoding(bench, manifest, rows, [(720, 1280)] * 2)


class ShiftedPictures(OnnxRuntimeDeviceEngine):
    """Returns for each picture the result of its neighbour."""

    def run(self, images: Any) -> list[Any]:
        return [np.roll(each, 1, axis=0) for each in super().run(images)]


class ShiftedBatches(OnnxRuntimeDeviceEngine):
    """Returns the latest result for a pending batch, as if slots shared a buffer."""

    def start(self, count: int, fill: Any, read: Any) -> Callable[[], list[Any]]:
        self._latest = super().start(count, fill, read)
        return lambda: self._latest()


class EmptyInput(OnnxRuntimeDeviceEngine):
    """Receives no pictures."""

    def start(self, count: int, fill: Any, read: Any) -> Callable[[], list[Any]]:
        return super().start(count, lambda *_: None, read)


class EmptyInputAfterTheCheck(OnnxRuntimeDeviceEngine):
    """Receives no pictures after those with which a worker compares it with the CPU."""

    started = 0

    def start(self, count: int, fill: Any, read: Any) -> Callable[[], list[Any]]:
        self.started += 1
        kept = fill if self.started <= PASSES else lambda slot, *_: slot.input.zero_()
        return super().start(count, kept, read)


class DefectiveBench(Bench):
    """A bench with defective engines."""

    kind: type[OnnxRuntimeDeviceEngine]

    def engine(self, manifest: ModelManifest) -> Any:
        return self.kind(manifest, "cpu", 3, self.warnings.append)

    def open_engine(self, manifest: ModelManifest, kind: Any, *rest: Any) -> Engine:
        if kind != "onnxruntime":
            return self.kind(manifest, "cpu", 3, self.warnings.append)
        return super().open_engine(manifest, kind, *rest)


def defective_bench(kind: type[OnnxRuntimeDeviceEngine], folder: Path) -> Bench:
    bench = DefectiveBench(None, folder, None)
    bench.kind = kind
    return bench


def test_an_engine_that_swaps_pictures_fails(tmp_path: Path) -> None:
    bench, manifest = defective_bench(ShiftedPictures, tmp_path), load_manifest(DETECTOR)
    images, sizes = gpu_check_engines.model_input(bench, manifest)
    engine = bench.engine(manifest)
    total = gpu_check_engines.compare_with_cpu(bench, manifest, engine, images, sizes)
    assert total.unmatched


def test_an_engine_that_swaps_pending_batches_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="pipelined inference finds other boxes"):
        gpu_check_engines.pipelined_inference_is_faster_than_sequential(
            defective_bench(ShiftedBatches, tmp_path)
        )


def test_a_clip_decoded_by_the_cpu_fails(tmp_path: Path, make_video: Any) -> None:
    class OddSizedClip(Bench):
        def clip(self) -> Path:
            return make_video(tmp_path / "odd.avi", frames=3, size=(65, 49))

    with pytest.raises(CheckFailedError, match="not the device: odd sizes have no NV12"):
        gpu_check_pipeline.frames_on_the_device_equal_those_of_the_cpu(
            OddSizedClip(None, tmp_path, None)
        )


def test_a_pipeline_without_input_on_the_device_fails(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="are not those of the CPU"):
        gpu_check_pipeline.the_pipeline_finds_the_same_boxes(defective_bench(EmptyInput, tmp_path))
    later = defective_bench(EmptyInputAfterTheCheck, tmp_path)
    with pytest.raises(CheckFailedError, match="clear boxes"):
        gpu_check_pipeline.the_pipeline_finds_the_same_boxes(later)


def test_speed_is_judged_only_on_a_gpu(bench: Bench) -> None:
    on_gpu = Bench(Gpu("a GPU", "sm_90", 1, 13000), bench.work, None)
    assert bench.judge_speed({"share": 0.1}, False, "0.7") == {
        "share": 0.1,
        "target": "0.7, not judged",
    }
    assert on_gpu.judge_speed({"share": 0.8}, True, "0.7") == {"share": 0.8, "target": "0.7"}
    with pytest.raises(CheckFailedError, match=r"0\.1.*target: 0\.7"):
        on_gpu.judge_speed({"share": 0.1}, False, "0.7")


def test_checks_use_the_full_tensorrt_where_it_can_run(bench: Bench) -> None:
    gpu = Gpu("a GPU", "sm_90", 1, 13000)
    assert Bench(gpu, bench.work, None).tensorrt_kind == "tensorrt"
    rtx_only = Bench(gpu, bench.work, None, {"tensorrt": "tensorrt is not installed"})
    assert rtx_only.tensorrt_kind == "tensorrt-rtx"
    with pytest.raises(CheckSkippedError, match="it is the engine of the check above"):
        gpu_check_engines.tensorrt_rtx_agrees_with_the_cpu(rtx_only)
    assert bench.tensorrt_kind is None


def test_checks_that_need_tensorrt_are_skipped_on_unsupported_gpus(bench: Bench) -> None:
    errors: dict[TensorRtKind, str] = {"tensorrt": "not installed", "tensorrt-rtx": "no sm_90"}
    unsupported = Bench(Gpu("a GPU", "sm_90", 1, 13000), bench.work, None, errors)
    with pytest.raises(CheckSkippedError, match="not installed; no sm_90"):
        gpu_check_engines.a_damaged_engine_is_rebuilt(unsupported)
    with pytest.raises(CheckSkippedError, match=r"^no sm_90$"):
        gpu_check_engines.tensorrt_rtx_agrees_with_the_cpu(unsupported)
    assert unsupported.judge_speed({}, False, "ahead", needs_tensorrt=True) == {
        "target": "ahead, not judged"
    }
