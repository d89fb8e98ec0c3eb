"""What the checks of `gpu_checks.py` work with: a device, sizes, engines, pictures and a clip.

The device is a GPU; in a rehearsal it is `cpu`, with smaller sizes. A check asks the bench and
does not know which it is.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import warp as wp
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine
from synthetic_media import Picture, synthetic_still, write_clip

from gpu_kernels.device.gpu import Gpu
from gpu_kernels.engines.engine import DeviceEngine, Engine, EngineKind, open_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.engines.tensorrt_engine import TensorRtEngine, open_tensorrt_engine
from gpu_kernels.models.manifest import ModelManifest
from resources.storage.local_store import LocalStore

CheckResult = dict[str, Any]
GIB = 2**30


class CheckSkippedError(Exception):
    """A check that cannot be made here."""


class CheckFailedError(Exception):
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


GPU_SIZES = Sizes(16, 720, 20, GIB, 64, (1, 8, 32), 6, (1, 8, 64), 16, (150, 720))
REHEARSAL_SIZES = Sizes(4, 240, 2, 2**22, 2, (1, 3), 2, (1, 2), 1, (40, 240))


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
        return GPU_SIZES if self.gpu else REHEARSAL_SIZES

    def a_gpu(self) -> Gpu:
        """Raises:
        CheckSkippedError: this is a rehearsal.
        """
        if self.gpu is None:
            raise CheckSkippedError("needs a GPU")
        return self.gpu

    def tensorrt(self, manifest: ModelManifest, shared_by: Collection[str] = ()) -> TensorRtEngine:
        """Raises:
        CheckSkippedError: TensorRT cannot run here.
        """
        self.a_gpu()
        if self.no_tensorrt:
            raise CheckSkippedError(self.no_tensorrt)
        return open_tensorrt_engine(manifest, self.cache(), BatchSizes(), shared_by)

    def engine(self, manifest: ModelManifest) -> DeviceEngine:
        """TensorRT; where it cannot run, onnxruntime behind the same form."""
        try:
            return self.tensorrt(manifest)
        except CheckSkippedError:
            return OnnxRuntimeDeviceEngine(
                manifest, self.device, max(self.sizes.batches), self.notes.append
            )

    def open_engine(
        self,
        manifest: ModelManifest,
        kind: EngineKind,
        threads: int | None,
        engines: EngineCache | None,
        batches: BatchSizes,
        shared_by: Collection[str],
    ) -> Engine:
        """As `gpu_kernels.engines.engine.open_engine`, for the pipeline; in place of a TensorRT
        that cannot run, onnxruntime behind the same form."""
        if kind == "tensorrt" and not (self.gpu and self.no_tensorrt is None):
            return OnnxRuntimeDeviceEngine(
                manifest, self.device, batches.usual, self.notes.append, threads
            )
        return open_engine(manifest, kind, threads, engines, batches, shared_by)

    def cache(self) -> EngineCache:
        return EngineCache([LocalStore(self.work / "engines")], self.notes.append)

    def judged(
        self, told: CheckResult, good: bool, aim: str, of_tensorrt: bool = False
    ) -> CheckResult:
        """Figures of speed: judged on a GPU, told elsewhere.

        Args:
            of_tensorrt: judged only if TensorRT made them.

        Raises:
            CheckFailedError: they miss the aim.
        """
        if self.gpu is None or (of_tensorrt and self.no_tensorrt):
            return {**told, "aim": f"{aim}, not judged"}
        if not good:
            raise CheckFailedError(f"{told}, aim: {aim}")
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

    @cached_property
    def pictures(self) -> list[Picture]:
        """Stills, real where there is footage."""
        wanted, side = self.sizes.pictures, self.sizes.side
        real = [each for each in self._real() if each is not None][::2]
        made = (synthetic_still(side + 8 * n, side * 16 // 9, n) for n in range(wanted))
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
