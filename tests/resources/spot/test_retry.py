"""What follows the end of a job that is not done."""

from dataclasses import replace

import pytest
from spot_cases import CHEAP, DEATHS, HOUR, NO_FALLBACK, NOW, OVER_BID, RULES, UNIT

from resources.batch.outcome import AttemptOutcome
from resources.spot.policy import Fail, Queue, Resume, SetAside, Submit, Wait
from resources.spot.retry import (
    MAX_FAILED_STARTS,
    MAX_CRASHES_WITHOUT_PROGRESS,
    FailedJob,
    next_after_failure,
)

# After an end


def ended(how: AttemptOutcome, queue: Queue = "spot", moving: str | None = None) -> FailedJob:
    return FailedJob(queue, how, "Host EC2 (instance i-1) terminated.", moving)


def test_interrupted_work_resumes_on_spot() -> None:
    unit = UNIT.after(AttemptOutcome.INTERRUPTED, "spot", finished_anything=True)
    decision = next_after_failure(unit, ended(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue == "spot"
    assert "for the first time: Host EC2" in decision.reason


def test_interrupted_work_waits_when_spot_has_become_dear() -> None:
    unit = replace(UNIT, interruptions=1)
    decision = next_after_failure(unit, ended(AttemptOutcome.INTERRUPTED), [OVER_BID], RULES, NOW)
    assert isinstance(decision, Wait) and "spot machine lost" in decision.reason


def test_after_max_spot_interruptions_work_goes_on_demand() -> None:
    unit = UNIT
    for count in range(1, 7):
        unit = unit.after(AttemptOutcome.INTERRUPTED, "spot", finished_anything=True)
        decision = next_after_failure(unit, ended(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
        assert isinstance(decision, Resume)
        assert decision.queue == ("spot" if count <= 5 else "ondemand")
    assert "max_spot_interruptions" in decision.reason


def test_where_on_demand_is_not_allowed_interruptions_are_borne_without_end() -> None:
    unit = replace(UNIT, interruptions=100)
    patients = [
        (replace(unit, priority="high"), NO_FALLBACK),
        (replace(unit, priority="low"), RULES),
    ]
    for patient, given_rules in patients:
        decision = next_after_failure(
            patient, ended(AttemptOutcome.INTERRUPTED), [CHEAP], given_rules, NOW
        )
        assert isinstance(decision, Resume) and decision.queue.startswith("spot")


def test_an_interruption_that_leaves_no_slack_goes_on_demand_whatever_the_price() -> None:
    late = replace(UNIT, interruptions=1, deadline=NOW + HOUR)
    decision = next_after_failure(late, ended(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue == "ondemand"
    assert "deadline" in decision.reason


def test_an_on_demand_machine_that_is_lost_is_replaced_by_another() -> None:
    unit = UNIT.after(AttemptOutcome.INTERRUPTED, "ondemand", finished_anything=False)
    assert unit.interruptions == 0
    decision = next_after_failure(
        unit, ended(AttemptOutcome.INTERRUPTED, "ondemand"), [CHEAP], RULES, NOW
    )
    assert isinstance(decision, Resume) and decision.queue == "ondemand"


@pytest.mark.parametrize(
    "how",
    [
        AttemptOutcome.CANCELLED,
        AttemptOutcome.INTERRUPTED,
        AttemptOutcome.NO_CAPACITY,
        AttemptOutcome.TIME_LIMIT,
    ],
)
def test_a_job_that_was_cancelled_to_be_moved_is_moved_for_that_reason(how: AttemptOutcome) -> None:
    decision = next_after_failure(UNIT, ended(how, moving="starved for 301 s"), [CHEAP], RULES, NOW)
    assert decision == Submit("ondemand", "starved for 301 s")


def test_a_job_that_failed_by_itself_before_it_was_moved_is_not_moved() -> None:
    gone = ended(AttemptOutcome.FAILED, moving="starved for 301 s")
    assert isinstance(next_after_failure(UNIT, gone, [CHEAP], RULES, NOW), Fail)


def test_a_job_that_somebody_else_cancelled_ends_the_step() -> None:
    decision = next_after_failure(UNIT, ended(AttemptOutcome.CANCELLED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "not by this run" in decision.reason


def test_the_queues_own_time_limit_is_a_fallback_too() -> None:
    decision = next_after_failure(UNIT, ended(AttemptOutcome.NO_CAPACITY), [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"
    low = replace(UNIT, priority="low")
    for unit, given_rules in [(low, RULES), (UNIT, NO_FALLBACK)]:
        decision = next_after_failure(
            unit, ended(AttemptOutcome.NO_CAPACITY), [CHEAP], given_rules, NOW
        )
        assert isinstance(decision, Submit) and decision.queue == "spot"
    none_at_all = ended(AttemptOutcome.NO_CAPACITY, "ondemand")
    decision = next_after_failure(UNIT, none_at_all, [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"


def test_a_job_that_can_never_be_placed_says_what_to_do() -> None:
    decision = next_after_failure(UNIT, ended(AttemptOutcome.NEVER_PLACEABLE), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "munin cost setup" in decision.reason


@pytest.mark.parametrize("how", DEATHS)
@pytest.mark.parametrize("queue", ["spot", "spot-high", "ondemand"])
def test_a_dead_worker_is_started_again_where_it_was(how: AttemptOutcome, queue: Queue) -> None:
    unit = UNIT
    for _ in range(MAX_CRASHES_WITHOUT_PROGRESS - 1):
        unit = unit.after(how, queue, finished_anything=False)
        decision = next_after_failure(unit, ended(how, queue), [OVER_BID], RULES, NOW)
        assert isinstance(decision, Resume) and decision.queue == queue
    unit = unit.after(how, queue, finished_anything=False)
    assert isinstance(next_after_failure(unit, ended(how, queue), [CHEAP], RULES, NOW), SetAside)


def test_whoever_finishes_something_may_die_again() -> None:
    unit = UNIT
    for _ in range(50):
        unit = unit.after(AttemptOutcome.CRASHED, "spot", finished_anything=True)
    assert unit.fruitless_deaths == 0


def test_an_interruption_is_no_death() -> None:
    unit = replace(UNIT, fruitless_deaths=3)
    assert unit.after(AttemptOutcome.INTERRUPTED, "spot", False).fruitless_deaths == 3


def test_a_container_that_cannot_be_started_is_tried_a_few_times() -> None:
    unit = UNIT
    for _ in range(MAX_FAILED_STARTS - 1):
        unit = unit.after(AttemptOutcome.CANNOT_START, "spot", finished_anything=False)
        decision = next_after_failure(unit, ended(AttemptOutcome.CANNOT_START), [CHEAP], RULES, NOW)
        assert isinstance(decision, Resume) and decision.queue == "spot"
    started = unit.after(AttemptOutcome.INTERRUPTED, "spot", finished_anything=False)
    assert started.failed_starts == 0
    unit = unit.after(AttemptOutcome.CANNOT_START, "spot", finished_anything=False)
    decision = next_after_failure(unit, ended(AttemptOutcome.CANNOT_START), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "execution role" in decision.reason


def test_the_workers_own_words_end_the_step() -> None:
    decision = next_after_failure(
        UNIT, FailedJob("spot", AttemptOutcome.FAILED, "no model"), [], RULES, NOW
    )
    assert decision == Fail("no model")


def test_done_work_leaves_nothing_to_decide() -> None:
    with pytest.raises(ValueError, match="done"):
        next_after_failure(UNIT, ended(AttemptOutcome.DONE), [CHEAP], RULES, NOW)
