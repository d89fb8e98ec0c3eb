"""Checks of the engines, and of the decoding of their outputs on the device."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from gpu_bench import GIB, Bench, CheckFailedError, CheckResult, CheckSkippedError
from numpy.typing import NDArray
from synthetic_media import synthetic_still

from gpu_kernels.device.gpu_preprocessing import StagingBuffer
from gpu_kernels.engines.engine import GPU_KINDS, DeviceEngine, Engine, open_engine
from gpu_kernels.engines.tensorrt_build import BatchSizes, join_archs
from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.heads.engine_agreement import Agreement, compare_boxes, compare_labels
from gpu_kernels.heads.gpu_box_decoding import CANDIDATE_CAPACITY, GpuBoxDecoder
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from gpu_kernels.preprocessing.letterbox import fit, to_input
from odins_ravne_assets.demo.footage import SIZE, read_sample
from odins_ravne_assets.munin.inference.agreement_check import (
    compare_with_cpu as compare_with_cpu_once,
)
from odins_ravne_assets.munin.inference.engine_choice import ModelOpener, choose_engine
from odins_ravne_assets.munin.inference.run_model import DetectorRunner, LoadedModel, whole_picture
from odins_ravne_assets.munin.inference.timing import STAGE1_STEPS, StageTiming
from odins_ravne_assets.munin.progress import StageProgress
from resources.errors import EngineError

Outputs = list[NDArray[Any]]
Size = tuple[int, int]  # height, width
SHARED_BY = ("sm_86", "sm_89")
PIECE = GIB // 8  # below the limit of a Warp array, 2 GiB
# Graphs that `tools/make_model_fixtures.py` has made.
EXPORTED_MODELS = Path(__file__).parent.parent / "tests" / "support" / "exported_models"
MAX_UNMATCHED = 0.1  # share of their boxes without a match
DETECTOR, SMALL_DETECTOR = "megadetector-lite", "ssd-mobilenet-v2-cam16"


class FinishedSlot:
    """A batch slot with given outputs on the device."""

    input = None

    def __init__(self, outputs: Outputs, device: str) -> None:
        self.outputs = [wp.array(each, dtype=wp.float32, device=device) for each in outputs]
        self.stream = wp.Stream(device) if wp.get_device(device).is_cuda else None
        self.references: list[Any] = []
        self.staging = StagingBuffer()

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        raise AssertionError("its outputs are computed")

    def launch(self, count: int) -> None:
        raise AssertionError("its outputs are computed")

    def wait(self) -> None:
        if self.stream is not None:
            wp.synchronize_stream(self.stream)
        self.references.clear()

    def launch_times(self) -> tuple[float, float]:
        return 0.0, 0.0


def model_input(bench: Bench, manifest: ModelManifest) -> tuple[NDArray[np.float32], list[Size]]:
    """Return the bench's pictures as a model's input, and their sizes."""
    pictures = bench.pictures
    images = to_input([fit(each, manifest) for each in pictures], manifest)
    return images, [(each.shape[0], each.shape[1]) for each in pictures]


def boxes_are_decoded_as_on_the_cpu(bench: Bench) -> CheckResult:
    """Compare boxes and times on both, for real outputs at two thresholds.

    Also for noise with more candidates than the capacity.
    """
    result: CheckResult = {}
    for manifest in map(load_manifest, shipped_models()):
        if manifest.task == "detector":
            images, sizes = model_input(bench, manifest)
            outputs = open_engine(manifest, "onnxruntime").run(images)
            result[manifest.name] = compare_decoding(bench, manifest, outputs, sizes)
    rows = crowded_rows()
    if (rows[:, :, 4] * rows[:, :, 5] >= 0.25).sum(axis=1).min() <= CANDIDATE_CAPACITY:
        raise CheckFailedError("the noise has too few candidates")
    result["crowded"] = compare_decoding(bench, load_manifest(DETECTOR), [rows], [(720, 1280)] * 2)
    if not all(each["boxes"] for of_model in result.values() for each in of_model.values()):
        raise CheckFailedError(f"no boxes to compare: {result}")
    return result


def crowded_rows() -> NDArray[np.float32]:
    """Return rows of a YOLOX head for two pictures, most of them candidates."""
    rows = np.random.default_rng(1).uniform(0, 600, (2, 8400, 6)).astype(np.float32)
    rows[..., 4:] = np.random.default_rng(2).uniform(0.4, 1, (2, 8400, 2))
    return rows


def compare_decoding(
    bench: Bench, manifest: ModelManifest, outputs: Outputs, sizes: list[Size]
) -> CheckResult:
    """Compare the decoding of outputs on the device and on the CPU, at two thresholds."""
    result: CheckResult = {}
    slot = FinishedSlot(outputs, bench.device)
    default = manifest.detector_output.threshold
    for threshold in (default, default / 3):
        decoder = GpuBoxDecoder(manifest, threshold)

        def read(decoder: GpuBoxDecoder = decoder) -> list[Boxes]:
            finish = decoder.start(slot, sizes)
            slot.wait()
            return finish()

        expected = decode_boxes(outputs, manifest, sizes, threshold)
        total = compare_batches(read(), expected, threshold)
        if total.unmatched or total.score_difference > 1e-5:
            raise CheckFailedError(f"{manifest.name} at {threshold}: {total}")
        on_device = bench.seconds_per_call(read, bench.sizes.repeats)
        started = time.perf_counter()
        decode_boxes(outputs, manifest, sizes, threshold)
        result[f"at {threshold:.3f}"] = {
            "boxes": sum(map(len, expected)),
            "device_ms": round(on_device * 1e3, 3),
            "cpu_ms": round((time.perf_counter() - started) * 1e3, 3),
        }
    return result


def compare_batches(boxes: Sequence[Boxes], others: Sequence[Boxes], threshold: float) -> Agreement:
    """Compare the boxes of several pictures."""
    pairs = zip(boxes, others, strict=True)
    return sum((compare_boxes(*pair, threshold) for pair in pairs), Agreement())


def compare_outputs(
    manifest: ModelManifest, outputs: Outputs, others: Outputs, sizes: Sequence[Size]
) -> Agreement:
    """Compare the outputs of two engines for the same pictures."""
    if manifest.task == "classifier":
        pairs = zip(
            rank_labels(outputs[0], manifest), rank_labels(others[0], manifest), strict=True
        )
        return sum((compare_labels(*pair) for pair in pairs), Agreement())
    threshold = manifest.detector_output.threshold
    boxes, other_boxes = (
        decode_boxes(each, manifest, sizes, threshold) for each in (outputs, others)
    )
    return compare_batches(boxes, other_boxes, threshold)


def engines_agree_with_the_cpu(bench: Bench) -> CheckResult:
    """Compare float16 in several batch sizes with onnxruntime in float32; measure the speed.

    With the full TensorRT where it can run, which is the one that a worker prefers.
    """
    without = {f"no {kind}": reason for kind, reason in bench.tensorrt_errors.items()}
    return compare_engines(bench, bench.engine) | without


def tensorrt_rtx_agrees_with_the_cpu(bench: Bench) -> CheckResult:
    """The same with TensorRT-RTX, on a machine that has both."""
    bench.require_gpu()
    if bench.tensorrt_kind == "tensorrt-rtx":
        raise CheckSkippedError("it is the engine of the check above")
    return compare_engines(bench, lambda model: bench.tensorrt(model, kind="tensorrt-rtx"))


def compare_engines(
    bench: Bench, open_engine_of: Callable[[ModelManifest], DeviceEngine]
) -> CheckResult:
    """Compare the engines of the shipped models with the CPU, and measure them."""
    result: CheckResult = {}
    for manifest in map(load_manifest, shipped_models()):
        started = time.perf_counter()
        engine = open_engine_of(manifest)
        opened = time.perf_counter() - started
        images, sizes = model_input(bench, manifest)
        total = compare_with_cpu(bench, manifest, engine, images, sizes)
        if not total.within_tolerance or not total.compared:
            raise CheckFailedError(f"{manifest.name}: {total}")
        speeds = {
            batch: pictures_per_second(bench, engine, repeat_to(images, batch))
            for batch in bench.sizes.timed_batches
        }
        started = time.perf_counter()
        open_engine_of(manifest)
        result[manifest.name] = {
            "engine": engine.description,
            "agreement": str(total),
            "seconds_to_build_and_load": round(opened, 2),
            "seconds_by_step": rounded(engine.opened.seconds),
            "seconds_to_load_again": round(time.perf_counter() - started, 2),
            "pictures_per_second_by_batch": speeds,
        }
    return result


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by step, for the results."""
    return {step: round(value, 2) for step, value in seconds.items()}


def a_worker_chooses_an_engine(bench: Bench) -> CheckResult:
    """Choose the engine of the shipped models as a worker does, twice: the second start is warm.

    Reports what each start costs: building, loading, kernels, the comparison with the CPU.
    """
    result: CheckResult = {}
    manifests = [load_manifest(name) for name in shipped_models()]
    for name in ("first_start", "second_start"):
        log = StartLog()
        opener = ModelOpener(
            bench.open_engine, None, bench.cache("worker-engines"),
            BatchSizes.around(bench.sizes.batch), (), lambda: read_sample("cat", SIZE), log,
        )  # fmt: skip
        timing = StageTiming(STAGE1_STEPS)
        started = time.perf_counter()
        chosen = choose_engine(manifests, GPU_KINDS, opener, timing)
        result[name] = {
            "engine": chosen.kind,
            "refused_before": chosen.reasons,
            "seconds": round(time.perf_counter() - started, 2),
            "seconds_by_step": rounded(timing.starting),
            "log": log.lines,
        }
    if bench.tensorrt_kind and result["second_start"]["seconds_by_step"].get("building engines"):
        raise CheckFailedError(f"the second start builds engines again: {result}")
    return result


class StartLog:
    """A reporter that retains the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(f"warning: {message}")

    def progress(self, progress: StageProgress) -> None:
        pass


def layouts_of_public_exports_agree_with_the_cpu(bench: Bench) -> CheckResult:
    """Compare boxes and labels of small graphs that public exporters made, with random weights.

    Random weights give many nearly equal scores, of which rounding decides: a share of the boxes
    may have no match. A layout that the device cannot run, and a worker leaves to the CPU, is
    listed with the reason.
    """
    picture = synthetic_still(480, 640, 3)
    result: CheckResult = {}
    failed: list[str] = []
    on_device = 0
    for path in sorted(EXPORTED_MODELS.glob("*.toml")):
        manifest = load_manifest(str(path))
        try:
            total, invalid = compare_with_cpu_once(
                manifest, bench.engine(manifest), open_engine(manifest, "onnxruntime"), picture,
                max(bench.sizes.batches),
            )  # fmt: skip
        except EngineError as error:
            result[manifest.name] = f"on the CPU only: {error}"
            continue
        result[manifest.name], on_device = invalid or str(total), on_device + 1
        matched = replace(total, unmatched=0).within_tolerance
        if invalid or not matched or total.unmatched > MAX_UNMATCHED * total.compared:
            failed.append(manifest.name)
    if failed or not on_device:
        raise CheckFailedError(f"{', '.join(failed) or 'no layouts'}: {result}")
    return result


def compare_with_cpu(
    bench: Bench,
    manifest: ModelManifest,
    engine: Engine,
    images: NDArray[np.float32],
    sizes: list[Size],
) -> Agreement:
    """Compare an engine with onnxruntime, in batches of several sizes."""
    expected = open_engine(manifest, "onnxruntime").run(images)
    total = Agreement()
    for batch in bench.sizes.batches:
        batch_images = repeat_to(images, batch)
        batch_expected = [repeat_to(each, batch) for each in expected]
        batch_sizes = [sizes[index % len(sizes)] for index in range(batch)]
        # Six runs: in each of two slots a plain one, one captured as a graph, and the graph.
        for _ in range(bench.sizes.runs):
            outputs = engine.run(batch_images)
            total += compare_outputs(manifest, batch_expected, outputs, batch_sizes)
    return total


def repeat_to(images: NDArray[Any], count: int) -> NDArray[Any]:
    """Return `count` rows, repeated as needed."""
    return np.take(images, range(count), axis=0, mode="wrap")


def pictures_per_second(bench: Bench, engine: Engine, images: NDArray[np.float32]) -> float:
    """Measure the speed from pictures on the host to outputs on the host."""
    seconds = bench.seconds_per_call(lambda: engine.run(images), bench.sizes.repeats)
    return round(len(images) / seconds, 1)


def pipelined_inference_is_faster_than_sequential(bench: Bench) -> CheckResult:
    """Compare waiting for each batch with starting the next one first; measure the busy share."""
    manifest = load_manifest(DETECTOR)
    engine = bench.engine(manifest)
    runner = DetectorRunner(LoadedModel(manifest, engine), manifest.detector_output.threshold)
    pictures = [whole_picture(each) for each in bench.pictures]
    half = len(pictures) // 2
    batches = [pictures[:half], pictures[half:]] * bench.sizes.passes
    found: dict[str, list[Boxes]] = {}
    result: CheckResult = {}
    for name, max_pending in (("warm_up", 0), ("sequential", 0), ("pipelined", 1)):
        before, started = engine.busy_seconds, time.perf_counter()
        pending: deque[Callable[[], list[Boxes]]] = deque()
        boxes: list[Boxes] = []
        for batch in batches:
            pending.append(runner.start(batch))
            while len(pending) > max_pending:
                boxes += pending.popleft()()
        boxes += [each for finish in pending for each in finish()]
        seconds = time.perf_counter() - started
        found[name] = boxes
        result[name] = {
            "pictures_per_second": round(len(boxes) / seconds, 1),
            "busy_share": round((engine.busy_seconds - before) / seconds, 3),
        }
    threshold = manifest.detector_output.threshold
    total = compare_batches(found["sequential"], found["pipelined"], threshold)
    if not total.within_tolerance or not total.compared:
        raise CheckFailedError(f"pipelined inference finds other boxes: {total}")
    faster = (
        result["pipelined"]["pictures_per_second"] > result["sequential"]["pictures_per_second"]
    )
    return bench.judge_speed(result, faster, "pipelined is faster", needs_tensorrt=True)


def a_shared_engine_agrees_with_a_separate_one(bench: Bench) -> CheckResult:
    """Compare boxes and speed of an engine for several GPUs with those of one for this GPU."""
    manifest, arch = load_manifest(DETECTOR), bench.require_gpu().arch
    separate = bench.tensorrt(manifest)
    if arch == "sm_75" and not separate.rtx:
        raise CheckSkippedError("a full TensorRT shares engines from sm_80 on")
    shared_by = {*SHARED_BY, arch}
    shared = bench.tensorrt(manifest, shared_by)
    images, sizes = model_input(bench, manifest)
    total = compare_outputs(manifest, separate.run(images), shared.run(images), sizes)
    if not total.within_tolerance or not total.compared:
        raise CheckFailedError(str(total))
    batch = repeat_to(images, 8)
    return {
        "agreement": str(total),
        "shared_by": join_archs(shared_by),
        "pictures_per_second": {"separate": pictures_per_second(bench, separate, batch),
                                "shared": pictures_per_second(bench, shared, batch)},
    }  # fmt: skip


def a_damaged_engine_is_rebuilt(bench: Bench) -> CheckResult:
    """Truncate every cached engine by one byte, and open one."""
    manifest = load_manifest(SMALL_DETECTOR)
    bench.tensorrt(manifest)
    for path in (bench.work / "engines").glob("*.engine"):
        path.write_bytes(path.read_bytes()[:-1])
    bench.warnings.clear()
    bench.tensorrt(manifest)
    if not any("is damaged" in warning for warning in bench.warnings):
        raise CheckFailedError(f"no warning: {bench.warnings}")
    return {"warning": bench.warnings[0]}


def insufficient_memory_halves_the_batch(bench: Bench) -> CheckResult:
    """Open an engine while all but half a GiB of the GPU's memory is allocated."""
    manifest = load_manifest(DETECTOR)
    bench.tensorrt(manifest)  # so that it is in the cache, and no build needs memory
    pieces = max(0, (wp.get_device(bench.device).free_memory - GIB // 2) // PIECE)
    with wp.ScopedMempool(bench.device, False):  # TensorRT cannot use memory of the pool later
        allocated = [wp.empty(PIECE, dtype=wp.uint8, device=bench.device) for _ in range(pieces)]
    bench.warnings.clear()
    try:
        engine = bench.tensorrt(manifest)
    finally:
        del allocated
    if not any("do not fit" in warning for warning in bench.warnings):
        raise CheckFailedError(f"batches of {engine.max_batch}, and no warning")
    return {"batches_of_up_to": engine.max_batch, "warning": bench.warnings[0]}


CHECKS = [
    boxes_are_decoded_as_on_the_cpu,
    engines_agree_with_the_cpu,
    tensorrt_rtx_agrees_with_the_cpu,
    a_worker_chooses_an_engine,
    layouts_of_public_exports_agree_with_the_cpu,
    pipelined_inference_is_faster_than_sequential,
    a_shared_engine_agrees_with_a_separate_one,
    a_damaged_engine_is_rebuilt,
    insufficient_memory_halves_the_batch,
]
