"""A lane of a TensorRT engine: a stream, an execution context, and their buffers on the GPU.

Lanes run side by side. Their contexts share the engine's one profile, as TensorRT 10 and newer
allow. Memory, streams and CUDA graphs are Warp's, as those of the kernels are; TensorRT-RTX makes
its own graphs, since only it knows when the kernels of a shape are compiled:
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-cuda-graphs.html
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.errors import EngineError

DEVICE = "cuda:0"
# The driver tells times since an event in float32 milliseconds; a later one is taken this often.
EPOCH_SECONDS = 10.0


class GpuClock:
    """Seconds of events on the GPU since it was made."""

    def __init__(self) -> None:
        import warp as wp

        self._epoch = wp.get_stream(DEVICE).record_event(wp.Event(DEVICE, enable_timing=True))
        self._since = 0.0

    def seconds(self, event: Any) -> float:
        """Of an event that was reached."""
        import warp as wp

        passed = float(wp.get_event_elapsed_time(self._epoch, event)) / 1000
        if passed < EPOCH_SECONDS:
            return self._since + passed
        self._epoch, self._since = event, self._since + passed
        return self._since


class LoadedEngine(NamedTuple):
    """What lanes have in common."""

    api: Any
    engine: Any
    jit: Any  # how TensorRT-RTX compiles; None: the other TensorRT
    log: Any
    clock: GpuClock


class TensorRtSlot:
    """A `Lane`: a stream with an execution context and its buffers."""

    def __init__(self, loaded: LoadedEngine, most: int, on_note: Callable[[str], None]) -> None:
        """Args:
            on_note: told that batches cannot be captured as graphs.

        Raises:
            MemoryError, RuntimeError: the GPU has not enough memory for batches of `most`.
        """
        import warp as wp

        from gpu_kernels.device.gpu_preprocessing import StagingBuffer

        api, engine, jit, self._log, self._clock = loaded
        self.stream = wp.Stream(DEVICE)
        self._context = engine.create_execution_context(*([jit] if jit else []))
        if self._context is None:
            raise MemoryError("no execution context")
        self.held: list[Any] = []
        self.staging = StagingBuffer()
        self._graphs: dict[int, Any] = {}
        self._captures, self._on_note = jit is None, on_note
        self._count = 0
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        self._name = next(
            name for name in names if engine.get_tensor_mode(name) == api.TensorIOMode.INPUT
        )
        _, *picture = engine.get_tensor_shape(self._name)
        self._picture = tuple(picture)
        self._set_batch(most)
        self.input = self._buffer(_dtype(api, engine, self._name), (most, *picture))
        self.outputs = [
            self._buffer(_dtype(api, engine, name), tuple(self._context.get_tensor_shape(name)))
            for name in names
            if name != self._name
        ]
        buffers = dict(zip([n for n in names if n != self._name], self.outputs, strict=True))
        for name, buffer in {self._name: self.input, **buffers}.items():
            self._context.set_tensor_address(name, buffer.ptr)
        wp.synchronize_device(DEVICE)  # the buffers are of another stream

    def _buffer(self, dtype: Any, shape: tuple[int, ...]) -> Any:
        import warp as wp

        if min(shape) < 0:
            raise EngineError(
                "the network's outputs have no fixed size; export it without its own suppression "
                "of overlapping boxes"
            )
        return wp.empty(shape, dtype=dtype, device=DEVICE)

    def _set_batch(self, count: int) -> None:
        if count != self._count:
            if not self._context.set_input_shape(self._name, (count, *self._picture)):
                raise self._refused(count)
            self._count = count

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        """See Lane. Through pinned memory."""
        import warp as wp

        staged = self._staged.numpy()
        staged[: len(images)] = images
        wp.copy(self.input, self._staged, count=int(images.size), stream=self.stream)

    @cached_property
    def _staged(self) -> Any:
        import warp as wp

        return wp.empty(self.input.shape, dtype=self.input.dtype, device="cpu", pinned=True)

    def launch(self, count: int) -> None:
        """See Lane. A batch size that comes again is captured as a CUDA graph, and then costs one
        launch."""
        import warp as wp

        from gpu_kernels.device.streams import use_stream

        self._began, self._ended = (wp.Event(DEVICE, enable_timing=True) for _ in range(2))
        with use_stream(self.stream):
            self.stream.record_event(self._began)
            if graph := self._graphs.get(count):
                wp.capture_launch(graph, stream=self.stream)
            else:
                self._computed(count)
            self.stream.record_event(self._ended)
            if self._captures and not graph:
                self._capture_second(count)

    def _computed(self, count: int) -> None:
        self._set_batch(count)
        if not self._enqueue():
            raise self._refused(count)

    def _capture_second(self, count: int) -> None:
        """Capture a batch size that came for the second time, for the third.

        Right after it was computed: TensorRT takes in a new shape when it is next run, which must
        not be captured:
        https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html
        A graph has its own shape and addresses, so later shapes do not change it; those of one
        lane never run at once, and may share the context's memory.
        """
        import warp as wp

        if count not in self._graphs:
            self._graphs[count] = None
            return
        try:
            with wp.ScopedCapture(stream=self.stream, force_module_load=False) as capture:
                enqueued = self._enqueue()
        except RuntimeError as error:
            enqueued, why = False, str(error)
        else:
            why = self._said()
        if enqueued:
            self._graphs[count] = capture.graph
        else:
            self._captures = False
            self._on_note(f"batches are started one kernel at a time, no CUDA graph: {why}")

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self.stream.cuda_stream))

    def _said(self) -> str:
        return self._log.lines[-1] if self._log.lines else "no reason given"

    def _refused(self, count: int) -> EngineError:
        return EngineError(
            f"the GPU refuses a batch of {count}: {self._said()}; set pipeline.stage1.engine: "
            "onnxruntime to run on the CPU"
        )

    def wait(self) -> None:
        """See Lane."""
        import warp as wp

        try:
            wp.synchronize_stream(self.stream)
        except RuntimeError as error:
            raise EngineError(
                f"the GPU failed: {error}; set pipeline.stage1.engine: onnxruntime to run on the "
                "CPU"
            ) from None

    def span(self) -> tuple[float, float]:
        """See Lane."""
        return self._clock.seconds(self._began), self._clock.seconds(self._ended)


def _dtype(api: Any, engine: Any, name: str) -> Any:
    import warp as wp

    types = {
        api.DataType.FLOAT: wp.float32,
        api.DataType.HALF: wp.float16,
        api.DataType.INT32: wp.int32,
        api.DataType.INT64: wp.int64,
    }
    dtype = engine.get_tensor_dtype(name)
    if dtype not in types:
        raise EngineError(f"the network's {name} is {dtype}; float32 or float16 is needed")
    return types[dtype]
