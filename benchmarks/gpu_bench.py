"""What the checks of `gpu_checks.py` work with: a device, sizes, engines, pictures and a clip.

The device is a GPU; in a rehearsal it is `cpu`, with smaller sizes. A check asks the bench and
does not know which it is.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.engine import DeviceEngine, Engine, EngineKind, open_engine
from gpu_kernels.engine_cache import EngineCache
from gpu_kernels.gpu import Gpu
from gpu_kernels.manifest import ModelManifest
from gpu_kernels.onnx_on_device import OnnxOnDevice
from gpu_kernels.tensorrt_build import Batches
from gpu_kernels.tensorrt_engine import TensorRtEngine, open_tensorrt_engine
from resources.object_store import LocalStore

Picture = NDArray[np.uint8]
Told = dict[str, Any]
GIB = 2**30


class LeftOut(Exception):
    """A check that cannot be made here."""


class Failed(Exception):
    """A check whose result is not good enough."""


@dataclass(frozen=True)
class Sizes:
    """How much work a check is given."""

    pictures: int  # stills, an even number
    side: int  # pixels, of the shorter side of a still that is made here
    times: int  # that a work is done to tell its seconds
    copied: int  # bytes of the large copy
    frames: int  # of 1920 x 1080, fitted at once
    batches: tuple[int, ...]  # compared with the CPU
    runs: int  # of each such batch
    timed_batches: tuple[int, ...]  # whose speed is told
    looks: int  # at the pictures, in two batches
    clip: tuple[int, int]  # frames of the clip that is made here, and its shorter side


ON_A_GPU = Sizes(16, 720, 20, GIB, 64, (1, 8, 32), 6, (1, 8, 64), 16, (150, 720))
REHEARSED = Sizes(4, 240, 2, 2**22, 2, (1, 3), 2, (1, 2), 1, (40, 240))


@dataclass
class Bench:
    """What the checks work with."""

    gpu: Gpu | None  # None: a rehearsal
    work: Path
    footage: Path | None
    no_tensorrt: str | None = None  # why not
    notes: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cuda:0" if self.gpu else "cpu"

    @property
    def sizes(self) -> Sizes:
        return ON_A_GPU if self.gpu else REHEARSED

    def a_gpu(self) -> Gpu:
        """Raises:
        LeftOut: this is a rehearsal.
        """
        if self.gpu is None:
            raise LeftOut("needs a GPU")
        return self.gpu

    def tensorrt(self, manifest: ModelManifest, shared_by: Collection[str] = ()) -> TensorRtEngine:
        """Raises:
        LeftOut: TensorRT cannot run here.
        """
        self.a_gpu()
        if self.no_tensorrt:
            raise LeftOut(self.no_tensorrt)
        return open_tensorrt_engine(manifest, self.cache(), Batches(), shared_by)

    def engine(self, manifest: ModelManifest) -> DeviceEngine:
        """TensorRT; where it cannot run, onnxruntime behind the same form."""
        try:
            return self.tensorrt(manifest)
        except LeftOut:
            return OnnxOnDevice(manifest, self.device, max(self.sizes.batches), self.notes.append)

    def open_engine(
        self,
        manifest: ModelManifest,
        kind: EngineKind,
        threads: int | None,
        engines: EngineCache | None,
        batches: Batches,
        shared_by: Collection[str],
    ) -> Engine:
        """As `gpu_kernels.engine.open_engine`, for the pipeline; in place of a TensorRT that cannot
        run, onnxruntime behind the same form."""
        if kind == "tensorrt" and not (self.gpu and self.no_tensorrt is None):
            return OnnxOnDevice(manifest, self.device, batches.usual, self.notes.append, threads)
        return open_engine(manifest, kind, threads, engines, batches, shared_by)

    def cache(self) -> EngineCache:
        return EngineCache([LocalStore(self.work / "engines")], self.notes.append)

    def judged(self, told: Told, good: bool, aim: str, of_tensorrt: bool = False) -> Told:
        """Figures of speed: judged on a GPU, told elsewhere.

        Args:
            of_tensorrt: judged only if TensorRT made them.

        Raises:
            Failed: they miss the aim.
        """
        if self.gpu is None or (of_tensorrt and self.no_tensorrt):
            return {**told, "aim": f"{aim}, not judged"}
        if not good:
            raise Failed(f"{told}, aim: {aim}")
        return {**told, "aim": aim}

    def seconds_of(self, work: Callable[[], object], times: int) -> float:
        """Seconds of one `work` on the device: asked for `times` times, after a first one."""
        work()
        wp.synchronize_device(self.device)
        started = time.perf_counter()
        for _ in range(times):
            work()
        wp.synchronize_device(self.device)
        return (time.perf_counter() - started) / times

    def pictures(self) -> list[Picture]:
        """Stills, real where there is footage."""
        wanted, side = self.sizes.pictures, self.sizes.side
        real = [each for each in self._real() if each is not None][::2]
        made = (a_still(side + 8 * n, side * 16 // 9, n) for n in range(wanted))
        return real[:wanted] if len(real) >= wanted else list(made)

    def _real(self) -> Iterator[Picture | None]:
        paths = sorted(self.footage.rglob("*.[jJ][pP][gG]")) if self.footage else []
        for path in paths:
            if path.stat().st_size:
                yield cv2.imdecode(np.fromfile(path, np.uint8), 1)  # type: ignore[misc]

    def clip(self) -> Path:
        """A clip with an animal, alone in its folder unless it is of the labelled footage."""
        real = Path("zamba_videos") / "densepose_tests" / "chimp.mp4"
        if self.footage and (self.footage / real).is_file():
            return self.footage / real
        made = self.work / "card" / "clip.mp4"
        if not made.exists():
            write_clip(made, *self.sizes.clip)
        return made


def a_still(height: int, width: int, seed: int) -> Picture:
    """A lawn, and on it what detectors take for an animal, at another place for each seed."""
    lawn = _grass(height, width, seed)
    size = height * (0.28, 0.42)[seed % 2]
    x, y = width * (0.3 + 0.4 * ((seed * 0.37) % 1)), height * 0.5
    mask = cv2.GaussianBlur(_silhouette(height, width, x, y, size), (0, 0), 1.2)
    share = mask.astype(np.float32)[..., np.newaxis] / 255
    below = (np.arange(height, dtype=np.float32)[:, np.newaxis, np.newaxis] - y) / (0.6 * size)
    fur = np.array((35, 60, 95), np.float32) * np.clip(1.05 - 0.5 * below, 0.5, 1.4)
    return np.asarray(np.clip(lawn * (1 - share) + fur * share, 0, 255), np.uint8)


def _grass(height: int, width: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    lawn = np.full((height, width, 3), (70, 130, 95), np.float32)
    for step, strength in ((120, 18), (30, 14), (6, 16), (2, 10)):
        grain = random.normal(0, strength, (height // step + 2, width // step + 2))
        grown = cv2.resize(grain.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        lawn += np.asarray(grown, np.float32)[..., np.newaxis]
    return lawn


# Body, neck, head, two ears and a tail: centre, half axes (all in the animal's length), degrees.
_PARTS = (
    (0, 0, 0.5, 0.22, 0),
    (0.5, -0.22, 0.22, 0.1, -50),
    (0.68, -0.42, 0.17, 0.085, 15),
    (0.58, -0.55, 0.03, 0.09, -20),
    (0.66, -0.56, 0.03, 0.09, 10),
    (-0.52, 0.02, 0.16, 0.03, 60),
)
_LEGS = (-0.38, -0.26, 0.27, 0.38)


def _silhouette(height: int, width: int, x: float, y: float, size: float) -> Picture:
    mask = np.zeros((height, width), np.uint8)
    for across, down, long, short, degrees in _PARTS:
        centre = round(x + across * size), round(y + down * size)
        axes = max(1, round(long * size)), max(1, round(short * size))
        cv2.ellipse(mask, centre, axes, degrees, 0, 360, 255, -1, cv2.LINE_AA)
    for leg in _LEGS:
        corners = [(leg - 0.05, 0.05), (leg + 0.05, 0.05), (leg + 0.025, 0.62), (leg - 0.025, 0.62)]
        outline = np.array([(x + u * size, y + v * size) for u, v in corners], np.int32)
        cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA)
    return mask


def write_clip(path: Path, frames: int, side: int) -> None:
    """A clip of such stills, H.264, five of each so that the motion gate has still ones too."""
    path.parent.mkdir(parents=True)
    width = side * 16 // 9 // 2 * 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, side, "yuv420p"
        for number in range(frames):
            still = a_still(side, width, number // 5)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(still, format="bgr24")))
        container.mux(stream.encode(None))
