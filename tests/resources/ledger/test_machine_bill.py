"""Allocation of a machine's seconds to jobs and overhead."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from resources.ledger.aws_usage import Machine
from resources.ledger.machine_bill import JobInterval, machine_bill
from resources.pricing.prices import FREE_REMARK, Market, PriceBook, Quote

LAUNCHED = datetime(2026, 11, 1, 9, tzinfo=UTC).timestamp()
ZONE = "eu-north-1a"
HOUR = 3600.0


def quote(usd: str, market: Market, at: float = 0.0) -> Quote:
    return Quote(
        item="g4dn.xlarge",
        usd=Decimal(usd),
        unit="hour",
        as_of=datetime.fromtimestamp(LAUNCHED + at, UTC),
        source="the test",
        verified=True,
        market=market,
        zone=ZONE if market == Market.SPOT else None,
    )


# A cent for 100 s on spot, four cents on demand.
BOOK = PriceBook("eu-north-1", (quote("0.36", Market.SPOT), quote("1.44", Market.ON_DEMAND)))


def machine(lived: float | None, market: Market = Market.SPOT, **more: Any) -> Machine:
    ended = None if lived is None else LAUNCHED + lived
    seen = LAUNCHED + (1000 if lived is None else lived)
    known = {"ended": ended, "end_known": ended is not None, "seen_at": seen}
    return Machine(
        instance_id="i-1",
        instance_type="g4dn.xlarge",
        zone=ZONE,
        market=market,
        launched=LAUNCHED,
        **(known | more),
    )


def interval(job: str, start: float, end: float | None) -> JobInterval:
    return JobInterval(job, LAUNCHED + start, None if end is None else LAUNCHED + end)


def test_a_job_pays_its_seconds_and_boot_and_idle_time_are_overhead() -> None:
    bill = machine_bill(machine(1000), [interval("a", 200, 900)], BOOK)
    assert bill.jobs["a"].usd == Decimal("0.07")
    assert bill.overhead.usd == Decimal("0.03")
    assert bill.overhead.usd_on_demand == Decimal("0.12")
    assert not bill.estimated


def test_consecutive_jobs_share_the_overhead_by_their_seconds() -> None:
    bill = machine_bill(machine(1000), [interval("a", 200, 800), interval("b", 800, 1000)], BOOK)
    assert (bill.share(["a"]), bill.share(["b"])) == (Decimal("0.75"), Decimal("0.25"))
    assert bill.share(["a", "b"]) == 1
    assert bill.share(["another"]) == 0


def test_parallel_jobs_share_the_seconds() -> None:
    """From 200 to 400 s there are two: half each."""
    bill = machine_bill(machine(1000), [interval("a", 100, 400), interval("b", 200, 600)], BOOK)
    assert (bill.jobs["a"].usd, bill.jobs["b"].usd) == (Decimal("0.02"), Decimal("0.03"))
    assert bill.overhead.usd == Decimal("0.05")


def test_a_price_change_within_a_job_applies_from_its_time() -> None:
    book = PriceBook("eu-north-1", (*BOOK.quotes, quote("0.72", Market.SPOT, at=500)))
    bill = machine_bill(machine(1000), [interval("a", 400, 600)], book)
    assert bill.jobs["a"].usd == Decimal("0.03")
    assert bill.overhead.usd == Decimal("0.04") + Decimal("0.08")


def test_a_machine_interrupted_in_its_first_hour_is_free_for_all_its_jobs() -> None:
    bill = machine_bill(machine(HOUR - 1, taken=True), [interval("a", 200, HOUR - 1)], BOOK)
    assert bill.jobs["a"].usd == bill.overhead.usd == 0
    assert bill.jobs["a"].remark == bill.overhead.remark == FREE_REMARK
    assert bill.jobs["a"].usd_on_demand > 0


def test_a_machine_interrupted_later_is_billed() -> None:
    bill = machine_bill(machine(HOUR, taken=True), [interval("a", 0, HOUR)], BOOK)
    assert bill.jobs["a"].usd == Decimal("0.36")


def test_a_short_lifetime_costs_a_minute_and_the_rest_is_overhead() -> None:
    bill = machine_bill(machine(30), [interval("a", 20, 30)], BOOK)
    assert (bill.jobs["a"].usd, bill.overhead.usd) == (Decimal("0.001"), Decimal("0.005"))


def test_job_time_after_the_machines_end_is_not_billed() -> None:
    bill = machine_bill(machine(1000), [interval("a", 900, 1000.7)], BOOK)
    assert bill.jobs["a"].seconds == 100


@pytest.mark.parametrize(
    ("known", "intervals", "until"),
    [
        pytest.param({}, [interval("a", 100, None)], 1000, id="running job: until now"),
        pytest.param(
            {}, [interval("a", 100, 990)], 1110, id="idle: two minutes after its last job"
        ),
        pytest.param({}, [interval("a", 100, 200)], 1000, id="idle for longer: until now"),
        pytest.param(
            {"ended": LAUNCHED + 1500},
            [interval("a", 100, 200)],
            1500,
            id="ended at an unknown time",
        ),
        pytest.param(
            {"ended": LAUNCHED + 1500, "taken": True},
            [interval("a", 100, 700)],
            700,
            id="interrupted at an unknown time: end of its last job",
        ),
    ],
)
def test_an_unknown_end_is_estimated(
    known: dict[str, Any], intervals: list[JobInterval], until: float
) -> None:
    bill = machine_bill(machine(None, **known), intervals, BOOK)
    assert (bill.until - LAUNCHED, bill.estimated) == (until, True)
