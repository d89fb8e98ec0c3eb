"""The bill of the machines: the true costs, with which tests compare the product's cost report.

EC2 bills by the second, with a minimum of 60 s, at the spot price in force. A Linux spot machine
that EC2 interrupts in its first hour is free (EC2 guide, "Billing for interrupted Spot Instances").
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from resources.sandbox.model.prices import SPOT, TYPES, InstanceLifecycle

MINIMUM_SECONDS = 60.0
FREE_SECONDS = 3600.0
# Prefix of the usage types of eu-north-1.
REGION_PREFIX = "EUN1"


class BillLine(NamedTuple):
    """One machine's charge. Times in seconds since 1970 UTC, money in USD.

    `on_demand_cost` is the cost of the same seconds on demand; `busy_seconds` is the time with at
    least one job, as opposed to boot and idle time; `tags` are the machine's.
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
    """The price from `since` on, in USD per hour."""

    since: float
    per_hour: float


class AttemptInterval(NamedTuple):
    """The time of an attempt on a machine, from RUNNING to its end."""

    job_id: str
    start: float
    end: float


class AttemptLine(NamedTuple):
    """An attempt's share of its machine's charge, in USD, which AWS's bill does not show."""

    job_id: str
    instance_id: str
    cost: float


def cost_of_attempt(
    prices: Sequence[Price],
    attempt: AttemptInterval,
    attempts: Sequence[AttemptInterval],
    ended: float,
) -> float:
    """Return the USD for an attempt on a machine that is charged; parallel attempts share.

    Args:
        prices: in order of time.
        attempts: all attempts on the machine, including this one.
        ended: end of the machine; time after it is not charged.
    """
    moments = {time for each in attempts for time in (each.start, each.end)}
    moments |= {price.since for price in prices}
    last = min(attempt.end, ended)
    inside = {moment for moment in moments if attempt.start < moment < last}
    times = sorted({attempt.start, *inside, last})
    total = 0.0
    for start, end in pairwise(times):
        middle = (start + end) / 2
        price = [each for each in prices if each.since <= start][-1]
        sharing = sum(each.start <= middle < each.end for each in attempts)
        total += (end - start) / 3600 * price.per_hour / sharing
    return total


def is_free(launched: float, ended: float, interrupted: bool) -> bool:
    """True if EC2 interrupted the machine in its first hour."""
    return interrupted and ended - launched < FREE_SECONDS


def charge(prices: Sequence[Price], launched: float, ended: float, interrupted: bool) -> float:
    """Return the USD for one machine that ran from `launched` to `ended`.

    Args:
        prices: in order of time, the first from `launched` on.
        interrupted: EC2 interrupted it.
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
    """Return the USD for the same time on demand."""
    return max(seconds, MINIMUM_SECONDS) / 3600 * TYPES[kind].on_demand


def usage_type(kind: str, lifecycle: InstanceLifecycle) -> str:
    """Return Cost Explorer's usage type of a machine's hours."""
    return f"{REGION_PREFIX}-{'SpotUsage' if lifecycle == SPOT else 'BoxUsage'}:{kind}"
