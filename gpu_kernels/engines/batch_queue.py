"""A bounded queue of batches on a device (double buffering): one computes, the next is filled.

Independent of the device. A batch slot has the memory and the stream for one batch: its input and
its outputs. `BatchQueue` uses the slots in turn; starting one more batch than there are slots
waits for the oldest batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.engines.engine_record import EngineStart
from resources.errors import EngineError

T = TypeVar("T")


class BatchSlot(Protocol):
    """Memory and a stream for one batch."""

    stream: Any  # of Warp; None: the device's default
    references: list[Any]  # objects the device still reads; released when the batch is done
    staging: Any  # `gpu_preprocessing.StagingBuffer`, to upload pictures of the host

    @property
    def input(self) -> Any:
        """Warp array [max_batch, 3, H, W]."""

    @property
    def outputs(self) -> Sequence[Any]:
        """Warp arrays [max_batch, ...], in the order that the manifest's decoding needs."""

    def set_size(self, height: int, width: int) -> None:
        """Set the height and width of the pictures of the next batch, of a free size.

        Called when the slot is idle; `input` and `outputs` have the new shapes.

        Raises:
            EngineError: the device refuses.
        """

    def fill_from_host(self, images: NDArray[Any]) -> None:
        """Write fitted pictures of the host, [N, 3, H, W], into the input, as its type."""

    def launch(self, count: int) -> None:
        """Start inference on the first `count` pictures of the input.

        Raises:
            EngineError: the device refuses.
            RuntimeError, MemoryError: it has not enough memory.
        """

    def wait(self) -> None:
        """Wait for all work of the slot.

        Raises:
            EngineError: the device failed.
        """

    def launch_times(self) -> tuple[float, float]:
        """Return start and end of the last launch, in seconds, by a clock shared by all slots."""


# Writes pictures start..stop of a batch into the slot's input, on its stream.
FillSlot = Callable[[BatchSlot, int, int], None]
# Starts reading the outputs of pictures start..stop, on the slot's stream. Returns a function that
# is called when the slot is done, and returns the result.
ReadSlot = Callable[[BatchSlot, int, int], Callable[[], T]]


def read_outputs(slot: BatchSlot, start: int, stop: int) -> Callable[[], list[NDArray[Any]]]:
    """Copy all outputs to the host; a `ReadSlot`."""

    def read() -> list[NDArray[Any]]:
        from gpu_kernels.device.streams import to_numpy  # loads Warp

        return [to_numpy(output[: stop - start], slot.stream).copy() for output in slot.outputs]

    return read


class _PendingBatch(Generic[T]):
    """A batch in a slot."""

    def __init__(self, finish: Callable[[], T]) -> None:
        self._finish = finish
        self.result: T | None = None

    def finish(self) -> None:
        self.result = self._finish()


class BatchQueue:
    """Slots used in turn, from one thread."""

    def __init__(
        self, slots: Sequence[BatchSlot], max_batch: int, on_warning: Callable[[str], None]
    ) -> None:
        """Args:
        max_batch: pictures per slot.
        on_warning: called when batches are halved.
        """
        self._slots = slots
        self.max_batch = max_batch
        self._on_warning = on_warning
        self._started = 0
        self._pending: dict[int, _PendingBatch[Any]] = {}  # by index of the slot
        self._last_end = 0.0
        # Time in which at least one slot computed.
        self.busy_seconds = 0.0

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """Start batches of `count` pictures, each as large as a slot allows.

        If memory is insufficient, continue with batches of half the size.

        Returns:
            A function that waits, and returns the result of `read` for each batch.

        Raises:
            EngineError: the device refuses, or has not enough memory for a single picture.
        """
        batches: list[tuple[int, _PendingBatch[T]]] = []
        begin = 0
        while begin < count:
            end = min(count, begin + self.max_batch)
            index = self._started % len(self._slots)
            self._finish(index)
            slot = self._slots[index]
            try:
                fill(slot, begin, end)
                slot.launch(end - begin)
                batch = _PendingBatch(read(slot, begin, end))
            except (MemoryError, RuntimeError) as error:
                self._halve_batches(slot, error)
                continue
            self._started += 1
            self._pending[index] = batch
            batches.append((index, batch))
            begin = end

        def results() -> list[T]:
            for index, batch in batches:
                if self._pending.get(index) is batch:
                    self._finish(index)
            return [batch.result for _, batch in batches]  # type: ignore[misc]

        return results

    def _finish(self, index: int) -> None:
        """Wait for the pending batch of a slot, and read its result."""
        batch = self._pending.pop(index, None)
        if batch is not None:
            slot = self._slots[index]
            slot.wait()
            start, end = slot.launch_times()
            # Slots overlap; count the common time once.
            self.busy_seconds += max(0.0, end - max(start, self._last_end))
            self._last_end = max(end, self._last_end)
            batch.finish()
            slot.references.clear()

    def _halve_batches(self, slot: BatchSlot, error: Exception) -> None:
        slot.wait()
        slot.references.clear()
        for index in list(self._pending):
            self._finish(index)
        if self.max_batch == 1:
            raise EngineError(
                f"not even one picture fits into the GPU's memory: {error}; stop other programs "
                "that use it, or set pipeline.stage1.engine: onnxruntime"
            ) from None
        self.max_batch //= 2
        self._on_warning(
            "a batch does not fit into the GPU's memory; continuing with batches of "
            f"{self.max_batch}"
        )


class QueuedEngine:
    """The base of engines with a BatchQueue; see `DeviceEngine`."""

    fixed_batch = 1

    def __init__(
        self, slots: Sequence[BatchSlot], max_batch: int, on_warning: Callable[[str], None]
    ) -> None:
        """Args: see `BatchQueue`."""
        # What opening it took; see DeviceEngine.
        self.opened = EngineStart()
        self._queue = BatchQueue(slots, max_batch, on_warning)

    @property
    def max_batch(self) -> int:
        """Pictures per batch; more are split into several batches."""
        return self._queue.max_batch

    @property
    def busy_seconds(self) -> float:
        """Time in which the network was computed."""
        return self._queue.busy_seconds

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        return self._queue.start(count, fill, read)

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """See Engine: copies pictures from the host, and outputs to the host."""

        def fill(slot: BatchSlot, begin: int, end: int) -> None:
            slot.set_size(*images.shape[2:])
            slot.fill_from_host(images[begin:end])

        batches = self.start(len(images), fill, read_outputs)()
        return [np.concatenate(each) for each in zip(*batches, strict=True)]
