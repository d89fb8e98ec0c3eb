"""What a piece of work is expected to cost on spot and on demand, start-up and losses included.

Closed forms. The expected working time on machines that are taken away at a constant rate follows
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps" (2006),
for the case in which what is finished is saved within the notice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from math import exp

HOUR = 3600.0

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
        jobs_per_machine: jobs that share a machine's boot and idle time.
    """

    boot_seconds: float = 240.0
    start_seconds: float = 30.0
    idle_seconds: float = 120.0
    saving_share: float = 1 / 300
    usd_per_hour: float = 0.0116
    jobs_per_machine: int = 1

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


def interruption_rate(interruptions: int, machine_hours: float) -> float:
    """Interruptions per machine hour, from what was seen and what is assumed beforehand.

    The mean of a Gamma distribution that was updated with a Poisson count.
    """
    return (PRIOR_INTERRUPTIONS + interruptions) / (PRIOR_HOURS + machine_hours)


def charged_share(interruptions_per_hour: float) -> float:
    """Share of spot hours that are charged: machines taken in their first hour are free."""
    return exp(-interruptions_per_hour) * (1 + interruptions_per_hour)


def spot_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """Expected USD for the work on spot machines of this offer."""
    rate = offer.interruptions_per_hour
    restart = overheads.boot_seconds + overheads.start_seconds
    working = _writing_included(offer, work_seconds, overheads) * exp(rate * restart / HOUR)
    per_hour = float(offer.spot) * charged_share(rate) + overheads.usd_per_hour
    return (working + overheads.seconds) / HOUR * per_hour


def on_demand_usd(offer: Offer, work_seconds: float, overheads: Overheads) -> float:
    """USD for the work on demand, on a machine of this offer's type."""
    working = _writing_included(offer, work_seconds, overheads)
    per_hour = float(offer.on_demand) + overheads.usd_per_hour
    return (working + overheads.seconds) / HOUR * per_hour


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
