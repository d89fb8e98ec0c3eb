"""The spot policy: spot, on-demand or wait."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spot_cases import CHEAP, CRASHES, HOUR, NO_FALLBACK, NOW, OVER_BID, POOR, RULES, UNIT, rules

from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer, Overheads
from resources.spot.policy import (
    QUEUE_POLL_SECONDS,
    MoveToOnDemand,
    Priority,
    Resume,
    Rules,
    Submit,
    UnitState,
    Wait,
    choose_queue,
    decide_while_queued,
    slack,
)
from resources.spot.queue_state import QueueState, StarvationTimer
from resources.spot.retry import FailedJob, next_after_failure


def starving_for(seconds: float) -> StarvationTimer:
    return StarvationTimer(NOW - seconds)


# Before a unit is submitted


@pytest.mark.parametrize(
    ("priority", "queue"), [("low", Queue.SPOT), ("normal", Queue.SPOT), ("high", Queue.SPOT_HIGH)]
)
def test_an_affordable_offer_is_used_immediately(priority: Priority, queue: Queue) -> None:
    decision = choose_queue(replace(UNIT, priority=priority), [POOR, CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == queue
    assert "g4dn.xlarge in eu-north-1a at $0.1881/h saves 6" in decision.reason
    assert "50%" in decision.reason


def test_without_a_deadline_a_unit_waits_for_a_better_price() -> None:
    for priority in ("low", "normal"):
        unit = replace(UNIT, priority=priority, ready_since=NOW - 30 * 24 * HOUR)
        decision = choose_queue(unit, [POOR], RULES, NOW)
        assert isinstance(decision, Wait)
        assert "less than the 50% of cost_threshold" in decision.reason


def test_a_unit_waits_while_the_price_is_over_the_bid_even_if_it_saves_enough() -> None:
    strict = rules(bid_percentage=30)
    decision = choose_queue(UNIT, [CHEAP], strict, NOW)
    assert isinstance(decision, Wait)
    assert "no spot offer is within 30 % of on-demand (bid_percentage)" in decision.reason
    assert "g4dn.xlarge in eu-north-1a at 34%" in decision.reason


def test_when_the_deadline_leaves_no_time_on_demand_is_used() -> None:
    late = replace(UNIT, deadline=NOW + HOUR)
    for offer in (POOR, OVER_BID):
        decision = choose_queue(late, [offer], RULES, NOW)
        assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND
        assert "the deadline leaves no time" in decision.reason


def test_a_deadline_does_not_refuse_an_affordable_offer() -> None:
    decision = choose_queue(replace(UNIT, deadline=NOW), [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.SPOT


def test_the_deadline_has_a_margin_of_15_percent() -> None:
    needed = 1.15 * (HOUR + 240 + 30)
    assert slack(replace(UNIT, deadline=NOW + needed), NOW, Overheads()) == pytest.approx(0)
    unit = replace(UNIT, deadline=NOW + needed + 10)
    decision = choose_queue(unit, [POOR], RULES, NOW)
    assert isinstance(decision, Wait) and decision.recheck_seconds == pytest.approx(10)
    assert isinstance(choose_queue(unit, [POOR], RULES, NOW + 10.1), Submit)


def test_high_priority_waits_for_a_price_for_fallback_timeout() -> None:
    unit = replace(UNIT, priority="high")
    waits = choose_queue(unit, [POOR], RULES, NOW + 299)
    assert isinstance(waits, Wait) and waits.recheck_seconds == pytest.approx(1)
    decision = choose_queue(unit, [POOR], RULES, NOW + 300)
    assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND
    assert "fallback_timeout" in decision.reason


def test_low_priority_uses_on_demand_only_for_a_deadline() -> None:
    low = replace(UNIT, priority="low")
    assert isinstance(choose_queue(low, [OVER_BID], RULES, NOW + 30 * 24 * HOUR), Wait)
    late = replace(low, deadline=NOW)
    decision = choose_queue(late, [OVER_BID], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND


def test_without_fallback_a_late_unit_uses_an_expensive_spot_offer() -> None:
    late = replace(UNIT, deadline=NOW)
    decision = choose_queue(late, [POOR], NO_FALLBACK, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.SPOT
    assert "fallback_to_ondemand: false" in decision.reason


def test_without_fallback_the_bid_still_applies() -> None:
    late = replace(UNIT, deadline=NOW, priority="high")
    decision = choose_queue(late, [OVER_BID], NO_FALLBACK, NOW)
    assert isinstance(decision, Wait)
    assert "fallback_to_ondemand: false" in decision.reason


def test_without_offers_the_reason_names_the_setting() -> None:
    decision = choose_queue(UNIT, [], RULES, NOW)
    assert isinstance(decision, Wait) and "instance_types" in decision.reason


def test_the_saving_does_not_depend_on_the_size_of_the_unit() -> None:
    """Start-up is paid on spot and on demand."""
    for seconds in (60.0, HOUR, 10 * HOUR):
        unit = replace(UNIT, work_seconds=seconds)
        assert isinstance(choose_queue(unit, [CHEAP], rules(cost_threshold=0.64), NOW), Submit)
        assert isinstance(choose_queue(unit, [CHEAP], rules(cost_threshold=0.66), NOW), Wait)


def test_the_reason_names_the_cheapest_offer_for_the_work() -> None:
    twice = Offer("g6.xlarge", "eu-north-1b", Decimal("0.3183"), Decimal("0.8536"), speed=2.0)
    decision = choose_queue(UNIT, [CHEAP, twice], RULES, NOW)
    assert "g6.xlarge in eu-north-1b" in decision.reason


@pytest.mark.parametrize(
    ("key", "fallback"),
    [("spot_instances", True), ("spot_instances", False), ("spot_preferred", True)],
)
def test_a_profile_without_spot_runs_on_demand(key: str, fallback: bool) -> None:
    """On-demand is its first choice, not a fallback."""
    without = rules(**{key: False, "fallback_to_ondemand": fallback})
    decision = choose_queue(UNIT, [CHEAP], without, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.ON_DEMAND
    assert f"{key}: false" in decision.reason


def test_a_profile_that_prefers_on_demand_but_allows_none_runs_on_spot() -> None:
    """`cost setup` creates no on-demand environment for it."""
    neither = rules(spot_preferred=False, fallback_to_ondemand=False)
    decision = choose_queue(UNIT, [CHEAP], neither, NOW)
    assert isinstance(decision, Submit) and decision.queue is Queue.SPOT


def test_without_cost_optimization_prices_are_neither_compared_nor_waited_for() -> None:
    off = rules(enabled=False)
    taken = choose_queue(UNIT, [POOR], off, NOW)
    assert isinstance(taken, Submit) and taken.queue is Queue.SPOT
    over = choose_queue(UNIT, [OVER_BID], off, NOW)
    assert isinstance(over, Submit) and over.queue is Queue.ON_DEMAND
    assert "enabled: false" in over.reason


# While it waits in a queue


def test_a_job_whose_machine_boots_waits_without_limit() -> None:
    late = replace(UNIT, priority="high", deadline=NOW)
    timer = starving_for(10_000)
    assert isinstance(decide_while_queued(late, QueueState.MACHINE_COMING, timer, RULES, NOW), Wait)


def test_a_job_starves_for_fallback_timeout_before_it_moves() -> None:
    before = decide_while_queued(UNIT, QueueState.STARVING, starving_for(290), RULES, NOW)
    assert isinstance(before, Wait) and before.recheck_seconds == pytest.approx(10)
    capacity = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    moved = decide_while_queued(UNIT, QueueState.STARVING, starving_for(300), RULES, NOW, capacity)
    assert isinstance(moved, MoveToOnDemand)
    assert "300 s of 300 s (fallback_timeout)" in moved.reason and capacity in moved.reason


def test_a_timeout_of_zero_does_not_wait() -> None:
    timer = StarvationTimer().update(NOW, starving=True)
    at_once = rules(fallback_timeout=0)
    assert isinstance(
        decide_while_queued(UNIT, QueueState.STARVING, timer, at_once, NOW), MoveToOnDemand
    )


def test_low_priority_never_moves_without_a_deadline() -> None:
    low = replace(UNIT, priority="low")
    decision = decide_while_queued(low, QueueState.STARVING, starving_for(1e6), RULES, NOW)
    assert isinstance(decision, Wait) and "priority low" in decision.reason
    late = replace(low, deadline=NOW)
    moved = decide_while_queued(late, QueueState.STARVING, starving_for(0), RULES, NOW)
    assert isinstance(moved, MoveToOnDemand) and "deadline" in moved.reason


def test_a_job_queues_behind_a_full_environment_until_the_deadline() -> None:
    full = QueueState.FULL
    assert isinstance(decide_while_queued(UNIT, full, StarvationTimer(), RULES, NOW + 1e6), Wait)
    late = replace(UNIT, deadline=NOW)
    moved = decide_while_queued(late, full, StarvationTimer(), RULES, NOW)
    assert isinstance(moved, MoveToOnDemand)


def test_without_fallback_a_starving_job_waits() -> None:
    late = replace(UNIT, priority="high", deadline=NOW)
    decision = decide_while_queued(late, QueueState.STARVING, starving_for(1e6), NO_FALLBACK, NOW)
    assert isinstance(decision, Wait) and "fallback_to_ondemand: false" in decision.reason


def test_decisions_are_at_least_a_second_apart() -> None:
    decision = decide_while_queued(UNIT, QueueState.STARVING, starving_for(299.9999), RULES, NOW)
    assert isinstance(decision, Wait) and decision.recheck_seconds == 1


# Properties

MONEY = st.decimals("0.01", "10", places=4)
OFFERS = st.lists(
    st.builds(
        Offer,
        instance_type=st.sampled_from(["g4dn.xlarge", "g5.xlarge", "g6.xlarge"]),
        zone=st.sampled_from(["eu-north-1a", "eu-north-1b"]),
        spot=MONEY,
        on_demand=MONEY,
        speed=st.floats(0.2, 5),
        interruptions_per_hour=st.floats(0, 20),
    ),
    max_size=5,
)
PRIORITIES: list[Priority] = ["low", "normal", "high"]
UNITS = st.builds(
    UnitState,
    work_seconds=st.floats(1, 1e5),
    ready_since=st.floats(NOW - 1e5, NOW),
    priority=st.sampled_from(PRIORITIES),
    deadline=st.none() | st.floats(NOW - 1e5, NOW + 1e6),
    interruptions=st.integers(0, 20),
    crashes_without_progress=st.integers(0, 10),
    failed_starts=st.integers(0, 10),
)
ON_SPOT = st.builds(
    rules,
    bid_percentage=st.integers(1, 100),
    fallback_to_ondemand=st.booleans(),
    fallback_timeout=st.integers(0, 10_000),
    cost_threshold=st.floats(0, 1),
    max_spot_interruptions=st.integers(0, 20),
    enabled=st.booleans(),
)
LATER = st.floats(0, 1e6)
STATES = st.sampled_from(QueueState)
TIMERS = st.builds(StarvationTimer, st.none() | st.floats(NOW - 1e5, NOW))
OUTCOMES = st.sampled_from([each for each in AttemptOutcome if each is not AttemptOutcome.DONE])
FAILED_JOBS = st.builds(
    FailedJob, st.sampled_from(Queue), OUTCOMES, st.just("reason"), st.none() | st.just("starved")
)


def uses_on_demand(decision: object) -> bool:
    """Return True if a decision leads to an on-demand machine."""
    if isinstance(decision, Submit | Resume):
        return decision.queue is Queue.ON_DEMAND
    return isinstance(decision, MoveToOnDemand)


def uses_spot(decision: object) -> bool:
    return isinstance(decision, Submit | Resume) and decision.queue is not Queue.ON_DEMAND


@given(UNITS, OFFERS, ON_SPOT, STATES, TIMERS, FAILED_JOBS)
def test_on_demand_is_never_used_without_fallback(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    state: QueueState,
    timer: StarvationTimer,
    job: FailedJob,
) -> None:
    compute = given_rules.compute.model_copy(update={"fallback_to_ondemand": False})
    forbidding = replace(given_rules, compute=compute)
    assert not uses_on_demand(choose_queue(unit, offers, forbidding, NOW))
    assert not uses_on_demand(decide_while_queued(unit, state, timer, forbidding, NOW))
    if job.queue is not Queue.ON_DEMAND and job.moving is None:
        assert not uses_on_demand(next_after_failure(unit, job, offers, forbidding, NOW))


@given(UNITS, OFFERS, ON_SPOT)
def test_spot_is_never_chosen_above_the_bid(
    unit: UnitState, offers: list[Offer], given_rules: Rules
) -> None:
    bid = given_rules.compute.bid_percentage
    over = [offer for offer in offers if not offer.within_bid(bid)]
    assert not uses_spot(choose_queue(unit, over, given_rules, NOW))
    interrupted = FailedJob(Queue.SPOT, AttemptOutcome.INTERRUPTED, "reason")
    assert not uses_spot(next_after_failure(unit, interrupted, over, given_rules, NOW))


@given(UNITS, ON_SPOT, FAILED_JOBS)
def test_a_bug_never_leads_to_on_demand(
    unit: UnitState, given_rules: Rules, job: FailedJob
) -> None:
    bugs = [
        *CRASHES,
        AttemptOutcome.CANNOT_START,
        AttemptOutcome.FAILED,
        AttemptOutcome.NEVER_PLACEABLE,
    ]
    for outcome in bugs:
        of_ours = replace(job, outcome=outcome, queue=Queue.SPOT, moving=None)
        assert not uses_on_demand(next_after_failure(unit, of_ours, [OVER_BID], given_rules, NOW))


@given(UNITS, OFFERS, ON_SPOT, STATES, TIMERS, FAILED_JOBS)
def test_every_decision_has_a_reason_in_one_line(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    state: QueueState,
    timer: StarvationTimer,
    job: FailedJob,
) -> None:
    for decision in (
        choose_queue(unit, offers, given_rules, NOW),
        decide_while_queued(unit, state, timer, given_rules, NOW),
        next_after_failure(unit, job, offers, given_rules, NOW),
    ):
        assert decision.reason and decision.action and "\n" not in decision.reason
        if isinstance(decision, Wait):
            assert 1 <= decision.recheck_seconds <= 300


@given(UNITS, OFFERS, ON_SPOT, st.data())
def test_a_lower_price_never_leads_away_from_spot(
    unit: UnitState, offers: list[Offer], given_rules: Rules, data: st.DataObject
) -> None:
    lower = [
        replace(offer, spot=offer.spot * data.draw(st.decimals("0.1", "1", places=2)))
        for offer in offers
    ]
    if uses_spot(choose_queue(unit, offers, given_rules, NOW)):
        assert uses_spot(choose_queue(unit, lower, given_rules, NOW))
    if uses_on_demand(choose_queue(unit, lower, given_rules, NOW)):
        assert uses_on_demand(choose_queue(unit, offers, given_rules, NOW))


@given(UNITS, OFFERS, ON_SPOT, STATES, TIMERS, LATER)
def test_a_unit_that_may_use_on_demand_now_may_use_it_later(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    state: QueueState,
    timer: StarvationTimer,
    later: float,
) -> None:
    if uses_on_demand(choose_queue(unit, offers, given_rules, NOW)):
        assert uses_on_demand(choose_queue(unit, offers, given_rules, NOW + later))
    if uses_on_demand(decide_while_queued(unit, state, timer, given_rules, NOW)):
        assert uses_on_demand(decide_while_queued(unit, state, timer, given_rules, NOW + later))


@given(UNITS, OFFERS, ON_SPOT, STATES, TIMERS, FAILED_JOBS)
def test_a_higher_priority_never_falls_back_later(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    state: QueueState,
    timer: StarvationTimer,
    job: FailedJob,
) -> None:
    low, normal, high = (replace(unit, priority=priority) for priority in PRIORITIES)
    for lower, higher in [(low, normal), (normal, high)]:
        for decide in (
            lambda one: choose_queue(one, offers, given_rules, NOW),
            lambda one: decide_while_queued(one, state, timer, given_rules, NOW),
            lambda one: next_after_failure(one, job, offers, given_rules, NOW),
        ):
            if uses_on_demand(decide(lower)):
                assert uses_on_demand(decide(higher))


@given(UNITS, OFFERS, ON_SPOT, LATER)
def test_a_decision_to_wait_holds_until_its_recheck(
    unit: UnitState, offers: list[Offer], given_rules: Rules, sooner: float
) -> None:
    """Time alone does not change a decision before its recheck."""
    decision = choose_queue(unit, offers, given_rules, NOW)
    if isinstance(decision, Wait) and decision.recheck_seconds > 1:
        between = NOW + min(sooner, decision.recheck_seconds * 0.99)
        assert isinstance(choose_queue(unit, offers, given_rules, between), Wait)


@given(UNITS, STATES, TIMERS, ON_SPOT, st.floats(0, QUEUE_POLL_SECONDS))
def test_a_decision_to_wait_in_a_queue_holds_until_its_recheck(
    unit: UnitState,
    state: QueueState,
    timer: StarvationTimer,
    given_rules: Rules,
    sooner: float,
) -> None:
    decision = decide_while_queued(unit, state, timer, given_rules, NOW)
    if isinstance(decision, Wait) and 1 < decision.recheck_seconds > sooner:
        assert isinstance(decide_while_queued(unit, state, timer, given_rules, NOW + sooner), Wait)
