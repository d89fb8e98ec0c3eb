"""Work in a background thread: bounded, in order, with its errors."""

from threading import Event
from time import sleep
from typing import Any

import pytest

from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import ThreadTiming


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
