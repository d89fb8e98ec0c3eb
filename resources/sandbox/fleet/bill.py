"""What the machines really cost: the truth that the product's own report is held against.

EC2's rules: per second, 60 s at least, at the spot price in force; a Linux spot machine that EC2
itself takes away in its first hour is free (EC2 guide, "Billing for interrupted Spot Instances").
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from resources.sandbox.model.prices import SPOT, TYPES, InstanceLifecycle

MINIMUM_SECONDS = 60.0
FREE_SECONDS = 3600.0
# How eu-north-1 begins the usage types of the bill.
REGION_PREFIX = "EUN1"


class BillLine(NamedTuple):
    """One machine's charge. Times in seconds since 1970 UTC, money in USD.

    `on_demand_cost` is what the same seconds would have cost on demand; `busy_seconds` is the
    time in which it held at least one job, the rest being boot and idle; `tags` are the machine's.
    """

    instance_id: str
    environment: str
    instance_type: str
    zone: str
    lifecycle: InstanceLifecycle
    launched: float
    ended: float | None
    interrupted: bool
    seconds: float
    busy_seconds: float
    cost: float
    on_demand_cost: float
    usage_type: str
    tags: dict[str, str]


class Price(NamedTuple):
    """From `since` on, an hour cost `per_hour` USD."""

    since: float
    per_hour: float


class AttemptInterval(NamedTuple):
    """An attempt's time on a machine, from RUNNING to its end."""

    job_id: str
    start: float
    end: float


class AttemptLine(NamedTuple):
    """An attempt's part of its machine's charge, in USD: not on the bill, but true."""

    job_id: str
    instance_id: str
    cost: float


def cost_of_attempt(
    prices: Sequence[Price], ran: AttemptInterval, others: Sequence[AttemptInterval], ended: float
) -> float:
    """USD for an attempt's seconds on a machine that is charged; jobs that run at once share.

    Args:
        prices: in order of time.
        others: all attempts on the machine, this one too.
        ended: of the machine; what came after is not charged.
    """
    moments = {time for each in others for time in (each.start, each.end)}
    moments |= {price.since for price in prices}
    inside = {moment for moment in moments if ran.start < moment < min(ran.end, ended)}
    times = sorted({ran.start, *inside, min(ran.end, ended)})
    total = 0.0
    for start, end in pairwise(times):
        middle = (start + end) / 2
        price = [each for each in prices if each.since <= start][-1]
        sharing = sum(each.start <= middle < each.end for each in others)
        total += (end - start) / 3600 * price.per_hour / sharing
    return total


def is_free(launched: float, ended: float, interrupted: bool) -> bool:
    """EC2 took it in its first hour."""
    return interrupted and ended - launched < FREE_SECONDS


def charge(prices: Sequence[Price], launched: float, ended: float, interrupted: bool) -> float:
    """USD for one machine that ran from `launched` to `ended`.

    Args:
        prices: in order of time, the first from `launched` on.
        interrupted: EC2 took it away.
    """
    if is_free(launched, ended, interrupted):
        return 0.0
    end = max(ended, launched + MINIMUM_SECONDS)
    untils = [later.since for later in prices[1:]] + [end]
    return sum(
        max(0.0, min(until, end) - price.since) / 3600 * price.per_hour
        for price, until in zip(prices, untils, strict=True)
    )


def on_demand_charge(kind: str, seconds: float) -> float:
    """USD for the same time on demand."""
    return max(seconds, MINIMUM_SECONDS) / 3600 * TYPES[kind].on_demand


def usage_type(kind: str, lifecycle: InstanceLifecycle) -> str:
    """How Cost Explorer names these hours."""
    return f"{REGION_PREFIX}-{'SpotUsage' if lifecycle == SPOT else 'BoxUsage'}:{kind}"
