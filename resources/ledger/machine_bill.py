"""A machine's bill, allocated to the jobs that ran on it.

Each second of the machine's lifetime is allocated in equal parts to the jobs that ran in it; all
other seconds, boot and idle time, are overhead. The parts add up to the machine's bill by AWS's
rules (`PriceBook.usage_cost`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from resources.ledger.aws_usage import Machine
from resources.pricing.economics import FREE_INTERRUPTION_SECONDS, Overheads
from resources.pricing.prices import (
    FREE_REMARK,
    HOUR_SECONDS,
    Cost,
    Market,
    PriceBook,
    Quote,
    Usage,
)

# Assumed time from the last job's end to the end of a machine whose end was not reported.
ASSUMED_IDLE_SECONDS = Overheads().idle_seconds


class JobInterval(NamedTuple):
    """A job's time on a machine, in seconds since 1970 UTC. `end` is None while it runs."""

    job: str
    start: float
    end: float | None


@dataclass(frozen=True)
class MachineBill:
    """The cost of a machine.

    Args:
        jobs: the parts of the jobs, by job; `seconds` of a part are its share of the machine's.
        overhead: the cost of the rest of its lifetime.
        metered: the cost of its whole lifetime if it were not free.
        until: the end of the billed time, seconds since 1970 UTC.
        estimated: its end is not known, or has not come.
    """

    machine: Machine
    jobs: dict[str, Cost]
    overhead: Cost
    metered: Cost
    until: float
    estimated: bool

    @property
    def may_be_free(self) -> bool:
        """True if the machine may turn out to be free: its end is not known, or has not come."""
        age = Decimal(self.until - self.machine.launched)
        is_spot = self.machine.market == Market.SPOT
        return self.estimated and is_spot and age < FREE_INTERRUPTION_SECONDS

    def usd_per_hour(self, part: Cost) -> Decimal:
        """Return the price per hour of a part, or of the whole machine if the part cost nothing."""
        priced = part if part.usd else self.metered
        return priced.usd / priced.seconds * HOUR_SECONDS if priced.seconds else Decimal(0)

    @property
    def seconds(self) -> Decimal:
        """All billed seconds."""
        return sum((job.seconds for job in self.jobs.values()), self.overhead.seconds)

    def share(self, jobs: Sequence[str]) -> Decimal:
        """Return the share of the overhead that is allocated to some jobs, by their seconds."""
        busy = sum((job.seconds for job in self.jobs.values()), Decimal(0))
        own = sum((self.jobs[job].seconds for job in jobs if job in self.jobs), Decimal(0))
        return own / busy if busy else Decimal(0)


def machine_bill(
    machine: Machine, intervals: Sequence[JobInterval], book: PriceBook
) -> MachineBill:
    """Compute the bill of a machine.

    Args:
        intervals: of all jobs that ran on it, of any launch.

    Raises:
        RavneError: the price of the machine type is not known.
    """
    until, estimated = _billed_until(machine, intervals)
    lifetime = Usage(
        instance_type=machine.instance_type,
        zone=machine.zone,
        market=machine.market,
        start=machine.launched,
        end=until,
        launched=machine.launched,
        interrupted_at=until if machine.taken else None,
    )
    whole = book.usage_cost(lifetime)
    free = whole.remark == FREE_REMARK
    parts = _parts(lifetime, _clip(intervals, lifetime), book)
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
    metered = book.metered_cost(replace(lifetime, end=max(until, machine.launched)))
    return MachineBill(machine, parts, overhead, metered, until, estimated)


def _billed_until(machine: Machine, intervals: Sequence[JobInterval]) -> tuple[float, bool]:
    """The end of a machine, known or assumed, and True if it is assumed."""
    if machine.ended is not None and machine.end_known:
        return machine.ended, False
    last = max((each.end or machine.seen_at for each in intervals), default=machine.launched)
    if machine.taken:  # its jobs ended with it
        return max(last, machine.launched), True
    running = any(each.end is None for each in intervals)
    seen = machine.ended or machine.seen_at
    return max(seen, last if running else last + ASSUMED_IDLE_SECONDS), True


def _clip(intervals: Sequence[JobInterval], lifetime: Usage) -> list[tuple[str, float, float]]:
    """Intervals clipped to the machine's lifetime: EC2 reports seconds, Batch milliseconds."""
    clipped = [
        (each.job, max(each.start, lifetime.start), min(each.end or lifetime.end, lifetime.end))
        for each in intervals
    ]
    return [(job, start, end) for job, start, end in clipped if start < end]


def _parts(
    lifetime: Usage, intervals: Sequence[tuple[str, float, float]], book: PriceBook
) -> dict[str, Cost]:
    """The parts of the jobs, period by period between any start or end of a job."""
    times = sorted({time for _, start, end in intervals for time in (start, end)})
    parts: dict[str, Cost] = {}
    for start, end in pairwise(times):
        running = [job for job, since, until in intervals if since <= start and end <= until]
        if not running:
            continue
        cost = book.metered_cost(replace(lifetime, start=start, end=end))
        for job in running:
            parts[job] = _add(parts.get(job), cost, Decimal(len(running)))
    return parts


def _add(part: Cost | None, cost: Cost, job_count: Decimal) -> Cost:
    """A job's part plus its share of a period's cost."""
    before = part or Cost(Decimal(0), Decimal(0), Decimal(0), ())
    return Cost(
        before.usd + cost.usd / job_count,
        before.usd_on_demand + cost.usd_on_demand / job_count,
        before.seconds + cost.seconds / job_count,
        _unique((*before.quotes, *cost.quotes)),
        cost.remark,
    )


def _unique(quotes: Sequence[Quote]) -> tuple[Quote, ...]:
    return tuple(dict.fromkeys(quotes))


def _sum(parts: dict[str, Cost], name: str) -> Decimal:
    return sum((getattr(part, name) for part in parts.values()), Decimal(0))
