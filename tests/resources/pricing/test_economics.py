"""Expected costs: compared with manual calculations, and with a simulation."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.planning.simulation import simulate
from resources.pricing.economics import (
    HOUR_SECONDS,
    MachineSeconds,
    Offer,
    Overheads,
    effective_saving,
    interruption_rate,
    machine_seconds,
    on_demand_usd,
    spot_usd,
)

G4DN = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
DEFAULT = Overheads()
# Never interrupted: the cost is plain arithmetic.
SAFE = replace(G4DN, interruptions_per_hour=0.0)
# Assumed frames per second.
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
def test_short_jobs_cost_more_per_frame(minutes: int, spot: float, on_demand: float) -> None:
    """USD per 1000 frames of a job alone on a machine; figures of an independent calculation."""
    seconds = minutes * 60
    thousands = seconds * FRAMES / 1000
    assert spot_usd(SAFE, seconds, DEFAULT) / thousands == pytest.approx(spot, rel=0.01)
    assert on_demand_usd(G4DN, seconds, DEFAULT) / thousands == pytest.approx(on_demand, abs=6e-6)


@pytest.mark.parametrize(
    ("jobs", "usd"), [(1, 0.00213), (3, 0.00139), (10, 0.00113), (50, 0.00104)]
)
def test_jobs_on_one_machine_share_its_start(jobs: int, usd: float) -> None:
    overheads = replace(DEFAULT, jobs_per_machine=jobs)
    assert spot_usd(SAFE, 300, overheads) / 18 == pytest.approx(usd, abs=6e-6)


def simulated_mean(
    work: float, jobs: int, overheads: Overheads, rate: float, count: int, seed: int = 1
) -> MachineSeconds:
    random = np.random.default_rng(seed)
    rates, factors = np.full(count, rate), np.ones(count)
    result = simulate(np.full(count, work), jobs, overheads, rates, factors, random)
    return MachineSeconds(float(result.uptime.mean()), float(result.billed.mean()))


@given(
    work=st.floats(10, 20_000),
    jobs=st.integers(1, 4),
    rate=st.floats(0, 4),
    boot=st.floats(0, 600),
    idle=st.floats(0, 900),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_closed_form_and_simulation_agree_within_one_percent(
    work: float, jobs: int, rate: float, boot: float, idle: float
) -> None:
    overheads = Overheads(boot_seconds=boot, idle_seconds=idle)
    expected = machine_seconds(work, replace(overheads, jobs_per_machine=jobs), rate)
    # At high interruption rates few machines are billed: the standard error of 60,000 is 0.5 %.
    mean = simulated_mean(work, jobs, overheads, rate, 400_000)
    assert mean.uptime == pytest.approx(expected.uptime, rel=0.01)
    assert mean.billed == pytest.approx(expected.billed, rel=0.01)


def test_one_machine_calculated_by_hand() -> None:
    """2 interruptions an hour, no boot, half an hour's work, no idle time: all within an hour.

    Only the last machine is billed, the one without interruption: it runs for the work left after
    the last interruption. Interruptions are Poisson with a mean of 1 in the half hour, so that is
    (1 - e^-1) / 2 hours.
    """
    bare = Overheads(0, 0, 0, 0, 0)
    seconds = machine_seconds(1800, bare, 2.0)
    assert seconds.uptime == pytest.approx(1800)
    assert seconds.billed == pytest.approx(HOUR_SECONDS * (1 - np.exp(-1)) / 2)


@pytest.mark.parametrize("rate", [0.0, 1e-300, 1e-9, 1e-7, 1e-5])
def test_the_cost_converges_for_low_interruption_rates(rate: float) -> None:
    seconds = machine_seconds(3600, DEFAULT, rate)
    assert seconds.uptime == pytest.approx(3600 + DEFAULT.seconds)
    assert seconds.billed == pytest.approx(3600 + DEFAULT.seconds, rel=1e-4)


def test_the_upper_bound_of_spot_savings() -> None:
    endless = effective_saving(G4DN, [G4DN], 1e9, replace(DEFAULT, save_share=0))
    assert effective_saving(SAFE, [G4DN], 1e9, DEFAULT) == pytest.approx(0.649, abs=0.001)
    assert endless == pytest.approx(0.649, abs=0.004)


@pytest.mark.parametrize(
    ("kind", "spot", "on_demand", "faster"),
    [
        ("g5.xlarge", "0.4419", "1.067", 2.35),
        ("g6.xlarge", "0.3183", "0.8536", 1.69),
        ("g6e.xlarge", "0.7357", "1.974", 3.91),
    ],
)
def test_a_more_expensive_machine_pays_off_if_it_is_faster_by_the_same_factor(
    kind: str, spot: str, on_demand: str, faster: float
) -> None:
    bare = Overheads(0, 0, 0, 0, 0)
    other = Offer(kind, "eu-north-1b", Decimal(spot), Decimal(on_demand), faster + 0.01, 0.0)
    assert spot_usd(other, 3600, bare) < spot_usd(SAFE, 3600, bare)
    other = replace(other, speed=faster - 0.01)
    assert spot_usd(other, 3600, bare) > spot_usd(SAFE, 3600, bare)


def test_savings_are_against_the_cheapest_on_demand_machine() -> None:
    expensive = Offer("g6e.xlarge", "eu-north-1b", Decimal("0.7357"), Decimal("1.974"))
    alone = effective_saving(expensive, [expensive], 3600, DEFAULT)
    assert alone > 0.5
    assert effective_saving(expensive, [expensive, G4DN], 3600, DEFAULT) < 0


def test_spot_is_no_longer_cheaper_at_fifteen_interruptions_an_hour() -> None:
    for rate, cheaper in [(14, True), (17, False)]:
        offer = replace(G4DN, interruptions_per_hour=float(rate))
        # As if every hour were billed.
        seconds = machine_seconds(3600, DEFAULT, float(rate))
        offer = replace(offer, spot=offer.spot * Decimal(seconds.uptime / seconds.billed))
        assert (effective_saving(offer, [G4DN], 3600, DEFAULT) > 0) is cheaper


def test_the_bid_is_a_percentage_of_the_on_demand_price_inclusive() -> None:
    at_70 = replace(G4DN, spot=Decimal("0.3906"))
    assert at_70.within_bid(70) and not at_70.within_bid(69)
    assert not replace(at_70, spot=Decimal("0.39061")).within_bid(70)


@pytest.mark.parametrize(
    ("observed", "hours", "rate"), [(0, 0, 0.05), (0, 50, 0.0143), (4, 2, 0.227)]
)
def test_observations_update_the_assumed_rate(observed: int, hours: float, rate: float) -> None:
    assert interruption_rate(observed, hours) == pytest.approx(rate, abs=0.0005)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1e4))
def test_more_interruptions_never_lower_the_rate(few: int, more: int, hours: float) -> None:
    assert interruption_rate(few, hours) <= interruption_rate(few + more, hours)


@given(st.floats(1, 1e5), st.floats(0, 10), st.floats(0, 10))
def test_interruptions_never_shorten_the_work(work: float, rate: float, more: float) -> None:
    few, many = (
        machine_seconds(work, replace(DEFAULT, idle_seconds=0), r) for r in (rate, rate + more)
    )
    assert few.uptime <= many.uptime * (1 + 1e-9)
    assert 0 <= many.billed <= many.uptime * (1 + 1e-9)
