"""The counters of a worker, also of one that is stopped in the middle of a stage."""

import time

import pytest

from odins_ravne_assets.worker.work_counters import WorkCounters


def test_all_stages_are_timed_including_the_running_one() -> None:
    counters = WorkCounters()
    with counters.stage("footage"):
        time.sleep(0.02)
    with counters.stage("detections"):
        time.sleep(0.02)
        running = counters.as_work()
    assert running["footage_seconds"] >= 0.02
    assert 0.02 <= running["detections_seconds"] <= counters.as_work()["detections_seconds"]


def test_useful_seconds_end_at_the_last_recorded_progress() -> None:
    counters = WorkCounters()
    with pytest.raises(KeyboardInterrupt), counters.stage("detections"):
        time.sleep(0.02)
        counters.record_progress()
        time.sleep(0.05)
        raise KeyboardInterrupt
    work = counters.as_work()
    assert 0.02 <= work["useful_seconds"] < work["detections_seconds"]


def test_visits_are_reported_only_if_a_table_was_written() -> None:
    counters = WorkCounters()
    assert "visits" not in counters.as_work()
    counters.visits = 0
    assert counters.as_work()["visits"] == 0
