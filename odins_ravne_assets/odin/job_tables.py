"""Tables of job attempts: their outcome, cost and reason."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from odins_ravne_assets.odin.formatting import MARKET_LABELS, format_usd
from odins_ravne_assets.odin.report_text import TextTable
from odins_ravne_assets.odin.row_times import rows_since, with_row_times
from odins_ravne_assets.odin.totals import IS_ATTEMPT, exclude_local
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome

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
    """Return tables of the attempts that ended after a time or still run, and of their reasons.

    Attempts are numbered within their camera.

    Args:
        rows: of LEDGER_SCHEMA; those of this machine are no jobs, and left out.
        since: seconds since 1970 UTC, as `now`.
    """
    billed = exclude_local(rows_since(with_row_times(rows, now), since))
    numbered = list(_numbered(billed.filter(IS_ATTEMPT)))
    cells = tuple((*name, *_cells(row)) for name, row in numbered)
    reasons = tuple(
        (camera, f"{number}:", row["reason"] or "") for (camera, number), row in numbered
    )
    return [
        TextTable("Jobs", JOB_COLUMNS, cells),
        TextTable("Reasons of submission", (*JOB_COLUMNS[:2], ("", False)), reasons),
    ]


def _numbered(attempts: pl.DataFrame) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Each attempt with its camera, in the first row only, and its number."""
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
    moved = (
        row["end"] == AttemptOutcome.CANCELLED
        and row["queue"] != Queue.ON_DEMAND
        and row["next_queue"] == Queue.ON_DEMAND
    )
    return (
        MARKET_LABELS.get(market, market),
        machine,
        minutes,
        "moved" if moved else row["end"] or "not ended",
        format_usd(row["usd"]) if row["started_at"] else "",
    )
