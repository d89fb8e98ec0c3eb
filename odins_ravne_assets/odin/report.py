"""The cost report of some cameras, as data.

`report_json`, `report_text`, `report_markdown` and `report_page` render it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.bill_reconciliation import BillDifference, compare_bill
from odins_ravne_assets.odin.formatting import IDLE_PART
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
from resources.planning.saved_predictions import Prediction
from resources.pricing.prices import STALE_PRICE_SECONDS

DAY_FORMAT = "%Y-%m-%d"


@dataclass(frozen=True)
class ReportScope:
    """The scope of a report.

    Args:
        name: value of the account's tag Project, or "this machine".
        region: of AWS; empty if everything ran on this machine.
        cameras: ids of the requested cameras, including those without costs.
        since: seconds since 1970 UTC; None: all times.
        now: when the report was made.
        least_saving: minimum saving of spot, a share of 1 (`cost_threshold` of the profile).
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
    """A source of prices used in the sums.

    Args:
        as_of: date of its newest price.
        verified: False if some of its prices are not verified.
        old: its newest price is much older than the time that it was used for.
    """

    source: str
    as_of: datetime
    verified: bool
    old: bool


@dataclass(frozen=True)
class CostReport:
    """The cost report; money in USD.

    Args:
        computing: total of all rows of the ledger.
        parts: the total by kind of cost, and of idle machines; `markets`, `machines`, `by_camera`:
            the same total by other keys.
        wasted: costs without benefit, by reason.
        estimated_usd: the part of `computing` that is not final.
        storage: None: nothing is stored on S3, or it was not listed.
        plans: planned and actual costs.
        aws: comparison with AWS's bill; None: no account, or not requested.
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
    """Make the report.

    Args:
        rows: of LEDGER_SCHEMA, of all cameras and all times; the month needs them all.
        species: found by all of this work.
        remarks: more caveats for the reader, sentences.
        predictions: of plans for the cameras.
    """
    rows = with_row_times(rows, scope.now)
    chosen = rows_since(rows, scope.since)
    if chosen.height < rows.height:
        species = ()  # also found by earlier work
    # Reading headers locally, before jobs are submitted, is measured, but is not a job on AWS.
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
    """By kind, the most expensive first; idle machines are one part."""
    is_idle = pl.col("camera_id").is_null()
    return cost_shares(
        rows.with_columns(part=pl.when(is_idle).then(pl.lit(IDLE_PART)).otherwise("kind")), "part"
    )


def _days(rows: pl.DataFrame) -> Iterator[DayCost]:
    by_day = (
        rows.group_by(day=ROW_TIME.dt.date())
        .agg(pl.col("usd").sum(), pl.col("usd_on_demand").sum())
        .sort("day")
    )
    return (DayCost(*row) for row in by_day.iter_rows())


def _prices(rows: pl.DataFrame, storage: StorageCosts | None, now: float) -> Iterator[PriceUsed]:
    """Each source once, sorted by name."""
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
    sources = {row[0]: PriceUsed(*row) for row in used.iter_rows()}
    for quote in storage.quotes if storage else ():
        is_old = now - quote.as_of.timestamp() > STALE_PRICE_SECONDS
        same = sources.get(quote.source)
        sources[quote.source] = PriceUsed(
            quote.source,
            max(same.as_of, quote.as_of) if same else quote.as_of,
            quote.verified and (same is None or same.verified),
            is_old or (same is not None and same.old),
        )
    return (sources[name] for name in sorted(sources))


def _remarks(prices: Iterable[PriceUsed]) -> Iterator[str]:
    for price in prices:
        if price.old or not price.verified:
            when = f" of {price.as_of:{DAY_FORMAT}}" if price.old else ""
            kind = "prices" if price.verified else "unverified prices (verified: false)"
            yield f"{kind}{when} are in use: {price.source}"
