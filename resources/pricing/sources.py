"""Where prices come from: AWS, what AWS said a while ago, and the table that ships."""

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
from resources.pricing.prices import PriceBook, Quote
from resources.settings.profile import Aws
from resources.storage.local_store import LocalStore

# How long what AWS said is not asked again.
PRICE_CACHE_SECONDS = 900.0
# What the system of a machine is called in spot prices, and the filters that leave one product
# of the Pricing API: a plain Linux machine, shared, without a reservation.
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
    """The prices that ship, of some regions; a book without any of all others."""
    table = _table()
    if region not in table.regions:
        known = ", ".join(sorted(table.regions))
        return PriceBook(region, (), (f"no prices of {region} ship, only of {known}",))
    return PriceBook(region, tuple(_shipped_quotes(table.regions[region], table.sources)))


def _shipped_quotes(region: _Region, sources: dict[str, _Source]) -> Iterator[Quote]:
    def facts(source: str) -> dict[str, Any]:
        said = sources[source]
        as_of = datetime.combine(said.as_of, time(), UTC)
        return {"as_of": as_of, "source": said.text, "verified": said.verified}

    for kind, machine in region.machines.items():
        about = {"item": kind, "unit": "hour"} | facts(machine.source)
        yield Quote(**about, market="ondemand", usd=machine.on_demand)
        for zone, usd in machine.spot.items():
            yield Quote(**about, market="spot", zone=zone, usd=usd)
    for item, rate in region.rates.items():
        yield Quote(item=item, unit=rate.unit, usd=rate.usd, **facts(rate.source))


def fetch_spot_prices(
    clients: AwsClients, instance_types: Sequence[str], since: float, now: float
) -> list[Quote]:
    """Every change of the spot prices from `since` to `now`, and the prices in force at `since`.

    AWS keeps 90 days.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
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
            market="spot",
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
    """The on-demand prices of plain Linux machines; types that the region does not sell are left
    out.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
    """
    found = []
    for kind in instance_types:
        wanted = LINUX_PRODUCT_FILTERS | {"instanceType": kind, "regionCode": region}
        pages = clients.of("pricing").get_paginator("get_products")
        answers = pages.paginate(
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            Filters=[
                {"Type": "TERM_MATCH", "Field": field, "Value": value}
                for field, value in wanted.items()
            ],
        )
        hourly = [usd for page in answers for text in page["PriceList"] for usd in _hourly(text)]
        found += (
            [
                Quote(
                    item=kind,
                    market="ondemand",
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
    """The hourly prices in a product of the Pricing API, which is JSON in a string."""
    for term in json.loads(product)["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"] == "Hrs":
                yield Decimal(dimension["pricePerUnit"]["USD"])


class _CachedPrices(BaseModel):
    """What AWS said at a time: the cache's file."""

    region: str
    instance_types: tuple[str, ...]
    since: float
    asked_at: float
    quotes: tuple[Quote, ...]
    problems: tuple[str, ...]

    def answers(self, region: str, instance_types: Iterable[str], since: float) -> bool:
        return (
            self.region == region
            and self.since <= since
            and set(instance_types) <= set(self.instance_types)
        )


@dataclass(frozen=True)
class PriceSource:
    """The prices of an account's region, asked for no more often than they change.

    Args:
        kept_at: a JSON file for what AWS said; whoever runs beside us reads it as well.
    """

    clients: AwsClients
    region: str
    instance_types: tuple[str, ...]
    kept_at: Path

    def book(self, since: float, now: float, fresh: bool = False) -> PriceBook:
        """Prices from `since` to `now`.

        Args:
            fresh: ask anew, that no change of the last minutes is missed: bills need it.

        What AWS does not tell is filled up with what it told last, then with the prices that
        ship; the book's remarks say so.
        """
        kept = self._kept(since)
        if kept is None or fresh or not 0 <= now - kept.asked_at < PRICE_CACHE_SECONDS:
            asked = self._ask(since, now)
            before = kept.quotes if kept else ()
            kept = asked.model_copy(update={"quotes": fill_missing_quotes(asked.quotes, before)})
            self._keep(kept)
        shipped = shipped_prices(self.region)
        return PriceBook(
            self.region, fill_missing_quotes(kept.quotes, shipped.quotes), kept.problems
        )

    def _ask(self, since: float, now: float) -> _CachedPrices:
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

    def _kept(self, since: float) -> _CachedPrices | None:
        store = LocalStore(self.kept_at.parent)
        if not store.exists(self.kept_at.name):
            return None
        try:
            kept = _CachedPrices.model_validate_json(store.read_bytes(self.kept_at.name))
        except ValidationError:
            return None  # of another version, or damaged: AWS is asked again
        return kept if kept.answers(self.region, self.instance_types, since) else None

    def _keep(self, asked: _CachedPrices) -> None:
        text = asked.model_dump_json(indent=1)
        LocalStore(self.kept_at.parent).write_bytes(self.kept_at.name, text.encode())


def price_source(clients: AwsClients, aws: Aws, kept_at: Path) -> PriceSource:
    """The prices of a profile's region and types; what AWS told is kept in a folder of ours."""
    return PriceSource(
        clients, aws.region, aws.compute.instance_types, kept_at / f"prices-{aws.region}.json"
    )


def fill_missing_quotes(first: Sequence[Quote], others: Iterable[Quote]) -> tuple[Quote, ...]:
    """The first's prices, and the others' of what the first does not price."""
    priced = {(quote.item, quote.market) for quote in first}
    return *first, *(q for q in others if (q.item, q.market) not in priced)


def _problem(which: str, right: str, error: Exception) -> str:
    return f"AWS did not tell its {which} prices ({error}); earlier ones are used; allow {right}"
