"""max_parallel_jobs limits the jobs of all runs of an instance together."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from resources.launch.slots import LaunchSlots


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def a_run(instance: dg.DagsterInstance, status: DagsterRunStatus) -> str:
    run = dg.DagsterRun("job", status=status)
    instance.add_run(run)
    return run.run_id


def slots(instance: dg.DagsterInstance, limit: int = 2, **options: str) -> LaunchSlots:
    run_id = a_run(instance, DagsterRunStatus.STARTED)
    return LaunchSlots(instance, run_id, "account", limit, **options)  # type: ignore[arg-type]


def test_two_runs_share_the_slots_of_an_account(instance: dg.DagsterInstance) -> None:
    one, other = slots(instance), slots(instance)
    assert one.take("unit 0")
    assert other.take("unit 0")
    assert not one.take("unit 1")
    other.retain(set())
    assert one.take("unit 1")
    assert not other.take("unit 0")


def test_runs_that_start_at_the_same_time_claim_no_more_slots_than_there_are(
    tmp_path: Path,
) -> None:
    """Each opens the instance separately, as a process does."""
    parallel, pools, limit = 5, 6, 3
    barrier = Barrier(parallel)

    def taken(_: int) -> list[bool]:
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            run_id = a_run(instance, DagsterRunStatus.STARTED)
            runs = [LaunchSlots(instance, run_id, f"pool {p}", limit) for p in range(pools)]
            return [(barrier.wait(), run.take("job"))[1] for run in runs]

    dg.DagsterInstance.local_temp(str(tmp_path)).dispose()  # creates its databases
    with ThreadPoolExecutor(parallel) as threads:
        found = list(threads.map(taken, range(parallel)))
    assert [sum(of_pool) for of_pool in zip(*found, strict=True)] == [limit] * pools


def test_a_job_retains_its_slot(instance: dg.DagsterInstance) -> None:
    one = slots(instance, limit=1)
    assert one.take("unit 0")
    assert one.take("unit 0")


def test_slots_are_claimed_by_priority_then_in_order_of_waiting(
    instance: dg.DagsterInstance,
) -> None:
    holder = slots(instance, limit=1)
    assert holder.take("a")
    low, urgent = slots(instance, limit=1), slots(instance, limit=1, priority="high")
    assert not low.take("b")
    assert not urgent.take("c")
    holder.retain(set())
    assert not low.take("b")
    assert urgent.take("c")


def test_a_changed_limit_applies_from_the_next_job(
    instance: dg.DagsterInstance,
) -> None:
    assert slots(instance, limit=1).take("a")
    assert slots(instance, limit=2).take("b")


def test_a_launch_retains_only_the_slots_of_its_live_jobs(instance: dg.DagsterInstance) -> None:
    one, other = slots(instance), slots(instance)
    assert one.take("unit 0")
    assert one.take("unit 1")
    one.retain({"unit 1"})
    assert other.take("unit 0")
    assert not other.take("unit 2")


def test_a_released_claim_leaves_the_queue(
    instance: dg.DagsterInstance,
) -> None:
    holder, other = slots(instance, limit=1), slots(instance, limit=1)
    assert holder.take("a")
    assert not other.take("b")
    other.retain(set())
    holder.retain(set())
    assert slots(instance, limit=1).take("c")


def test_a_run_that_has_ended_has_no_slots(instance: dg.DagsterInstance) -> None:
    ended = LaunchSlots(instance, a_run(instance, DagsterRunStatus.FAILURE), "account", 1)
    assert ended.take("a")
    assert slots(instance, limit=1).take("b")


def test_a_killed_run_retains_the_slots_of_its_running_jobs(
    instance: dg.DagsterInstance,
) -> None:
    killed = LaunchSlots(instance, a_run(instance, DagsterRunStatus.FAILURE), "account", 2)
    assert killed.take("unit 0")
    assert killed.take("unit 1")
    live = {"unit 1"}
    run_id = a_run(instance, DagsterRunStatus.STARTED)
    other = LaunchSlots(instance, run_id, "account", 2, running_slots=lambda run: live)
    assert other.take("a")
    assert not other.take("b")
    live.clear()
    assert other.take("b")


def test_a_running_job_claims_a_slot_before_all_waiting_jobs(instance: dg.DagsterInstance) -> None:
    holder = slots(instance, limit=1)
    assert holder.take("a")
    urgent, resumed = slots(instance, limit=1, priority="high"), slots(instance, limit=1)
    assert not urgent.take("b")
    resumed.take_running("c")
    holder.retain(set())
    assert not urgent.take("b")
    resumed.take_running("c")
    resumed.retain(set())
    assert urgent.take("b")


def test_dead_runs_are_closed_when_no_slot_is_free(
    instance: dg.DagsterInstance,
) -> None:
    killed = slots(instance, limit=1)
    assert killed.take("a")

    def close(instance: dg.DagsterInstance) -> None:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[DagsterRunStatus.STARTED]), limit=1)
        instance.report_run_failed(run)

    other = LaunchSlots(
        instance, a_run(instance, DagsterRunStatus.SUCCESS), "account", 1, "normal", close
    )
    assert other.take("b")


def test_an_instance_in_memory_limits_its_own_jobs() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        one = slots(instance, limit=1)
        assert one.take("a")
        assert not one.take("b")
        one.retain(set())
        assert one.take("b")


# Several profiles, and operators


def pool_limit(instance: dg.DagsterInstance) -> int | None:
    return instance.event_log_storage.get_concurrency_info("account").limit


@pytest.mark.parametrize("limits", [(1, 3), (3, 1)])
def test_profiles_do_not_overwrite_each_other_s_limits(
    instance: dg.DagsterInstance, limits: tuple[int, int]
) -> None:
    for limit in limits:  # in turn, as two commands do
        assert slots(instance, limit=limit).take("a") == (limit == 3 or limits[0] == 1)
    few, many = slots(instance, limit=1), slots(instance, limit=3)
    assert pool_limit(instance) == 3
    assert not few.take("b")
    while many.take(f"job {len(many._held)}"):
        pass
    assert len(instance.event_log_storage.get_concurrency_info("account").claimed_slots) == 3


def test_a_limit_that_an_operator_sets_in_the_ui_is_respected_and_shown(
    instance: dg.DagsterInstance,
) -> None:
    assert slots(instance, limit=2).take("a")
    instance.event_log_storage.set_concurrency_slots("account", 1)  # as the UI does
    waiting = slots(instance, limit=2)
    assert not waiting.take("b")
    assert pool_limit(instance) == 1
    assert waiting.waiting_message == (
        "waiting: 1 jobs may run, the limit of the pool account that is set in the UI (Deployment, "
        "Concurrency); delete it there to have pipeline.cost_optimization.max_parallel_jobs, 2"
    )
    instance.event_log_storage.set_concurrency_slots("account", 4)
    assert [slots(instance, limit=2).take(job) for job in "bcde"] == [
        True,
        True,
        False,
        False,
    ]  # and `waiting`
    instance.event_log_storage.set_concurrency_slots("account", 0)  # no new job
    assert not slots(instance, limit=2).take("f")


def test_a_deleted_limit_of_an_operator_gives_way_to_the_profile_s(
    instance: dg.DagsterInstance,
) -> None:
    instance.event_log_storage.set_concurrency_slots("account", 1)
    holder, waiting = slots(instance, limit=2), slots(instance, limit=2)
    assert holder.take("a")
    assert not waiting.take("b")
    instance.event_log_storage.delete_concurrency_limit("account")
    holder.retain(set())
    assert waiting.take("b")
    assert holder.take("c")
    assert pool_limit(instance) == 2


def test_a_limit_deleted_while_a_job_has_its_slot_waits_for_the_job(
    instance: dg.DagsterInstance,
) -> None:
    """Dagster sets no limit until then."""
    holder, waiting = slots(instance, limit=1), slots(instance, limit=1)
    assert holder.take("a")
    instance.event_log_storage.delete_concurrency_limit("account")
    assert not waiting.take("b")
    holder.retain(set())
    assert waiting.take("b")
