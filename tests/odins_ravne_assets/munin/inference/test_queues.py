"""The queues of Stages 1 and 2: bounded, in order, complete when memory is short."""

from collections.abc import Callable
from threading import Event
from time import sleep
from typing import Any

import pytest

from gpu_kernels.engines.batch_queue import BatchQueue, BatchSlot
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import ThreadTiming
from resources.errors import EngineError


class Squares:
    """A lane that squares what it is filled with, and has memory for `fits` numbers."""

    stream = staging = None

    def __init__(self, log: list[str], name: str, fits: int = 100) -> None:
        self.log, self.name, self.fits = log, name, fits
        self.input: list[int] = []
        self.outputs: list[Any] = []
        self.held: list[Any] = []
        self.clock = 0.0

    def launch(self, count: int) -> None:
        if count > self.fits:
            raise RuntimeError("Failed to allocate 12 bytes")
        self.log.append(f"{self.name} launched")
        self.outputs = [number * number for number in self.input[:count]]

    def wait(self) -> None:
        self.log.append(f"{self.name} waited for")

    def span(self) -> tuple[float, float]:
        start = len(self.log) - 2.0
        return start, start + 1.5


def start(lanes: BatchQueue, numbers: list[int]) -> Callable[[], list[int]]:
    def fill(lane: BatchSlot, begin: int, end: int) -> None:
        lane.input = numbers[begin:end]
        lane.held.append("what was read")

    def read(lane: BatchSlot, begin: int, end: int) -> Callable[[], list[Any]]:
        return lambda: list(lane.outputs)

    answers = lanes.start(len(numbers), fill, read)
    return lambda: [each for part in answers() for each in part]


def test_a_lane_is_filled_again_only_when_its_answer_was_read() -> None:
    log: list[str] = []
    both = [Squares(log, "one"), Squares(log, "two")]
    lanes = BatchQueue(both, 2, pytest.fail)
    answers = start(lanes, [1, 2, 3, 4, 5])
    assert log == ["one launched", "two launched", "one waited for", "one launched"]
    assert answers() == [1, 4, 9, 16, 25]
    assert both[0].held == both[1].held == []


def test_the_next_batch_is_started_before_the_last_one_is_waited_for() -> None:
    log: list[str] = []
    lanes = BatchQueue([Squares(log, "one"), Squares(log, "two")], 4, pytest.fail)
    first = start(lanes, [1, 2])
    second = start(lanes, [3])
    assert log == ["one launched", "two launched"]
    assert (second(), first()) == ([9], [1, 4])
    third = start(lanes, [4])
    assert (third(), start(lanes, [])()) == ([16], [])


def test_time_in_which_two_lanes_compute_counts_once() -> None:
    spans = iter([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    both = [Squares([], "one"), Squares([], "two")]
    for lane in both:
        lane.span = lambda: next(spans)  # type: ignore[method-assign]
    lanes = BatchQueue(both, 1, pytest.fail)
    assert start(lanes, [1, 2, 3])() == [1, 4, 9]
    assert lanes.busy_seconds == 4.0


def test_out_of_memory_batches_are_halved_and_no_answer_is_lost() -> None:
    notes: list[str] = []
    log: list[str] = []
    lanes = BatchQueue([Squares(log, "one", 2), Squares(log, "two", 2)], 8, notes.append)
    assert start(lanes, list(range(7)))() == [n * n for n in range(7)]
    assert lanes.most == 2
    assert [note.split()[-1] for note in notes] == ["4", "2"]


def test_memory_for_not_even_one_is_an_error_with_the_way_out() -> None:
    lanes = BatchQueue([Squares([], "one", 0)], 2, [].append)
    with pytest.raises(EngineError, match=r"not even one picture fits .*engine: onnxruntime$"):
        start(lanes, [1])


def test_background_work_is_bounded_and_in_order() -> None:
    timing = ThreadTiming()
    started: list[int] = []

    def work(number: int) -> int:
        sleep(0.002 * (number % 2))
        return number * number

    def items() -> Any:
        for number in range(9):
            started.append(number)
            yield number

    with BackgroundWorker(work, 2, timing) as worker:
        results = []
        for result in worker.map(items()):
            results.append(result)
            # The first of two is taken before the third is submitted.
            assert len(started) - len(results) <= 2
    assert results == [n * n for n in range(9)]
    assert timing.depth.maximum == 2 and timing.depth.capacity == 2
    assert timing.seconds > 0


def test_an_error_of_background_work_is_raised_where_the_result_is_taken() -> None:
    with BackgroundWorker(int, 2, ThreadTiming()) as worker:
        worker.submit("7")
        worker.submit("seven")
        assert worker.take() == 7
        with pytest.raises(ValueError, match="seven"):
            worker.take()


def test_only_finished_results_are_taken_without_waiting() -> None:
    go = Event()
    with BackgroundWorker(lambda number: go.wait() and number, 2, ThreadTiming()) as worker:
        worker.submit(5)
        assert list(worker.take_finished()) == []
        go.set()
        assert list(worker.take_all()) == [5]
