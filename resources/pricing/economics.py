"""What a piece of work is expected to cost on spot and on demand, start-up and losses included.

Closed forms. The expected working time on machines that are taken away at a constant rate follows
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps" (2006),
for the case in which what is finished is saved within the notice. What of it is charged is ours,
see `machine_seconds`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from math import exp, expm1

HOUR_SECONDS = 3600.0
# EC2 does not charge a spot machine that it takes away before this.
FREE_INTERRUPTION_SECONDS = 3600.0
# Rarer interruptions than one in a hundred thousand years are none: their formulas lose all digits.
MIN_INTERRUPTIONS_PER_HOUR = 1e-9

# What is assumed of a market nothing is known of: one interruption in 20 machine hours.
PRIOR_INTERRUPTIONS = 1.0
PRIOR_HOURS = 20.0


@dataclass(frozen=True)
class Overheads:
    """What a launch costs besides its work.

    Args:
        boot_seconds: billed, from a machine's launch until it takes jobs.
        start_seconds: of each job: pulling the image, loading the models.
        idle_seconds: billed, from the last job's end until the machine is given back.
        saving_share: share of the working time that goes into writing finished work down.
        usd_per_hour: what has no spot discount: a disk of 60 GB and a public address.
        jobs_per_machine: jobs that share a machine's boot and idle time, one after the other.
    """

    boot_seconds: float = 240.0
    start_seconds: float = 30.0
    idle_seconds: float = 120.0
    saving_share: float = 1 / 300
    usd_per_hour: float = 0.0116
    jobs_per_machine: float = 1

    @property
    def seconds(self) -> float:
        """Of one job, however long it works."""
        machine = self.boot_seconds + self.idle_seconds
        return machine / self.jobs_per_machine + self.start_seconds


@dataclass(frozen=True)
class Offer:
    """A machine type in a zone, at its prices now in USD per hour.

    Args:
        speed: frames per second, relative to the type for which the working time is known.
        interruptions_per_hour: how often EC2 takes such a machine away.
    """

    instance_type: str
    zone: str
    spot: Decimal
    on_demand: Decimal
    speed: float = 1.0
    interruptions_per_hour: float = PRIOR_INTERRUPTIONS / PRIOR_HOURS

    def within_bid(self, bid_percentage: int) -> bool:
        """Whether the spot price is at most this percentage of the on-demand price."""
        return self.spot * 100 <= self.on_demand * bid_percentage


def interruption_rate(
    interruptions: int, machine_hours: float, assumed: float = PRIOR_INTERRUPTIONS / PRIOR_HOURS
) -> float:
    """Interruptions per machine hour, from what was seen and what is assumed beforehand.

    The mean of a Gamma distribution that was updated with a Poisson count.

    Args:
        assumed: interruptions per machine hour; weighs as much as PRIOR_HOURS of seeing.
    """
    return (assumed * PRIOR_HOURS + interruptions) / (PRIOR_HOURS + machine_hours)


@dataclass(frozen=True)
class MachineSeconds:
    """Expected seconds of spot machines, from each one's launch to its end.

    Args:
        lived: of all of them; disks and addresses are charged for these.
        charged: without those of machines that EC2 took in their first hour.
    """

    lived: float
    charged: float


def machine_seconds(
    job_seconds: float, overheads: Overheads, interruptions_per_hour: float
) -> MachineSeconds:
    """What it takes to do the jobs of one machine, each `job_seconds` of work, losses replaced.

    With L losses a second, a start of S seconds (boot, and a job's start), work W (later jobs'
    starts among it), idle time I, and F the first hour. Losses during the work are Poisson(L W),
    and each is followed by a start that itself has to be survived, (e^(L S) - 1) / L seconds:

        lived = W + (1 + L W) (e^(L S) - 1) / L + (1 - e^(-L I)) / L

    A machine that finds u seconds of work left is taken within its free time for
    G(u) = E[X; X < min(F, S + u + I)] seconds, X ~ Exp(L). Summed over all machines, m(w) solves
    m(w) = G(w) + (1 - e^(-L S)) m(w) + e^(-L S) int_0^w L e^(-L y) m(w - y) dy, which Laplace's
    transform turns into

        lived - charged = m(W) = e^(L S) (G(W) + L int_0^W G(u) du)

    Left out: the two minutes of notice, in which the worker has stopped and the machine runs on.
    """
    start = overheads.boot_seconds + overheads.start_seconds
    idle, jobs = overheads.idle_seconds, overheads.jobs_per_machine
    work = job_seconds * jobs + overheads.start_seconds * (jobs - 1)
    if interruptions_per_hour < MIN_INTERRUPTIONS_PER_HOUR:
        return MachineSeconds(start + work + idle, start + work + idle)
    rate = interruptions_per_hour / HOUR_SECONDS
    starts = (1 + rate * work) * expm1(rate * start) / rate
    lived = work + starts - expm1(-rate * idle) / rate
    free = exp(rate * start) * (
        _early_loss(rate, start + work + idle)
        + rate * _early_losses(rate, start + idle, start + work + idle)
    )
    return MachineSeconds(lived, lived - free)


def _early_loss(rate: float, until: float) -> float:
    """E[X; X < until] of a machine's life X ~ Exp(rate), but no later than its first hour."""
    age = rate * min(until, FREE_INTERRUPTION_SECONDS)
    return (-expm1(-age) - age * exp(-age)) / rate


def _early_losses(rate: float, start: float, end: float) -> float:
    """The integral of `_early_loss` over `until`, from start to end."""

    def primitive(until: float) -> float:
        return (until + (2 / rate + until) * exp(-rate * until)) / rate

    within = primitive(min(end, FREE_INTERRUPTION_SECONDS)) - primitive(
        min(start, FREE_INTERRUPTION_SECONDS)
    )
    beyond = max(0.0, end - max(start, FREE_INTERRUPTION_SECONDS))
    return within + beyond * _early_loss(rate, FREE_INTERRUPTION_SECONDS)


def spot_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """Expected USD for the work of one job on spot machines of this offer."""
    working = _writing_included(offer, work_seconds, overheads)
    took = machine_seconds(working, overheads, offer.interruptions_per_hour)
    usd = took.charged * float(offer.spot) + took.lived * overheads.usd_per_hour
    return usd / HOUR_SECONDS / overheads.jobs_per_machine


def on_demand_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """USD for the work of one job on demand, on a machine of this offer's type."""
    working = _writing_included(offer, work_seconds, overheads)
    per_hour = float(offer.on_demand) + overheads.usd_per_hour
    return (working + overheads.seconds) / HOUR_SECONDS * per_hour


def _writing_included(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    return work_seconds / offer.speed * (1 + overheads.saving_share)


def effective_saving(
    offer: Offer, offers: Iterable[Offer], work_seconds: float, overheads: Overheads
) -> float:
    """Share of the money that spot saves, against the cheapest way to do the same on demand.

    Args:
        offers: all that could be used instead, on demand; `offer` among them.

    Returns:
        At most 1; below 0 where spot is the dearer.
    """
    instead = min(on_demand_usd(other, work_seconds, overheads) for other in offers)
    return 1 - spot_usd(offer, work_seconds, overheads) / instead
