"""What a worker tells of its work, also when it is stopped in the middle of a stage."""

import time

import pytest

from odins_ravne_assets.worker.work_counters import WorkCounters


def test_stages_are_timed_also_the_one_that_runs() -> None:
    tally = WorkCounters()
    with tally.stage("footage"):
        time.sleep(0.02)
    with tally.stage("detections"):
        time.sleep(0.02)
        running = tally.as_work()
    assert running["footage_seconds"] >= 0.02
    assert 0.02 <= running["detections_seconds"] <= tally.as_work()["detections_seconds"]


def test_what_was_finished_last_is_useful_and_what_came_after_is_not() -> None:
    tally = WorkCounters()
    with pytest.raises(KeyboardInterrupt), tally.stage("detections"):
        time.sleep(0.02)
        tally.finished_something()
        time.sleep(0.05)
        raise KeyboardInterrupt
    work = tally.as_work()
    assert 0.02 <= work["useful_seconds"] < work["detections_seconds"]


def test_visits_are_told_only_where_a_table_was_made() -> None:
    tally = WorkCounters()
    assert "visits" not in tally.as_work()
    tally.visits = 0
    assert tally.as_work()["visits"] == 0
