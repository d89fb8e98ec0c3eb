"""Prices, and AWS's billing rules."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import RavneError
from resources.pricing.prices import Market, PriceBook, Quote, Usage, price_remarks
from resources.sandbox.fleet import bill

REGION = "eu-north-1"
ZONE = "eu-north-1a"
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
NOW = NINE.timestamp()
HOUR = 3600.0


def quote(usd: str, market: Market, since: datetime = NINE, zone: str | None = None) -> Quote:
    return Quote(
        item="g4dn.xlarge",
        market=market,
        zone=zone,
        usd=Decimal(usd),
        unit="hour",
        as_of=since,
        source="a test",
        verified=True,
    )


# On demand $0.60; on spot $0.18, from ten on $0.36, in the other zone always $0.30.
BOOK = PriceBook(
    REGION,
    (
        quote("0.60", Market.ON_DEMAND),
        quote("0.36", Market.SPOT, NINE + timedelta(hours=1), ZONE),
        quote("0.18", Market.SPOT, NINE, ZONE),
        quote("0.30", Market.SPOT, NINE, "eu-north-1b"),
    ),
)


def usage(start: float, end: float, market: Market = Market.SPOT, **more: Any) -> Usage:
    """A usage of a machine that was launched at nine; times in seconds since nine."""
    zone = more.pop("zone", ZONE)
    known = {key: NOW + value for key, value in ({"launched": 0} | more).items()}
    return Usage("g4dn.xlarge", zone, market, NOW + start, NOW + end, **known)


# The bill


def test_half_an_hour_on_demand() -> None:
    cost = BOOK.usage_cost(usage(0, HOUR / 2, Market.ON_DEMAND))
    assert cost.usd == cost.usd_on_demand == Decimal("0.30")
    assert cost.seconds == 1800


def test_half_an_hour_on_spot_and_its_on_demand_cost() -> None:
    cost = BOOK.usage_cost(usage(0, HOUR / 2))
    assert (cost.usd, cost.usd_on_demand) == (Decimal("0.09"), Decimal("0.30"))
    assert cost.quotes == (quote("0.18", Market.SPOT, NINE, ZONE),) and cost.remark == ""


def test_fractions_of_seconds_are_billed() -> None:
    assert BOOK.usage_cost(usage(0, 100)).usd == Decimal("0.005")
    assert BOOK.usage_cost(usage(0, 100.001)).seconds == Decimal("100.001")


def test_a_price_change_is_billed_from_its_time() -> None:
    """Half an hour at $0.18 and a quarter at $0.36."""
    cost = BOOK.usage_cost(usage(HOUR / 2, HOUR * 1.25))
    assert cost.usd == Decimal("0.09") + Decimal("0.09")
    assert [one.usd for one in cost.quotes] == [Decimal("0.18"), Decimal("0.36")]


def test_a_price_change_at_the_end_is_not_billed() -> None:
    cost = BOOK.usage_cost(usage(0, HOUR))
    assert cost.usd == Decimal("0.18") and len(cost.quotes) == 1
    assert BOOK.usage_cost(usage(HOUR, HOUR * 2)).usd == Decimal("0.36")


def test_a_machine_is_billed_for_at_least_a_minute() -> None:
    assert BOOK.usage_cost(usage(0, 1)).usd == BOOK.usage_cost(usage(0, 60)).usd == Decimal("0.003")
    assert BOOK.usage_cost(usage(0, 1, Market.ON_DEMAND)).usd == Decimal("0.01")


def test_a_short_attempt_on_a_running_machine_has_no_minimum() -> None:
    assert BOOK.usage_cost(usage(300, 301)).seconds == 1
    assert BOOK.usage_cost(usage(50, 51)).seconds == 10


def test_a_spot_machine_that_ec2_interrupts_in_its_first_hour_is_free() -> None:
    cost = BOOK.usage_cost(usage(200, HOUR - 1, interrupted_at=HOUR - 1))
    assert cost.usd == 0 and "first hour" in cost.remark
    assert cost.usd_on_demand > 0


def test_after_its_first_hour_an_interrupted_machine_is_billed_in_full() -> None:
    cost = BOOK.usage_cost(usage(0, HOUR, interrupted_at=HOUR))
    assert cost.usd == Decimal("0.18")


def test_the_first_hour_counts_from_the_launch_not_from_the_attempt() -> None:
    assert BOOK.usage_cost(usage(HOUR / 2, HOUR, interrupted_at=HOUR)).usd == Decimal("0.09")


def test_an_earlier_attempt_on_an_interrupted_machine_is_free_too() -> None:
    done = usage(200, 500, interrupted_at=HOUR / 2)
    assert BOOK.usage_cost(done).usd == 0


def test_a_machine_that_is_terminated_by_us_is_billed() -> None:
    assert BOOK.usage_cost(usage(0, 600)).usd == Decimal("0.03")


def test_on_demand_machines_are_never_free() -> None:
    assert BOOK.usage_cost(usage(0, 600, Market.ON_DEMAND, interrupted_at=600.0)).usd == Decimal(
        "0.10"
    )


def test_without_a_launch_time_the_cost_is_an_upper_bound() -> None:
    unknown = Usage("g4dn.xlarge", ZONE, Market.SPOT, NOW, NOW + 5, interrupted_at=NOW + 5)
    assert BOOK.usage_cost(unknown).usd == Decimal("0.003")


def test_a_clock_that_went_back_gives_no_negative_cost() -> None:
    cost = BOOK.usage_cost(usage(600, 590))
    assert cost.usd == cost.seconds == 0


def test_a_zone_without_a_price_uses_the_most_expensive_zone_with_a_remark() -> None:
    cost = BOOK.usage_cost(usage(0, HOUR, zone="eu-north-1c"))
    assert cost.usd == Decimal("0.30")
    assert "eu-north-1c" in cost.remark


def test_a_time_before_all_prices_uses_the_first() -> None:
    early = Usage("g4dn.xlarge", ZONE, Market.SPOT, NOW - HOUR, NOW, launched=NOW - HOUR)
    assert BOOK.usage_cost(early).usd == Decimal("0.18")


def test_a_type_without_a_price_raises_an_error_with_a_remedy() -> None:
    other = Usage("p5.48xlarge", ZONE, Market.SPOT, NOW, NOW + 5)
    with pytest.raises(RavneError, match=r"p5\.48xlarge in eu-north-1.*pricing:GetProducts"):
        BOOK.usage_cost(other)
    with pytest.raises(RavneError, match=r"no spot price is known.*DescribeSpotPriceHistory"):
        BOOK.spot("p5.48xlarge", ZONE, NOW)


TIMES = st.floats(60, 4 * HOUR)


@given(st.lists(TIMES, min_size=2, max_size=8), st.sampled_from([Market.SPOT, Market.ON_DEMAND]))
def test_the_costs_of_the_parts_of_a_lifetime_add_up_to_the_whole(
    times: list[float], market: Market
) -> None:
    cuts = sorted(times)
    whole = BOOK.usage_cost(usage(cuts[0], cuts[-1], market))
    parts = [BOOK.usage_cost(usage(start, end, market)) for start, end in pairwise(cuts)]
    assert float(sum(part.usd for part in parts)) == pytest.approx(float(whole.usd))
    assert sum(part.seconds for part in parts) == whole.seconds


@given(TIMES, TIMES)
def test_spot_never_costs_more_than_its_highest_price(start: float, length: float) -> None:
    cost = BOOK.usage_cost(usage(start, start + length))
    assert (
        cost.seconds * Decimal("0.18") / 3600 <= cost.usd <= cost.seconds * Decimal("0.36") / 3600
    )


def test_offers_are_the_prices_in_force_of_every_zone() -> None:
    found = BOOK.offers(["p5.48xlarge", "g4dn.xlarge"], NOW + 2 * HOUR)
    assert [(one.zone, one.spot, one.on_demand) for one in found] == [
        (ZONE, Decimal("0.36"), Decimal("0.60")),
        ("eu-north-1b", Decimal("0.30"), Decimal("0.60")),
    ]


# Age of prices


def test_stale_prices_have_a_remark() -> None:
    book = PriceBook(REGION, (quote("0.60", Market.ON_DEMAND),))
    assert price_remarks(book.quotes, NOW + 29 * 24 * HOUR) == []
    assert price_remarks(book.quotes, NOW + 31 * 24 * HOUR) == [
        "prices of 2026-11-23 are in use: a test"
    ]


def test_a_history_is_as_old_as_its_newest_price() -> None:
    since = [NINE - timedelta(days=days) for days in (0, 60)]
    history = tuple(quote("0.18", Market.SPOT, moment, ZONE) for moment in since)
    assert price_remarks(history, NOW) == []
    assert price_remarks(history[1:], NOW) != []


# Compared with the sandbox, which has its own billing code


CHANGES = st.lists(
    st.tuples(st.integers(1, 4 * 3600), st.decimals("0.05", "2", places=4)), max_size=6
)


@given(
    CHANGES,
    st.decimals("0.05", "2", places=4),
    st.integers(0, 3 * 3600),
    st.integers(1, 3 * 3600),
    st.booleans(),
)
def test_the_cost_of_a_machine_equals_the_sandboxs_bill(
    changes: list[tuple[int, Decimal]],
    first: Decimal,
    launched: int,
    lifetime: int,
    interrupted: bool,
) -> None:
    history = sorted({0: first, **dict(changes)}.items())
    quotes = [
        quote(str(usd), Market.SPOT, NINE + timedelta(seconds=at), ZONE) for at, usd in history
    ]
    book = PriceBook(REGION, (quote("0.60", Market.ON_DEMAND), *quotes))
    ended = launched + lifetime
    at_launch = [usd for at, usd in history if at <= launched][-1]
    later = [bill.Price(at, float(usd)) for at, usd in history if launched < at]
    truth = bill.charge(
        [bill.Price(launched, float(at_launch)), *later], launched, ended, interrupted=interrupted
    )
    interrupted_at = {"interrupted_at": ended} if interrupted else {}
    cost = book.usage_cost(usage(launched, ended, Market.SPOT, launched=launched, **interrupted_at))
    assert float(cost.usd) == pytest.approx(truth)
