"""Estimated cost and duration of a run, for each machine type and market.

Expected costs are closed forms (`economics.machine_seconds`). Ranges and durations come from a
simulation of the machines, in which throughput, spot prices and the interruption rate vary within
their uncertainty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from resources.batch.work_units import unit_count
from resources.planning.simulation import Array, simulate
from resources.planning.throughput import Throughput
from resources.pricing.economics import (
    HOUR_SECONDS,
    PRIOR_HOURS,
    Offer,
    Overheads,
    machine_seconds,
)
from resources.pricing.prices import Market
from resources.pricing.spot_history import SpotPriceStats
from resources.settings.profile import CostOptimization

SIMULATIONS = 2000
# The reported range: 5 % of runs cost less than its lower end, 5 % more than its upper end.
LOWER_QUANTILE, UPPER_QUANTILE = 0.05, 0.95
# Standard deviation of the logarithm of boot, start and idle times.
START_LOG_STD = 0.25
# Time to classify a crop, as a share of the time of a frame in all stages. By the shipped models on
# two cores: a crop takes 15 ms, a frame 86 ms in the models and some 20 ms for decoding.
FRAMES_PER_CROP = 0.15
# Jobs of one machine that are simulated individually; more count as this many longer ones.
MAX_SIMULATED_JOBS = 8


@dataclass(frozen=True)
class CameraWork:
    """The work of one camera.

    Args:
        frames: of all its media; they determine the number of work units.
        frames_left: of media that are not processed yet.
        crops_left: of finished media, to be classified again.
        reads_headers_on_batch: its footage is on S3, where Stage 0 is a separate job.
    """

    camera_id: str
    frames: int
    frames_left: int
    reads_headers_on_batch: bool = False
    crops_left: int = 0

    @property
    def frame_equivalents(self) -> float:
        """The work, as the number of frames that take as long."""
        return self.frames_left + self.crops_left * FRAMES_PER_CROP


@dataclass(frozen=True)
class JobLayout:
    """The distribution of work over jobs and machines.

    Args:
        units: work units of all cameras.
        jobs: work units, and jobs that build tables or read headers.
        machines: number of machines that run at once.
    """

    units: int
    jobs: int
    machines: int

    @property
    def jobs_per_machine(self) -> float:
        return self.jobs / self.machines


@dataclass(frozen=True)
class Range:
    """An expected value with the quantiles LOWER_QUANTILE and UPPER_QUANTILE."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """The estimate of a run on one machine type and market.

    Args:
        zone: of the cheapest offer; empty on demand and on this machine.
        usd_per_hour: of the machine, without its disk and address.
        usd: with boot and idle time, disks and addresses, interrupted machines.
        seconds: from the first machine's launch to the last job's end.
        unit_seconds: of work, in each work unit.
        usd_at_low_price: expected cost at the low price of the last weeks, see
            `SpotPriceStats.low`; None: no price change is known.
    """

    instance_type: str
    market: Market
    zone: str
    usd_per_hour: float
    within_bid: bool
    frames_per_second: float
    measured: bool
    interruptions_per_hour: float
    usd: Range
    seconds: Range
    unit_seconds: float
    layout: JobLayout
    usd_at_low_price: float | None = None


@dataclass(frozen=True)
class PlanLimits:
    """The profile's limits on parallel work.

    Args:
        machines: as allowed by max_vcpus.
    """

    cost: CostOptimization
    machines: int


@dataclass(frozen=True)
class PlannedWork:
    """The work of a run, and how it is split into jobs.

    Args:
        seconds_per_frame: assumed by launches when they cut work units, for every machine type;
            see `throughput.assumed_seconds_per_frame`.
        overheads: of one machine with one job.
    """

    cameras: Sequence[CameraWork]
    limits: PlanLimits
    seconds_per_frame: float
    overheads: Overheads

    @property
    def frames(self) -> int:
        """The number of frames that are not processed yet."""
        return sum(camera.frames_left for camera in self.cameras)

    @property
    def frame_equivalents(self) -> float:
        """The work of all cameras, see `CameraWork`."""
        return sum(camera.frame_equivalents for camera in self.cameras)

    @cached_property
    def layout(self) -> JobLayout:
        """The jobs and machines of a launch: see `work_units` and `batch_launcher`."""
        cost = self.limits.cost
        # Launches cut by assumed throughput and overheads, never by measurements.
        units = [
            unit_count(camera.frames * self.seconds_per_frame, Overheads(), cost)
            for camera in self.cameras
        ]
        table_jobs = sum(1 for count in units if count > 1)
        header_jobs = sum(1 for camera in self.cameras if camera.reads_headers_on_batch)
        jobs = sum(units) + table_jobs + header_jobs
        machines = min(sum(units), cost.max_parallel_jobs, self.limits.machines)
        return JobLayout(sum(units), jobs, max(1, machines))

    def unit_seconds(self, throughput: Throughput) -> float:
        """Return the work of a unit on a machine type, without startup."""
        return self.frame_equivalents / throughput.frames_per_second / self.layout.units

    def alternative_split(self) -> "PlannedWork":
        """Return the same work cut for speed if it is cut for cost, and vice versa."""
        cost = self.limits.cost
        other = cost.model_copy(
            update={"offline_camera_optimized": not cost.offline_camera_optimized}
        )
        return replace(self, limits=replace(self.limits, cost=other))


def estimate_spot(
    work: PlannedWork,
    offer: Offer,
    throughput: Throughput,
    prices: SpotPriceStats,
    bid_percentage: int,
) -> Estimate:
    """Estimate a run on spot machines of an offer."""
    rate, price = throughput.interruptions_per_hour, float(offer.spot)
    simulation = WorkSimulation(work, throughput, SIMULATIONS)
    usd, seconds = simulation.ranges(
        price * simulation.factors(prices.log_std),
        simulation.interruption_rates(rate, throughput.observed_hours),
    )
    low = prices.low
    return Estimate(
        instance_type=offer.instance_type,
        market=Market.SPOT,
        zone=offer.zone,
        usd_per_hour=price,
        within_bid=offer.within_bid(bid_percentage),
        frames_per_second=throughput.frames_per_second,
        measured=throughput.measured,
        interruptions_per_hour=rate,
        usd=replace(usd, expected=simulation.expected_usd(price, rate)),
        seconds=seconds,
        unit_seconds=work.unit_seconds(throughput),
        layout=work.layout,
        usd_at_low_price=None if low is None else simulation.expected_usd(low, rate),
    )


def estimate_fixed_price(
    work: PlannedWork,
    instance_type: str,
    market: Market,
    usd_per_hour: float,
    throughput: Throughput,
) -> Estimate:
    """Estimate a run on machines without interruptions, at a fixed price."""
    simulation = WorkSimulation(work, throughput, SIMULATIONS)
    usd, seconds = simulation.ranges(np.full(SIMULATIONS, usd_per_hour), np.zeros(SIMULATIONS))
    return Estimate(
        instance_type=instance_type,
        market=market,
        zone="",
        usd_per_hour=usd_per_hour,
        within_bid=True,
        frames_per_second=throughput.frames_per_second,
        measured=throughput.measured,
        interruptions_per_hour=0.0,
        usd=replace(usd, expected=simulation.expected_usd(usd_per_hour, 0.0)),
        seconds=seconds,
        unit_seconds=work.unit_seconds(throughput),
        layout=work.layout,
    )


def camera_shares(work: PlannedWork, throughput: Throughput) -> Mapping[str, float]:
    """Return each camera's share of a run's cost, by its work and the start of a job."""
    per_job = work.overheads.seconds
    seconds = {
        camera.camera_id: camera.frame_equivalents / throughput.frames_per_second + per_job
        for camera in work.cameras
    }
    total = sum(seconds.values())
    return {camera_id: each / total for camera_id, each in seconds.items()}


class WorkSimulation:
    """Expected cost and simulated ranges of work on one machine type."""

    def __init__(self, work: PlannedWork, throughput: Throughput, simulations: int) -> None:
        layout = work.layout
        self._machines = layout.machines
        self._overheads = replace(work.overheads, jobs_per_machine=layout.jobs_per_machine)
        per_frame = (1 + work.overheads.save_share) / throughput.frames_per_second
        self._job_seconds = work.frame_equivalents * per_frame / layout.jobs
        self._simulations = simulations
        self._random = np.random.default_rng(0)  # a fixed seed: plans are reproducible
        self._work_factors = self.factors(throughput.log_std)

    def factors(self, log_std: float) -> Array:
        """Draw lognormal factors with mean 1."""
        normal = self._random.standard_normal(self._simulations)
        return np.asarray(np.exp(log_std * normal - log_std**2 / 2))

    def interruption_rates(self, rate: float, observed_hours: float) -> Array:
        """Draw rates per hour from their posterior after this many observed machine hours."""
        shape = rate * (PRIOR_HOURS + observed_hours)
        return np.asarray(self._random.gamma(shape, rate / shape, self._simulations))

    def expected_usd(self, usd_per_hour: float, rate: float) -> float:
        """Return the expected cost in closed form."""
        seconds = machine_seconds(self._job_seconds, self._overheads, rate)
        usd = seconds.billed * usd_per_hour + seconds.uptime * self._overheads.usd_per_hour
        return self._machines * usd / HOUR_SECONDS

    def ranges(self, usd_per_hour: Array, rates: Array) -> tuple[Range, Range]:
        """Simulate USD and seconds; `expected` is the mean of the simulations."""
        ratio = self._overheads.jobs_per_machine
        jobs = max(1, min(MAX_SIMULATED_JOBS, int(ratio)))
        start_factors = self.factors(START_LOG_STD)
        # Jobs beyond those simulated lengthen the others, including their starts.
        more_starts = self._overheads.start_seconds * (ratio - jobs) * start_factors
        seconds = (self._job_seconds * ratio * self._work_factors + more_starts) / jobs
        flat = [np.repeat(each, self._machines) for each in (seconds, rates, start_factors)]
        result = simulate(flat[0], jobs, self._overheads, flat[1], flat[2], self._random)
        shape = (self._simulations, self._machines)
        uptime, billed = (
            each.reshape(shape).sum(axis=1) for each in (result.uptime, result.billed)
        )
        usd = (billed * usd_per_hour + uptime * self._overheads.usd_per_hour) / HOUR_SECONDS
        return _range(usd), _range(result.elapsed.reshape(shape).max(axis=1))


def _range(values: Array) -> Range:
    low, high = np.quantile(values, [LOWER_QUANTILE, UPPER_QUANTILE])
    return Range(float(values.mean()), float(low), float(high))


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as a flat JSON object, with units in the names."""
    return {
        "instance_type": estimate.instance_type,
        "market": estimate.market,
        "zone": estimate.zone,
        "usd_per_hour": round(estimate.usd_per_hour, 6),
        "within_bid": estimate.within_bid,
        "frames_per_second": round(estimate.frames_per_second, 3),
        "measured": estimate.measured,
        "interruptions_per_hour": round(estimate.interruptions_per_hour, 5),
        "usd": round(estimate.usd.expected, 6),
        "usd_low": round(estimate.usd.low, 6),
        "usd_high": round(estimate.usd.high, 6),
        "usd_if_waited": None
        if estimate.usd_at_low_price is None
        else round(estimate.usd_at_low_price, 6),
        "seconds": round(estimate.seconds.expected, 1),
        "seconds_low": round(estimate.seconds.low, 1),
        "seconds_high": round(estimate.seconds.high, 1),
        "units": estimate.layout.units,
        "unit_seconds": round(estimate.unit_seconds, 1),
        "jobs": estimate.layout.jobs,
        "machines": estimate.layout.machines,
    }
