"""The media of a camera are cut into work units."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.batch.work_units import (
    MAX_UNIT_SECONDS,
    ExpectedMedium,
    WorkUnit,
    cut_work_units,
    expected_frames,
    unit_count,
)
from resources.pricing.economics import Overheads
from resources.settings.profile import CostOptimization, Stage1Settings

OVERHEADS = Overheads()
CHEAP = CostOptimization(offline_camera_optimized=True, max_parallel_jobs=10)
FAST = CostOptimization(offline_camera_optimized=False, max_parallel_jobs=10)


def cut(
    frames: list[int], per_frame: float, cost: CostOptimization = FAST
) -> tuple[list[ExpectedMedium], list[WorkUnit]]:
    media = [ExpectedMedium(f"DCIM/{n:07}.JPG", each) for n, each in enumerate(frames)]
    return media, cut_work_units(lambda: media, per_frame, OVERHEADS, cost)


# Frames of a medium


def test_an_image_is_one_frame() -> None:
    assert expected_frames("image", None, None, Stage1Settings(frames_per_second=5)) == 1


@pytest.mark.parametrize(
    ("stage1", "frames"),
    [
        (Stage1Settings(sampling="fps", frames_per_second=1), 21),
        (Stage1Settings(sampling="fps", frames_per_second=0.1), 3),
        (Stage1Settings(sampling="every", every_nth_frame=15), 41),
        (Stage1Settings(sampling="keyframes"), 21),
    ],
)
def test_the_frames_of_a_video_depend_on_the_sampling(stage1: Stage1Settings, frames: int) -> None:
    assert expected_frames("video", 20.1, 30.0, stage1) == frames


def test_a_video_without_a_duration_has_the_default_length() -> None:
    assert expected_frames("video", None, None, Stage1Settings()) == 15
    assert expected_frames("video", None, None, Stage1Settings(sampling="every")) == 15
    assert expected_frames("video", 0.0, None, Stage1Settings()) == 15


# Number of units


@pytest.mark.parametrize(
    ("hours", "units"), [(0, 1), (0.02, 1), (1, 1), (2, 1), (2.01, 2), (10, 5), (100, 50)]
)
def test_for_lowest_cost_units_have_the_maximum_length(hours: float, units: int) -> None:
    assert unit_count(hours * 3600, OVERHEADS, CHEAP) == units


@pytest.mark.parametrize(
    ("minutes", "units"), [(0, 1), (6, 1), (13, 2), (30, 4), (65, 10), (600, 10), (1320, 11)]
)
def test_for_lowest_latency_no_unit_is_shorter_than_its_start_up(
    minutes: float, units: int
) -> None:
    """Start-up is 6.5 minutes per job, 10 jobs run in parallel, a job takes at most 2 hours."""
    assert OVERHEADS.seconds == 390
    assert unit_count(minutes * 60, OVERHEADS, FAST) == units


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_work_is_never_cut_into_fewer_units(work: float, more: float) -> None:
    for cost in (CHEAP, FAST):
        assert unit_count(work, OVERHEADS, cost) <= unit_count(work + more, OVERHEADS, cost)


@given(st.floats(0, 1e7))
def test_lowest_cost_never_needs_more_units_than_lowest_latency(work: float) -> None:
    assert unit_count(work, OVERHEADS, CHEAP) <= unit_count(work, OVERHEADS, FAST)


# Ranges


def test_equal_images_are_distributed_evenly() -> None:
    _, units = cut([1] * 1000, per_frame=4.0)
    assert [unit.stop - unit.start for unit in units] == [100] * 10
    assert units[3] == WorkUnit(3, 300, 400, "DCIM/0000300.JPG", "DCIM/0000399.JPG", 100, 400.0)


def test_a_medium_larger_than_all_others_has_its_own_unit_and_no_unit_is_empty() -> None:
    _, units = cut([1, 1, 10_000, 1, 1], per_frame=1.0)
    assert [(unit.start, unit.stop) for unit in units] == [(0, 2), (2, 3), (3, 5)]
    assert [unit.number for unit in units] == [0, 1, 2]


def test_without_media_there_are_no_units() -> None:
    assert cut([], per_frame=1.0) == ([], [])


FRAMES = st.lists(st.integers(1, 500), max_size=200)
COSTS = st.builds(
    CostOptimization,
    offline_camera_optimized=st.booleans(),
    max_parallel_jobs=st.integers(1, 30),
)
SPEEDS = st.floats(0.001, 100)


@given(FRAMES, SPEEDS, COSTS)
def test_every_medium_is_in_exactly_one_unit_in_order(
    frames: list[int], per_frame: float, cost: CostOptimization
) -> None:
    media, units = cut(frames, per_frame, cost)
    covered = [position for unit in units for position in range(unit.start, unit.stop)]
    assert covered == list(range(len(media)))
    for number, unit in enumerate(units):
        assert unit.number == number and unit.start < unit.stop
        inside = media[unit.start : unit.stop]
        assert (unit.first_path, unit.last_path) == (inside[0].path, inside[-1].path)
        assert unit.frames == sum(medium.frames for medium in inside)
        assert unit.seconds == unit.frames * per_frame


@given(FRAMES.filter(bool), SPEEDS, COSTS)
def test_units_are_within_one_largest_medium_of_an_equal_share(
    frames: list[int], per_frame: float, cost: CostOptimization
) -> None:
    _, units = cut(frames, per_frame, cost)
    count = unit_count(sum(frames) * per_frame, OVERHEADS, cost)
    assert len(units) <= count
    share = sum(frames) / count
    for unit in units:
        assert abs(unit.frames - share) <= max(frames) + 1e-6


@given(FRAMES, SPEEDS, COSTS)
def test_no_unit_exceeds_the_maximum_length_by_more_than_one_medium(
    frames: list[int], per_frame: float, cost: CostOptimization
) -> None:
    _, units = cut(frames, per_frame, cost)
    for unit in units:
        longest = MAX_UNIT_SECONDS + max(frames) * per_frame
        assert unit.seconds <= longest * (1 + 1e-9)


@given(FRAMES, SPEEDS, COSTS)
def test_the_same_media_are_cut_the_same_way(
    frames: list[int], per_frame: float, cost: CostOptimization
) -> None:
    assert cut(frames, per_frame, cost) == cut(frames, per_frame, cost)


def test_media_are_streamed() -> None:
    """Each medium is released before the next is read."""
    alive = 0
    most = 0

    class CountedMedium(ExpectedMedium):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def read() -> Iterator[ExpectedMedium]:
        nonlocal alive, most
        for number in range(2000):
            alive += 1
            most = max(most, alive)
            yield CountedMedium(f"{number:06}.JPG", 1)

    units = cut_work_units(read, 3.9, OVERHEADS, FAST)
    assert sum(unit.stop - unit.start for unit in units) == 2000
    assert most <= 3
