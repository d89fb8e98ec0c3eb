"""When spot, when to wait, when on-demand."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.attempt_ends import AttemptEnd
from resources.profile import Compute, CostOptimization
from resources.spot_economics import Offer, Overheads
from resources.spot_policy import (
    LOOK_AT_QUEUE_SECONDS,
    MOST_FAILED_STARTS,
    MOST_FRUITLESS_DEATHS,
    Environment,
    Fail,
    JobEnd,
    MoveToOnDemand,
    Priority,
    Queue,
    Resume,
    Rules,
    SetAside,
    Standing,
    StarvationTimer,
    Submit,
    UnitState,
    Wait,
    after_end,
    before_submit,
    slack,
    standings,
    while_runnable,
)

NOW = 1_795_000_000.0
HOUR = 3600.0
RULES = Rules(Compute(), CostOptimization())
UNIT = UnitState(work_seconds=HOUR, ready_since=NOW)
CHEAP = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
# Within the bid of 70 %, but saving less than half.
POOR = replace(CHEAP, spot=Decimal("0.33"))
OVER_BID = replace(CHEAP, spot=Decimal("0.40"))


def rules(**changes: object) -> Rules:
    """The usual rules with some keys of compute or cost_optimization changed."""
    of_compute = {key: value for key, value in changes.items() if key in Compute.model_fields}
    of_cost = {key: value for key, value in changes.items() if key in CostOptimization.model_fields}
    assert len(of_compute) + len(of_cost) == len(changes)
    return Rules(Compute.model_validate(of_compute), CostOptimization.model_validate(of_cost))


NO_FALLBACK = rules(fallback_to_ondemand=False)


def starving_for(seconds: float) -> StarvationTimer:
    return StarvationTimer(NOW - seconds)


# Before a unit is submitted


@pytest.mark.parametrize(
    ("priority", "queue"), [("low", "spot"), ("normal", "spot"), ("high", "spot-high")]
)
def test_a_good_price_is_taken_at_once(priority: Priority, queue: Queue) -> None:
    decision = before_submit(replace(UNIT, priority=priority), [POOR, CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == queue
    assert "g4dn.xlarge in eu-north-1a at $0.1881/h saves 6" in decision.reason
    assert "50%" in decision.reason


def test_without_a_deadline_a_poor_price_is_waited_out() -> None:
    for priority in ("low", "normal"):
        unit = replace(UNIT, priority=priority, ready_since=NOW - 30 * 24 * HOUR)
        decision = before_submit(unit, [POOR], RULES, NOW)
        assert isinstance(decision, Wait)
        assert "less than the 50% of cost_threshold" in decision.reason


def test_a_price_over_the_bid_is_waited_out_though_it_saves_enough() -> None:
    strict = rules(bid_percentage=30)
    decision = before_submit(UNIT, [CHEAP], strict, NOW)
    assert isinstance(decision, Wait)
    assert "no spot offer is within 30 % of on-demand (bid_percentage)" in decision.reason
    assert "g4dn.xlarge in eu-north-1a at 34%" in decision.reason


def test_when_the_deadline_leaves_no_time_on_demand_is_paid_for() -> None:
    late = replace(UNIT, deadline=NOW + HOUR)
    for offer in (POOR, OVER_BID):
        decision = before_submit(late, [offer], RULES, NOW)
        assert isinstance(decision, Submit) and decision.queue == "ondemand"
        assert "the deadline leaves no time" in decision.reason


def test_a_deadline_does_not_turn_down_a_good_price() -> None:
    decision = before_submit(replace(UNIT, deadline=NOW), [CHEAP], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "spot"


def test_the_deadline_is_kept_with_a_margin_of_15_percent() -> None:
    needed = 1.15 * (HOUR + 240 + 30)
    assert slack(replace(UNIT, deadline=NOW + needed), NOW, Overheads()) == pytest.approx(0)
    unit = replace(UNIT, deadline=NOW + needed + 10)
    decision = before_submit(unit, [POOR], RULES, NOW)
    assert isinstance(decision, Wait) and decision.look_again_in == pytest.approx(10)
    assert isinstance(before_submit(unit, [POOR], RULES, NOW + 10.1), Submit)


def test_high_priority_waits_for_a_price_as_long_as_fallback_timeout() -> None:
    unit = replace(UNIT, priority="high")
    waits = before_submit(unit, [POOR], RULES, NOW + 299)
    assert isinstance(waits, Wait) and waits.look_again_in == pytest.approx(1)
    decision = before_submit(unit, [POOR], RULES, NOW + 300)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"
    assert "fallback_timeout" in decision.reason


def test_low_priority_pays_for_on_demand_only_for_a_deadline() -> None:
    low = replace(UNIT, priority="low")
    assert isinstance(before_submit(low, [OVER_BID], RULES, NOW + 30 * 24 * HOUR), Wait)
    late = replace(low, deadline=NOW)
    decision = before_submit(late, [OVER_BID], RULES, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"


def test_where_on_demand_is_not_allowed_a_late_unit_takes_the_poor_price() -> None:
    late = replace(UNIT, deadline=NOW)
    decision = before_submit(late, [POOR], NO_FALLBACK, NOW)
    assert isinstance(decision, Submit) and decision.queue == "spot"
    assert "fallback_to_ondemand: false" in decision.reason


def test_where_on_demand_is_not_allowed_nothing_lifts_the_bid() -> None:
    late = replace(UNIT, deadline=NOW, priority="high")
    decision = before_submit(late, [OVER_BID], NO_FALLBACK, NOW)
    assert isinstance(decision, Wait)
    assert "fallback_to_ondemand: false" in decision.reason


def test_no_known_offer_is_said() -> None:
    decision = before_submit(UNIT, [], RULES, NOW)
    assert isinstance(decision, Wait) and "instance_types" in decision.reason


def test_a_small_unit_saves_less_by_rate_but_the_same_by_share() -> None:
    """Start-up is paid on both sides; what has no discount weighs the same."""
    for seconds in (60.0, HOUR, 10 * HOUR):
        unit = replace(UNIT, work_seconds=seconds)
        assert isinstance(before_submit(unit, [CHEAP], rules(cost_threshold=0.64), NOW), Submit)
        assert isinstance(before_submit(unit, [CHEAP], rules(cost_threshold=0.66), NOW), Wait)


def test_of_several_offers_the_one_that_does_the_work_cheapest_is_named() -> None:
    twice = Offer("g6.xlarge", "eu-north-1b", Decimal("0.3183"), Decimal("0.8536"), speed=2.0)
    decision = before_submit(UNIT, [CHEAP, twice], RULES, NOW)
    assert "g6.xlarge in eu-north-1b" in decision.reason


@pytest.mark.parametrize(
    ("key", "fallback"),
    [("spot_instances", True), ("spot_instances", False), ("spot_preferred", True)],
)
def test_a_profile_without_spot_runs_on_demand(key: str, fallback: bool) -> None:
    """That is its first choice, not a fallback."""
    without = rules(**{key: False, "fallback_to_ondemand": fallback})
    decision = before_submit(UNIT, [CHEAP], without, NOW)
    assert isinstance(decision, Submit) and decision.queue == "ondemand"
    assert f"{key}: false" in decision.reason


def test_a_profile_that_prefers_on_demand_but_allows_none_runs_on_spot() -> None:
    """`cost setup` makes no on-demand machines for it."""
    neither = rules(spot_preferred=False, fallback_to_ondemand=False)
    decision = before_submit(UNIT, [CHEAP], neither, NOW)
    assert isinstance(decision, Submit) and decision.queue == "spot"


def test_without_cost_optimization_no_price_is_weighed_and_none_waited_for() -> None:
    off = rules(enabled=False)
    taken = before_submit(UNIT, [POOR], off, NOW)
    assert isinstance(taken, Submit) and taken.queue == "spot"
    over = before_submit(UNIT, [OVER_BID], off, NOW)
    assert isinstance(over, Submit) and over.queue == "ondemand"
    assert "enabled: false" in over.reason


# While it waits in a queue


def test_a_job_whose_machine_boots_waits_however_long() -> None:
    late = replace(UNIT, priority="high", deadline=NOW)
    timer = starving_for(10_000)
    assert isinstance(while_runnable(late, Standing.MACHINE_COMING, timer, RULES, NOW), Wait)


def test_starving_is_borne_for_fallback_timeout() -> None:
    before = while_runnable(UNIT, Standing.STARVING, starving_for(290), RULES, NOW)
    assert isinstance(before, Wait) and before.look_again_in == pytest.approx(10)
    said = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    moved = while_runnable(UNIT, Standing.STARVING, starving_for(300), RULES, NOW, said)
    assert isinstance(moved, MoveToOnDemand)
    assert "300 s of 300 s (fallback_timeout)" in moved.reason and said in moved.reason


def test_a_timeout_of_zero_does_not_wait() -> None:
    timer = StarvationTimer().update(NOW, starving=True)
    at_once = rules(fallback_timeout=0)
    assert isinstance(while_runnable(UNIT, Standing.STARVING, timer, at_once, NOW), MoveToOnDemand)


def test_low_priority_starves_on() -> None:
    low = replace(UNIT, priority="low")
    decision = while_runnable(low, Standing.STARVING, starving_for(1e6), RULES, NOW)
    assert isinstance(decision, Wait) and "priority low" in decision.reason
    late = replace(low, deadline=NOW)
    moved = while_runnable(late, Standing.STARVING, starving_for(0), RULES, NOW)
    assert isinstance(moved, MoveToOnDemand) and "deadline" in moved.reason


def test_queueing_behind_a_full_environment_is_patient_until_the_deadline() -> None:
    full = Standing.FULL
    assert isinstance(while_runnable(UNIT, full, StarvationTimer(), RULES, NOW + 1e6), Wait)
    late = replace(UNIT, deadline=NOW)
    moved = while_runnable(late, full, StarvationTimer(), RULES, NOW)
    assert isinstance(moved, MoveToOnDemand)


def test_without_fallback_a_job_starves_on() -> None:
    late = replace(UNIT, priority="high", deadline=NOW)
    decision = while_runnable(late, Standing.STARVING, starving_for(1e6), NO_FALLBACK, NOW)
    assert isinstance(decision, Wait) and "fallback_to_ondemand: false" in decision.reason


def test_nobody_looks_more_often_than_once_a_second() -> None:
    decision = while_runnable(UNIT, Standing.STARVING, starving_for(299.9999), RULES, NOW)
    assert isinstance(decision, Wait) and decision.look_again_in == 1


# Who starves


def test_the_first_waiting_jobs_take_what_is_free_then_what_could_grow() -> None:
    """Two machines of 4 vCPUs exist, one is busy; two more may come."""
    environment = Environment(max_vcpus=16, machine_vcpus=8, busy_vcpus=4)
    coming, starving, full = Standing.MACHINE_COMING, Standing.STARVING, Standing.FULL
    assert standings(environment, [4] * 5) == [coming, starving, starving, full, full]


def test_a_small_job_may_fit_where_a_large_one_does_not() -> None:
    environment = Environment(max_vcpus=8, machine_vcpus=6, busy_vcpus=4)
    assert standings(environment, [4, 2]) == [Standing.FULL, Standing.MACHINE_COMING]


def test_batch_may_exceed_its_maximum_by_a_machine() -> None:
    assert standings(Environment(10, 12, 12), [4]) == [Standing.FULL]


VCPUS = st.integers(0, 200)


@given(VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_behind_a_full_environment_nobody_starves(maximum: int, needs: list[int]) -> None:
    full = Environment(maximum, machine_vcpus=maximum, busy_vcpus=maximum)
    assert Standing.STARVING not in standings(full, needs)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_what_jobs_are_said_to_starve_for_can_be_had(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = Environment(maximum, machines, busy)
    found = standings(environment, needs)
    assert len(found) == len(needs)
    for standing, room in [
        (Standing.MACHINE_COMING, machines - busy),
        (Standing.STARVING, maximum - machines),
    ]:
        taken = sum(need for need, is_ in zip(needs, found, strict=True) if is_ is standing)
        assert taken <= max(0, room)


@given(VCPUS, VCPUS, VCPUS, st.lists(st.sampled_from([2, 4, 8]), max_size=30))
def test_who_comes_later_takes_nothing_from_who_came_before(
    maximum: int, machines: int, busy: int, needs: list[int]
) -> None:
    environment = Environment(maximum, machines, busy)
    found = standings(environment, needs)
    for count in range(len(needs)):
        assert standings(environment, needs[:count]) == found[:count]


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


DEATHS = [AttemptEnd.CRASHED, AttemptEnd.OUT_OF_MEMORY, AttemptEnd.TIME_LIMIT]


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


# Whatever is known

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
QUEUES: list[Queue] = ["spot-high", "spot", "ondemand"]
UNITS = st.builds(
    UnitState,
    work_seconds=st.floats(1, 1e5),
    ready_since=st.floats(NOW - 1e5, NOW),
    priority=st.sampled_from(PRIORITIES),
    deadline=st.none() | st.floats(NOW - 1e5, NOW + 1e6),
    interruptions=st.integers(0, 20),
    fruitless_deaths=st.integers(0, 10),
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
STANDINGS = st.sampled_from(Standing)
TIMERS = st.builds(StarvationTimer, st.none() | st.floats(NOW - 1e5, NOW))
ENDS = st.sampled_from([end for end in AttemptEnd if end is not AttemptEnd.DONE])
ENDED = st.builds(
    JobEnd, st.sampled_from(QUEUES), ENDS, st.just("said"), st.none() | st.just("starved")
)


def buys(decision: object) -> bool:
    """Whether a decision leads to an on-demand machine."""
    if isinstance(decision, Submit | Resume):
        return decision.queue == "ondemand"
    return isinstance(decision, MoveToOnDemand)


def goes_on_spot(decision: object) -> bool:
    return isinstance(decision, Submit | Resume) and decision.queue != "ondemand"


@given(UNITS, OFFERS, ON_SPOT, STANDINGS, TIMERS, ENDED)
def test_on_demand_is_never_paid_for_where_it_is_not_allowed(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    standing: Standing,
    timer: StarvationTimer,
    end: JobEnd,
) -> None:
    compute = given_rules.compute.model_copy(update={"fallback_to_ondemand": False})
    forbidding = replace(given_rules, compute=compute)
    assert not buys(before_submit(unit, offers, forbidding, NOW))
    assert not buys(while_runnable(unit, standing, timer, forbidding, NOW))
    if end.queue != "ondemand" and end.moving is None:
        assert not buys(after_end(unit, end, offers, forbidding, NOW))


@given(UNITS, OFFERS, ON_SPOT)
def test_spot_is_never_chosen_above_the_bid(
    unit: UnitState, offers: list[Offer], given_rules: Rules
) -> None:
    bid = given_rules.compute.bid_percentage
    over = [offer for offer in offers if not offer.within_bid(bid)]
    assert not goes_on_spot(before_submit(unit, over, given_rules, NOW))
    interrupted = JobEnd("spot", AttemptEnd.INTERRUPTED, "said")
    assert not goes_on_spot(after_end(unit, interrupted, over, given_rules, NOW))


@given(UNITS, ON_SPOT, ENDED)
def test_a_bug_never_buys_on_demand(unit: UnitState, given_rules: Rules, end: JobEnd) -> None:
    bugs = [*DEATHS, AttemptEnd.CANNOT_START, AttemptEnd.FAILED, AttemptEnd.NEVER_PLACEABLE]
    for how in bugs:
        of_ours = replace(end, how=how, queue="spot", moving=None)
        assert not buys(after_end(unit, of_ours, [OVER_BID], given_rules, NOW))


@given(UNITS, OFFERS, ON_SPOT, STANDINGS, TIMERS, ENDED)
def test_every_decision_has_a_reason_in_one_line(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    standing: Standing,
    timer: StarvationTimer,
    end: JobEnd,
) -> None:
    for decision in (
        before_submit(unit, offers, given_rules, NOW),
        while_runnable(unit, standing, timer, given_rules, NOW),
        after_end(unit, end, offers, given_rules, NOW),
    ):
        assert decision.reason and decision.action and "\n" not in decision.reason
        if isinstance(decision, Wait):
            assert 1 <= decision.look_again_in <= 300


@given(UNITS, OFFERS, ON_SPOT, st.data())
def test_a_lower_price_never_loses_spot(
    unit: UnitState, offers: list[Offer], given_rules: Rules, data: st.DataObject
) -> None:
    lower = [
        replace(offer, spot=offer.spot * data.draw(st.decimals("0.1", "1", places=2)))
        for offer in offers
    ]
    if goes_on_spot(before_submit(unit, offers, given_rules, NOW)):
        assert goes_on_spot(before_submit(unit, lower, given_rules, NOW))
    if buys(before_submit(unit, lower, given_rules, NOW)):
        assert buys(before_submit(unit, offers, given_rules, NOW))


@given(UNITS, OFFERS, ON_SPOT, STANDINGS, TIMERS, LATER)
def test_who_may_buy_now_may_buy_later(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    standing: Standing,
    timer: StarvationTimer,
    later: float,
) -> None:
    if buys(before_submit(unit, offers, given_rules, NOW)):
        assert buys(before_submit(unit, offers, given_rules, NOW + later))
    if buys(while_runnable(unit, standing, timer, given_rules, NOW)):
        assert buys(while_runnable(unit, standing, timer, given_rules, NOW + later))


@given(UNITS, OFFERS, ON_SPOT, STANDINGS, TIMERS, ENDED)
def test_a_higher_priority_is_never_slower_to_fall_back(
    unit: UnitState,
    offers: list[Offer],
    given_rules: Rules,
    standing: Standing,
    timer: StarvationTimer,
    end: JobEnd,
) -> None:
    low, normal, high = (replace(unit, priority=priority) for priority in PRIORITIES)
    for lower, higher in [(low, normal), (normal, high)]:
        for decide in (
            lambda one: before_submit(one, offers, given_rules, NOW),
            lambda one: while_runnable(one, standing, timer, given_rules, NOW),
            lambda one: after_end(one, end, offers, given_rules, NOW),
        ):
            if buys(decide(lower)):
                assert buys(decide(higher))


@given(UNITS, OFFERS, ON_SPOT, LATER)
def test_the_next_look_does_not_miss_the_moment(
    unit: UnitState, offers: list[Offer], given_rules: Rules, sooner: float
) -> None:
    """Between a decision to wait and its next look, time alone changes nothing."""
    decision = before_submit(unit, offers, given_rules, NOW)
    if isinstance(decision, Wait) and decision.look_again_in > 1:
        between = NOW + min(sooner, decision.look_again_in * 0.99)
        assert isinstance(before_submit(unit, offers, given_rules, between), Wait)


@given(UNITS, STANDINGS, TIMERS, ON_SPOT, st.floats(0, LOOK_AT_QUEUE_SECONDS))
def test_the_next_look_at_a_queue_does_not_miss_the_moment(
    unit: UnitState,
    standing: Standing,
    timer: StarvationTimer,
    given_rules: Rules,
    sooner: float,
) -> None:
    decision = while_runnable(unit, standing, timer, given_rules, NOW)
    if isinstance(decision, Wait) and 1 < decision.look_again_in > sooner:
        assert isinstance(while_runnable(unit, standing, timer, given_rules, NOW + sooner), Wait)
