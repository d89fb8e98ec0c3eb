"""What machines cost: prices with their source and date, and AWS's rules for billing them.

Money is decimal, in USD. Times are seconds since 1970 UTC, as Clock and AWS Batch tell them.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from resources.errors import RavneError
from resources.pricing.economics import Offer

Market = Literal["spot", "ondemand"]

HOUR_SECONDS = Decimal(3600)
# EC2 bills seconds, and so many at least.
MIN_BILLED_SECONDS = Decimal(60)
# A Linux spot machine that EC2 takes away before this is free.
FREE_INTERRUPTION_SECONDS = Decimal(3600)
FREE_REMARK = "free: EC2 took the machine in its first hour"
# Prices older than this are told to be.
STALE_PRICE_SECONDS = 30 * 24 * 3600

GIB = Decimal(2**30)


class Quote(BaseModel):
    """A price, from `as_of` on.

    `item` is a machine type, or the name of a rate in price_table.yaml. `market` and `zone` are
    those of a machine; an on-demand price holds for the whole region.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str
    usd: Decimal
    unit: str
    as_of: datetime
    source: str
    verified: bool
    market: Market | None = None
    zone: str | None = None


@dataclass(frozen=True)
class Usage:
    """A stretch of a machine's life: an attempt, or the whole of it.

    Args:
        zone: its name, as eu-north-1a.
        launched: when the machine was; None: not known.
        taken_at: when EC2 took it away; None: it did not.
    """

    instance_type: str
    zone: str
    market: Market
    start: float
    end: float
    launched: float | None = None
    taken_at: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a usage cost.

    Args:
        usd: what is paid.
        usd_on_demand: what the same seconds would have cost on demand.
        seconds: that are billed, or would be if the machine were not free.
        quotes: the prices that were in force, in order of time.
        remark: where a rule or a guess has changed the sum; empty: none has.
    """

    usd: Decimal
    usd_on_demand: Decimal
    seconds: Decimal
    quotes: tuple[Quote, ...]
    remark: str = ""


@dataclass(frozen=True)
class PriceBook:
    """The prices of a region.

    Args:
        remarks: what a reader of sums made from it should know, each a sentence.
    """

    region: str
    quotes: tuple[Quote, ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def _spot(self) -> dict[str, dict[str, list[Quote]]]:
        """By type and zone, in order of time."""
        found: dict[str, dict[str, list[Quote]]] = defaultdict(lambda: defaultdict(list))
        for quote in sorted(self.quotes, key=lambda quote: quote.as_of):
            if quote.market == "spot" and quote.zone is not None:
                found[quote.item][quote.zone].append(quote)
        return found

    @cached_property
    def _fixed(self) -> dict[str, Quote]:
        """On-demand prices and rates, by item."""
        return {quote.item: quote for quote in self.quotes if quote.market != "spot"}

    def on_demand(self, instance_type: str) -> Quote:
        """The on-demand price of an hour.

        Raises:
            RavneError: none is known.
        """
        return self._known(instance_type)

    def rate(self, item: str) -> Quote:
        """The price of something other than a machine, see price_table.yaml.

        Raises:
            RavneError: none is known.
        """
        return self._known(item)

    def _known(self, item: str) -> Quote:
        if item not in self._fixed:
            raise RavneError(
                f"{item} in {self.region}: no price is known; name a type that is sold there "
                "(cloud.aws.compute.instance_types), and allow pricing:GetProducts"
            )
        return self._fixed[item]

    def spot(self, instance_type: str, zone: str, at: float) -> Quote:
        """The spot price of an hour that was in force at a time; before the first, the first.

        In a zone that has no price of its own, that of the dearest zone.

        Raises:
            RavneError: no spot price of this type is known.
        """
        zones = self._spot.get(instance_type)
        if not zones:
            raise RavneError(
                f"{instance_type} in {self.region}: no spot price is known; name a type that is "
                "sold there (cloud.aws.compute.instance_types), and allow "
                "ec2:DescribeSpotPriceHistory"
            )
        if zone in zones:
            return _in_force(zones[zone], at)
        return max((_in_force(quotes, at) for quotes in zones.values()), key=lambda q: q.usd)

    def offers(self, instance_types: Iterable[str], at: float) -> list[Offer]:
        """Every zone that has one of the types on spot, at its prices; types in the order given.

        Raises:
            RavneError: a type has spot prices but no on-demand price.
        """
        return [
            Offer(kind, zone, _in_force(quotes, at).usd, self.on_demand(kind).usd)
            for kind in instance_types
            for zone, quotes in sorted(self._spot.get(kind, {}).items())
        ]

    def cost_of(self, usage: Usage) -> Cost:
        """What a usage costs by AWS's rules.

        Per second, 60 s of a machine's life at least; on spot at the price in force, and nothing
        if EC2 takes the machine in its first hour ("Billing for interrupted Spot Instances", EC2
        user guide). Where the launch is not known, no sum is lower than the truth: the usage is
        taken for all of a short life, and its machine for one that is not free.

        Raises:
            RavneError: no price is known.
        """
        launched = usage.start if usage.launched is None else usage.launched
        least = launched + float(MIN_BILLED_SECONDS)
        cost = self.charged(replace(usage, end=max(usage.end, usage.start, least)))
        if usage.market == "spot" and _is_free(usage):
            return replace(cost, usd=Decimal(0), remark=FREE_REMARK)
        return cost

    def charged(self, usage: Usage) -> Cost:
        """What just these seconds cost, on a machine that is not free. Costs of stretches that
        follow each other add up to that of the whole.

        Raises:
            RavneError: no price is known.
        """
        start, end = _decimal(usage.start), _decimal(usage.end)
        on_demand = self.on_demand(usage.instance_type)
        instead = (end - start) * on_demand.usd / HOUR_SECONDS
        if usage.market == "ondemand":
            return Cost(instead, instead, end - start, (on_demand,))
        quotes, usd, remark = self._spot_cost(usage, start, end)
        return Cost(usd, instead, end - start, quotes, remark)

    def _spot_cost(
        self, usage: Usage, start: Decimal, end: Decimal
    ) -> tuple[tuple[Quote, ...], Decimal, str]:
        first = self.spot(usage.instance_type, usage.zone, usage.start)
        history = self._spot[usage.instance_type].get(usage.zone)
        remark = "" if history else f"no price of {usage.zone}: the dearest zone's"
        since = [(start, first)]
        for quote in history or ():
            changed = _decimal(quote.as_of.timestamp())
            if start < changed < end and quote is not first:
                since.append((changed, quote))
        until = [*(moment for moment, _ in since[1:]), end]
        usd = sum(
            ((to - begin) * quote.usd for (begin, quote), to in zip(since, until, strict=True)),
            Decimal(0),
        )
        return tuple(quote for _, quote in since), usd / HOUR_SECONDS, remark


def price_remarks(quotes: Iterable[Quote], now: float) -> list[str]:
    """A sentence for each source that is unverified, or whose newest price is 30 days old."""
    newest: dict[str, Quote] = {}
    for quote in sorted(quotes, key=lambda quote: quote.as_of):
        newest[quote.source] = quote
    old = [
        f"prices of {quote.as_of:%Y-%m-%d} are in use: {source}"
        for source, quote in sorted(newest.items())
        if now - quote.as_of.timestamp() > STALE_PRICE_SECONDS
    ]
    guessed = [
        f"prices that nobody checked are in use: {source}"
        for source, quote in sorted(newest.items())
        if not quote.verified
    ]
    return old + guessed


def _in_force(history: list[Quote], at: float) -> Quote:
    """The last price set at or before a time, of prices in order of time; else the first."""
    place = bisect_right(history, at, key=lambda quote: quote.as_of.timestamp())
    return history[max(0, place - 1)]


def _is_free(usage: Usage) -> bool:
    if usage.taken_at is None or usage.launched is None:
        return False
    return _decimal(usage.taken_at) - _decimal(usage.launched) < FREE_INTERRUPTION_SECONDS


def _decimal(seconds: float) -> Decimal:
    """A time to the millisecond, which is what AWS Batch tells."""
    return round(Decimal(seconds), 3)
