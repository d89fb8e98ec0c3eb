"""Runs a TensorRT engine on the GPU: an `Engine` that also takes pictures that are there already.

Two lanes (`gpu_kernels.engines.tensorrt_slot`) take the batches in turn
(`gpu_kernels.engines.batch_queue`), so that one copies while the other computes. Not run without a GPU:
`benchmarks/gpu_checks.py` is its test.
"""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from gpu_kernels.device.gpu import Gpu, usable_gpu
from gpu_kernels.engines.batch_queue import FillSlot, QueuedEngine, ReadSlot
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.runtime_cache import PersistentRuntimeCache
from gpu_kernels.engines.tensorrt_api import TensorRt, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    BatchSizes,
    EngineKey,
    build_engine,
    engine_arch,
    engine_key,
)
from gpu_kernels.engines.tensorrt_slot import DEVICE, GpuClock, LoadedEngine, TensorRtSlot
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError

SLOT_COUNT = 2
T = TypeVar("T")


def open_tensorrt_engine(
    manifest: ModelManifest,
    cache: EngineCache,
    batches: BatchSizes,
    shared_by: Collection[str] = (),
) -> "TensorRtEngine":
    """The engine of a model for the GPU of this machine: from the cache, or built and kept.

    Args:
        shared_by: GPUs that share one engine, as sm_86; this machine's may be among them.

    Raises:
        EngineError: no GPU, its driver is too old, TensorRT is missing, it cannot build or load
            the engine, or not even one picture fits into the GPU's memory.
        ModelError: the model is not what its manifest says.
    """
    gpu, trt = usable_gpu(), find_tensorrt()
    arch = engine_arch(gpu.arch, shared_by)
    key = engine_key(manifest, trt, arch, batches)
    plan = cache.get(key)
    if plan is not None:
        try:
            return TensorRtEngine(manifest, trt, gpu, key, plan, cache)
        except _EngineRefusedError as refused:
            cache.note(f"{refused}; the engine is built anew")
    built = build_engine(manifest, trt, arch, batches, cache.aid(key, "timing"))
    cache.put(key, built.plan)
    cache.put_aid(key, "timing", built.timing_cache)
    return TensorRtEngine(manifest, trt, gpu, key, built.plan, cache)


class _EngineRefusedError(EngineError):
    """This runtime does not load this plan."""


class TensorRtEngine(QueuedEngine):
    """A loaded engine. One thread at a time may use it."""

    device: str | None = DEVICE

    def __init__(
        self,
        manifest: ModelManifest,
        trt: TensorRt,
        gpu: Gpu,
        key: EngineKey,
        plan: bytes,
        cache: EngineCache,
    ) -> None:
        """Load a plan.

        Raises:
            EngineError: the plan cannot be loaded, or the GPU has too little memory.
        """
        import warp as wp

        from gpu_kernels.device.streams import load_kernels

        self._log, self._trt, self._cache, self._key = trt.log(), trt, cache, key
        load_kernels(DEVICE)
        with wp.ScopedDevice(DEVICE):
            self._engine = self._deserialized(manifest, plan)
            self._compiled, self._jit = self._compiling(gpu)
            lanes, most = self._as_many_as_fit(manifest.name, key.batches.most)
        super().__init__(lanes, most, cache.note)
        self.rtx = trt.rtx
        precision = "float16" if lanes[0].input.dtype is wp.float16 else "float32"
        self.description = f"{trt.version}, {precision}, {gpu.name}, batches of up to {most}"

    def _deserialized(self, manifest: ModelManifest, plan: bytes) -> Any:
        try:
            # Kept: an engine must not outlive its runtime.
            self._runtime = self._trt.api.Runtime(self._log)
        except TypeError:  # the factory gave nothing
            engine = None
        else:
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            said = self._log.lines[-1] if self._log.lines else "no reason given"
            raise _EngineRefusedError(
                f"model {manifest.name}: {self._trt.version} does not load it: {said}"
            )
        return engine

    def _compiling(self, gpu: Gpu) -> tuple[PersistentRuntimeCache | None, Any]:
        """TensorRT-RTX compiles kernels when it runs: these, and how it is to. Nothing of a full
        TensorRT."""
        if not self._trt.rtx:
            return None, None
        config = self._engine.create_runtime_config()
        kernels = PersistentRuntimeCache(
            self._cache, self._key, gpu.arch, config.create_runtime_cache()
        )
        config.set_runtime_cache(kernels.compiled)
        config.cuda_graph_strategy = self._trt.api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return kernels, config

    def _as_many_as_fit(self, name: str, most: int) -> tuple[list[TensorRtSlot], int]:
        """The lanes, and how many pictures each takes; out of memory, half as many."""
        loaded = LoadedEngine(self._trt.api, self._engine, self._jit, self._log, GpuClock())
        while True:
            try:
                return [
                    TensorRtSlot(loaded, most, self._cache.note) for _ in range(SLOT_COUNT)
                ], most
            except (MemoryError, RuntimeError) as error:
                if most == 1:
                    raise EngineError(
                        f"model {name}: not even one picture fits into the GPU's memory: {error}; "
                        "end what else uses it, or set pipeline.stage1.engine: onnxruntime"
                    ) from None
                self._cache.note(
                    f"model {name}: batches of {most} do not fit into the GPU's memory; going on "
                    f"with {most // 2}"
                )
                most //= 2

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        answers = super().start(count, fill, read)

        def finish() -> list[T]:
            answered = answers()
            if self._compiled:
                self._compiled.batch_ended()
            return answered

        return finish
