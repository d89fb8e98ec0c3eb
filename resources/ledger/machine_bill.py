"""A machine's whole bill, shared among the jobs that ran on it.

A second in which jobs ran is theirs, in equal parts; every other second of its life, boot and
idle, is overhead. Nothing is lost and nothing counted twice: the parts add up to the machine's
bill by AWS's rules (`PriceBook.cost_of`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from resources.ledger.aws_usage import Machine
from resources.pricing.economics import Overheads
from resources.pricing.prices import (
    FREE_INTERRUPTION_SECONDS,
    FREE_REMARK,
    HOUR_SECONDS,
    Cost,
    PriceBook,
    Quote,
    Usage,
)

# A machine whose end nobody saw is taken to have lived so long after its last job.
ASSUMED_IDLE_SECONDS = Overheads().idle_seconds


class JobInterval(NamedTuple):
    """A job's time on a machine, in seconds since 1970 UTC. `end` is None while it runs."""

    job: str
    start: float
    end: float | None


@dataclass(frozen=True)
class MachineBill:
    """What a machine cost.

    Args:
        jobs: the parts of the jobs, by job; each one's `seconds` are its share of the machine's.
        overhead: of the rest of its life.
        charged: what all of it would cost if it were not free.
        until: the end of what is billed, seconds since 1970 UTC.
        estimated: its end is not known, or has not come.
    """

    machine: Machine
    jobs: dict[str, Cost]
    overhead: Cost
    charged: Cost
    until: float
    estimated: bool

    @property
    def may_be_free(self) -> bool:
        """Whether EC2 may yet take the machine, and make it free; or have, unseen."""
        young = Decimal(self.until - self.machine.launched) < FREE_INTERRUPTION_SECONDS
        return self.estimated and self.machine.market == "spot" and young

    def per_hour(self, part: Cost) -> Decimal:
        """The price of an hour of a part, or of the whole machine where the part cost nothing."""
        priced = part if part.usd else self.charged
        return priced.usd / priced.seconds * HOUR_SECONDS if priced.seconds else Decimal(0)

    @property
    def seconds(self) -> Decimal:
        """All that is billed."""
        return sum((job.seconds for job in self.jobs.values()), self.overhead.seconds)

    def share(self, jobs: Sequence[str]) -> Decimal:
        """The part of what all share that falls to some of its jobs: that of their seconds."""
        busy = sum((job.seconds for job in self.jobs.values()), Decimal(0))
        own = sum((self.jobs[job].seconds for job in jobs if job in self.jobs), Decimal(0))
        return own / busy if busy else Decimal(0)


def machine_bill(machine: Machine, stays: Sequence[JobInterval], book: PriceBook) -> MachineBill:
    """The bill of a machine.

    Args:
        stays: of all jobs that ran on it, whoever's.

    Raises:
        RavneError: no price of such a machine is known.
    """
    until, estimated = _end_of(machine, stays)
    life = Usage(
        instance_type=machine.instance_type,
        zone=machine.zone,
        market=machine.market,
        start=machine.launched,
        end=until,
        launched=machine.launched,
        taken_at=until if machine.taken else None,
    )
    whole = book.cost_of(life)
    free = whole.remark == FREE_REMARK
    parts = _parts(life, _within(stays, life), book)
    overhead = Cost(
        Decimal(0) if free else whole.usd - _sum(parts, "usd"),
        whole.usd_on_demand - _sum(parts, "usd_on_demand"),
        whole.seconds - _sum(parts, "seconds"),
        whole.quotes,
        whole.remark,
    )
    if free:
        parts = {
            job: replace(part, usd=Decimal(0), remark=FREE_REMARK) for job, part in parts.items()
        }
    charged = book.charged(replace(life, end=max(until, machine.launched)))
    return MachineBill(machine, parts, overhead, charged, until, estimated)


def _end_of(machine: Machine, stays: Sequence[JobInterval]) -> tuple[float, bool]:
    """When a machine ended, or is taken to have, and whether that is a guess."""
    if machine.ended is not None and machine.end_known:
        return machine.ended, False
    last = max((stay.end or machine.seen_at for stay in stays), default=machine.launched)
    if machine.taken:  # its jobs ended with it
        return max(last, machine.launched), True
    goes_on = any(stay.end is None for stay in stays)
    seen = machine.ended or machine.seen_at
    return max(seen, last if goes_on else last + ASSUMED_IDLE_SECONDS), True


def _within(stays: Sequence[JobInterval], life: Usage) -> list[tuple[str, float, float]]:
    """Stays cut to the machine's life: EC2 tells whole seconds, Batch thousandths."""
    cut = [
        (stay.job, max(stay.start, life.start), min(stay.end or life.end, life.end))
        for stay in stays
    ]
    return [(job, start, end) for job, start, end in cut if start < end]


def _parts(
    life: Usage, stays: Sequence[tuple[str, float, float]], book: PriceBook
) -> dict[str, Cost]:
    moments = sorted({moment for _, start, end in stays for moment in (start, end)})
    parts: dict[str, Cost] = {}
    for start, end in pairwise(moments):
        here = [job for job, since, until in stays if since <= start and end <= until]
        if not here:
            continue
        cost = book.charged(replace(life, start=start, end=end))
        for job in here:
            parts[job] = _added(parts.get(job), cost, Decimal(len(here)))
    return parts


def _added(sofar: Cost | None, cost: Cost, sharing: Decimal) -> Cost:
    nothing = Cost(Decimal(0), Decimal(0), Decimal(0), ())
    before = sofar or nothing
    return Cost(
        before.usd + cost.usd / sharing,
        before.usd_on_demand + cost.usd_on_demand / sharing,
        before.seconds + cost.seconds / sharing,
        _without_doubles((*before.quotes, *cost.quotes)),
        cost.remark,
    )


def _without_doubles(quotes: Sequence[Quote]) -> tuple[Quote, ...]:
    return tuple(dict.fromkeys(quotes))


def _sum(parts: dict[str, Cost], name: str) -> Decimal:
    return sum((getattr(part, name) for part in parts.values()), Decimal(0))
