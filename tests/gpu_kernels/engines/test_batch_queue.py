"""The queue of batches: slots are used in turn, and no result is lost when memory is short."""

from collections.abc import Callable
from typing import Any

import pytest

from gpu_kernels.engines.batch_queue import BatchQueue, BatchSlot
from resources.errors import EngineError


class SquaringSlot:
    """A slot that squares numbers, and has memory for `capacity` numbers."""

    stream = staging = None

    def __init__(self, log: list[str], name: str, capacity: int = 100) -> None:
        self.log, self.name, self.capacity = log, name, capacity
        self.input: list[int] = []
        self.outputs: list[Any] = []
        self.references: list[Any] = []

    def launch(self, count: int) -> None:
        if count > self.capacity:
            raise RuntimeError("Failed to allocate 12 bytes")
        self.log.append(f"{self.name} launched")
        self.outputs = [number * number for number in self.input[:count]]

    def wait(self) -> None:
        self.log.append(f"{self.name} waited for")

    def launch_times(self) -> tuple[float, float]:
        start = len(self.log) - 2.0
        return start, start + 1.5


def start(queue: BatchQueue, numbers: list[int]) -> Callable[[], list[int]]:
    def fill(slot: BatchSlot, begin: int, end: int) -> None:
        slot.input = numbers[begin:end]
        slot.references.append("a source")

    def read(slot: BatchSlot, begin: int, end: int) -> Callable[[], list[Any]]:
        return lambda: list(slot.outputs)

    results = queue.start(len(numbers), fill, read)
    return lambda: [each for batch in results() for each in batch]


def test_a_slot_is_reused_only_after_its_results_were_read() -> None:
    log: list[str] = []
    slots = [SquaringSlot(log, "one"), SquaringSlot(log, "two")]
    queue = BatchQueue(slots, 2, pytest.fail)
    results = start(queue, [1, 2, 3, 4, 5])
    assert log == ["one launched", "two launched", "one waited for", "one launched"]
    assert results() == [1, 4, 9, 16, 25]
    assert slots[0].references == slots[1].references == []


def test_a_batch_is_started_before_the_previous_one_is_waited_for() -> None:
    log: list[str] = []
    queue = BatchQueue([SquaringSlot(log, "one"), SquaringSlot(log, "two")], 4, pytest.fail)
    first = start(queue, [1, 2])
    second = start(queue, [3])
    assert log == ["one launched", "two launched"]
    assert (second(), first()) == ([9], [1, 4])
    third = start(queue, [4])
    assert (third(), start(queue, [])()) == ([16], [])


def test_the_busy_time_counts_overlapping_launches_once() -> None:
    times = iter([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    slots = [SquaringSlot([], "one"), SquaringSlot([], "two")]
    for slot in slots:
        slot.launch_times = lambda: next(times)  # type: ignore[method-assign]
    queue = BatchQueue(slots, 1, pytest.fail)
    assert start(queue, [1, 2, 3])() == [1, 4, 9]
    assert queue.busy_seconds == 4.0


def test_out_of_memory_halves_the_batches_and_loses_no_result() -> None:
    warnings: list[str] = []
    log: list[str] = []
    slots = [SquaringSlot(log, "one", 2), SquaringSlot(log, "two", 2)]
    queue = BatchQueue(slots, 8, warnings.append)
    assert start(queue, list(range(7)))() == [n * n for n in range(7)]
    assert queue.max_batch == 2
    assert [warning.split()[-1] for warning in warnings] == ["4", "2"]


def test_memory_for_less_than_one_picture_is_an_error_with_the_alternative() -> None:
    queue = BatchQueue([SquaringSlot([], "one", 0)], 2, [].append)
    with pytest.raises(EngineError, match=r"not even one picture fits .*engine: onnxruntime$"):
        start(queue, [1])
