"""The cost report: all that is told of the costs of some cameras, as data.

How it looks is the matter of `report_json`, `report_tables`, `report_markdown` and `report_page`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.bill_reconciliation import Difference, differences
from odins_ravne_assets.odin.month_forecast import Month, month_so_far
from odins_ravne_assets.odin.plan_accuracy import PlannedCost, planned_costs
from odins_ravne_assets.odin.row_times import MOMENT, rows_since, with_moments
from odins_ravne_assets.odin.savings import Savings, savings_in
from odins_ravne_assets.odin.storage_costs import StorageCosts
from odins_ravne_assets.odin.totals import Jobs, Share, jobs_in, money, rented, shares, whole
from odins_ravne_assets.odin.traffic import TrafficCosts, traffic_in
from odins_ravne_assets.odin.unit_costs import SpeciesVisits, UnitCosts, unit_costs
from resources.ledger.aws_bill import AwsBill
from resources.planning.saved_plans import Prediction
from resources.pricing.prices import OLD_SECONDS

DAY_FORMAT = "%Y-%m-%d"
# The part of machines that no camera's job was for.
WAITED = "waited"


@dataclass(frozen=True)
class Scope:
    """What a report is about.

    Args:
        name: of what is set up in the account, or of the profile.
        region: empty: everything ran on this machine.
        cameras: ids of all that were asked for, also those that cost nothing.
        since: seconds since 1970 UTC; None: ever.
        now: when the report was made.
        least_saving: that the profile wants of spot, a share of 1 (`cost_threshold`).
    """

    name: str
    region: str
    cameras: tuple[str, ...]
    since: float | None
    now: float
    least_saving: float


@dataclass(frozen=True)
class DayCost:
    """USD of a day, UTC."""

    day: date
    usd: Decimal
    usd_on_demand: Decimal


@dataclass(frozen=True)
class PriceUsed:
    """A source of prices that are in the sums."""

    source: str
    as_of: datetime  # of the newest price from it
    verified: bool  # false: nobody checked one of its prices
    old: bool  # even the newest was told long before the time that it was used for


@dataclass(frozen=True)
class CostReport:
    """Costs, money in USD.

    Args:
        computing: all rows of the ledger, together.
        parts: by kind of cost, and machines that waited for work and got none; `markets`,
            `machines`, `by_camera`: the same money, cut otherwise.
        wasted: what bought nothing, by its reason.
        estimated_usd: the part of `computing` that is not certain yet.
        storage: None: nothing lies on S3, or it was not looked at.
        plans: what was planned, beside what was paid.
        aws: None: there is no account, or it was not asked.
    """

    scope: Scope
    jobs: Jobs
    computing: Share
    parts: tuple[Share, ...]
    markets: tuple[Share, ...]
    machines: tuple[Share, ...]
    by_camera: tuple[Share, ...]
    wasted: tuple[Share, ...]
    days: tuple[DayCost, ...]
    estimated_usd: Decimal
    savings: Savings
    units: UnitCosts
    traffic: TrafficCosts
    species: tuple[SpeciesVisits, ...]
    storage: StorageCosts | None
    month: Month
    aws: tuple[Difference, ...] | None
    plans: tuple[PlannedCost, ...]
    prices: tuple[PriceUsed, ...]
    remarks: tuple[str, ...]


def cost_report(
    rows: pl.DataFrame,
    scope: Scope,
    species: tuple[SpeciesVisits, ...] = (),
    storage: StorageCosts | None = None,
    bill: AwsBill | None = None,
    remarks: Iterable[str] = (),
    predictions: Iterable[Prediction] = (),
) -> CostReport:
    """Make the report of rows of `cost_ledger.SCHEMA`.

    Args:
        rows: of all cameras, of all times; the month is counted from them.
        species: that all of this work has found.
        remarks: what else a reader should know, sentences.
        predictions: that plans have made for the cameras.
    """
    rows = with_moments(rows, scope.now)
    chosen = rows_since(rows, scope.since)
    if chosen.height < rows.height:
        species = ()  # earlier work has its part in them
    # Reading footage here, before its jobs are submitted, is measured and no job of the cloud's.
    jobs = jobs_in(rented(chosen) if scope.region else chosen)
    computing = whole(chosen, "computing")
    cameras = chosen["camera_id"].drop_nulls().n_unique()
    prices = tuple(_prices(chosen, storage, scope.now))
    stored_usd = storage.usd_this_month if storage else Decimal(0)
    return CostReport(
        scope=scope,
        jobs=jobs,
        computing=computing,
        parts=tuple(_parts(chosen)),
        markets=tuple(shares(chosen, "market")),
        machines=tuple(shares(chosen, "instance_type")),
        by_camera=tuple(shares(chosen, "camera_id")),
        wasted=tuple(shares(chosen, "wasted_why")),
        days=tuple(_days(chosen)),
        estimated_usd=money(chosen.filter("estimated")),
        savings=savings_in(chosen),
        traffic=traffic_in(chosen),
        units=unit_costs(computing, jobs.done, cameras, species),
        species=species,
        storage=storage,
        month=month_so_far(rows, storage, scope.now),
        aws=tuple(differences(bill, rows, stored_usd)) if bill else None,
        plans=tuple(planned_costs(predictions, chosen)),
        prices=prices,
        remarks=(*remarks, *_remarks(prices)),
    )


def _parts(rows: pl.DataFrame) -> list[Share]:
    """By kind, the dearest first; machines that no camera's job was for are one part."""
    nobodys = pl.col("camera_id").is_null()
    return shares(
        rows.with_columns(part=pl.when(nobodys).then(pl.lit(WAITED)).otherwise("kind")), "part"
    )


def _days(rows: pl.DataFrame) -> Iterator[DayCost]:
    by_day = (
        rows.group_by(day=MOMENT.dt.date())
        .agg(pl.col("usd").sum(), pl.col("usd_on_demand").sum())
        .sort("day")
    )
    return (DayCost(*row) for row in by_day.iter_rows())


def _prices(rows: pl.DataFrame, storage: StorageCosts | None, now: float) -> Iterator[PriceUsed]:
    """Each source once, by name."""
    known = rows.drop_nulls("price_source").with_columns(pl.col("price_source").str.split("; "))
    old = MOMENT.max() - pl.col("price_as_of").max() > pl.duration(seconds=OLD_SECONDS)
    used = (
        known.explode("price_source")
        .group_by("price_source")
        .agg(
            pl.col("price_as_of").max(),
            pl.col("price_verified").all(),
            old=old,
        )
    )
    found = {row[0]: PriceUsed(*row) for row in used.iter_rows()}
    for quote in storage.quotes if storage else ():
        is_old = now - quote.as_of.timestamp() > OLD_SECONDS
        before = found.get(quote.source)
        found[quote.source] = PriceUsed(
            quote.source,
            max(before.as_of, quote.as_of) if before else quote.as_of,
            quote.verified and (before is None or before.verified),
            is_old or (before is not None and before.old),
        )
    return (found[source] for source in sorted(found))


def _remarks(prices: Iterable[PriceUsed]) -> Iterator[str]:
    for price in prices:
        if price.old or not price.verified:
            when = f" of {price.as_of:{DAY_FORMAT}}" if price.old else ""
            unchecked = "" if price.verified else " that nobody checked (verified: false)"
            yield f"prices{when}{unchecked} are in use: {price.source}"
