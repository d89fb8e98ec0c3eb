"""Estimated cost and duration of a run."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.planning.estimate import (
    CameraWork,
    Estimate,
    PlanLimits,
    PlannedWork,
    WorkSimulation,
    camera_shares,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.throughput import Throughput
from resources.pricing.economics import Offer, Overheads
from resources.pricing.prices import Market, PriceBook, Quote
from resources.pricing.spot_history import SpotPriceStats, spot_price_stats
from resources.settings.profile import CostOptimization

PER_FRAME = 1 / 60
THROUGHPUT = Throughput("g4dn.xlarge", 60.0, 0.1, 10_000, "measured", 0.05)
OFFER = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
STABLE_PRICE = SpotPriceStats(now=0.1881, low=0.1881, log_std=0.02)
LIMITS = PlanLimits(CostOptimization(max_parallel_jobs=4), machines=25)
HOUR_OF_FRAMES = 60 * 3600


def work(
    *hours: float, limits: PlanLimits = LIMITS, overheads: Overheads | None = None
) -> PlannedWork:
    """Cameras with these hours of work."""
    cameras = [
        CameraWork(f"cam{number}", round(each * HOUR_OF_FRAMES), round(each * HOUR_OF_FRAMES))
        for number, each in enumerate(hours)
    ]
    return PlannedWork(cameras, limits, PER_FRAME, overheads or Overheads())


def spot(
    work: PlannedWork,
    throughput: Throughput = THROUGHPUT,
    prices: SpotPriceStats = STABLE_PRICE,
) -> Estimate:
    return estimate_spot(work, OFFER, throughput, prices, 70)


# Work units, jobs and machines


@pytest.mark.parametrize(
    ("hours", "units", "jobs", "machines"),
    [
        ((1,), 1, 1, 1),
        ((3,), 2, 3, 2),  # two units of 1.5 hours, then the tables
        ((1, 1), 2, 2, 2),
        ((0.1,) * 10, 10, 10, 4),  # four jobs at once
        ((5, 5, 5), 9, 12, 4),
        ((20,), 10, 11, 4),
    ],
)
def test_work_is_split_into_units_jobs_and_machines(
    hours: tuple[float, ...], units: int, jobs: int, machines: int
) -> None:
    layout = work(*hours).layout
    assert (layout.units, layout.jobs, layout.machines) == (units, jobs, machines)


def test_no_more_machines_than_max_vcpus_allows() -> None:
    assert work(20, limits=replace(LIMITS, machines=3)).layout.machines == 3


def test_footage_on_s3_has_a_job_for_its_headers() -> None:
    on_s3 = CameraWork("cam", 100, 100, reads_headers_on_batch=True)
    assert replace(work(1), cameras=[on_s3]).layout.jobs == 2


def test_work_cut_for_speed_takes_less_time_and_costs_more() -> None:
    cheap = work(3)
    fast = cheap.alternative_split()
    assert fast.layout.units == 4
    assert spot(fast).seconds.expected < spot(cheap).seconds.expected
    assert spot(fast).usd.expected > spot(cheap).usd.expected
    assert fast.alternative_split().layout == cheap.layout


# Costs


def test_one_hour_calculated_by_hand() -> None:
    """Work 3612 s, boot 240, start 30, idle 120 on demand: 4002 s at $0.558 + $0.0116 an hour."""
    found = estimate_fixed_price(work(1), "g4dn.xlarge", Market.ON_DEMAND, 0.558, THROUGHPUT)
    assert found.usd.expected == pytest.approx(4002 / 3600 * 0.5696, rel=1e-4)
    assert found.seconds.expected == pytest.approx(3882, rel=0.02)


@given(
    hours=st.lists(st.floats(0.01, 10), min_size=1, max_size=3),
    rate=st.floats(0.001, 2),
    machines=st.integers(1, 3),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_closed_form_and_simulation_agree_within_one_percent(
    hours: list[float], rate: float, machines: int
) -> None:
    """Only the times of interruptions are random."""
    planned = work(*hours, limits=replace(LIMITS, machines=machines))
    known = replace(THROUGHPUT, log_std=0.0)
    count, price = 30_000, float(OFFER.spot)
    simulation = WorkSimulation(planned, known, count)
    usd, _ = simulation.ranges(np.full(count, price), np.full(count, rate))
    assert usd.expected == pytest.approx(simulation.expected_usd(price, rate), rel=0.01)


def test_an_estimate_is_reproducible() -> None:
    assert spot(work(3)) == spot(work(3))


def test_the_range_contains_the_expected_value_and_grows_with_uncertainty() -> None:
    certain, uncertain = spot(work(3)), spot(work(3), replace(THROUGHPUT, log_std=0.7))
    for found in (certain, uncertain):
        assert found.usd.low < found.usd.expected < found.usd.high
        assert found.seconds.low < found.seconds.expected < found.seconds.high
    assert uncertain.usd.high / uncertain.usd.low > 2 * certain.usd.high / certain.usd.low
    assert uncertain.usd.expected == certain.usd.expected


def test_processed_footage_costs_only_the_start_of_a_job() -> None:
    done = PlannedWork([CameraWork("cam", HOUR_OF_FRAMES, 0)], LIMITS, PER_FRAME, Overheads())
    found = estimate_fixed_price(done, "g4dn.xlarge", Market.ON_DEMAND, 0.558, THROUGHPUT)
    assert found.usd.expected == pytest.approx(390 / 3600 * 0.5696)


def test_a_low_spot_price_saves_on_the_machine_not_on_its_disk() -> None:
    low = replace(STABLE_PRICE, low=0.1881 / 2)
    overheads = Overheads(usd_per_hour=0.0)
    found = spot(work(1, overheads=overheads), prices=low)
    assert found.usd_at_low_price == pytest.approx(found.usd.expected / 2)
    with_disk = spot(work(1), prices=low)
    assert with_disk.usd_at_low_price is not None
    assert with_disk.usd_at_low_price > with_disk.usd.expected / 2


def test_an_offer_over_the_bid_is_marked() -> None:
    expensive = replace(OFFER, spot=Decimal("0.5"))
    assert not estimate_spot(work(1), expensive, THROUGHPUT, STABLE_PRICE, 70).within_bid
    assert spot(work(1)).within_bid


def test_cameras_share_the_cost_by_their_work() -> None:
    found = camera_shares(work(2, 1, 0), THROUGHPUT)
    assert sum(found.values()) == pytest.approx(1)
    assert found["cam0"] == pytest.approx((7200 + 390) / (10800 + 3 * 390))
    assert found["cam2"] == pytest.approx(390 / (10800 + 3 * 390))


# Statistics of spot prices


def book(*prices: tuple[int, str]) -> PriceBook:
    """Spot prices, each in force from a day of November."""
    quotes = tuple(
        Quote(
            item="g4dn.xlarge",
            market=Market.SPOT,
            zone="eu-north-1a",
            usd=Decimal(usd),
            unit="hour",
            as_of=datetime(2026, 11, day, tzinfo=UTC),
            source="test",
            verified=True,
        )
        for day, usd in prices
    )
    return PriceBook("eu-north-1", quotes)


def stats(*prices: tuple[int, str]) -> SpotPriceStats:
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    return spot_price_stats(book(*prices), "g4dn.xlarge", "eu-north-1a", now)


def test_the_low_price_is_one_that_was_in_force_for_a_tenth_of_the_time() -> None:
    found = stats((1, "0.30"), (8, "0.10"), (9, "0.20"), (11, "0.30"))
    assert (found.now, found.low) == (0.30, 0.20)  # 0.10 was in force for one day of fourteen
    assert found.log_std == pytest.approx(0.30, abs=0.01)


def test_a_price_without_history_has_no_low_price_and_the_default_deviation() -> None:
    found = stats((20, "0.30"))
    assert (found.now, found.low) == (0.30, None)
    assert estimate_spot(work(1), OFFER, THROUGHPUT, found, 70).usd_at_low_price is None
    assert found.log_std == pytest.approx(0.15)
