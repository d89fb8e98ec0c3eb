"""Every check that needs a GPU: `python benchmarks/gpu_checks.py`.

Runs them one after the other on the first GPU, goes on after one that fails, prints a line for
each, and keeps all in `benchmarks/results/gpu-NAME.json` with the GPU's name. Exit code 1 if any
failed, or if there is no GPU. `--footage` names real media; without it pictures are made here, and
the checks that need clips are left out and said to be.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import warp as wp
from numpy.typing import NDArray
from running import run_stages

from gpu_kernels import kernels
from gpu_kernels.agreement import Agreement, compare_boxes, compare_labels
from gpu_kernels.cubins import compile_cubins, load_cubins
from gpu_kernels.device import _items, cut_out, fit_into, ready
from gpu_kernels.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.engine import open_engine
from gpu_kernels.engine_cache import EngineCache
from gpu_kernels.gpu import Gpu, usable_gpu
from gpu_kernels.heads import Boxes, decode, rank
from gpu_kernels.heads_on_device import HeadsOnDevice
from gpu_kernels.manifest import ModelManifest, load_manifest, shipped_models
from gpu_kernels.preprocess import fit, placement, to_input
from gpu_kernels.tensorrt_api import find_tensorrt
from gpu_kernels.tensorrt_build import Batches, joined
from gpu_kernels.tensorrt_engine import open_tensorrt_engine
from odins_ravne_assets.munin.decoding import Decoder, DecodingSettings, Frame, Medium
from odins_ravne_assets.munin.looking import Finder, whole
from odins_ravne_assets.munin.sampling import SamplingPlan
from resources.errors import RavneError
from resources.object_store import LocalStore

RESULTS = Path(__file__).parent / "results"
DEFAULT_FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"
DEVICE = "cuda:0"
AIM = 0.7  # of a large copy's bandwidth, for the fitting kernel
SHARED_BY = ("sm_86", "sm_89")
GIB = 2**30
PIECE = GIB // 8  # Warp's arrays have less than 2 GiB
Told = dict[str, Any]


@dataclass
class Bench:
    """What the checks work with."""

    gpu: Gpu
    work: Path
    footage: Path | None
    notes: list[str] = field(default_factory=list)

    def cache(self) -> EngineCache:
        return EngineCache([LocalStore(self.work / "engines")], self.notes.append)

    def pictures(self) -> list[NDArray[np.uint8]]:
        """Sixteen stills, real where there is footage."""
        paths = sorted(self.footage.rglob("*.[jJ][pP][gG]")) if self.footage else []
        read = (cv2.imdecode(np.fromfile(p, np.uint8), 1) for p in paths if p.stat().st_size)
        real = [np.asarray(each, np.uint8) for each in list(read)[::2] if each is not None]
        return real[:16] or [noise(720 + 8 * n, 1280, n) for n in range(16)]

    def clip(self) -> Path:
        if self.footage is None:
            raise Skipped("needs --footage with a clip")
        return self.footage / "zamba_videos" / "densepose_tests" / "chimp.mp4"


class Skipped(Exception):
    """A check that has nothing to work with."""


class Failed(Exception):
    """A check whose result is not good enough."""


def noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 9, width // 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Seconds of one `work`, of the GPU: launched `times` times in a row, after a first one."""
    work()
    wp.synchronize_device(DEVICE)
    started = time.perf_counter()
    for _ in range(times):
        work()
    wp.synchronize_device(DEVICE)
    return (time.perf_counter() - started) / times


# The checks: each tells its figures, or raises Failed


def cubins_are_loaded(bench: Bench) -> Told:
    """Kernels that were compiled ahead of time are used, and no compiler is waited for."""
    wp.config.quiet = True
    wp.init()
    compile_cubins(bench.gpu.arch, bench.work / "cubins")
    started = time.perf_counter()
    if not load_cubins(wp.get_device(DEVICE), bench.work / "cubins"):
        raise Failed("the cubins of these kernels were not taken")
    return {"seconds": round(time.perf_counter() - started, 3)}


def kernels_fit_as_opencv_does(bench: Bench) -> Told:
    """The oracle of tests/test_kernels.py, on the GPU."""
    pictures = bench.pictures()
    starts = np.cumsum([0, *(each.size for each in pictures)])
    buffer = wp.array(
        np.concatenate([each.ravel() for each in pictures]), dtype=wp.uint8, device=DEVICE
    )
    shown = [
        DevicePicture(each.shape[0], each.shape[1], int(start), each.shape[1] * 3)
        for each, start in zip(pictures, starts[:-1], strict=True)
    ]
    told: Told = {}
    for name in shipped_models():
        spec = load_manifest(name).input
        images = wp.empty((len(shown), 3, spec.height, spec.width), dtype=wp.float32, device=DEVICE)
        fit_into(images, buffer, [(each, each.whole) for each in shown], spec)
        expected = to_input([fit(each, load_manifest(name)) for each in pictures],
                            load_manifest(name))  # fmt: skip
        differ = np.abs(images.numpy() - expected) / spec.multiply[0]
        told[name] = {"most": float(differ.max()), "share": float((differ > 0.5).mean())}
        if differ.max() > 1.001 or (differ > 0.5).mean() > 0.15:
            raise Failed(str(told))
    return told


def fitting_uses_the_memorys_bandwidth(bench: Bench) -> Told:
    """Bytes that must be moved in a second, against those of a copy of one GiB.

    Of every `s` rows of a picture that shrinks by s >= 2 two are read; columns are too near to be
    left out. What is written is float16.
    """
    spec = load_manifest("megadetector-lite").input
    height, width, count = 1080, 1920, 64
    frame = height * width * 3 // 2
    buffer = wp.zeros(frame * count, dtype=wp.uint8, device=DEVICE)
    shown = [
        DevicePicture(height, width, n * frame, width, chroma=n * frame + height * width,
                      chroma_pitch=width)
        for n in range(count)
    ]  # fmt: skip
    images = wp.empty((count, 3, spec.height, spec.width), dtype=wp.float16, device=DEVICE)
    place = placement(height, width, spec)
    places = [(place.y, place.x, place.height, place.width)] * count
    rows = _items([(each, each.whole) for each in shown], places)
    items = wp.array(rows, dtype=kernels.Item, device=DEVICE)
    launch = wp.launch(
        kernels.fit_regions,
        dim=(count, spec.height, spec.width),
        inputs=[buffer, items, wp.vec3(1.0, 1.0, 1.0), wp.vec3(0.0, 0.0, 0.0), 0.0],
        outputs=[images],
        device=DEVICE,
        record_cmd=True,
    )
    kernel = seconds_of(launch.launch, 50)
    read = frame * min(1.0, 2 * place.height / height)
    moved = count * (read + 3 * spec.height * spec.width * 2)
    source, target = (wp.zeros(GIB, dtype=wp.uint8, device=DEVICE) for _ in range(2))
    copy = seconds_of(lambda: wp.copy(target, source), 20)
    share = (moved / kernel) / (2 * GIB / copy)
    told = {
        "microseconds_per_frame": round(kernel / count * 1e6, 2),
        "copy_gb_per_second": round(2 * GIB / copy / 1e9, 1),
        "share_of_copy": round(share, 3),
    }
    if share < AIM:
        raise Failed(f"{told}, aim {AIM}")
    return told


class DoneLane:
    """Outputs as an engine leaves them on the GPU."""

    input = staging = None

    def __init__(self, outputs: list[NDArray[np.float32]]) -> None:
        self.outputs = [wp.array(each, dtype=wp.float32, device=DEVICE) for each in outputs]
        self.stream = wp.Stream(DEVICE)
        self.held: list[Any] = []

    def launch(self, count: int) -> None:
        raise AssertionError("it has computed")

    def wait(self) -> None:
        wp.synchronize_stream(self.stream)
        self.held.clear()

    def span(self) -> tuple[float, float]:
        return 0.0, 0.0


def heads_are_decoded_as_on_the_cpu(bench: Bench) -> Told:
    """Boxes of each detector's real outputs, at two thresholds, and the time of it on either side;
    and of noise with more candidates than there is room for."""
    told: Told = {}
    pictures = bench.pictures()
    sizes = [(each.shape[0], each.shape[1]) for each in pictures]
    for name in shipped_models():
        manifest = load_manifest(name)
        if manifest.task != "detector":
            continue
        engine = open_engine(manifest, "onnxruntime")
        outputs = engine.run(to_input([fit(each, manifest) for each in pictures], manifest))
        told[name] = heads_compared(manifest, outputs, sizes)
    manifest = load_manifest("megadetector-lite")
    rows = np.random.default_rng(1).uniform(0, 600, (2, 8400, 6)).astype(np.float32)
    rows[..., 4:] = np.random.default_rng(2).uniform(0, 1, (2, 8400, 2))
    rows[1] *= 0.9
    told["crowded"] = heads_compared(manifest, [rows], sizes[:2])
    return told


def heads_compared(
    manifest: ModelManifest, outputs: list[NDArray[Any]], sizes: list[tuple[int, int]]
) -> Told:
    told: Told = {}
    lane = DoneLane(outputs)
    own = manifest.detector_output.threshold
    for threshold in (own, own / 3):
        heads = HeadsOnDevice(manifest, threshold)

        def read(heads: HeadsOnDevice = heads) -> list[Boxes]:
            finish = heads.read(lane, sizes)
            lane.wait()
            return finish()

        expected = decode(outputs, manifest, sizes, threshold)
        total = sum(map(compare_boxes, read(), expected, [threshold] * len(sizes)), Agreement())
        if total.unmatched or total.score > 1e-5:
            raise Failed(f"{manifest.name} at {threshold}: {total}")
        gpu = seconds_of(read, 20)
        started = time.perf_counter()
        decode(outputs, manifest, sizes, threshold)
        told[f"at {threshold:.3f}"] = {
            "boxes": sum(map(len, expected)),
            "gpu_ms": round(gpu * 1e3, 3),
            "cpu_ms": round((time.perf_counter() - started) * 1e3, 3),
        }
    return told


def agreement(manifest: ModelManifest, one: Any, other: Any, sizes: Any) -> Agreement:
    if manifest.task == "classifier":
        pairs = zip(rank(one[0], manifest), rank(other[0], manifest), strict=True)
        return sum((compare_labels(*pair) for pair in pairs), Agreement())
    threshold = manifest.detector_output.threshold
    both = (decode(each, manifest, sizes, threshold) for each in (one, other))
    pairs = zip(*both, strict=True)  # type: ignore[assignment]
    return sum((compare_boxes(*pair, threshold) for pair in pairs), Agreement())  # type: ignore[arg-type]


def engines_answer_as_the_cpu_does(bench: Bench) -> Told:
    """TensorRT in half precision, in batches of 1, 8 and 32, against onnxruntime; and its speed."""
    told: Told = {}
    pictures = bench.pictures()
    for name in shipped_models():
        manifest = load_manifest(name)
        started = time.perf_counter()
        engine = open_tensorrt_engine(manifest, bench.cache(), Batches())
        opened = time.perf_counter() - started
        images = to_input([fit(each, manifest) for each in pictures], manifest)
        sizes = [(each.shape[0], each.shape[1]) for each in pictures]
        expected = open_engine(manifest, "onnxruntime").run(images)
        total = Agreement()
        for batch in (1, 8, 32):
            times = -(-batch // len(images))
            given = np.concatenate([images] * times)[:batch]
            wanted = [np.concatenate([each] * times)[:batch] for each in expected]
            for _ in range(3):  # plain, captured as a graph, and the graph
                answers = engine.run(given)
                total += agreement(manifest, wanted, answers, (sizes * times)[:batch])
        if not total.holds:
            raise Failed(f"{name}: {total}")
        speeds = {b: speed(engine, np.resize(images, (b, *images.shape[1:]))) for b in (1, 8, 64)}
        reopened = time.perf_counter()
        open_tensorrt_engine(manifest, bench.cache(), Batches())
        told[name] = {
            "engine": engine.description,
            "agreement": str(total),
            "seconds_to_build_and_load": round(opened, 2),
            "seconds_to_load_from_the_cache": round(time.perf_counter() - reopened, 2),
            "pictures_per_second_by_batch": speeds,
        }
    return told


def speed(engine: Any, images: NDArray[np.float32]) -> float:
    return round(len(images) / seconds_of(lambda: engine.run(images), 20), 1)


def looking_ahead_is_faster_than_looking_in_turn(bench: Bench) -> Told:
    """Pictures of the host to boxes, in batches of 8: each waited for before the next one, and
    each started before the last one is waited for. And how long the GPU was busy."""
    manifest = load_manifest("megadetector-lite")
    engine = open_tensorrt_engine(manifest, bench.cache(), Batches())
    finder = Finder(engine, manifest, manifest.detector_output.threshold)
    pictures = bench.pictures()
    shown = [[whole(each) for each in pictures[:8]], [whole(each) for each in pictures[8:]]] * 16
    found: dict[str, list[int]] = {}
    told: Told = {}
    for name, ahead in (("warm", 0), ("in turn", 0), ("ahead", 1)):
        before, started = engine.busy_seconds, time.perf_counter()
        pending: deque[Callable[[], list[Boxes]]] = deque()
        boxes: list[Boxes] = []
        for batch in shown:
            pending.append(finder.start(batch))
            while len(pending) > ahead:
                boxes += pending.popleft()()
        boxes += [each for answer in pending for each in answer()]
        seconds = time.perf_counter() - started
        found[name] = [len(each) for each in boxes]
        told[name] = {
            "pictures_per_second": round(len(boxes) / seconds, 1),
            "gpu_busy_share": round((engine.busy_seconds - before) / seconds, 3),
        }
    if found["in turn"] != found["ahead"]:
        raise Failed("looking ahead finds other boxes")
    return told


def an_engine_for_several_gpus_answers_as_its_own(bench: Bench) -> Told:
    """One engine for this GPU and its neighbours: its boxes, and what it costs in speed."""
    manifest = load_manifest("megadetector-lite")
    pictures = bench.pictures()
    images = to_input([fit(each, manifest) for each in pictures], manifest)
    sizes = [(each.shape[0], each.shape[1]) for each in pictures]
    shared_by = tuple({*SHARED_BY, bench.gpu.arch})
    trt = find_tensorrt()
    if bench.gpu.arch == "sm_75" and not trt.rtx:
        raise Skipped(f"{trt.version} shares engines from sm_80 on")
    own = open_tensorrt_engine(manifest, bench.cache(), Batches())
    shared = open_tensorrt_engine(manifest, bench.cache(), Batches(), shared_by)
    total = agreement(manifest, own.run(images), shared.run(images), sizes)
    if not total.holds:
        raise Failed(str(total))
    given = np.resize(images, (8, *images.shape[1:]))
    return {
        "agreement": str(total),
        "shared_by": joined(shared_by),
        "pictures_per_second": {"own": speed(own, given), "shared": speed(shared, given)},
    }


def a_damaged_engine_is_built_anew(bench: Bench) -> Told:
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    open_tensorrt_engine(manifest, bench.cache(), Batches())
    for path in (bench.work / "engines").glob("*.engine"):
        path.write_bytes(path.read_bytes()[:-1])
    bench.notes.clear()
    open_tensorrt_engine(manifest, bench.cache(), Batches())
    if not any("is damaged" in note for note in bench.notes):
        raise Failed(f"nothing was said: {bench.notes}")
    return {"said": bench.notes[0]}


def too_little_memory_halves_the_batch(bench: Bench) -> Told:
    """With all but half a GiB of the GPU's memory taken."""
    device = wp.get_device(DEVICE)
    pieces = max(0, (device.free_memory - GIB // 2) // PIECE)
    hog = [wp.empty(PIECE, dtype=wp.uint8, device=DEVICE) for _ in range(pieces)]
    bench.notes.clear()
    try:
        engine = open_tensorrt_engine(load_manifest("megadetector-lite"), bench.cache(), Batches())
    finally:
        del hog
    if not any("do not fit" in note for note in bench.notes):
        raise Failed(f"batches of {engine.most}, and nothing was said")
    return {"batches_of_up_to": engine.most, "said": bench.notes[0]}


def frames_of(clip: Path, device: str | None) -> Iterator[Frame]:
    with_all = SamplingPlan("every", 1.0, 1, False, 0.002)
    settings = DecodingSettings(with_all, 2e8, 640, 60.0, 1, 16, device)
    media = iter([Medium("hash", clip.name, "video", 0, 0)])
    for event in Decoder(LocalStore(clip.parent), media, settings).events():
        if isinstance(event, Frame):
            yield event
            event.release()


def nvdec_decodes_what_the_cpu_does(bench: Bench) -> Told:
    """Frames of a clip, from NVDEC through shared device memory, against those of the CPU."""
    clip, told = bench.clip(), {}
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    for name, device in (("cpu", None), ("gpu", DEVICE)):
        started, kept, count = time.perf_counter(), [], 0
        for frame in frames_of(clip, device):
            count += 1
            if count <= 8:
                kept.append(host_picture(frame, device))
        told[f"{name}_frames_per_second"] = round(count / (time.perf_counter() - started), 1)
        pictures[name] = kept
    differ = [
        float(np.median(np.abs(one.astype(int) - other.astype(int))))
        for one, other in zip(pictures["cpu"], pictures["gpu"], strict=True)
    ]
    if max(differ) > 2:
        raise Failed(f"median difference {max(differ)} grey levels")
    return told


def host_picture(frame: Frame, device: str | None) -> NDArray[np.uint8]:
    if isinstance(frame.picture, DeviceFrame):
        shown = frame.picture.picture
        whole = [(shown, shown.whole)]
        return cut_out(frame.picture.buffer, whole, [(shown.height, shown.width)])[0]
    if device:
        raise Failed("the GPU did not decode the clip; the CPU did")
    return np.array(frame.picture)


def the_pipeline_finds_the_same(bench: Bench) -> Told:
    """Stage 1 of a folder of clips, all on the GPU, against all on the CPU."""
    footage, told = bench.clip().parent, {}
    found = {}
    for name, settings in {
        "cpu": {"engine": "onnxruntime"},
        "gpu": {"engine": "tensorrt", "video_decoder": "gpu"},
    }.items():
        output = bench.work / f"pipeline-{name}"
        overrides = {f"pipeline.stage1.{key}": value for key, value in settings.items()}
        results = run_stages(footage, output, ["footage", "detections"], overrides)
        facts = results["detections"].facts
        told[name] = {key: value for key, value in facts.items() if key.startswith("pipeline/")}
        table = pl.read_parquet(output / "tables" / "detections.parquet")
        found[name] = table.filter(pl.col("confidence") >= 0.3).height
    if abs(found["gpu"] - found["cpu"]) > max(1, 0.05 * found["cpu"]):
        raise Failed(f"clear boxes: {found}")
    return told | {"clear_boxes": found}


CHECKS: list[Callable[[Bench], Told]] = [
    cubins_are_loaded,
    kernels_fit_as_opencv_does,
    fitting_uses_the_memorys_bandwidth,
    heads_are_decoded_as_on_the_cpu,
    engines_answer_as_the_cpu_does,
    looking_ahead_is_faster_than_looking_in_turn,
    an_engine_for_several_gpus_answers_as_its_own,
    a_damaged_engine_is_built_anew,
    too_little_memory_halves_the_batch,
    nvdec_decodes_what_the_cpu_does,
    the_pipeline_finds_the_same,
]


def run_check(check: Callable[[Bench], Told], bench: Bench) -> Told:
    """What a check told, or why it failed; whatever goes wrong, the others are run too."""
    try:
        return {"result": "passed", **check(bench)}
    except Skipped as why:
        return {"result": "left out", "why": str(why)}
    except (Failed, RavneError, RuntimeError, OSError, ValueError, TypeError, KeyError) as error:
        return {"result": "FAILED", "why": f"{type(error).__name__}: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE)
    arguments = parser.parse_args()
    try:
        gpu = usable_gpu()
    except RavneError as error:
        sys.exit(f"error: {error}")
    ready(DEVICE)
    told: dict[str, Told] = {}
    with tempfile.TemporaryDirectory() as folder:
        footage = arguments.footage if arguments.footage.is_dir() else None
        bench = Bench(gpu, Path(folder), footage)
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            told[name] = run_check(check, bench)
            print(f"{told[name]['result']:8} {name}: {json.dumps(told[name])}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{gpu.name.replace(' ', '-').lower()}.json"
    about = {"gpu": gpu.name, "arch": gpu.arch, "driver_cuda": gpu.cuda_shown, "checks": told}
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {path}")
    sys.exit(any(each["result"] == "FAILED" for each in told.values()))


if __name__ == "__main__":
    main()
