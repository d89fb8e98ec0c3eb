"""Lanes of a device, in turn: while one computes a batch, the next one is filled.

Knows no device itself. A lane is a place for one batch: its input, its outputs, and a queue of
work (a stream) for them. `Lanes` is a bounded queue of batches: who starts one more than there are
lanes waits until the oldest is done.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.errors import EngineError

T = TypeVar("T")


class BatchSlot(Protocol):
    """A place for a batch."""

    input: Any  # Warp array [most, 3, H, W]
    stream: Any  # of Warp; None: the device's own
    held: list[Any]  # kept until the batch is done, since the device reads it later
    staging: Any  # `device.Staging`: memory for pictures of the host on their way to the input

    @property
    def outputs(self) -> Sequence[Any]:
        """Warp arrays [most, ...], in the network's order."""

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        """Write fitted pictures of the host, float32 [N, 3, H, W], into the input, as its type."""

    def launch(self, count: int) -> None:
        """Have the first `count` pictures of the input computed.

        Raises:
            EngineError: the device refuses.
            RuntimeError, MemoryError: it has not enough memory.
        """

    def wait(self) -> None:
        """Until all that was asked of the lane is done.

        Raises:
            EngineError: the device failed.
        """

    def span(self) -> tuple[float, float]:
        """When the last launch began and ended, in seconds, by the clock of all lanes."""


# Writes pictures start..stop of a batch into the lane's input, on its stream.
FillSlot = Callable[[BatchSlot, int, int], None]
# Starts reading the outputs of pictures start..stop, on the lane's stream; what it returns is
# called when the lane is done, and gives what was read.
ReadSlot = Callable[[BatchSlot, int, int], Callable[[], T]]


def read_outputs(lane: BatchSlot, start: int, stop: int) -> Callable[[], list[NDArray[Any]]]:
    """A `Read` that brings all outputs to the host, in the network's order."""

    def read() -> list[NDArray[Any]]:
        from gpu_kernels.device.streams import to_numpy

        return [to_numpy(output[: stop - start], lane.stream).copy() for output in lane.outputs]

    return read


class _PendingBatch(Generic[T]):
    """A batch in a lane."""

    def __init__(self, finish: Callable[[], T]) -> None:
        self._finish = finish
        self.answer: T | None = None

    def settle(self) -> None:
        self.answer = self._finish()


class BatchQueue:
    """Lanes that take batches in turn, from one thread."""

    def __init__(
        self, lanes: Sequence[BatchSlot], most: int, on_note: Callable[[str], None]
    ) -> None:
        """Args:
        most: pictures that fit into a lane.
        on_note: told that batches are halved.
        """
        self._lanes = lanes
        self.most = most
        self._on_note = on_note
        self._taken = 0
        self._busy: dict[int, _PendingBatch[Any]] = {}  # by place of the lane
        self._ended = 0.0
        # In which at least one lane computed.
        self.busy_seconds = 0.0

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """Start batches of `count` pictures, each as large as a lane takes.

        Out of memory, it goes on with batches of half the size.

        Returns:
            What waits for them, and gives what `read` gave of each.

        Raises:
            EngineError: the device refuses, or has no memory for a single picture.
        """
        parts: list[tuple[int, _PendingBatch[T]]] = []
        begun = 0
        while begun < count:
            end = min(count, begun + self.most)
            place = self._taken % len(self._lanes)
            self._settle(place)
            lane = self._lanes[place]
            try:
                fill(lane, begun, end)
                lane.launch(end - begun)
                part = _PendingBatch(read(lane, begun, end))
            except (MemoryError, RuntimeError) as error:
                self._halve(lane, error)
                continue
            self._taken += 1
            self._busy[place] = part
            parts.append((place, part))
            begun = end

        def answers() -> list[T]:
            for place, part in parts:
                if self._busy.get(place) is part:
                    self._settle(place)
            return [part.answer for _, part in parts]  # type: ignore[misc]

        return answers

    def _settle(self, place: int) -> None:
        """Wait for what the lane has in hand, and read its answer."""
        part = self._busy.pop(place, None)
        if part is not None:
            lane = self._lanes[place]
            lane.wait()
            began, ended = lane.span()
            # Lanes overlap; what both did at once is counted once.
            self.busy_seconds += max(0.0, ended - max(began, self._ended))
            self._ended = max(ended, self._ended)
            part.settle()
            lane.held.clear()

    def _halve(self, lane: BatchSlot, error: Exception) -> None:
        lane.wait()
        lane.held.clear()
        for place in list(self._busy):
            self._settle(place)
        if self.most == 1:
            raise EngineError(
                f"not even one picture fits into the GPU's memory: {error}; end what else uses it, "
                "or set pipeline.stage1.engine: onnxruntime"
            ) from None
        self.most //= 2
        self._on_note(
            f"a batch does not fit into the GPU's memory; going on with batches of {self.most}"
        )


class QueuedEngine:
    """What engines with lanes have in common: see `DeviceEngine`."""

    def __init__(
        self, lanes: Sequence[BatchSlot], most: int, on_note: Callable[[str], None]
    ) -> None:
        """Args: see `Lanes`."""
        self._lanes = BatchQueue(lanes, most, on_note)

    @property
    def most(self) -> int:
        """Pictures in a batch; more are several batches."""
        return self._lanes.most

    @property
    def busy_seconds(self) -> float:
        """In which the network was computed."""
        return self._lanes.busy_seconds

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        return self._lanes.start(count, fill, read)

    def run(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """See Engine: pictures of the host in, outputs on the host."""

        def fill(lane: BatchSlot, begin: int, end: int) -> None:
            lane.fill_from_host(images[begin:end])

        parts = self.start(len(images), fill, read_outputs)()
        return [np.concatenate(each) for each in zip(*parts, strict=True)]
