"""Run a TensorRT engine on the GPU; inputs and outputs can stay there.

Two batch slots (`gpu_kernels.engines.tensorrt_slot`) are used in turn by a queue
(`gpu_kernels.engines.batch_queue`), so that one copies while the other computes. Needs a GPU;
tested by `benchmarks/gpu_checks.py`.
"""

from collections.abc import Callable, Collection
from time import perf_counter
from typing import Any, TypeVar

from gpu_kernels.device.gpu import Gpu, usable_gpu
from gpu_kernels.engines.batch_queue import FillSlot, QueuedEngine, ReadSlot
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import EngineRecord
from gpu_kernels.engines.runtime_cache import PersistentRuntimeCache
from gpu_kernels.engines.tensorrt_api import TensorRt, TensorRtKind, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    BatchSizes,
    BuiltEngine,
    EngineBuildError,
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
    kind: TensorRtKind,
    cache: EngineCache,
    batches: BatchSizes,
    shared_by: Collection[str] = (),
) -> "TensorRtEngine":
    """Load the engine of a model for the GPU of this machine from the cache, or build it.

    A build that failed on another machine with such a GPU is not repeated; see `EngineRecord`.

    Args:
        kind: of TensorRT.
        shared_by: GPUs that share one engine, as sm_86; this machine's may be among them.

    Raises:
        EngineError: no GPU, its driver is too old, this kind of TensorRT is missing, it cannot
            build or load the engine, or not even one picture fits into the GPU's memory.
        ModelError: the model does not match its manifest.
    """
    gpu, trt = usable_gpu(), find_tensorrt(kind)
    arch = engine_arch(gpu.arch, shared_by)
    key = engine_key(manifest, trt, arch, batches)
    plan = cache.get(key)
    if plan is not None:
        try:
            return TensorRtEngine(manifest, trt, gpu, key, plan, cache)
        except _EngineRefusedError as error:
            cache.warn(f"{error}; building the engine again")
    started = perf_counter()
    built = _build(manifest, trt, key, EngineRecord(cache, key, gpu.arch), cache)
    seconds = perf_counter() - started
    engine = TensorRtEngine(manifest, trt, gpu, key, built.plan, cache)
    engine.opened.seconds["building engines"] = seconds
    return engine


def _build(
    manifest: ModelManifest, trt: TensorRt, key: EngineKey, record: EngineRecord, cache: EngineCache
) -> BuiltEngine:
    """Build an engine and cache it, or cache the reason why it cannot be built."""
    record.raise_refusal()
    timings = cache.get_artifact(key, "timing")
    started = perf_counter()
    try:
        built = build_engine(manifest, trt, key.arch, key.batches, timings)
    except EngineBuildError as error:
        record.save_refusal(error, perf_counter() - started)
        raise
    cache.put(key, built.plan)
    cache.put_artifact(key, "timing", built.timing_cache)
    return built


class _EngineRefusedError(EngineError):
    """The runtime cannot load this engine."""


class TensorRtEngine(QueuedEngine):
    """A loaded engine. Not thread-safe: one thread at a time may use it."""

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
        """Load a serialized engine.

        Raises:
            EngineError: it cannot be loaded, or the GPU has too little memory.
        """
        import warp as wp

        from gpu_kernels.device.streams import load_kernels

        self._logger, self._trt, self._cache, self._key = trt.error_logger(), trt, cache, key
        started = perf_counter()
        load_kernels(DEVICE)
        kernels_loaded = perf_counter()
        with wp.ScopedDevice(DEVICE):
            self._engine = self._deserialize(manifest, plan)
            self._runtime_cache, self._runtime_config = self._open_runtime_cache(gpu)
            slots, max_batch = self._create_slots(manifest, key.batches.maximum)
        super().__init__(slots, max_batch, cache.warn)
        self.opened.record = EngineRecord(cache, key, gpu.arch)
        self.opened.seconds = {
            "building engines": 0.0,
            "loading engines": perf_counter() - kernels_loaded,
            "loading kernels": kernels_loaded - started,
        }
        self.rtx = trt.rtx
        precision = "float16" if slots[0].input.dtype is wp.float16 else "float32"
        self.description = f"{trt.version}, {precision}, {gpu.name}, batches of up to {max_batch}"

    def _deserialize(self, manifest: ModelManifest, plan: bytes) -> Any:
        try:
            # An attribute, because an engine must not outlive its runtime.
            self._runtime = self._trt.api.Runtime(self._logger)
        except TypeError:  # the factory returned nothing
            engine = None
        else:
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = self._logger.lines[-1] if self._logger.lines else "no reason given"
            raise _EngineRefusedError(
                f"model {manifest.name}: {self._trt.version} cannot load its engine: {reason}"
            )
        return engine

    def _open_runtime_cache(self, gpu: Gpu) -> tuple[PersistentRuntimeCache | None, Any]:
        """Return the cache of TensorRT-RTX's kernels, and a runtime configuration that uses it.

        A full TensorRT compiles nothing at run time and has neither.
        """
        if not self._trt.rtx:
            return None, None
        config = self._engine.create_runtime_config()
        cache = PersistentRuntimeCache(
            self._cache, self._key, gpu.arch, config.create_runtime_cache()
        )
        config.set_runtime_cache(cache.runtime_cache)
        config.cuda_graph_strategy = self._trt.api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return cache, config

    def _create_slots(
        self, manifest: ModelManifest, max_batch: int
    ) -> tuple[list[TensorRtSlot], int]:
        """Return the slots and their batch size, which is halved until they fit, unless fixed."""
        from gpu_kernels.engines.tensorrt_buffers import fixed_batch, pictures_name

        fixed = fixed_batch(self._engine, pictures_name(self._trt.api, self._engine, manifest))
        max_batch = fixed or max_batch
        loaded = LoadedEngine(
            self._trt.api, self._engine, self._runtime_config, self._logger, GpuClock(), manifest
        )
        while True:
            try:
                slots = [
                    TensorRtSlot(loaded, max_batch, self._cache.warn) for _ in range(SLOT_COUNT)
                ]
                return slots, max_batch
            except (MemoryError, RuntimeError) as error:
                if fixed or max_batch == 1:
                    least = "a batch of the graph's size" if max_batch > 1 else "one picture"
                    raise EngineError(
                        f"model {manifest.name}: not even {least} fits into the GPU's memory: "
                        f"{error}; stop other programs that use it, or set pipeline.stage1.engine: "
                        "onnxruntime"
                    ) from None
                self._cache.warn(
                    f"model {manifest.name}: batches of {max_batch} do not fit into the GPU's "
                    f"memory; continuing with {max_batch // 2}"
                )
                max_batch //= 2

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        results = super().start(count, fill, read)

        def finish() -> list[T]:
            finished = results()
            if self._runtime_cache:
                self._runtime_cache.on_batch_end()
            return finished

        return finish
