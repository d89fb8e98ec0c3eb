"""Expected cost of work on spot and on-demand machines, with startup time and interruptions.

Closed forms. The expected runtime on machines that are interrupted at a constant rate follows
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps" (2006),
for the case in which finished work is saved within the interruption notice. The derivation of the
billed part is in `machine_seconds`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from math import exp, expm1

HOUR_SECONDS = 3600.0
# EC2 does not bill a spot machine that it interrupts within its first hour.
FREE_INTERRUPTION_SECONDS = 3600.0
# Lower rates count as 0: the formulas lose all digits.
MIN_INTERRUPTIONS_PER_HOUR = 1e-9

# Prior for a market without observations: one interruption in 20 machine hours.
PRIOR_INTERRUPTIONS = 1.0
PRIOR_HOURS = 20.0


@dataclass(frozen=True)
class Overheads:
    """The time and cost of a launch besides its work.

    Args:
        boot_seconds: billed, from a machine's launch until it accepts jobs.
        start_seconds: startup of each job: pulling the image, loading the models.
        idle_seconds: billed, from the last job's end until the machine terminates.
        save_share: share of the working time that is spent on saving finished work.
        usd_per_hour: resources without a spot discount: a disk of 60 GB and a public address.
        jobs_per_machine: consecutive jobs that share a machine's boot and idle time.
    """

    boot_seconds: float = 240.0
    start_seconds: float = 30.0
    idle_seconds: float = 120.0
    save_share: float = 1 / 300
    usd_per_hour: float = 0.0116
    jobs_per_machine: float = 1

    @property
    def seconds(self) -> float:
        """The overhead of one job, independent of its work."""
        machine = self.boot_seconds + self.idle_seconds
        return machine / self.jobs_per_machine + self.start_seconds


@dataclass(frozen=True)
class Offer:
    """A machine type in a zone, at its current prices in USD per hour.

    Args:
        speed: frames per second, relative to the type for which the working time is given.
        interruptions_per_hour: how often EC2 interrupts such a spot machine.
    """

    instance_type: str
    zone: str
    spot: Decimal
    on_demand: Decimal
    speed: float = 1.0
    interruptions_per_hour: float = PRIOR_INTERRUPTIONS / PRIOR_HOURS

    def within_bid(self, bid_percentage: int) -> bool:
        """Return True if the spot price is at most this percentage of the on-demand price."""
        return self.spot * 100 <= self.on_demand * bid_percentage


def interruption_rate(
    interruptions: int, machine_hours: float, assumed: float = PRIOR_INTERRUPTIONS / PRIOR_HOURS
) -> float:
    """Estimate the interruptions per machine hour from observations and a prior.

    The mean of a Gamma distribution that was updated with a Poisson count.

    Args:
        assumed: prior interruptions per machine hour; weighs as much as PRIOR_HOURS of
            observation.
    """
    return (assumed * PRIOR_HOURS + interruptions) / (PRIOR_HOURS + machine_hours)


@dataclass(frozen=True)
class MachineSeconds:
    """Expected seconds of spot machines, from each one's launch to its end.

    Args:
        uptime: of all machines; disks and addresses are billed for these.
        billed: without machines that EC2 interrupted in their first hour.
    """

    uptime: float
    billed: float


def machine_seconds(
    job_seconds: float, overheads: Overheads, interruptions_per_hour: float
) -> MachineSeconds:
    """Return the expected machine time of one machine's jobs, each with `job_seconds` of work.

    Interrupted machines are replaced. With L interruptions a second, a start of S seconds (boot
    and a job's start), work W (including the starts of later jobs), idle time I, and F the first
    hour: interruptions during the work are Poisson(L W), and each is followed by a start that
    itself has to survive, (e^(L S) - 1) / L seconds:

        uptime = W + (1 + L W) (e^(L S) - 1) / L + (1 - e^(-L I)) / L

    A machine that starts with u seconds of work left is interrupted within its free time for
    G(u) = E[X; X < min(F, S + u + I)] seconds, X ~ Exp(L). Summed over all machines, m(w) solves
    m(w) = G(w) + (1 - e^(-L S)) m(w) + e^(-L S) int_0^w L e^(-L y) m(w - y) dy, which Laplace's
    transform turns into

        uptime - billed = m(W) = e^(L S) (G(W) + L int_0^W G(u) du)

    Left out: the two minutes of notice, in which the worker has stopped and the machine still
    runs.
    """
    start = overheads.boot_seconds + overheads.start_seconds
    idle, jobs = overheads.idle_seconds, overheads.jobs_per_machine
    work = job_seconds * jobs + overheads.start_seconds * (jobs - 1)
    if interruptions_per_hour < MIN_INTERRUPTIONS_PER_HOUR:
        return MachineSeconds(start + work + idle, start + work + idle)
    rate = interruptions_per_hour / HOUR_SECONDS
    starts = (1 + rate * work) * expm1(rate * start) / rate
    uptime = work + starts - expm1(-rate * idle) / rate
    free = exp(rate * start) * (
        _free_seconds(rate, start + work + idle)
        + rate * _free_seconds_integral(rate, start + idle, start + work + idle)
    )
    return MachineSeconds(uptime, uptime - free)


def _free_seconds(rate: float, until: float) -> float:
    """E[X; X < until] of a machine's lifetime X ~ Exp(rate), limited to its first hour."""
    age = rate * min(until, FREE_INTERRUPTION_SECONDS)
    return (-expm1(-age) - age * exp(-age)) / rate


def _free_seconds_integral(rate: float, start: float, end: float) -> float:
    """The integral of `_free_seconds` over `until`, from start to end."""

    def primitive(until: float) -> float:
        return (until + (2 / rate + until) * exp(-rate * until)) / rate

    within = primitive(min(end, FREE_INTERRUPTION_SECONDS)) - primitive(
        min(start, FREE_INTERRUPTION_SECONDS)
    )
    beyond = max(0.0, end - max(start, FREE_INTERRUPTION_SECONDS))
    return within + beyond * _free_seconds(rate, FREE_INTERRUPTION_SECONDS)


def spot_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """Return the expected USD for the work of one job on spot machines of this offer."""
    job_seconds = _with_saving(offer, work_seconds, overheads)
    machines = machine_seconds(job_seconds, overheads, offer.interruptions_per_hour)
    usd = machines.billed * float(offer.spot) + machines.uptime * overheads.usd_per_hour
    return usd / HOUR_SECONDS / overheads.jobs_per_machine


def on_demand_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """Return the USD for the work of one job on an on-demand machine of this offer's type."""
    job_seconds = _with_saving(offer, work_seconds, overheads)
    per_hour = float(offer.on_demand) + overheads.usd_per_hour
    return (job_seconds + overheads.seconds) / HOUR_SECONDS * per_hour


def _with_saving(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """Working seconds on the offer's type, including the time for saving finished work."""
    return work_seconds / offer.speed * (1 + overheads.save_share)


def effective_saving(
    offer: Offer, offers: Iterable[Offer], work_seconds: float, overheads: Overheads
) -> float:
    """Return the share of the cost that spot saves against the cheapest on-demand machine.

    Args:
        offers: all alternatives on demand, including `offer`.

    Returns:
        At most 1; below 0 if spot is more expensive.
    """
    on_demand = min(on_demand_usd(other, work_seconds, overheads) for other in offers)
    return 1 - spot_usd(offer, work_seconds, overheads) / on_demand
