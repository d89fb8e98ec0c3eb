"""Time-lapse and detected activity, by intervals and by the trigger that the camera wrote."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from odins_ravne_assets.hugin.exports.capture_method import at_regular_intervals, capture_methods

NOON = 1_777_636_800


def spread(count: int, low: int, high: int, seed: int = 1) -> list[int]:
    """Times with random intervals."""
    return np.random.default_rng(seed).integers(low, high, count).cumsum().tolist()


@pytest.mark.parametrize("interval", [45, 60, 300, 3600, 86_400])
def test_pictures_at_a_regular_interval_are_time_lapse(interval: int) -> None:
    jitter = np.random.default_rng(2).integers(0, 2, 60)
    times = NOON + np.arange(60) * interval + jitter
    assert at_regular_intervals(times).all()


def test_pictures_that_were_triggered_in_between_are_not_part_of_it() -> None:
    regular = NOON + np.arange(100) * 900
    triggered = NOON + np.array(spread(40, 100, 3000)) + 7
    found = at_regular_intervals(np.concatenate([regular, triggered]))
    assert found[:100].all()
    assert found[100:].sum() <= 1  # one may happen to be at the second


@pytest.mark.parametrize(
    "times",
    [
        [],
        [NOON],
        spread(3000, 30, 4000),  # a camera at a trail
        spread(2000, 1, 4),  # a herd, for an hour
        spread(300, 60, 66),  # a branch in the wind, and a minute's pause
        [NOON + 60 * number for number in range(8)],  # eight pictures
    ],
)
def test_pictures_of_animals_are_no_time_lapse(times: list[int]) -> None:
    assert not at_regular_intervals(np.array(times, dtype=np.int64)).any()


def test_the_camera_s_own_word_is_right_and_the_project_s_is_that_of_the_rest() -> None:
    start = datetime(2026, 5, 1)
    count = 20
    media = pl.DataFrame(
        {
            "captured_at": [start + timedelta(hours=number) for number in range(count)],
            "offset": [60] * count,
            "kind": ["image"] * (count - 1) + ["video"],
            "trigger": ["motion", "time_lapse", "manual", *[None] * (count - 3)],
        }
    )
    methods = capture_methods(media, "activityDetection").to_list()
    assert methods[:4] == ["activityDetection", "timeLapse", None, "timeLapse"]
    assert methods[-2:] == ["timeLapse", "activityDetection"]
    assert capture_methods(media.tail(3), "timeLapse").to_list() == ["timeLapse"] * 3
    assert capture_methods(media.clear(), "timeLapse").to_list() == []
