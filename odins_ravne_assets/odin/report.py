"""The cost report: all that is told of the costs of some cameras, as data.

How it looks is the matter of `report_json`, `report_tables`, `report_markdown` and `report_page`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.bill_reconciliation import BillDifference, compare_bill
from odins_ravne_assets.odin.month_forecast import Month, month_to_date
from odins_ravne_assets.odin.plan_accuracy import PlannedCost, planned_costs
from odins_ravne_assets.odin.row_times import ROW_TIME, rows_since, with_row_times
from odins_ravne_assets.odin.savings import Savings, calculate_savings
from odins_ravne_assets.odin.storage_costs import StorageCosts
from odins_ravne_assets.odin.totals import (
    CostShare,
    JobTotals,
    cost_shares,
    count_jobs,
    exclude_local,
    sum_usd,
    total_cost,
)
from odins_ravne_assets.odin.traffic import TrafficTotals, sum_traffic
from odins_ravne_assets.odin.unit_costs import SpeciesVisits, UnitCosts, unit_costs
from resources.ledger.aws_bill import AwsBill
from resources.planning.predictions import Prediction
from resources.pricing.prices import STALE_PRICE_SECONDS

DAY_FORMAT = "%Y-%m-%d"
# The part of machines that no camera's job was for.
IDLE_PART = "waited"


@dataclass(frozen=True)
class ReportScope:
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

    scope: ReportScope
    jobs: JobTotals
    computing: CostShare
    parts: tuple[CostShare, ...]
    markets: tuple[CostShare, ...]
    machines: tuple[CostShare, ...]
    by_camera: tuple[CostShare, ...]
    wasted: tuple[CostShare, ...]
    days: tuple[DayCost, ...]
    estimated_usd: Decimal
    savings: Savings
    units: UnitCosts
    traffic: TrafficTotals
    species: tuple[SpeciesVisits, ...]
    storage: StorageCosts | None
    month: Month
    aws: tuple[BillDifference, ...] | None
    plans: tuple[PlannedCost, ...]
    prices: tuple[PriceUsed, ...]
    remarks: tuple[str, ...]


def cost_report(
    rows: pl.DataFrame,
    scope: ReportScope,
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
    rows = with_row_times(rows, scope.now)
    chosen = rows_since(rows, scope.since)
    if chosen.height < rows.height:
        species = ()  # earlier work has its part in them
    # Reading footage here, before its jobs are submitted, is measured and no job of the cloud's.
    jobs = count_jobs(exclude_local(chosen) if scope.region else chosen)
    computing = total_cost(chosen, "computing")
    cameras = chosen["camera_id"].drop_nulls().n_unique()
    prices = tuple(_prices(chosen, storage, scope.now))
    stored_usd = storage.usd_this_month if storage else Decimal(0)
    return CostReport(
        scope=scope,
        jobs=jobs,
        computing=computing,
        parts=tuple(_parts(chosen)),
        markets=tuple(cost_shares(chosen, "market")),
        machines=tuple(cost_shares(chosen, "instance_type")),
        by_camera=tuple(cost_shares(chosen, "camera_id")),
        wasted=tuple(cost_shares(chosen, "wasted_why")),
        days=tuple(_days(chosen)),
        estimated_usd=sum_usd(chosen.filter("estimated")),
        savings=calculate_savings(chosen),
        traffic=sum_traffic(chosen),
        units=unit_costs(computing, jobs.done, cameras, species),
        species=species,
        storage=storage,
        month=month_to_date(rows, storage, scope.now),
        aws=tuple(compare_bill(bill, rows, stored_usd)) if bill else None,
        plans=tuple(planned_costs(predictions, chosen)),
        prices=prices,
        remarks=(*remarks, *_remarks(prices)),
    )


def _parts(rows: pl.DataFrame) -> list[CostShare]:
    """By kind, the dearest first; machines that no camera's job was for are one part."""
    nobodys = pl.col("camera_id").is_null()
    return cost_shares(
        rows.with_columns(part=pl.when(nobodys).then(pl.lit(IDLE_PART)).otherwise("kind")), "part"
    )


def _days(rows: pl.DataFrame) -> Iterator[DayCost]:
    by_day = (
        rows.group_by(day=ROW_TIME.dt.date())
        .agg(pl.col("usd").sum(), pl.col("usd_on_demand").sum())
        .sort("day")
    )
    return (DayCost(*row) for row in by_day.iter_rows())


def _prices(rows: pl.DataFrame, storage: StorageCosts | None, now: float) -> Iterator[PriceUsed]:
    """Each source once, by name."""
    known = rows.drop_nulls("price_source").with_columns(pl.col("price_source").str.split("; "))
    old = ROW_TIME.max() - pl.col("price_as_of").max() > pl.duration(seconds=STALE_PRICE_SECONDS)
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
        is_old = now - quote.as_of.timestamp() > STALE_PRICE_SECONDS
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
