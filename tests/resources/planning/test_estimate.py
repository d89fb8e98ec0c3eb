"""What a run is expected to cost, before it is begun: rules on plain values."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.planning.estimate import (
    CameraWork,
    Estimate,
    PlanLimits,
    PlannedWork,
    camera_shares,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.throughput import Throughput
from resources.pricing.economics import Offer, Overheads
from resources.pricing.prices import PriceBook, Quote
from resources.pricing.spot_history import SpotPriceStats, spot_price_stats
from resources.settings.profile import CostOptimization

PER_FRAME = 1 / 60
PACE = Throughput("g4dn.xlarge", 60.0, 0.1, 10_000, "measured", 0.05)
OFFER = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
STILL = SpotPriceStats(now=0.1881, low=0.1881, spread=0.02)
LIMITS = PlanLimits(CostOptimization(max_parallel_jobs=4), machines=25)
HOUR_OF_FRAMES = 60 * 3600


def work(*hours: float, limits: Limits = LIMITS, overheads: Overheads | None = None) -> PlannedWork:
    """Cameras that take so many hours each."""
    cameras = [
        CameraWork(f"cam{number}", round(each * HOUR_OF_FRAMES), round(each * HOUR_OF_FRAMES))
        for number, each in enumerate(hours)
    ]
    return PlannedWork(cameras, limits, PER_FRAME, overheads or Overheads())


def spot(work: PlannedWork, pace: Throughput = PACE, moves: SpotMoves = STILL) -> Estimate:
    return estimate_spot(work, OFFER, pace, moves, 70)


# How the work is spread: as launches do


@pytest.mark.parametrize(
    ("hours", "units", "jobs", "machines"),
    [
        ((1,), 1, 1, 1),
        ((3,), 2, 3, 2),  # two units of 1.5 hours, then the tables
        ((1, 1), 2, 2, 2),
        ((0.1,) * 10, 10, 10, 4),  # four jobs at once, whosever
        ((5, 5, 5), 9, 12, 4),
        ((20,), 10, 11, 4),
    ],
)
def test_work_is_spread_over_units_jobs_and_machines(
    hours: tuple[float, ...], units: int, jobs: int, machines: int
) -> None:
    found = work(*hours).spread
    assert (found.units, found.jobs, found.machines) == (units, jobs, machines)


def test_no_more_machines_than_max_vcpus_allows() -> None:
    assert work(20, limits=replace(LIMITS, machines=3)).spread.machines == 3


def test_footage_on_s3_has_a_job_for_its_headers() -> None:
    there = CameraWork("cam", 100, 100, reads_headers_there=True)
    assert replace(work(1), cameras=[there]).spread.jobs == 2


def test_cut_for_speed_it_is_done_sooner_and_costs_more() -> None:
    cheap = work(3)
    fast = cheap.other_way()
    assert fast.spread.units == 4
    assert spot(fast).seconds.expected < spot(cheap).seconds.expected
    assert spot(fast).usd.expected > spot(cheap).usd.expected
    assert fast.other_way().spread == cheap.spread


# What it costs


def test_one_hour_worked_out_by_hand() -> None:
    """Work 3612 s, boot 240, start 30, idle 120 on demand: 4002 s at $0.558 + $0.0116 an hour."""
    found = estimate_fixed_price(work(1), "g4dn.xlarge", "ondemand", 0.558, PACE)
    assert found.usd.expected == pytest.approx(4002 / 3600 * 0.5696, rel=1e-4)
    assert found.seconds.expected == pytest.approx(3882, rel=0.02)


@given(
    hours=st.lists(st.floats(0.01, 10), min_size=1, max_size=3),
    rate=st.floats(0.001, 2),
    machines=st.integers(1, 3),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_expected_cost_and_the_simulations_mean_agree_within_a_hundredth(
    hours: list[float], rate: float, machines: int
) -> None:
    """With nothing unknown but when machines are taken."""
    asked = work(*hours, limits=replace(LIMITS, machines=machines))
    sure = replace(PACE, spread=0.0, interruptions_per_hour=rate, hours=1e9)
    still = replace(STILL, spread=0.0)
    found = estimate_spot(asked, OFFER, sure, still, 70, simulations=30_000)
    assert found.usd_simulated == pytest.approx(found.usd.expected, rel=0.01)


def test_the_same_question_has_the_same_answer() -> None:
    assert spot(work(3)) == spot(work(3))


def test_the_range_holds_what_is_expected_and_is_wider_the_less_is_known() -> None:
    sure, unsure = spot(work(3)), spot(work(3), replace(PACE, spread=0.7))
    for found in (sure, unsure):
        assert found.usd.low < found.usd.expected < found.usd.high
        assert found.seconds.low < found.seconds.expected < found.seconds.high
    assert unsure.usd.high / unsure.usd.low > 2 * sure.usd.high / sure.usd.low
    assert unsure.usd.expected == sure.usd.expected


def test_what_was_looked_at_before_costs_nothing_but_its_start() -> None:
    done = PlannedWork([CameraWork("cam", HOUR_OF_FRAMES, 0)], LIMITS, PER_FRAME, Overheads())
    found = estimate_fixed_price(done, "g4dn.xlarge", "ondemand", 0.558, PACE)
    assert found.usd.expected == pytest.approx(390 / 3600 * 0.5696)


def test_waiting_for_a_low_price_saves_on_the_machine_not_on_its_disk() -> None:
    bare = replace(STILL, low=0.1881 / 2)
    overheads = Overheads(usd_per_hour=0.0)
    found = spot(work(1, overheads=overheads), moves=bare)
    assert found.usd_if_waited == pytest.approx(found.usd.expected / 2)
    with_disk = spot(work(1), moves=bare)
    assert with_disk.usd_if_waited is not None
    assert with_disk.usd_if_waited > with_disk.usd.expected / 2


def test_an_offer_over_the_bid_is_marked() -> None:
    dear = replace(OFFER, spot=Decimal("0.5"))
    assert not estimate_spot(work(1), dear, PACE, STILL, 70).within_bid
    assert spot(work(1)).within_bid


def test_cameras_share_the_cost_by_their_work() -> None:
    found = camera_shares(work(2, 1, 0), PACE)
    assert sum(found.values()) == pytest.approx(1)
    assert found["cam0"] == pytest.approx((7200 + 390) / (10800 + 3 * 390))
    assert found["cam2"] == pytest.approx(390 / (10800 + 3 * 390))


# How prices move


def book(*prices: tuple[int, str]) -> PriceBook:
    """Spot prices, each from a day of November on."""
    quotes = tuple(
        Quote(
            item="g4dn.xlarge",
            market="spot",
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


def moves(*prices: tuple[int, str]) -> SpotPriceStats:
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    return spot_price_stats(book(*prices), "g4dn.xlarge", "eu-north-1a", now)


def test_the_low_price_is_one_that_was_in_force_for_a_tenth_of_the_time() -> None:
    found = moves((1, "0.30"), (8, "0.10"), (9, "0.20"), (11, "0.30"))
    assert (found.now, found.low) == (0.30, 0.20)  # 0.10 was for one day of fourteen
    assert found.spread == pytest.approx(0.30, abs=0.01)


def test_of_a_price_without_history_nothing_is_said_but_that_it_may_move() -> None:
    found = moves((20, "0.30"))
    assert (found.now, found.low) == (0.30, None)
    assert estimate_spot(work(1), OFFER, PACE, found, 70).usd_if_waited is None
    assert found.spread == pytest.approx(0.15)
