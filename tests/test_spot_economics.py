"""What work is expected to cost: against figures worked out by hand, and against a simulation."""

import random
from dataclasses import replace
from decimal import Decimal
from math import expm1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.spot_economics import (
    HOUR,
    Offer,
    Overheads,
    charged_share,
    effective_saving,
    interruption_rate,
    on_demand_usd,
    spot_usd,
)

G4DN = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
USUAL = Overheads()
# Frames that 60 frames per second, what is assumed, makes of a second.
FRAMES = 60


@pytest.mark.parametrize(
    ("minutes", "spot", "on_demand"),
    [
        (1, 0.00693, 0.01979),
        (5, 0.00213, 0.00607),
        (15, 0.00133, 0.00379),
        (60, 0.00103, 0.00293),
        (240, 0.00096, 0.00272),
    ],
)
def test_short_jobs_pay_for_their_start(minutes: int, spot: float, on_demand: float) -> None:
    """USD per 1000 frames of a job alone on a machine; figures of an independent calculation."""
    seconds = minutes * 60
    thousands = seconds * FRAMES / 1000
    assert spot_usd(G4DN, seconds, USUAL) / thousands == pytest.approx(spot, abs=6e-6)
    assert on_demand_usd(G4DN, seconds, USUAL) / thousands == pytest.approx(on_demand, abs=6e-6)


@pytest.mark.parametrize(
    ("jobs", "usd"), [(1, 0.00213), (3, 0.00139), (10, 0.00113), (50, 0.00104)]
)
def test_jobs_that_share_a_machine_share_its_start(jobs: int, usd: float) -> None:
    overheads = replace(USUAL, jobs_per_machine=jobs)
    assert spot_usd(G4DN, 300, overheads) / 18 == pytest.approx(usd, abs=6e-6)


def test_the_expected_working_time_is_that_of_a_simulation() -> None:
    """Work that is saved within the notice: a lost machine costs a boot and a start, no work."""
    rate, work = 5.0, 3600.0
    offer = replace(G4DN, interruptions_per_hour=rate)
    free = replace(USUAL, boot_seconds=240, idle_seconds=0, usd_per_hour=0, saving_share=0)
    rng = random.Random(1)
    runs = [simulated_seconds(rng, work, rate / HOUR, 270) for _ in range(4000)]
    per_hour = float(offer.spot) * charged_share(rate)
    expected = spot_usd(offer, work, free) / per_hour * HOUR - free.seconds
    assert sum(runs) / len(runs) == pytest.approx(expected, rel=0.01)


def simulated_seconds(rng: random.Random, work: float, rate: float, restart: float) -> float:
    """Seconds until the work is done, its first start left out."""
    spent, left, to_start = 0.0, work, 0.0
    while True:
        lost_after = rng.expovariate(rate)
        if lost_after >= to_start + left:
            return spent + to_start + left
        left -= max(0.0, lost_after - to_start)
        spent += lost_after
        to_start = restart


def test_charged_hours_are_those_after_a_first_that_was_survived() -> None:
    """By the renewal theorem: mean charged hours of a machine over its mean hours.

    A machine that lives for x hours is charged x if x > 1: the mean is (1 + 1/rate) e^-rate.
    """
    rate = 2.0
    mean_charged = (1 + 1 / rate) * (1 + expm1(-rate))
    assert charged_share(rate) == pytest.approx(mean_charged / (1 / rate))
    assert charged_share(0) == 1


def test_the_ceiling_of_what_spot_saves() -> None:
    endless = effective_saving(G4DN, [G4DN], 1e9, replace(USUAL, saving_share=0))
    no_losses = replace(G4DN, interruptions_per_hour=0.0)
    assert effective_saving(no_losses, [G4DN], 1e9, USUAL) == pytest.approx(0.649, abs=0.001)
    assert endless == pytest.approx(0.649, abs=0.004)


@pytest.mark.parametrize(
    ("kind", "spot", "on_demand", "faster"),
    [
        ("g5.xlarge", "0.4419", "1.067", 2.35),
        ("g6.xlarge", "0.3183", "0.8536", 1.69),
        ("g6e.xlarge", "0.7357", "1.974", 3.91),
    ],
)
def test_a_dearer_machine_pays_if_it_is_as_much_faster(
    kind: str, spot: str, on_demand: str, faster: float
) -> None:
    bare = Overheads(0, 0, 0, 0, 0)
    other = Offer(kind, "eu-north-1b", Decimal(spot), Decimal(on_demand), faster + 0.01)
    assert spot_usd(other, 3600, bare) < spot_usd(G4DN, 3600, bare)
    other = replace(other, speed=faster - 0.01)
    assert spot_usd(other, 3600, bare) > spot_usd(G4DN, 3600, bare)


def test_savings_are_against_the_cheapest_on_demand_machine() -> None:
    dear = Offer("g6e.xlarge", "eu-north-1b", Decimal("0.7357"), Decimal("1.974"))
    alone = effective_saving(dear, [dear], 3600, USUAL)
    assert alone > 0.5
    assert effective_saving(dear, [dear, G4DN], 3600, USUAL) < 0


def test_spot_stops_being_cheaper_at_fifteen_losses_an_hour() -> None:
    for losses, cheaper in [(14, True), (17, False)]:
        offer = replace(G4DN, interruptions_per_hour=float(losses))
        # As if every hour were charged.
        offer = replace(offer, spot=offer.spot / Decimal(charged_share(losses)))
        assert (effective_saving(offer, [G4DN], 3600, USUAL) > 0) is cheaper


def test_the_bid_is_a_percentage_of_on_demand_and_may_be_met() -> None:
    at_70 = replace(G4DN, spot=Decimal("0.3906"))
    assert at_70.within_bid(70) and not at_70.within_bid(69)
    assert not replace(at_70, spot=Decimal("0.39061")).within_bid(70)


@pytest.mark.parametrize(("seen", "hours", "rate"), [(0, 0, 0.05), (0, 50, 0.0143), (4, 2, 0.227)])
def test_what_was_seen_moves_what_was_assumed(seen: int, hours: float, rate: float) -> None:
    assert interruption_rate(seen, hours) == pytest.approx(rate, abs=0.0005)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1e4))
def test_more_interruptions_never_lower_the_rate(few: int, more: int, hours: float) -> None:
    assert interruption_rate(few, hours) <= interruption_rate(few + more, hours)


@given(st.floats(1, 1e5), st.floats(0, 10), st.floats(0, 10))
def test_losses_never_shorten_the_work(work: float, rate: float, more: float) -> None:
    """Seen without the first-hour rule, which lowers the price of hours, not their number."""

    def hours(losses: float) -> float:
        offer = replace(G4DN, interruptions_per_hour=losses)
        return spot_usd(offer, work, replace(USUAL, usd_per_hour=0)) / charged_share(losses)

    assert hours(rate) <= hours(rate + more) * (1 + 1e-12)
