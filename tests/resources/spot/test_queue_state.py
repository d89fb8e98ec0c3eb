"""Queue states of waiting jobs, and the starvation timer."""

from hypothesis import given
from hypothesis import strategies as st

from resources.spot.queue_state import EnvironmentVcpus, QueueState, StarvationTimer, queue_states

NOW = 1_795_000_000.0

# Queue states


def test_waiting_jobs_are_assigned_free_vcpus_first_then_room_to_grow() -> None:
    """Two machines of 4 vCPUs exist, one is busy; two more may come."""
    environment = EnvironmentVcpus(max_vcpus=16, machine_vcpus=8, busy_vcpus=4)
    coming, starving, full = QueueState.MACHINE_COMING, QueueState.STARVING, QueueState.FULL
    assert queue_states(environment, [4] * 5) == [coming, starving, starving, full, full]


def test_a_small_job_may_fit_where_a_large_one_does_not() -> None:
    environment = EnvironmentVcpus(max_vcpus=8, machine_vcpus=6, busy_vcpus=4)
    assert queue_states(environment, [4, 2]) == [QueueState.FULL, QueueState.MACHINE_COMING]


def test_machines_may_exceed_the_maximum() -> None:
    assert queue_states(EnvironmentVcpus(10, 12, 12), [4]) == [QueueState.FULL]


VCPUS = st.integers(0, 200)


@given(VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_no_job_starves_behind_a_full_environment(maximum: int, needs: list[int]) -> None:
    full = EnvironmentVcpus(maximum, machine_vcpus=maximum, busy_vcpus=maximum)
    assert QueueState.STARVING not in queue_states(full, needs)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_the_vcpus_of_each_state_fit_into_the_environment(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = EnvironmentVcpus(maximum, machines, busy)
    found = queue_states(environment, needs)
    assert len(found) == len(needs)
    for state, room in [
        (QueueState.MACHINE_COMING, machines - busy),
        (QueueState.STARVING, maximum - machines),
    ]:
        taken = sum(need for need, each in zip(needs, found, strict=True) if each is state)
        assert taken <= max(0, room)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_a_later_job_does_not_change_the_state_of_an_earlier_one(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = EnvironmentVcpus(maximum, machines, busy)
    found = queue_states(environment, needs)
    for count in range(len(needs)):
        assert queue_states(environment, needs[:count]) == found[:count]


# The timer


def test_the_timer_starts_at_the_first_poll_that_finds_starvation() -> None:
    timer = StarvationTimer().update(NOW, True).update(NOW + 30, True)
    assert timer.seconds(NOW + 70) == 70


def test_one_poll_without_starvation_resets_the_timer() -> None:
    timer = StarvationTimer().update(NOW, True).update(NOW + 250, False)
    assert timer.seconds(NOW + 300) == 0
    assert timer.update(NOW + 310, True).seconds(NOW + 320) == 10


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=30))
def test_the_timer_is_the_time_since_the_last_poll_without_starvation(
    polls: list[tuple[float, bool]],
) -> None:
    timer, now, since = StarvationTimer(), NOW, None
    for passed, starving in polls:
        now += passed
        timer = timer.update(now, starving)
        since = (now if since is None else since) if starving else None
        assert timer.seconds(now) == (0 if since is None else now - since)
