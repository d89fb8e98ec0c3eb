"""The retry policy: what follows a job that failed."""

from dataclasses import replace

import pytest
from spot_cases import CHEAP, CRASHES, HOUR, NO_FALLBACK, NOW, OVER_BID, RULES, UNIT

from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.spot.policy import Fail, Resume, SetAside, Submit, Wait
from resources.spot.retry import (
    MAX_CRASHES_WITHOUT_PROGRESS,
    MAX_FAILED_STARTS,
    FailedJob,
    next_after_failure,
)

# After a failure


def failed(
    outcome: AttemptOutcome, queue: Queue = Queue.SPOT, moving: str | None = None
) -> FailedJob:
    return FailedJob(queue, outcome, "Host EC2 (instance i-1) terminated.", moving)


def test_interrupted_work_resumes_on_spot() -> None:
    unit = UNIT.after(AttemptOutcome.INTERRUPTED, Queue.SPOT, made_progress=True)
    decision = next_after_failure(unit, failed(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue is Queue.SPOT
    assert "for the first time: Host EC2" in decision.reason


def test_interrupted_work_waits_when_spot_is_over_the_bid() -> None:
    unit = replace(UNIT, interruptions=1)
    decision = next_after_failure(unit, failed(AttemptOutcome.INTERRUPTED), [OVER_BID], RULES, NOW)
    assert isinstance(decision, Wait) and "spot machine lost" in decision.reason


def test_after_max_spot_interruptions_work_goes_on_demand() -> None:
    unit = UNIT
    for count in range(1, 7):
        unit = unit.after(AttemptOutcome.INTERRUPTED, Queue.SPOT, made_progress=True)
        decision = next_after_failure(unit, failed(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
        assert isinstance(decision, Resume)
        assert decision.queue is (Queue.SPOT if count <= 5 else Queue.ON_DEMAND)
    assert "max_spot_interruptions" in decision.reason


def test_without_fallback_the_number_of_interruptions_is_unlimited() -> None:
    unit = replace(UNIT, interruptions=100)
    units = [
        (replace(unit, priority="high"), NO_FALLBACK),
        (replace(unit, priority="low"), RULES),
    ]
    for without_fallback, given_rules in units:
        decision = next_after_failure(
            without_fallback, failed(AttemptOutcome.INTERRUPTED), [CHEAP], given_rules, NOW
        )
        assert isinstance(decision, Resume) and decision.queue is not Queue.ON_DEMAND


def test_an_interruption_that_leaves_no_slack_goes_on_demand_whatever_the_price() -> None:
    late = replace(UNIT, interruptions=1, deadline=NOW + HOUR)
    decision = next_after_failure(late, failed(AttemptOutcome.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue is Queue.ON_DEMAND
    assert "deadline" in decision.reason


def test_a_lost_on_demand_machine_is_replaced_by_another() -> None:
    unit = UNIT.after(AttemptOutcome.INTERRUPTED, Queue.ON_DEMAND, made_progress=False)
    assert unit.interruptions == 0
    decision = next_after_failure(
        unit, failed(AttemptOutcome.INTERRUPTED, Queue.ON_DEMAND), [CHEAP], RULES, NOW
    )
    assert isinstance(decision, Resume) and decision.queue is Queue.ON_DEMAND


@pytest.mark.parametrize(
    "outcome",
    [
        AttemptOutcome.CANCELLED,
        AttemptOutcome.INTERRUPTED,
        AttemptOutcome.NO_CAPACITY,
        AttemptOutcome.TIME_LIMIT,
    ],
)
def test_a_job_that_was_cancelled_to_be_moved_is_moved_for_that_reason(
    outcome: AttemptOutcome,
) -> None:
    decision = next_after_failure(
        UNIT, failed(outcome, moving="starved for 301 s"), [CHEAP], RULES, NOW
    )
    assert decision == Submit(Queue.ON_DEMAND, "starved for 301 s")


def test_a_job_that_failed_by_itself_before_it_was_moved_is_not_moved() -> None:
    by_itself = failed(AttemptOutcome.FAILED, moving="starved for 301 s")
    assert isinstance(next_after_failure(UNIT, by_itself, [CHEAP], RULES, NOW), Fail)


def test_a_job_cancelled_by_a_user_fails_the_step() -> None:
    decision = next_after_failure(UNIT, failed(AttemptOutcome.CANCELLED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "not by this run" in decision.reason


def test_the_time_limit_of_the_queue_leads_to_a_fallback() -> None:
    decision = next_after_failure(UNIT, failed(AttemptOutcome.NO_CAPACITY), [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND
    low = replace(UNIT, priority="low")
    for unit, given_rules in [(low, RULES), (UNIT, NO_FALLBACK)]:
        decision = next_after_failure(
            unit, failed(AttemptOutcome.NO_CAPACITY), [CHEAP], given_rules, NOW
        )
        assert isinstance(decision, Submit) and decision.queue is Queue.SPOT
    none_at_all = failed(AttemptOutcome.NO_CAPACITY, Queue.ON_DEMAND)
    decision = next_after_failure(UNIT, none_at_all, [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND


def test_the_error_of_a_job_that_can_never_be_placed_names_the_command() -> None:
    decision = next_after_failure(UNIT, failed(AttemptOutcome.NEVER_PLACEABLE), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "`cost setup`" in decision.reason


@pytest.mark.parametrize("outcome", CRASHES)
@pytest.mark.parametrize("queue", Queue)
def test_a_crashed_worker_is_restarted_in_its_queue(outcome: AttemptOutcome, queue: Queue) -> None:
    unit = UNIT
    for _ in range(MAX_CRASHES_WITHOUT_PROGRESS - 1):
        unit = unit.after(outcome, queue, made_progress=False)
        decision = next_after_failure(unit, failed(outcome, queue), [OVER_BID], RULES, NOW)
        assert isinstance(decision, Resume) and decision.queue == queue
    unit = unit.after(outcome, queue, made_progress=False)
    assert isinstance(
        next_after_failure(unit, failed(outcome, queue), [CHEAP], RULES, NOW), SetAside
    )


def test_crashes_with_progress_are_not_counted() -> None:
    unit = UNIT
    for _ in range(50):
        unit = unit.after(AttemptOutcome.CRASHED, Queue.SPOT, made_progress=True)
    assert unit.crashes_without_progress == 0


def test_an_interruption_is_no_crash() -> None:
    unit = replace(UNIT, crashes_without_progress=3)
    assert unit.after(AttemptOutcome.INTERRUPTED, Queue.SPOT, False).crashes_without_progress == 3


def test_a_container_that_cannot_be_started_is_retried_a_few_times() -> None:
    unit = UNIT
    for _ in range(MAX_FAILED_STARTS - 1):
        unit = unit.after(AttemptOutcome.CANNOT_START, Queue.SPOT, made_progress=False)
        decision = next_after_failure(
            unit, failed(AttemptOutcome.CANNOT_START), [CHEAP], RULES, NOW
        )
        assert isinstance(decision, Resume) and decision.queue is Queue.SPOT
    started = unit.after(AttemptOutcome.INTERRUPTED, Queue.SPOT, made_progress=False)
    assert started.failed_starts == 0
    unit = unit.after(AttemptOutcome.CANNOT_START, Queue.SPOT, made_progress=False)
    decision = next_after_failure(unit, failed(AttemptOutcome.CANNOT_START), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "execution role" in decision.reason


def test_an_error_of_the_worker_fails_the_step() -> None:
    decision = next_after_failure(
        UNIT, FailedJob(Queue.SPOT, AttemptOutcome.FAILED, "no model"), [], RULES, NOW
    )
    assert decision == Fail("no model")


def test_a_done_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="done"):
        next_after_failure(UNIT, failed(AttemptOutcome.DONE), [CHEAP], RULES, NOW)
