"""What a run is expected to cost, before it is begun: for each machine type and market.

Expected costs are closed forms (`spot_economics.machine_seconds`); ranges and times come from a
simulation of the machines, in which speed, spot prices and the rate of interruptions vary as far
as they are unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from resources.batch.work_units import unit_count
from resources.planning.simulation import Array, simulate
from resources.planning.throughput import Throughput
from resources.pricing.economics import HOUR_SECONDS, PRIOR_HOURS, Offer, Overheads, machine_seconds
from resources.pricing.spot_history import SpotPriceStats
from resources.settings.profile import CostOptimization

PlanMarket = Literal["spot", "ondemand", "local"]

SIMULATIONS = 2000
# The range that is told: 19 of 20 runs cost more than its lower end, 19 of 20 less than its upper.
LOWER_QUANTILE, UPPER_QUANTILE = 0.05, 0.95
# Standard deviation of the logarithm of the time that machines take to boot, start and idle.
START_LOG_STD = 0.25
# Jobs of one machine that are simulated one by one; more count as this many longer ones.
MAX_SIMULATED_JOBS = 8


@dataclass(frozen=True)
class CameraWork:
    """What one camera asks for.

    Args:
        frames: of all its media: by these it is cut into work units.
        frames_left: of media that were not looked at before.
        reads_headers_there: its footage lies on S3, where Stage 0 is a job of its own.
    """

    camera_id: str
    frames: int
    frames_left: int
    reads_headers_there: bool = False


@dataclass(frozen=True)
class JobLayout:
    """How the work of some cameras is spread over machines.

    Args:
        units: work units of all cameras.
        jobs: these, and those that make tables or read headers.
        machines: that run at once.
    """

    units: int
    jobs: int
    machines: int

    @property
    def jobs_per_machine(self) -> float:
        return self.jobs / self.machines


@dataclass(frozen=True)
class Range:
    """Expected, and the lower and upper end of what is likely (LOWER, UPPER)."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What the run takes on one type and market.

    Args:
        zone: of the cheapest offer; empty on demand and on this machine.
        usd_per_hour: of the machine, without its disk and address.
        usd: with boot and idle time, disks and addresses, lost machines.
        usd_simulated: the simulation's mean, to be held against `usd.expected`.
        unit_seconds: of work, in each work unit.
        seconds: from the first machine's launch to the last job's end.
        usd_if_waited: expected, at a price as low as it was for a tenth of the last weeks; None
            where it is not known to have moved.
    """

    instance_type: str
    market: PlanMarket
    zone: str
    usd_per_hour: float
    within_bid: bool
    frames_per_second: float
    measured: bool
    interruptions_per_hour: float
    usd: Range
    usd_simulated: float
    seconds: Range
    unit_seconds: float
    spread: JobLayout
    usd_if_waited: float | None = None


@dataclass(frozen=True)
class PlanLimits:
    """What the profile allows at once.

    Args:
        machines: by max_vcpus.
    """

    cost: CostOptimization
    machines: int


@dataclass(frozen=True)
class PlannedWork:
    """All that is to be done, and how.

    Args:
        seconds_per_frame: that launches cut by, whatever the type; see `throughput`.
        overheads: of one machine with one job.
    """

    cameras: Sequence[CameraWork]
    limits: PlanLimits
    seconds_per_frame: float
    overheads: Overheads

    @property
    def frames(self) -> int:
        return sum(camera.frames_left for camera in self.cameras)

    @cached_property
    def spread(self) -> JobLayout:
        """As launches spread it: see `work_units`, and `batch_step_launcher`."""
        cost = self.limits.cost
        # Launches cut by what is assumed of machines, never by what was measured.
        units = [
            unit_count(camera.frames * self.seconds_per_frame, Overheads(), cost)
            for camera in self.cameras
        ]
        tables = sum(1 for count in units if count > 1)
        headers = sum(1 for camera in self.cameras if camera.reads_headers_there)
        jobs = sum(units) + tables + headers
        at_once = min(sum(units), cost.max_parallel_jobs, self.limits.machines)
        return JobLayout(sum(units), jobs, max(1, at_once))

    def unit_seconds(self, pace: Throughput) -> float:
        """Work of a unit on a type, start-up not included."""
        return self.frames / pace.frames_per_second / self.spread.units

    def other_way(self) -> "PlannedWork":
        """The same cut for speed if it is cut for cost, and the other way round."""
        cost = self.limits.cost
        other = cost.model_copy(
            update={"offline_camera_optimized": not cost.offline_camera_optimized}
        )
        return replace(self, limits=replace(self.limits, cost=other))


def estimate_spot(
    work: PlannedWork,
    offer: Offer,
    pace: Throughput,
    moves: SpotPriceStats,
    bid_percentage: int,
    simulations: int = SIMULATIONS,
) -> Estimate:
    """On spot machines of an offer."""
    rate, price = pace.interruptions_per_hour, float(offer.spot)
    done = WorkSimulation(work, pace, simulations)
    usd, seconds = done.ranges(price * done.factors(moves.spread), done.rates(rate, pace.hours))
    return Estimate(
        offer.instance_type,
        "spot",
        offer.zone,
        price,
        offer.within_bid(bid_percentage),
        pace.frames_per_second,
        pace.measured,
        rate,
        replace(usd, expected=done.usd(price, rate)),
        usd.expected,
        seconds,
        work.unit_seconds(pace),
        work.spread,
        None if moves.low is None else done.usd(moves.low, rate),
    )


def estimate_fixed_price(
    work: PlannedWork,
    instance_type: str,
    market: PlanMarket,
    usd_per_hour: float,
    pace: Throughput,
) -> Estimate:
    """On machines that nobody takes away, at a price that does not move."""
    done = WorkSimulation(work, pace, SIMULATIONS)
    usd, seconds = done.ranges(np.full(SIMULATIONS, usd_per_hour), np.zeros(SIMULATIONS))
    return Estimate(
        instance_type,
        market,
        "",
        usd_per_hour,
        True,
        pace.frames_per_second,
        pace.measured,
        0.0,
        replace(usd, expected=done.usd(usd_per_hour, 0.0)),
        usd.expected,
        seconds,
        work.unit_seconds(pace),
        work.spread,
    )


def camera_shares(work: PlannedWork, pace: Throughput) -> Mapping[str, float]:
    """The part of a run's cost that is each camera's: by its work, its jobs' starts included."""
    per_job = work.overheads.seconds
    seconds = {
        camera.camera_id: camera.frames_left / pace.frames_per_second + per_job
        for camera in work.cameras
    }
    total = sum(seconds.values())
    return {camera_id: each / total for camera_id, each in seconds.items()}


class WorkSimulation:
    """The work, done on one type: expected, and many times over."""

    def __init__(self, work: PlannedWork, pace: Throughput, simulations: int) -> None:
        spread = work.spread
        self._machines = spread.machines
        self._overheads = replace(work.overheads, jobs_per_machine=spread.jobs_per_machine)
        per_frame = (1 + work.overheads.save_share) / pace.frames_per_second
        self._job_seconds = work.frames * per_frame / spread.jobs
        self._simulations = simulations
        self._random = np.random.default_rng(0)  # the same question has the same answer
        self._slower = self.factors(pace.spread)

    def factors(self, spread: float) -> Array:
        """Of mean 1, and with this standard deviation of the logarithm."""
        normal = self._random.standard_normal(self._simulations)
        return np.asarray(np.exp(spread * normal - spread**2 / 2))

    def rates(self, rate: float, hours: float) -> Array:
        """Interruptions per hour as they may be, after so many machine hours of looking."""
        sure = rate * (PRIOR_HOURS + hours)
        return np.asarray(self._random.gamma(sure, rate / sure, self._simulations))

    def usd(self, usd_per_hour: float, rate: float) -> float:
        """Expected."""
        took = machine_seconds(self._job_seconds, self._overheads, rate)
        adders = self._overheads.usd_per_hour
        return self._machines * (took.charged * usd_per_hour + took.lived * adders) / HOUR_SECONDS

    def ranges(self, usd_per_hour: Array, rates: Array) -> tuple[Range, Range]:
        """USD and seconds, each with its mean."""
        ratio = self._overheads.jobs_per_machine
        jobs = max(1, min(MAX_SIMULATED_JOBS, int(ratio)))
        # What is not simulated as a job of its own is as long as one, start included.
        starting = self.factors(START_LOG_STD)
        more_starts = self._overheads.start_seconds * (ratio - jobs) * starting
        seconds = (self._job_seconds * ratio * self._slower + more_starts) / jobs
        flat = [np.repeat(each, self._machines) for each in (seconds, rates, starting)]
        done = simulate(flat[0], jobs, self._overheads, flat[1], flat[2], self._random)
        shape = (self._simulations, self._machines)
        lived, charged = (each.reshape(shape).sum(axis=1) for each in (done.lived, done.charged))
        usd = (charged * usd_per_hour + lived * self._overheads.usd_per_hour) / HOUR_SECONDS
        return _range(usd), _range(done.elapsed.reshape(shape).max(axis=1))


def _range(found: Array) -> Range:
    low, high = np.quantile(found, [LOWER_QUANTILE, UPPER_QUANTILE])
    return Range(float(found.mean()), float(low), float(high))


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """Flat, units in the names."""
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
        if estimate.usd_if_waited is None
        else round(estimate.usd_if_waited, 6),
        "seconds": round(estimate.seconds.expected, 1),
        "seconds_low": round(estimate.seconds.low, 1),
        "seconds_high": round(estimate.seconds.high, 1),
        "units": estimate.spread.units,
        "unit_seconds": round(estimate.unit_seconds, 1),
        "jobs": estimate.spread.jobs,
        "machines": estimate.spread.machines,
    }
