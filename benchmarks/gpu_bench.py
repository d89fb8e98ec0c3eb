"""The test bench of `gpu_checks.py`: the device, the sizes, the engines, pictures and a clip.

The device is a GPU; in a rehearsal it is `cpu`, with smaller sizes. Checks use the bench and do
not depend on the device.
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
from gpu_kernels.engines.engine import GPU_KINDS, DeviceEngine, Engine, EngineKind, open_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import EngineRecord
from gpu_kernels.engines.tensorrt_api import TensorRtKind
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineKey
from gpu_kernels.engines.tensorrt_engine import TensorRtEngine, open_tensorrt_engine
from gpu_kernels.models.manifest import ModelManifest
from resources.storage.local_store import LocalStore

CheckResult = dict[str, Any]
GIB = 2**30


class CheckSkippedError(Exception):
    """A check that cannot run on this machine."""


class CheckFailedError(Exception):
    """A check whose result is not good enough."""


@dataclass(frozen=True)
class Sizes:
    """The amount of work of the checks."""

    pictures: int  # stills, an even number
    side: int  # pixels, of the shorter side of a generated still
    repeats: int  # of a measurement
    copy_bytes: int  # of the large copy
    frames: int  # of 1920 x 1080, fitted at once
    batches: tuple[int, ...]  # compared with the CPU
    runs: int  # of each such batch
    timed_batches: tuple[int, ...]  # whose speed is measured
    passes: int  # over the pictures, in two batches each
    clip: tuple[int, int]  # frames of the generated clip, and its shorter side
    batch: int  # of the pipeline


GPU_SIZES = Sizes(16, 720, 20, GIB, 64, (1, 8, 32), 6, (1, 8, 64), 16, (150, 720), 8)
REHEARSAL_SIZES = Sizes(4, 240, 2, 2**22, 2, (1, 3), 2, (1, 2), 1, (40, 240), 2)


@dataclass
class Bench:
    """The test bench."""

    gpu: Gpu | None  # None: a rehearsal
    work: Path
    footage: Path | None
    # The reason why a kind of TensorRT cannot run, for each that cannot.
    tensorrt_errors: dict[TensorRtKind, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cuda:0" if self.gpu else "cpu"

    @property
    def sizes(self) -> Sizes:
        return GPU_SIZES if self.gpu else REHEARSAL_SIZES

    def require_gpu(self) -> Gpu:
        """Return the GPU.

        Raises:
            CheckSkippedError: this is a rehearsal.
        """
        if self.gpu is None:
            raise CheckSkippedError("needs a GPU")
        return self.gpu

    @property
    def tensorrt_kind(self) -> TensorRtKind | None:
        """The kind of TensorRT that the checks use: the full one if it can run; None: neither."""
        if self.gpu is None:
            return None
        return next((kind for kind in GPU_KINDS if kind not in self.tensorrt_errors), None)

    def tensorrt(
        self,
        manifest: ModelManifest,
        shared_by: Collection[str] = (),
        kind: TensorRtKind | None = None,
    ) -> TensorRtEngine:
        """Return the TensorRT engine of a model.

        Args:
            kind: of TensorRT; None: the one that the checks use.

        Raises:
            CheckSkippedError: it cannot run on this machine.
        """
        self.require_gpu()
        kind = kind or self.tensorrt_kind
        if kind is None or kind in self.tensorrt_errors:
            reasons = self.tensorrt_errors
            raise CheckSkippedError(reasons[kind] if kind else "; ".join(reasons.values()))
        return open_tensorrt_engine(manifest, kind, self.cache(), BatchSizes(), shared_by)

    def engine(self, manifest: ModelManifest) -> DeviceEngine:
        """Return the TensorRT engine of a model; where it cannot run, the one of onnxruntime."""
        try:
            return self.tensorrt(manifest)
        except CheckSkippedError:
            return OnnxRuntimeDeviceEngine(
                manifest, self.device, max(self.sizes.batches), self.warnings.append
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
        """Replace `gpu_kernels.engines.engine.open_engine` in the pipeline.

        Where TensorRT cannot run, returns an OnnxRuntimeDeviceEngine.
        """
        if kind != "onnxruntime" and self.tensorrt_kind is None:
            engine = OnnxRuntimeDeviceEngine(
                manifest, self.device, batches.optimum, self.warnings.append, threads
            )
            arch = self.device.replace(":", "-")
            key = EngineKey(manifest.sha256, "", engine.description, arch, batches)
            engine.opened.record = EngineRecord(self.cache(), key, arch)
            return engine
        return open_engine(manifest, kind, threads, engines, batches, shared_by)

    def cache(self, folder: str = "engines") -> EngineCache:
        return EngineCache([LocalStore(self.work / folder)], self.warnings.append)

    def judge_speed(
        self, result: CheckResult, passed: bool, target: str, needs_tensorrt: bool = False
    ) -> CheckResult:
        """Add the target to a result; on a GPU, check it.

        Args:
            needs_tensorrt: check it only with TensorRT.

        Raises:
            CheckFailedError: it misses the target.
        """
        if self.gpu is None or (needs_tensorrt and self.tensorrt_kind is None):
            return {**result, "target": f"{target}, not judged"}
        if not passed:
            raise CheckFailedError(f"{result}, target: {target}")
        return {**result, "target": target}

    def seconds_per_call(self, work: Callable[[], object], repeats: int) -> float:
        """Return the mean seconds of `work` on the device, after a warm-up."""
        work()
        wp.synchronize_device(self.device)
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        wp.synchronize_device(self.device)
        return (time.perf_counter() - started) / repeats

    @cached_property
    def pictures(self) -> list[Picture]:
        """Stills, from the footage if it has enough."""
        count, side = self.sizes.pictures, self.sizes.side
        real = [each for each in self._read_footage() if each is not None][::2]
        generated = (synthetic_still(side + 8 * n, side * 16 // 9, n) for n in range(count))
        return real[:count] if len(real) >= count else list(generated)

    def _read_footage(self) -> Iterator[Picture | None]:
        paths = sorted(self.footage.rglob("*.[jJ][pP][gG]")) if self.footage else []
        for path in paths:
            if path.stat().st_size:
                yield cv2.imdecode(np.fromfile(path, np.uint8), 1)  # type: ignore[misc]

    def clip(self) -> Path:
        """Return a clip with an animal, alone in its folder unless from the labelled footage."""
        real = Path("zamba_videos") / "densepose_tests" / "chimp.mp4"
        if self.footage and (self.footage / real).is_file():
            return self.footage / real
        generated = self.work / "card" / "clip.mp4"
        if not generated.exists():
            write_clip(generated, *self.sizes.clip)
        return generated
