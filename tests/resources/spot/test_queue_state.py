"""Who waits for what, and since when a job starves."""

from hypothesis import given
from hypothesis import strategies as st

from resources.spot.queue_state import EnvironmentVcpus, QueueState, StarvationTimer, queue_states

NOW = 1_795_000_000.0

# Who starves


def test_the_first_waiting_jobs_take_what_is_free_then_what_could_grow() -> None:
    """Two machines of 4 vCPUs exist, one is busy; two more may come."""
    environment = EnvironmentVcpus(max_vcpus=16, machine_vcpus=8, busy_vcpus=4)
    coming, starving, full = QueueState.MACHINE_COMING, QueueState.STARVING, QueueState.FULL
    assert queue_states(environment, [4] * 5) == [coming, starving, starving, full, full]


def test_a_small_job_may_fit_where_a_large_one_does_not() -> None:
    environment = EnvironmentVcpus(max_vcpus=8, machine_vcpus=6, busy_vcpus=4)
    assert queue_states(environment, [4, 2]) == [QueueState.FULL, QueueState.MACHINE_COMING]


def test_batch_may_exceed_its_maximum_by_a_machine() -> None:
    assert queue_states(EnvironmentVcpus(10, 12, 12), [4]) == [QueueState.FULL]


VCPUS = st.integers(0, 200)


@given(VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_behind_a_full_environment_nobody_starves(maximum: int, needs: list[int]) -> None:
    full = EnvironmentVcpus(maximum, machine_vcpus=maximum, busy_vcpus=maximum)
    assert QueueState.STARVING not in queue_states(full, needs)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_what_jobs_are_said_to_starve_for_can_be_had(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = EnvironmentVcpus(maximum, machines, busy)
    found = queue_states(environment, needs)
    assert len(found) == len(needs)
    for standing, room in [
        (QueueState.MACHINE_COMING, machines - busy),
        (QueueState.STARVING, maximum - machines),
    ]:
        taken = sum(need for need, is_ in zip(needs, found, strict=True) if is_ is standing)
        assert taken <= max(0, room)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_who_comes_later_takes_nothing_from_who_came_before(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = EnvironmentVcpus(maximum, machines, busy)
    found = queue_states(environment, needs)
    for count in range(len(needs)):
        assert queue_states(environment, needs[:count]) == found[:count]


# The timer


def test_the_timer_counts_from_the_first_look_that_found_hunger() -> None:
    timer = StarvationTimer().update(NOW, True).update(NOW + 30, True)
    assert timer.seconds(NOW + 70) == 70


def test_one_look_without_hunger_sets_the_timer_back() -> None:
    timer = StarvationTimer().update(NOW, True).update(NOW + 250, False)
    assert timer.seconds(NOW + 300) == 0
    assert timer.update(NOW + 310, True).seconds(NOW + 320) == 10


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=30))
def test_the_timer_is_the_time_since_the_last_look_without_hunger(
    looks: list[tuple[float, bool]],
) -> None:
    timer, now, since = StarvationTimer(), NOW, None
    for passed, starving in looks:
        now += passed
        timer = timer.update(now, starving)
        since = (now if since is None else since) if starving else None
        assert timer.seconds(now) == (0 if since is None else now - since)
