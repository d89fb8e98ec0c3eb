"""A batch slot of a TensorRT engine: a stream, an execution context, and buffers on the GPU.

Slots run concurrently. Their contexts share the engine's one optimization profile, as TensorRT 10
and newer allow. Memory, streams and CUDA graphs are Warp's, as for the kernels. TensorRT-RTX
captures graphs itself, since only it knows when the kernels of a shape are compiled:
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-cuda-graphs.html
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError

DEVICE = "cuda:0"
# The driver measures from a reference event in float32 milliseconds; the reference is replaced
# after this time, to retain precision.
EPOCH_SECONDS = 10.0


class GpuClock:
    """Converts events on the GPU to seconds since the clock was created."""

    def __init__(self) -> None:
        import warp as wp

        self._epoch = wp.get_stream(DEVICE).record_event(wp.Event(DEVICE, enable_timing=True))
        self._epoch_seconds = 0.0

    def seconds(self, event: Any) -> float:
        """Return the time of an event that has completed."""
        import warp as wp

        elapsed = float(wp.get_event_elapsed_time(self._epoch, event)) / 1000
        if elapsed < EPOCH_SECONDS:
            return self._epoch_seconds + elapsed
        self._epoch, self._epoch_seconds = event, self._epoch_seconds + elapsed
        return self._epoch_seconds


class LoadedEngine(NamedTuple):
    """Objects that the slots of an engine share."""

    api: Any
    engine: Any
    runtime_config: Any  # of TensorRT-RTX; None for a full TensorRT
    logger: Any
    clock: GpuClock
    manifest: ModelManifest


class TensorRtSlot:
    """A `BatchSlot`: a stream with an execution context and its buffers."""

    def __init__(
        self, loaded: LoadedEngine, max_batch: int, on_warning: Callable[[str], None]
    ) -> None:
        """Args:
            on_warning: called if batches cannot be captured as CUDA graphs.

        Raises:
            MemoryError, RuntimeError: the GPU has not enough memory for batches of `max_batch`.
        """
        import warp as wp

        from gpu_kernels.device.gpu_preprocessing import StagingBuffer
        from gpu_kernels.engines.tensorrt_buffers import EngineBuffers

        api, engine, runtime_config, self._logger, self._clock, manifest = loaded
        self.stream = wp.Stream(DEVICE)
        self._context = engine.create_execution_context(
            *([runtime_config] if runtime_config else [])
        )
        if self._context is None:
            raise MemoryError("no execution context")
        self.references: list[Any] = []
        self.staging = StagingBuffer()
        self._graphs: dict[tuple[int, tuple[int, int]], Any] = {}  # by batch and picture size
        self._captures, self._on_warning = runtime_config is None, on_warning
        self._buffers = EngineBuffers(api, engine, self._context, manifest, max_batch, DEVICE)
        wp.synchronize_device(DEVICE)  # the buffers were allocated on another stream

    @property
    def input(self) -> Any:
        """See BatchSlot."""
        return self._buffers.input

    @property
    def outputs(self) -> Sequence[Any]:
        """See BatchSlot."""
        return self._buffers.outputs

    def set_size(self, height: int, width: int) -> None:
        """See BatchSlot."""
        from gpu_kernels.device.streams import use_stream

        with use_stream(self.stream):
            self._buffers.set_size(height, width, self.stream)

    def fill_from_host(self, images: NDArray[Any]) -> None:
        """See BatchSlot. Copies through pinned memory."""
        import warp as wp

        count = int(images.size)
        self._pinned.numpy()[:count] = images.ravel()
        wp.copy(self.input.flatten(), self._pinned, count=count, stream=self.stream)

    @cached_property
    def _pinned(self) -> Any:
        import warp as wp

        dtype, capacity = self.input.dtype, self._buffers.capacity
        return wp.empty(capacity, dtype=dtype, device="cpu", pinned=True)

    def launch(self, count: int) -> None:
        """See BatchSlot. A batch size that repeats is captured as a CUDA graph, so that it then
        takes one launch."""
        import warp as wp

        from gpu_kernels.device.streams import use_stream

        self._began, self._ended = (wp.Event(DEVICE, enable_timing=True) for _ in range(2))
        with use_stream(self.stream):
            self.stream.record_event(self._began)
            if graph := self._graphs.get((count, self._buffers.size)):
                wp.capture_launch(graph, stream=self.stream)
            else:
                self._infer(count)
            self.stream.record_event(self._ended)
            if self._captures and not graph:
                self._capture_repeated(count)

    def _infer(self, count: int) -> None:
        if not (self._buffers.set_batch(count) and self._enqueue()):
            raise self._batch_error(count)

    def _capture_repeated(self, count: int) -> None:
        """Capture a batch size on its second occurrence, for use from the third on.

        Directly after inference: TensorRT updates its internal state on the first run of a new
        shape, which must not be captured:
        https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html
        A graph has its own shape and addresses, so later shapes do not affect it. The graphs of a
        slot never run concurrently and can share the context's memory.
        """
        import warp as wp

        key = count, self._buffers.size
        if key not in self._graphs:
            self._graphs[key] = None
            return
        try:
            with wp.ScopedCapture(stream=self.stream, force_module_load=False) as capture:
                enqueued = self._enqueue()
        except RuntimeError as error:
            enqueued, reason = False, str(error)
        else:
            reason = self._last_error()
        if enqueued:
            self._graphs[key] = capture.graph
        else:
            self._captures = False
            self._on_warning(f"batches run without a CUDA graph, a little slower: {reason}")

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self.stream.cuda_stream))

    def _last_error(self) -> str:
        return self._logger.lines[-1] if self._logger.lines else "no reason given"

    def _batch_error(self, count: int) -> EngineError:
        return EngineError(
            f"the GPU refuses a batch of {count}: {self._last_error()}; set "
            "pipeline.stage1.engine: onnxruntime to run on the CPU"
        )

    def wait(self) -> None:
        """See BatchSlot."""
        import warp as wp

        try:
            wp.synchronize_stream(self.stream)
        except RuntimeError as error:
            raise EngineError(
                f"the GPU failed: {error}; set pipeline.stage1.engine: onnxruntime to run on the "
                "CPU"
            ) from None

    def launch_times(self) -> tuple[float, float]:
        """See BatchSlot."""
        return self._clock.seconds(self._began), self._clock.seconds(self._ended)
