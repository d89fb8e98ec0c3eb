"""Checks of the engines, and of what reads their outputs on the device."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import warp as wp
from gpu_bench import GIB, Bench, CheckFailedError, CheckResult, CheckSkippedError
from numpy.typing import NDArray

from gpu_kernels.device.gpu_preprocessing import StagingBuffer
from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.engines.tensorrt_build import join_archs
from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.heads.engine_agreement import Agreement, compare_boxes, compare_labels
from gpu_kernels.heads.gpu_box_decoding import CANDIDATE_CAPACITY, GpuBoxDecoder
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from gpu_kernels.preprocessing.letterbox import fit, to_input
from odins_ravne_assets.munin.inference.run_model import DetectorRunner, LoadedModel, whole_picture

Outputs = list[NDArray[Any]]
Size = tuple[int, int]  # height, width
SHARED_BY = ("sm_86", "sm_89")
PIECE = GIB // 8  # Warp's arrays have less than 2 GiB
DETECTOR, SMALL_DETECTOR = "megadetector-lite", "ssd-mobilenet-v2-cam16"


class DoneLane:
    """Outputs as an engine leaves them on the device."""

    input = None

    def __init__(self, outputs: Outputs, device: str) -> None:
        self.outputs = [wp.array(each, dtype=wp.float32, device=device) for each in outputs]
        self.stream = wp.Stream(device) if wp.get_device(device).is_cuda else None
        self.held: list[Any] = []
        self.staging = StagingBuffer()

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        raise AssertionError("it has computed")

    def launch(self, count: int) -> None:
        raise AssertionError("it has computed")

    def wait(self) -> None:
        if self.stream is not None:
            wp.synchronize_stream(self.stream)
        self.held.clear()

    def span(self) -> tuple[float, float]:
        return 0.0, 0.0


def images_of(bench: Bench, manifest: ModelManifest) -> tuple[NDArray[np.float32], list[Size]]:
    """The bench's pictures as a model's input, and their sizes."""
    pictures = bench.pictures
    images = to_input([fit(each, manifest) for each in pictures], manifest)
    return images, [(each.shape[0], each.shape[1]) for each in pictures]


def heads_are_decoded_as_on_the_cpu(bench: Bench) -> CheckResult:
    """Boxes of each detector's real outputs, at two thresholds, and the time of it on either side;
    and of noise with more candidates than there is room for."""
    told: CheckResult = {}
    for manifest in map(load_manifest, shipped_models()):
        if manifest.task == "detector":
            images, sizes = images_of(bench, manifest)
            outputs = open_engine(manifest, "onnxruntime").run(images)
            told[manifest.name] = heads_compared(bench, manifest, outputs, sizes)
    crowd = crowded()
    if (crowd[:, :, 4] * crowd[:, :, 5] >= 0.25).sum(axis=1).min() <= CANDIDATE_CAPACITY:
        raise CheckFailedError("the crowd is none")
    told["crowded"] = heads_compared(bench, load_manifest(DETECTOR), [crowd], [(720, 1280)] * 2)
    if not all(found["boxes"] for heads in told.values() for found in heads.values()):
        raise CheckFailedError(f"no boxes to compare: {told}")
    return told


def crowded() -> NDArray[np.float32]:
    """Rows of a YOLOX head for two pictures, with boxes everywhere."""
    rows = np.random.default_rng(1).uniform(0, 600, (2, 8400, 6)).astype(np.float32)
    rows[..., 4:] = np.random.default_rng(2).uniform(0.4, 1, (2, 8400, 2))
    return rows


def heads_compared(
    bench: Bench, manifest: ModelManifest, outputs: Outputs, sizes: list[Size]
) -> CheckResult:
    told: CheckResult = {}
    lane = DoneLane(outputs, bench.device)
    own = manifest.detector_output.threshold
    for threshold in (own, own / 3):
        heads = GpuBoxDecoder(manifest, threshold)

        def read(heads: GpuBoxDecoder = heads) -> list[Boxes]:
            finish = heads.read(lane, sizes)
            lane.wait()
            return finish()

        expected = decode_boxes(outputs, manifest, sizes, threshold)
        total = boxes_compared(read(), expected, threshold)
        if total.unmatched or total.score > 1e-5:
            raise CheckFailedError(f"{manifest.name} at {threshold}: {total}")
        on_device = bench.seconds_of(read, bench.sizes.times)
        started = time.perf_counter()
        decode_boxes(outputs, manifest, sizes, threshold)
        told[f"at {threshold:.3f}"] = {
            "boxes": sum(map(len, expected)),
            "device_ms": round(on_device * 1e3, 3),
            "cpu_ms": round((time.perf_counter() - started) * 1e3, 3),
        }
    return told


def boxes_compared(some: Sequence[Boxes], others: Sequence[Boxes], threshold: float) -> Agreement:
    pairs = zip(some, others, strict=True)
    return sum((compare_boxes(*pair, threshold) for pair in pairs), Agreement())


def agreement(
    manifest: ModelManifest, one: Outputs, other: Outputs, sizes: Sequence[Size]
) -> Agreement:
    """Of the outputs of two engines for the same pictures."""
    if manifest.task == "classifier":
        pairs = zip(rank_labels(one[0], manifest), rank_labels(other[0], manifest), strict=True)
        return sum((compare_labels(*pair) for pair in pairs), Agreement())
    threshold = manifest.detector_output.threshold
    some, others = (decode_boxes(each, manifest, sizes, threshold) for each in (one, other))
    return boxes_compared(some, others, threshold)


def engines_answer_as_the_cpu_does(bench: Bench) -> CheckResult:
    """In half precision and batches of several sizes, against onnxruntime in float32; and the
    speed."""
    told: CheckResult = {}
    for manifest in map(load_manifest, shipped_models()):
        started = time.perf_counter()
        engine = bench.engine(manifest)
        opened = time.perf_counter() - started
        images, sizes = images_of(bench, manifest)
        total = answers_compared(bench, manifest, engine, images, sizes)
        if not total.holds or not total.compared:
            raise CheckFailedError(f"{manifest.name}: {total}")
        speeds = {
            batch: speed(bench, engine, some_of(images, batch))
            for batch in bench.sizes.timed_batches
        }
        started = time.perf_counter()
        bench.engine(manifest)
        told[manifest.name] = {
            "engine": engine.description,
            "agreement": str(total),
            "seconds_to_build_and_load": round(opened, 2),
            "seconds_to_load_again": round(time.perf_counter() - started, 2),
            "pictures_per_second_by_batch": speeds,
        }
    return told


def answers_compared(
    bench: Bench,
    manifest: ModelManifest,
    engine: Engine,
    images: NDArray[np.float32],
    sizes: list[Size],
) -> Agreement:
    expected = open_engine(manifest, "onnxruntime").run(images)
    total = Agreement()
    for batch in bench.sizes.batches:
        given = some_of(images, batch)
        wanted = [some_of(each, batch) for each in expected]
        of_sizes = [sizes[place % len(sizes)] for place in range(batch)]
        # Six: in each of two lanes a plain one, one that is captured as a graph, and the graph.
        for _ in range(bench.sizes.runs):
            total += agreement(manifest, wanted, engine.run(given), of_sizes)
    return total


def some_of(images: NDArray[Any], count: int) -> NDArray[Any]:
    """As many, again from the first when they do not suffice."""
    return np.take(images, range(count), axis=0, mode="wrap")


def speed(bench: Bench, engine: Engine, images: NDArray[np.float32]) -> float:
    """Pictures a second, of the host, to outputs on the host."""
    seconds = bench.seconds_of(lambda: engine.run(images), bench.sizes.times)
    return round(len(images) / seconds, 1)


def looking_ahead_is_faster_than_looking_in_turn(bench: Bench) -> CheckResult:
    """Pictures of the host to boxes: each batch waited for before the next one, and each started
    before the last one is waited for. And how long the device was busy."""
    manifest = load_manifest(DETECTOR)
    engine = bench.engine(manifest)
    finder = DetectorRunner(LoadedModel(manifest, engine), manifest.detector_output.threshold)
    pictures = [whole_picture(each) for each in bench.pictures]
    half = len(pictures) // 2
    shown = [pictures[:half], pictures[half:]] * bench.sizes.looks
    found: dict[str, list[Boxes]] = {}
    told: CheckResult = {}
    for name, ahead in (("warm", 0), ("in_turn", 0), ("ahead", 1)):
        before, started = engine.busy_seconds, time.perf_counter()
        pending: deque[Callable[[], list[Boxes]]] = deque()
        boxes: list[Boxes] = []
        for batch in shown:
            pending.append(finder.start(batch))
            while len(pending) > ahead:
                boxes += pending.popleft()()
        boxes += [each for answer in pending for each in answer()]
        seconds = time.perf_counter() - started
        found[name] = boxes
        told[name] = {
            "pictures_per_second": round(len(boxes) / seconds, 1),
            "busy_share": round((engine.busy_seconds - before) / seconds, 3),
        }
    total = boxes_compared(found["in_turn"], found["ahead"], manifest.detector_output.threshold)
    if not total.holds or not total.compared:
        raise CheckFailedError(f"looking ahead finds other boxes: {total}")
    ahead, in_turn = (told[name]["pictures_per_second"] for name in ("ahead", "in_turn"))
    return bench.judged(told, ahead > in_turn, "ahead is faster", of_tensorrt=True)


def an_engine_for_several_gpus_answers_as_its_own(bench: Bench) -> CheckResult:
    """One engine for this GPU and its neighbours: its boxes, and what it costs in speed."""
    manifest, arch = load_manifest(DETECTOR), bench.a_gpu().arch
    own = bench.tensorrt(manifest)
    if arch == "sm_75" and not own.rtx:
        raise CheckSkippedError("a full TensorRT shares engines from sm_80 on")
    shared_by = {*SHARED_BY, arch}
    shared = bench.tensorrt(manifest, shared_by)
    images, sizes = images_of(bench, manifest)
    total = agreement(manifest, own.run(images), shared.run(images), sizes)
    if not total.holds or not total.compared:
        raise CheckFailedError(str(total))
    given = some_of(images, 8)
    return {
        "agreement": str(total),
        "shared_by": join_archs(shared_by),
        "pictures_per_second": {"own": speed(bench, own, given),
                                "shared": speed(bench, shared, given)},
    }  # fmt: skip


def a_damaged_engine_is_built_anew(bench: Bench) -> CheckResult:
    """One byte is cut off of every engine that is kept."""
    manifest = load_manifest(SMALL_DETECTOR)
    bench.tensorrt(manifest)
    for path in (bench.work / "engines").glob("*.engine"):
        path.write_bytes(path.read_bytes()[:-1])
    bench.notes.clear()
    bench.tensorrt(manifest)
    if not any("is damaged" in note for note in bench.notes):
        raise CheckFailedError(f"nothing was said: {bench.notes}")
    return {"said": bench.notes[0]}


def too_little_memory_halves_the_batch(bench: Bench) -> CheckResult:
    """With all but half a GiB of the GPU's memory taken."""
    manifest = load_manifest(DETECTOR)
    bench.tensorrt(manifest)  # so that it is in the cache, and no build needs memory
    pieces = max(0, (wp.get_device(bench.device).free_memory - GIB // 2) // PIECE)
    with wp.ScopedMempool(bench.device, False):  # what a pool took, TensorRT cannot have later
        hog = [wp.empty(PIECE, dtype=wp.uint8, device=bench.device) for _ in range(pieces)]
    bench.notes.clear()
    try:
        engine = bench.tensorrt(manifest)
    finally:
        del hog
    if not any("do not fit" in note for note in bench.notes):
        raise CheckFailedError(f"batches of {engine.most}, and nothing was said")
    return {"batches_of_up_to": engine.most, "said": bench.notes[0]}


CHECKS = [
    heads_are_decoded_as_on_the_cpu,
    engines_answer_as_the_cpu_does,
    looking_ahead_is_faster_than_looking_in_turn,
    an_engine_for_several_gpus_answers_as_its_own,
    a_damaged_engine_is_built_anew,
    too_little_memory_halves_the_batch,
]
