"""The cost of a launch as metadata of its assets: flat numbers, which Dagster plots.

A launch materializes several assets on the same machines. Each asset gets a share of the cost, in
proportion to the seconds that workers spent in its stage; boot, idle and lost time are shared in
the same proportion. So the assets of a launch add up to its cost.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl

BILLED_STAGES = ("footage", "detections", "classifications", "observations")

Metadata = dict[str, Any]


def stage_of(result: dg.MaterializeResult[Any]) -> str:
    """Return the stage of a result's asset."""
    return result.asset_key.to_user_string() if result.asset_key else ""


def stage_cost_metadata(ledger: pl.DataFrame, launch: str) -> Callable[[str], Metadata]:
    """Return a function from stage to the metadata of a launch's asset.

    Args:
        ledger: the camera's rows, of all launches.
        launch: its identity.
    """
    rows = ledger.filter(pl.col("launch") == launch)
    shares, totals = stage_shares(rows), _total_by_stage(ledger)
    # A camera without any costs has one line that says so.
    is_free = not _sum(ledger, "usd") and not _sum(ledger, "usd_on_demand")

    def metadata(stage: str) -> Metadata:
        throughput = _throughput(rows) if stage == "detections" else {}
        if is_free:
            return {"cost/usd_total": 0.0, **throughput}
        return {
            **_cost(rows, shares.get(stage, Decimal(0))),
            "cost/usd_total_ever": _usd(totals.get(stage, Decimal(0))),
            **throughput,
        }

    return metadata


def stage_shares(rows: pl.DataFrame) -> dict[str, Decimal]:
    """Return each stage's share of a launch's cost; the shares add up to 1.

    If no worker reported its seconds, all of it goes to detections, for which machines are rented.
    """
    seconds = {stage: Decimal(rows[f"{stage}_seconds"].sum() or 0.0) for stage in BILLED_STAGES}
    total = sum(seconds.values(), Decimal(0))
    if not total:
        return {"detections": Decimal(1)}
    return {stage: spent / total for stage, spent in seconds.items()}


def _total_by_stage(ledger: pl.DataFrame) -> Mapping[str, Decimal]:
    """The cost of each stage of the camera over all launches.

    Rows without a launch are downloads of results, which belong to Stage 3.
    """
    totals = dict.fromkeys(BILLED_STAGES, Decimal(0))
    totals["observations"] = _sum(ledger.filter(pl.col("launch").is_null()), "usd")
    for rows in ledger.filter(pl.col("launch").is_not_null()).partition_by("launch"):
        usd = _sum(rows, "usd")
        for stage, share in stage_shares(rows).items():
            totals[stage] += usd * share
    return totals


def _cost(rows: pl.DataFrame, share: Decimal) -> Metadata:
    usd, on_demand = _sum(rows, "usd"), _sum(rows, "usd_on_demand")
    images = int(rows["images"].sum() or 0)
    metadata: Metadata = {
        "cost/usd_total": _usd(usd * share),
        "cost/usd_on_demand": _usd(on_demand * share),
        "cost/usd_wasted": _usd(_sum(rows, "usd_wasted") * share),
        "cost/usd_of_launch": _usd(usd),
        "cost/estimated": int(bool(rows["estimated"].any())),
    }
    if on_demand:
        metadata["cost/savings_pct"] = round(float(100 * (1 - usd / on_demand)), 2)
    if images:
        metadata["cost/usd_per_1000_images"] = _usd(usd * share * 1000 / images)
    return metadata


def _throughput(rows: pl.DataFrame) -> Metadata:
    """Frames per second of the launch's workers in Stage 1."""
    frames = float(rows["frames"].sum() or 0)
    seconds = float(rows["detections_seconds"].sum() or 0)
    return {"throughput/frames_per_second": round(frames / seconds, 3)} if frames else {}


def _sum(rows: pl.DataFrame, column: str) -> Decimal:
    return Decimal(rows[column].sum() or 0)


def _usd(usd: Decimal) -> float:
    """USD as a float for plots; the ledger has the exact sums."""
    return round(float(usd), 8)
