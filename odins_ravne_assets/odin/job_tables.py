"""Attempts of jobs as tables of text: how each ended, what it cost, and why it was made."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from odins_ravne_assets.odin.formatting import MARKET_LABELS, format_usd
from odins_ravne_assets.odin.report_text import TextTable
from odins_ravne_assets.odin.row_times import rows_since, with_row_times
from odins_ravne_assets.odin.totals import exclude_local

JOB_COLUMNS = (
    ("camera", False),
    ("job", True),
    ("market", False),
    ("machine", False),
    ("minutes", True),
    ("end", False),
    ("cost", True),
)


def attempt_tables(rows: pl.DataFrame, since: float, now: float) -> list[TextTable]:
    """The attempts that ended after a time, or go on, numbered within their camera; and their
    reasons.

    Args:
        rows: of `cost_ledger.SCHEMA`; those of this machine are no jobs, and left out.
        since: seconds since 1970 UTC, as `now` is.
    """
    chosen = exclude_local(rows_since(with_row_times(rows, now), since)).filter(
        pl.col("kind") == "attempt"
    )
    numbered = list(_numbered(chosen))
    cells = tuple((*named, *_cells(row)) for named, row in numbered)
    reasons = tuple(
        (camera, f"{number}:", row["reason"] or "") for (camera, number), row in numbered
    )
    return [
        TextTable("Jobs", JOB_COLUMNS, cells),
        TextTable("Why they were submitted", (*JOB_COLUMNS[:2], ("", False)), reasons),
    ]


def _numbered(attempts: pl.DataFrame) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    camera, number = "", 0
    in_order = attempts.sort("camera_id", "intended_at", "attempt").with_columns(
        next_queue=pl.col("queue").shift(-1).over("camera_id", "launch", "unit")
    )
    for row in in_order.iter_rows(named=True):
        number = number + 1 if row["camera_id"] == camera else 1
        name = row["camera_id"] if number == 1 else ""
        camera = row["camera_id"]
        yield (name, str(number)), row


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    minutes = ""
    if row["started_at"] and row["ended_at"]:
        minutes = f"{(row['ended_at'] - row['started_at']).total_seconds() / 60:.1f}"
    machine = f"{row['instance_type'] or ''} {row['zone'] or ''}".strip() or "none"
    market = row["queue"] or row["market"]
    moved = row["end"] == "cancelled" and row["next_queue"] == "ondemand" != row["queue"]
    return (
        MARKET_LABELS.get(market, market),
        machine,
        minutes,
        "moved" if moved else row["end"] or "not yet",
        format_usd(row["usd"]) if row["started_at"] else "",
    )
