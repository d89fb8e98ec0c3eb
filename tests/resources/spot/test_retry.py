"""What follows the end of a job that is not done."""

from dataclasses import replace

import pytest
from spot_cases import CHEAP, DEATHS, HOUR, NO_FALLBACK, NOW, OVER_BID, RULES, UNIT

from resources.batch.outcome import AttemptEnd
from resources.spot.policy import Fail, Queue, Resume, SetAside, Submit, Wait
from resources.spot.retry import MOST_FAILED_STARTS, MOST_FRUITLESS_DEATHS, JobEnd, after_end

# After an end


def ended(how: AttemptEnd, queue: Queue = "spot", moving: str | None = None) -> JobEnd:
    return JobEnd(queue, how, "Host EC2 (instance i-1) terminated.", moving)


def test_interrupted_work_resumes_on_spot() -> None:
    unit = UNIT.after(AttemptEnd.INTERRUPTED, "spot", finished_anything=True)
    decision = after_end(unit, ended(AttemptEnd.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue == "spot"
    assert "for the first time: Host EC2" in decision.reason


def test_interrupted_work_waits_when_spot_has_become_dear() -> None:
    unit = replace(UNIT, interruptions=1)
    decision = after_end(unit, ended(AttemptEnd.INTERRUPTED), [OVER_BID], RULES, NOW)
    assert isinstance(decision, Wait) and "spot machine lost" in decision.reason


def test_after_max_spot_interruptions_work_goes_on_demand() -> None:
    unit = UNIT
    for count in range(1, 7):
        unit = unit.after(AttemptEnd.INTERRUPTED, "spot", finished_anything=True)
        decision = after_end(unit, ended(AttemptEnd.INTERRUPTED), [CHEAP], RULES, NOW)
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
        decision = after_end(patient, ended(AttemptEnd.INTERRUPTED), [CHEAP], given_rules, NOW)
        assert isinstance(decision, Resume) and decision.queue.startswith("spot")


def test_an_interruption_that_leaves_no_slack_goes_on_demand_whatever_the_price() -> None:
    late = replace(UNIT, interruptions=1, deadline=NOW + HOUR)
    decision = after_end(late, ended(AttemptEnd.INTERRUPTED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue == "ondemand"
    assert "deadline" in decision.reason


def test_an_on_demand_machine_that_is_lost_is_replaced_by_another() -> None:
    unit = UNIT.after(AttemptEnd.INTERRUPTED, "ondemand", finished_anything=False)
    assert unit.interruptions == 0
    decision = after_end(unit, ended(AttemptEnd.INTERRUPTED, "ondemand"), [CHEAP], RULES, NOW)
    assert isinstance(decision, Resume) and decision.queue == "ondemand"


@pytest.mark.parametrize(
    "how",
    [
        AttemptEnd.CANCELLED,
        AttemptEnd.INTERRUPTED,
        AttemptEnd.NO_CAPACITY,
        AttemptEnd.TIME_LIMIT,
    ],
)
def test_a_job_that_was_cancelled_to_be_moved_is_moved_for_that_reason(how: AttemptEnd) -> None:
    decision = after_end(UNIT, ended(how, moving="starved for 301 s"), [CHEAP], RULES, NOW)
    assert decision == Submit("ondemand", "starved for 301 s")


def test_a_job_that_failed_by_itself_before_it_was_moved_is_not_moved() -> None:
    gone = ended(AttemptEnd.FAILED, moving="starved for 301 s")
    assert isinstance(after_end(UNIT, gone, [CHEAP], RULES, NOW), Fail)


def test_a_job_that_somebody_else_cancelled_ends_the_step() -> None:
    decision = after_end(UNIT, ended(AttemptEnd.CANCELLED), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "not by this run" in decision.reason


def test_the_queues_own_time_limit_is_a_fallback_too() -> None:
    decision = after_end(UNIT, ended(AttemptEnd.NO_CAPACITY), [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"
    low = replace(UNIT, priority="low")
    for unit, given_rules in [(low, RULES), (UNIT, NO_FALLBACK)]:
        decision = after_end(unit, ended(AttemptEnd.NO_CAPACITY), [CHEAP], given_rules, NOW)
        assert isinstance(decision, Submit) and decision.queue == "spot"
    none_at_all = ended(AttemptEnd.NO_CAPACITY, "ondemand")
    decision = after_end(UNIT, none_at_all, [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"


def test_a_job_that_can_never_be_placed_says_what_to_do() -> None:
    decision = after_end(UNIT, ended(AttemptEnd.NEVER_PLACEABLE), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "munin cost setup" in decision.reason


@pytest.mark.parametrize("how", DEATHS)
@pytest.mark.parametrize("queue", ["spot", "spot-high", "ondemand"])
def test_a_dead_worker_is_started_again_where_it_was(how: AttemptEnd, queue: Queue) -> None:
    unit = UNIT
    for _ in range(MOST_FRUITLESS_DEATHS - 1):
        unit = unit.after(how, queue, finished_anything=False)
        decision = after_end(unit, ended(how, queue), [OVER_BID], RULES, NOW)
        assert isinstance(decision, Resume) and decision.queue == queue
    unit = unit.after(how, queue, finished_anything=False)
    assert isinstance(after_end(unit, ended(how, queue), [CHEAP], RULES, NOW), SetAside)


def test_whoever_finishes_something_may_die_again() -> None:
    unit = UNIT
    for _ in range(50):
        unit = unit.after(AttemptEnd.CRASHED, "spot", finished_anything=True)
    assert unit.fruitless_deaths == 0


def test_an_interruption_is_no_death() -> None:
    unit = replace(UNIT, fruitless_deaths=3)
    assert unit.after(AttemptEnd.INTERRUPTED, "spot", False).fruitless_deaths == 3


def test_a_container_that_cannot_be_started_is_tried_a_few_times() -> None:
    unit = UNIT
    for _ in range(MOST_FAILED_STARTS - 1):
        unit = unit.after(AttemptEnd.CANNOT_START, "spot", finished_anything=False)
        decision = after_end(unit, ended(AttemptEnd.CANNOT_START), [CHEAP], RULES, NOW)
        assert isinstance(decision, Resume) and decision.queue == "spot"
    started = unit.after(AttemptEnd.INTERRUPTED, "spot", finished_anything=False)
    assert started.failed_starts == 0
    unit = unit.after(AttemptEnd.CANNOT_START, "spot", finished_anything=False)
    decision = after_end(unit, ended(AttemptEnd.CANNOT_START), [CHEAP], RULES, NOW)
    assert isinstance(decision, Fail) and "execution role" in decision.reason


def test_the_workers_own_words_end_the_step() -> None:
    decision = after_end(UNIT, JobEnd("spot", AttemptEnd.FAILED, "no model"), [], RULES, NOW)
    assert decision == Fail("no model")


def test_done_work_leaves_nothing_to_decide() -> None:
    with pytest.raises(ValueError, match="done"):
        after_end(UNIT, ended(AttemptEnd.DONE), [CHEAP], RULES, NOW)
