"""What a launch that goes on has cost, and is going to."""

from decimal import Decimal
from typing import Any

import pytest

from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
from resources.launch.running_cost import RunningCost, cost_since, running_cost, seconds_left
from resources.pricing.economics import Offer, Overheads, on_demand_usd, spot_usd

OFFERS = [
    Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558")),
    Offer("g5.xlarge", "eu-north-1b", Decimal("0.4419"), Decimal("1.067")),
]


def attempt(started_at: float | None = 0.0, **facts: Any) -> Attempt:
    return Attempt("job", facts.pop("queue", "spot"), "why", 0.0, started_at=started_at, **facts)


def unit(*attempts: Attempt, seconds: float = 3600, outcome: Any = "open") -> UnitRecord:
    return UnitRecord(0, None, None, seconds, outcome, attempts=list(attempts))


def cost(*units: UnitRecord, usd: str = "1", at_once: int = 2, now: float = 0.0) -> RunningCost:
    record = LaunchRecord("work", "settings", 1, 0.0, list(units))
    return running_cost(Decimal(usd), record, OFFERS, at_once, now)


def test_work_that_has_not_begun_takes_as_long_as_was_expected() -> None:
    assert seconds_left(unit(), 100.0) == 3600
    assert seconds_left(unit(attempt(None)), 100.0) == 3600


def test_a_worker_that_is_under_way_tells_by_its_speed_how_long_it_takes() -> None:
    running = attempt(looked_at=25, to_look_at=100, looking_since=100.0)
    assert seconds_left(unit(running), 700.0) == pytest.approx(1800)


def test_one_that_has_hardly_begun_is_taken_to_be_as_fast_as_was_expected() -> None:
    running = attempt(looked_at=1, to_look_at=100, looking_since=0.0)
    assert seconds_left(unit(running), 600.0) == 3000
    assert seconds_left(unit(running), 10_000.0) == 2000, "it is overdue"


def test_what_is_left_costs_what_its_machine_costs() -> None:
    host = {"instance_type": "g5.xlarge"}
    under_way = Overheads(boot_seconds=0, start_seconds=0)
    spot = cost(unit(attempt(host=host)))
    assert float(spot.usd_left) == pytest.approx(spot_usd(OFFERS[1], 3600, under_way), abs=1e-6)
    waiting = cost(unit(attempt(None, queue="ondemand")))
    expected = on_demand_usd(OFFERS[0], 3600, Overheads())
    assert float(waiting.usd_left) == pytest.approx(expected, abs=1e-6)


def test_units_that_are_done_or_set_aside_cost_no_more() -> None:
    assert cost(unit(outcome="done"), unit(outcome="set aside")) == RunningCost(
        Decimal(1), Decimal(0), 0.0
    )


def test_time_is_that_of_the_longest_job_or_of_all_in_turn() -> None:
    assert cost(unit(seconds=100), unit(seconds=900)).seconds_left == 900
    assert cost(*[unit(seconds=100)] * 10).seconds_left == 500


def test_a_sum_is_told_when_it_has_changed_by_a_tenth_of_the_whole() -> None:
    first = RunningCost(Decimal("1"), Decimal("9"), 100)
    assert first.differs_from(None)
    assert not RunningCost(Decimal("1.9"), Decimal("8.1"), 90).differs_from(first)
    assert RunningCost(Decimal("2"), Decimal("8"), 80).differs_from(first)
    assert RunningCost(Decimal("1"), Decimal("12"), 80).differs_from(first)
    nearly = RunningCost(Decimal("9.9"), Decimal("0.1"), 10)
    assert RunningCost(Decimal("9.95"), Decimal(0), 0).differs_from(nearly), "it is done"


def test_nothing_is_told_before_anything_has_cost() -> None:
    assert not RunningCost(Decimal(0), Decimal(9), 100).differs_from(None)


def test_it_is_told_in_words_and_tags() -> None:
    running = RunningCost(Decimal("0.12"), Decimal("0.3"), 7800)
    assert running.spoken == "cost so far $0.1200, about $0.3000 and 2 h 10 min to go"
    assert running.tags == {
        "munin/cost_so_far_usd": "0.120000",
        "munin/cost_left_usd": "0.300000",
    }
    assert running.as_event["short"] == "$0.1200 of $0.4200"
    assert RunningCost(Decimal("0.4"), Decimal(0), 0).spoken == "cost so far $0.4000"


def test_a_job_that_has_ended_since_is_not_forgotten() -> None:
    since = unit(attempt(0.0, end="done", ended_at=6400.0))
    record = LaunchRecord("work", "settings", 1, 0.0, [since])
    assert float(cost_since(record, OFFERS, since=4600.0, now=8200.0)) == pytest.approx(0.1881 / 2)


def test_between_two_looks_at_the_ledger_the_jobs_that_run_go_on_costing() -> None:
    runs = unit(attempt(1000.0, host={"instance_type": "g5.xlarge"}))
    on_demand = unit(attempt(4600.0, queue="ondemand"))
    before = unit(attempt(0.0, end="done", ended_at=4000.0))
    record = LaunchRecord("work", "settings", 1, 0.0, [runs, on_demand, before, unit()])
    usd = cost_since(record, OFFERS, since=4600.0, now=8200.0)
    assert float(usd) == pytest.approx(0.4419 + 0.558)
