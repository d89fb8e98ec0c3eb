"""Sources of prices: AWS, a cache of its answers, and the price table of the package."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from resources.aws.clients import AwsClients, as_instance_types
from resources.pricing.prices import Market, PriceBook, Quote
from resources.settings.profile import Aws
from resources.storage.local_store import LocalStore

# Lifetime of the cache of AWS's answers.
PRICE_CACHE_SECONDS = 900.0
# The product name in spot prices, and the filters that select one product of the Pricing API: a
# plain Linux machine, shared tenancy, without a reservation.
SPOT_PRODUCT = "Linux/UNIX"
LINUX_PRODUCT_FILTERS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


class _Source(BaseModel):
    text: str
    as_of: date
    verified: bool


class _Machine(BaseModel):
    source: str
    on_demand: Decimal
    spot: dict[str, Decimal]


class _Rate(BaseModel):
    source: str
    usd: Decimal
    unit: str


class _Region(BaseModel):
    machines: dict[str, _Machine]
    rates: dict[str, _Rate]


class _Table(BaseModel):
    """price_table.yaml."""

    model_config = ConfigDict(extra="forbid")

    sources: dict[str, _Source]
    regions: dict[str, _Region]


@cache
def _table() -> _Table:
    text = files("resources.pricing").joinpath("price_table.yaml").read_text(encoding="utf-8")
    return _Table.model_validate(yaml.safe_load(text))


def shipped_prices(region: str) -> PriceBook:
    """Return the prices of the package's price table; it has prices of some regions only."""
    table = _table()
    if region not in table.regions:
        known = ", ".join(sorted(table.regions))
        remark = f"the price table has no prices of {region}, only of {known}"
        return PriceBook(region, (), (remark,))
    return PriceBook(region, tuple(_shipped_quotes(table.regions[region], table.sources)))


def _shipped_quotes(region: _Region, sources: dict[str, _Source]) -> Iterator[Quote]:
    def facts(source: str) -> dict[str, Any]:
        found = sources[source]
        as_of = datetime.combine(found.as_of, time(), UTC)
        return {"as_of": as_of, "source": found.text, "verified": found.verified}

    for kind, machine in region.machines.items():
        common = {"item": kind, "unit": "hour"} | facts(machine.source)
        yield Quote(**common, market=Market.ON_DEMAND, usd=machine.on_demand)
        for zone, usd in machine.spot.items():
            yield Quote(**common, market=Market.SPOT, zone=zone, usd=usd)
    for item, rate in region.rates.items():
        yield Quote(item=item, unit=rate.unit, usd=rate.usd, **facts(rate.source))


def fetch_spot_prices(
    clients: AwsClients, instance_types: Sequence[str], since: float, now: float
) -> list[Quote]:
    """Return every change of spot prices from `since` to `now`, and the prices at `since`.

    AWS stores 90 days.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not answer.
    """
    pages = clients.of("ec2").get_paginator("describe_spot_price_history")
    answers = pages.paginate(
        InstanceTypes=as_instance_types(instance_types),
        ProductDescriptions=[SPOT_PRODUCT],
        StartTime=datetime.fromtimestamp(since, UTC),
        EndTime=datetime.fromtimestamp(now, UTC),
    )
    return [
        Quote(
            item=change["InstanceType"],
            market=Market.SPOT,
            zone=change["AvailabilityZone"],
            usd=Decimal(change["SpotPrice"]),
            unit="hour",
            as_of=change["Timestamp"],
            source="Amazon EC2, DescribeSpotPriceHistory",
            verified=True,
        )
        for page in answers
        for change in page["SpotPriceHistory"]
    ]


def fetch_on_demand_prices(
    clients: AwsClients, region: str, instance_types: Sequence[str], now: float
) -> list[Quote]:
    """Return the on-demand prices of plain Linux machines.

    Types that the region does not offer are left out.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not answer.
    """
    found = []
    for kind in instance_types:
        filters = LINUX_PRODUCT_FILTERS | {"instanceType": kind, "regionCode": region}
        pages = clients.of("pricing").get_paginator("get_products")
        answers = pages.paginate(
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            Filters=[
                {"Type": "TERM_MATCH", "Field": field, "Value": value}
                for field, value in filters.items()
            ],
        )
        hourly = [usd for page in answers for text in page["PriceList"] for usd in _hourly(text)]
        found += (
            [
                Quote(
                    item=kind,
                    market=Market.ON_DEMAND,
                    usd=max(hourly),
                    unit="hour",
                    as_of=datetime.fromtimestamp(now, UTC),
                    source="AWS Pricing API, GetProducts",
                    verified=True,
                )
            ]
            if hourly
            else []
        )
    return found


def _hourly(product: str) -> Iterator[Decimal]:
    """Yield the hourly prices of a product of the Pricing API, which is JSON in a string."""
    for term in json.loads(product)["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"] == "Hrs":
                yield Decimal(dimension["pricePerUnit"]["USD"])


class _CachedPrices(BaseModel):
    """The cache file: AWS's answer at a time."""

    region: str
    instance_types: tuple[str, ...]
    since: float
    asked_at: float
    quotes: tuple[Quote, ...]
    problems: tuple[str, ...]

    def covers(self, region: str, instance_types: Iterable[str], since: float) -> bool:
        return (
            self.region == region
            and self.since <= since
            and set(instance_types) <= set(self.instance_types)
        )


@dataclass(frozen=True)
class PriceSource:
    """The prices of an account's region, with a cache.

    Args:
        cache_path: a JSON file for AWS's answers, shared with other processes.
    """

    clients: AwsClients
    region: str
    instance_types: tuple[str, ...]
    cache_path: Path

    def book(self, since: float, now: float, refresh: bool = False) -> PriceBook:
        """Return the prices from `since` to `now`.

        Prices that AWS does not return come from its last answer, then from the package's price
        table; the book's remarks say so.

        Args:
            refresh: bypass the cache, as bills need the changes of the last minutes.
        """
        cached = self._load_cache(since)
        if cached is None or refresh or not 0 <= now - cached.asked_at < PRICE_CACHE_SECONDS:
            answer = self._request(since, now)
            previous = cached.quotes if cached else ()
            quotes = fill_missing_quotes(answer.quotes, previous)
            cached = answer.model_copy(update={"quotes": quotes})
            self._save_cache(cached)
        quotes = fill_missing_quotes(cached.quotes, shipped_prices(self.region).quotes)
        return PriceBook(self.region, quotes, cached.problems)

    def _request(self, since: float, now: float) -> _CachedPrices:
        from botocore.exceptions import BotoCoreError, ClientError

        quotes: list[Quote] = []
        problems = []
        try:
            quotes += fetch_spot_prices(self.clients, self.instance_types, since, now)
        except (BotoCoreError, ClientError) as error:
            problems.append(_problem("spot", "ec2:DescribeSpotPriceHistory", error))
        try:
            quotes += fetch_on_demand_prices(self.clients, self.region, self.instance_types, now)
        except (BotoCoreError, ClientError) as error:
            problems.append(_problem("on-demand", "pricing:GetProducts", error))
        return _CachedPrices(
            region=self.region,
            instance_types=self.instance_types,
            since=since,
            asked_at=now,
            quotes=tuple(quotes),
            problems=tuple(problems),
        )

    def _load_cache(self, since: float) -> _CachedPrices | None:
        store = LocalStore(self.cache_path.parent)
        if not store.exists(self.cache_path.name):
            return None
        try:
            cached = _CachedPrices.model_validate_json(store.read_bytes(self.cache_path.name))
        except ValidationError:
            return None  # another version's, or damaged: request prices again
        return cached if cached.covers(self.region, self.instance_types, since) else None

    def _save_cache(self, prices: _CachedPrices) -> None:
        text = prices.model_dump_json(indent=1)
        LocalStore(self.cache_path.parent).write_bytes(self.cache_path.name, text.encode())


def price_source(clients: AwsClients, aws: Aws, cache_folder: Path) -> PriceSource:
    """Return the price source of a profile's region and types, with its cache in a folder."""
    return PriceSource(
        clients, aws.region, aws.compute.instance_types, cache_folder / f"prices-{aws.region}.json"
    )


def fill_missing_quotes(first: Sequence[Quote], others: Iterable[Quote]) -> tuple[Quote, ...]:
    """Return the first quotes, and those of others for items and markets without a quote."""
    priced = {(quote.item, quote.market) for quote in first}
    return *first, *(q for q in others if (q.item, q.market) not in priced)


def _problem(market: str, action: str, error: Exception) -> str:
    return f"AWS did not return {market} prices ({error}); earlier prices are used; allow {action}"
