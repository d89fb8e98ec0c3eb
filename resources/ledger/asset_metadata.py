"""What a launch cost as metadata of its assets: flat numbers, which Dagster plots.

A launch makes several assets at once, on the same machines. Each asset gets its part of the cost:
that of the seconds which workers spent in its stage, boot, idle and lost time in proportion; so
the assets of a launch add up to what was paid for it.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl

BILLED_STAGES = ("footage", "detections", "classifications", "observations")

Metadata = dict[str, Any]


def stage_of(result: dg.MaterializeResult[Any]) -> str:
    """The stage that a result is of."""
    return result.asset_key.to_user_string() if result.asset_key else ""


def stage_cost_metadata(ledger: pl.DataFrame, launch: str) -> Callable[[str], Metadata]:
    """What tells the metadata of each of a launch's assets.

    Args:
        ledger: the camera's, of all launches.
        launch: its identity.
    """
    rows = ledger.filter(pl.col("launch") == launch)
    shares, ever = stage_shares(rows), _ever(ledger)
    # A camera that was never run where money is spent has one line that says so.
    is_free = not _sum(ledger, "usd") and not _sum(ledger, "usd_on_demand")

    def metadata(stage: str) -> Metadata:
        speed = _speed(rows) if stage == "detections" else {}
        if is_free:
            return {"cost/usd_total": 0.0, **speed}
        return {
            **_money(rows, shares.get(stage, Decimal(0))),
            "cost/usd_total_ever": _usd(ever.get(stage, Decimal(0))),
            **speed,
        }

    return metadata


def stage_shares(rows: pl.DataFrame) -> dict[str, Decimal]:
    """The part of a launch's cost that falls to each of its stages; they add up to 1.

    Where no worker told its seconds, nothing is known but that it ran: all falls to detections,
    for which machines are rented.
    """
    spent = {stage: Decimal(rows[f"{stage}_seconds"].sum() or 0.0) for stage in BILLED_STAGES}
    total = sum(spent.values(), Decimal(0))
    if not total:
        return {"detections": Decimal(1)}
    return {stage: seconds / total for stage, seconds in spent.items()}


def _ever(ledger: pl.DataFrame) -> Mapping[str, Decimal]:
    """What each stage of the camera has cost, over all launches; what belongs to none is results
    that were taken home, which are Stage 3's."""
    sums = dict.fromkeys(BILLED_STAGES, Decimal(0))
    sums["observations"] = _sum(ledger.filter(pl.col("launch").is_null()), "usd")
    for rows in ledger.filter(pl.col("launch").is_not_null()).partition_by("launch"):
        total = _sum(rows, "usd")
        for stage, share in stage_shares(rows).items():
            sums[stage] += total * share
    return sums


def _money(rows: pl.DataFrame, share: Decimal) -> Metadata:
    total, instead = _sum(rows, "usd"), _sum(rows, "usd_on_demand")
    images = int(rows["images"].sum() or 0)
    facts: Metadata = {
        "cost/usd_total": _usd(total * share),
        "cost/usd_on_demand": _usd(instead * share),
        "cost/usd_wasted": _usd(_sum(rows, "usd_wasted") * share),
        "cost/usd_of_launch": _usd(total),
        "cost/estimated": int(bool(rows["estimated"].any())),
    }
    if instead:
        facts["cost/savings_pct"] = round(float(100 * (1 - total / instead)), 2)
    if images:
        facts["cost/usd_per_1000_images"] = _usd(total * share * 1000 / images)
    return facts


def _speed(rows: pl.DataFrame) -> Metadata:
    """Frames a second of the launch's workers, while they looked at frames."""
    frames = float(rows["frames"].sum() or 0)
    seconds = float(rows["detections_seconds"].sum() or 0)
    return {"throughput/frames_per_second": round(frames / seconds, 3)} if frames else {}


def _sum(rows: pl.DataFrame, column: str) -> Decimal:
    return Decimal(rows[column].sum() or 0)


def _usd(usd: Decimal) -> float:
    """Dagster's numbers are floats; these are for plots, the ledger has the sums."""
    return round(float(usd), 8)
