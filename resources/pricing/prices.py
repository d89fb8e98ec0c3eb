"""Prices of machines with their source and date, and AWS's billing rules.

Money is decimal, in USD. Times are seconds since 1970 UTC, as in Clock and AWS Batch.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from resources.errors import RavneError
from resources.pricing.economics import FREE_INTERRUPTION_SECONDS, Offer

HOUR_SECONDS = Decimal(3600)
# EC2 bills by the second, with this minimum.
MIN_BILLED_SECONDS = Decimal(60)
FREE_REMARK = "free: EC2 interrupted the machine in its first hour"
# Older prices get a remark.
STALE_PRICE_SECONDS = 30 * 24 * 3600

GIB = Decimal(2**30)


class Market(StrEnum):
    """Where a machine comes from; the values are stored."""

    SPOT = "spot"
    ON_DEMAND = "ondemand"
    LOCAL = "local"  # this machine, in ledgers and plans; AWS has no prices of it


class CostKind(StrEnum):
    """The kind of a cost, as in the column `kind` of the ledger; the values are stored.

    ATTEMPT is a job's own time on its machine, or a worker's time on this machine. OVERHEAD is the
    rest of a machine's lifetime, boot and idle; DISK and ADDRESS are attached to it and have no
    spot discount. These three are shared among the jobs of the machine, in proportion to their
    seconds, so there is a row for each launch that used it. REQUESTS are requests to S3, by a
    launch's jobs or by this machine; TRANSFER is data transfer out of AWS. LOGS are a launch's
    logs in CloudWatch.
    """

    ATTEMPT = "attempt"
    OVERHEAD = "overhead"
    DISK = "disk"
    ADDRESS = "address"
    REQUESTS = "requests"
    TRANSFER = "transfer"
    LOGS = "logs"


class Quote(BaseModel):
    """A price, in force from `as_of`.

    `item` is a machine type, or the name of a rate in price_table.yaml. `market` and `zone` are
    those of a machine; an on-demand price applies to the whole region.
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
    """A period of a machine's lifetime: an attempt, or all of it.

    Args:
        zone: its name, as eu-north-1a.
        launched: launch time of the machine; None: not known.
        interrupted_at: when EC2 interrupted the machine; None: it did not.
    """

    instance_type: str
    zone: str
    market: Market
    start: float
    end: float
    launched: float | None = None
    interrupted_at: float | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a usage.

    Args:
        usd: the amount that is paid.
        usd_on_demand: the cost of the same seconds on demand.
        seconds: billed seconds, or those that would be billed if the machine were not free.
        quotes: the prices in force, in order of time.
        remark: the rule or assumption that changed the sum; empty: none did.
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
        remarks: caveats for a reader of sums that use these prices, each a sentence.
    """

    region: str
    quotes: tuple[Quote, ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def _spot(self) -> dict[str, dict[str, list[Quote]]]:
        """Spot prices by type and zone, in order of time."""
        found: dict[str, dict[str, list[Quote]]] = defaultdict(lambda: defaultdict(list))
        for quote in sorted(self.quotes, key=lambda quote: quote.as_of):
            if quote.market == Market.SPOT and quote.zone is not None:
                found[quote.item][quote.zone].append(quote)
        return found

    @cached_property
    def _fixed(self) -> dict[str, Quote]:
        """On-demand prices and rates, by item."""
        return {quote.item: quote for quote in self.quotes if quote.market != Market.SPOT}

    def on_demand(self, instance_type: str) -> Quote:
        """Return the on-demand price of an hour.

        Raises:
            RavneError: no price is known.
        """
        return self._fixed_price(instance_type)

    def rate(self, item: str) -> Quote:
        """Return the price of a rate other than a machine's, see price_table.yaml.

        Raises:
            RavneError: no price is known.
        """
        return self._fixed_price(item)

    def _fixed_price(self, item: str) -> Quote:
        if item not in self._fixed:
            raise RavneError(
                f"{item} in {self.region}: no price is known; use a type that is offered there "
                "(cloud.aws.compute.instance_types), and allow pricing:GetProducts"
            )
        return self._fixed[item]

    def spot(self, instance_type: str, zone: str, at: float) -> Quote:
        """Return the spot price of an hour that was in force at a time.

        Before the first price, the first applies. In a zone without a price, the price of the most
        expensive zone applies.

        Raises:
            RavneError: no spot price of this type is known.
        """
        zones = self._spot.get(instance_type)
        if not zones:
            raise RavneError(
                f"{instance_type} in {self.region}: no spot price is known; use a type that is "
                "offered there (cloud.aws.compute.instance_types), and allow "
                "ec2:DescribeSpotPriceHistory"
            )
        if zone in zones:
            return _in_force(zones[zone], at)
        return max((_in_force(quotes, at) for quotes in zones.values()), key=lambda q: q.usd)

    def offers(self, instance_types: Iterable[str], at: float) -> list[Offer]:
        """Return an offer for each type and zone with a spot price, types in the order given.

        Raises:
            RavneError: a type has spot prices but no on-demand price.
        """
        return [
            Offer(kind, zone, _in_force(quotes, at).usd, self.on_demand(kind).usd)
            for kind in instance_types
            for zone, quotes in sorted(self._spot.get(kind, {}).items())
        ]

    def usage_cost(self, usage: Usage) -> Cost:
        """Return the cost of a usage by AWS's rules.

        Billed per second, with a minimum of 60 s per machine; on spot at the price in force, and
        free if EC2 interrupts the machine in its first hour ("Billing for interrupted Spot
        Instances", EC2 user guide). If the launch time is not known, the result is an upper bound:
        the usage counts as the whole lifetime, and as not free.

        Raises:
            RavneError: no price is known.
        """
        launched = usage.start if usage.launched is None else usage.launched
        min_end = launched + float(MIN_BILLED_SECONDS)
        cost = self.metered_cost(replace(usage, end=max(usage.end, usage.start, min_end)))
        if usage.market == Market.SPOT and _is_free(usage):
            return replace(cost, usd=Decimal(0), remark=FREE_REMARK)
        return cost

    def metered_cost(self, usage: Usage) -> Cost:
        """Return the cost of exactly these seconds, without minimum and free first hour.

        The costs of consecutive periods add up to that of the whole.

        Raises:
            RavneError: no price is known.
        """
        start, end = _decimal(usage.start), _decimal(usage.end)
        on_demand = self.on_demand(usage.instance_type)
        on_demand_usd = (end - start) * on_demand.usd / HOUR_SECONDS
        if usage.market == Market.ON_DEMAND:
            return Cost(on_demand_usd, on_demand_usd, end - start, (on_demand,))
        quotes, usd, remark = self._spot_cost(usage, start, end)
        return Cost(usd, on_demand_usd, end - start, quotes, remark)

    def _spot_cost(
        self, usage: Usage, start: Decimal, end: Decimal
    ) -> tuple[tuple[Quote, ...], Decimal, str]:
        first = self.spot(usage.instance_type, usage.zone, usage.start)
        history = self._spot[usage.instance_type].get(usage.zone)
        remark = "" if history else f"no price of {usage.zone}: that of the most expensive zone"
        changes = [(start, first)]
        for quote in history or ():
            changed = _decimal(quote.as_of.timestamp())
            if start < changed < end and quote is not first:
                changes.append((changed, quote))
        ends = [*(since for since, _ in changes[1:]), end]
        usd = sum(
            ((until - since) * q.usd for (since, q), until in zip(changes, ends, strict=True)),
            Decimal(0),
        )
        return tuple(quote for _, quote in changes), usd / HOUR_SECONDS, remark


def price_remarks(quotes: Iterable[Quote], now: float) -> list[str]:
    """Return a remark for each source that is not verified or whose newest price is stale."""
    newest: dict[str, Quote] = {}
    for quote in sorted(quotes, key=lambda quote: quote.as_of):
        newest[quote.source] = quote
    stale = [
        f"prices of {quote.as_of:%Y-%m-%d} are in use: {source}"
        for source, quote in sorted(newest.items())
        if now - quote.as_of.timestamp() > STALE_PRICE_SECONDS
    ]
    unverified = [
        f"unverified prices are in use: {source}"
        for source, quote in sorted(newest.items())
        if not quote.verified
    ]
    return stale + unverified


def _in_force(history: list[Quote], at: float) -> Quote:
    """The last price at or before a time, of prices in order of time; else the first."""
    index = bisect_right(history, at, key=lambda quote: quote.as_of.timestamp())
    return history[max(0, index - 1)]


def _is_free(usage: Usage) -> bool:
    if usage.interrupted_at is None or usage.launched is None:
        return False
    return _decimal(usage.interrupted_at) - _decimal(usage.launched) < FREE_INTERRUPTION_SECONDS


def _decimal(seconds: float) -> Decimal:
    """A time in milliseconds precision, as AWS Batch reports it."""
    return round(Decimal(seconds), 3)
