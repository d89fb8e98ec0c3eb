"""The cost of a running launch so far, and its expected rest."""

from decimal import Decimal
from typing import Any

import pytest

from resources.batch.launch_record import Attempt, LaunchRecord, UnitOutcome, UnitRecord
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.launch.running_cost import RunningCost, cost_since, running_cost, seconds_left
from resources.pricing.economics import Offer, Overheads, on_demand_usd, spot_usd

OFFERS = [
    Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558")),
    Offer("g5.xlarge", "eu-north-1b", Decimal("0.4419"), Decimal("1.067")),
]


def attempt(started_at: float | None = 0.0, **facts: Any) -> Attempt:
    queue = facts.pop("queue", Queue.SPOT)
    return Attempt("job", queue, "reason", 0.0, started_at=started_at, **facts)


def unit(
    *attempts: Attempt, seconds: float = 3600, outcome: UnitOutcome = UnitOutcome.OPEN
) -> UnitRecord:
    return UnitRecord(0, None, None, seconds, outcome, attempts=list(attempts))


def cost(
    *units: UnitRecord, usd: str = "1", parallel_jobs: int = 2, now: float = 0.0
) -> RunningCost:
    record = LaunchRecord("work", "settings", 1, 0.0, list(units))
    return running_cost(Decimal(usd), record, OFFERS, parallel_jobs, now)


def test_a_unit_that_has_not_started_takes_its_expected_time() -> None:
    assert seconds_left(unit(), 100.0) == 3600
    assert seconds_left(unit(attempt(None)), 100.0) == 3600


def test_a_running_worker_is_expected_to_continue_at_its_speed() -> None:
    running = attempt(looked_at=25, to_look_at=100, looking_since=100.0)
    assert seconds_left(unit(running), 700.0) == pytest.approx(1800)


def test_a_worker_that_has_just_started_is_expected_to_take_its_expected_time() -> None:
    running = attempt(looked_at=1, to_look_at=100, looking_since=0.0)
    assert seconds_left(unit(running), 600.0) == 3000
    assert seconds_left(unit(running), 10_000.0) == 2000, "it is overdue"


def test_the_rest_is_expected_at_the_price_of_its_machine() -> None:
    host = {"instance_type": "g5.xlarge"}
    running_overheads = Overheads(boot_seconds=0, start_seconds=0)
    spot = cost(unit(attempt(host=host)))
    assert float(spot.usd_left) == pytest.approx(
        spot_usd(OFFERS[1], 3600, running_overheads), abs=1e-6
    )
    waiting = cost(unit(attempt(None, queue=Queue.ON_DEMAND)))
    expected = on_demand_usd(OFFERS[0], 3600, Overheads())
    assert float(waiting.usd_left) == pytest.approx(expected, abs=1e-6)


def test_units_that_are_done_or_set_aside_have_no_expected_cost() -> None:
    assert cost(unit(outcome=UnitOutcome.DONE), unit(outcome=UnitOutcome.SET_ASIDE)) == RunningCost(
        Decimal(1), Decimal(0), 0.0
    )


def test_the_time_left_is_that_of_the_longest_job_or_of_all_over_the_parallel_jobs() -> None:
    assert cost(unit(seconds=100), unit(seconds=900)).seconds_left == 900
    assert cost(*[unit(seconds=100)] * 10).seconds_left == 500


def test_a_cost_is_reported_when_it_has_changed_by_a_tenth_of_the_total() -> None:
    first = RunningCost(Decimal("1"), Decimal("9"), 100)
    assert first.differs_from(None)
    assert not RunningCost(Decimal("1.9"), Decimal("8.1"), 90).differs_from(first)
    assert RunningCost(Decimal("2"), Decimal("8"), 80).differs_from(first)
    assert RunningCost(Decimal("1"), Decimal("12"), 80).differs_from(first)
    nearly = RunningCost(Decimal("9.9"), Decimal("0.1"), 10)
    assert RunningCost(Decimal("9.95"), Decimal(0), 0).differs_from(nearly), "it is done"


def test_nothing_is_reported_before_there_is_any_cost() -> None:
    assert not RunningCost(Decimal(0), Decimal(9), 100).differs_from(None)


def test_the_cost_is_formatted_as_log_line_and_tags() -> None:
    running = RunningCost(Decimal("0.12"), Decimal("0.3"), 7800)
    assert running.log_line == "cost so far $0.1200, about $0.3000 and 2 h 10 min to go"
    assert running.tags == {
        "munin/cost_so_far_usd": "0.120000",
        "munin/cost_left_usd": "0.300000",
    }
    assert running.as_event["short"] == "$0.1200 of $0.4200"
    assert RunningCost(Decimal("0.4"), Decimal(0), 0).log_line == "cost so far $0.4000"


def test_a_job_that_ended_since_the_last_ledger_update_is_counted() -> None:
    since = unit(attempt(0.0, end=AttemptOutcome.DONE, ended_at=6400.0))
    record = LaunchRecord("work", "settings", 1, 0.0, [since])
    assert float(cost_since(record, OFFERS, since=4600.0, now=8200.0)) == pytest.approx(0.1881 / 2)


def test_running_jobs_are_counted_between_two_ledger_updates() -> None:
    running = unit(attempt(1000.0, host={"instance_type": "g5.xlarge"}))
    on_demand = unit(attempt(4600.0, queue=Queue.ON_DEMAND))
    before = unit(attempt(0.0, end=AttemptOutcome.DONE, ended_at=4000.0))
    record = LaunchRecord("work", "settings", 1, 0.0, [running, on_demand, before, unit()])
    usd = cost_since(record, OFFERS, since=4600.0, now=8200.0)
    assert float(usd) == pytest.approx(0.4419 + 0.558)
