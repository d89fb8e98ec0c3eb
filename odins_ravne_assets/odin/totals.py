"""Sums over rows of the cost ledger: jobs, and parts of the cost.

Rows have the columns of LEDGER_SCHEMA. Money is decimal, in USD; times are seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from resources.batch.outcome import AttemptOutcome
from resources.pricing.prices import CostKind, Market

ZERO_USD = Decimal(0)
# Kinds that are machine time, for which spot and on-demand prices differ.
MACHINE_TIME_KINDS = (CostKind.ATTEMPT, CostKind.OVERHEAD)
JOB_KEY = ["camera_id", "launch", "unit"]
IS_ATTEMPT = pl.col("kind") == CostKind.ATTEMPT
HAS_STARTED = pl.col("started_at").is_not_null()


def sum_usd(rows: pl.DataFrame, column: str = "usd") -> Decimal:
    """Return the sum of a column of money."""
    return Decimal(rows[column].sum())


def exclude_local(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that AWS bills, without those of this machine."""
    return rows.filter(pl.col("market").is_null() | (pl.col("market") != Market.LOCAL))


@dataclass(frozen=True)
class JobTotals:
    """Totals over work units; each is one job, with any number of attempts.

    Args:
        cancelled: by a user or with their run, before they were done; they are not failed.
        open: queued or running.
        attempts: submitted, including those that never ran.
        interruptions: attempts whose spot machine EC2 interrupted.
        moved: jobs that were tried on spot and ended on demand.
        processing_seconds: sum over all attempts.
        queue_seconds: from submission to start, sum over all attempts that started.
    """

    total: int
    done: int
    failed: int
    cancelled: int
    open: int
    attempts: int
    interruptions: int
    moved: int
    processing_seconds: float
    queue_seconds: float

    @property
    def success_rate(self) -> float | None:
        """Share of done jobs among those that are done or failed; None if there are none."""
        ended = self.done + self.failed
        return self.done / ended if ended else None


@dataclass(frozen=True)
class CostShare:
    """A part of the cost.

    Args:
        name: of the camera, market, machine type, kind of cost or reason.
        usd_on_demand: the same seconds on demand; costs without a spot price are unchanged.
        machine_hours: billed hours of machines.
    """

    name: str
    usd: Decimal
    usd_on_demand: Decimal
    usd_wasted: Decimal
    machine_hours: float
    attempts: int
    images: int
    video_seconds: float
    frames: int


def count_jobs(rows: pl.DataFrame) -> JobTotals:
    """Count jobs by their outcome."""
    attempts = rows.filter(IS_ATTEMPT)
    market = pl.col("market")
    jobs = attempts.group_by(JOB_KEY).agg(
        done=(pl.col("end") == AttemptOutcome.DONE).any(),
        open=(pl.col("end").is_null()).any(),
        cancelled=pl.col("end").sort_by("intended_at").last() == AttemptOutcome.CANCELLED,
        moved=(market == Market.SPOT).any()
        & (market.sort_by("intended_at").last() == Market.ON_DEMAND),
    )
    done, open_ = _count(jobs, "done"), _count(jobs.filter(~pl.col("done")), "open")
    cancelled = _count(jobs.filter(~pl.col("done") & ~pl.col("open")), "cancelled")
    started = attempts.filter(HAS_STARTED)
    return JobTotals(
        total=jobs.height,
        done=done,
        failed=jobs.height - done - open_ - cancelled,
        cancelled=cancelled,
        open=open_,
        attempts=attempts.height,
        interruptions=attempts.filter(pl.col("end") == AttemptOutcome.INTERRUPTED).height,
        moved=_count(jobs, "moved"),
        processing_seconds=_seconds(started, "started_at", "ended_at"),
        queue_seconds=_seconds(started, "intended_at", "started_at"),
    )


def _count(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum())


def _seconds(frame: pl.DataFrame, since: str, until: str) -> float:
    return float(frame.select((pl.col(until) - pl.col(since)).sum()).item().total_seconds())


def cost_shares(rows: pl.DataFrame, by: str) -> list[CostShare]:
    """Return the cost by a column's values, the most expensive first; null is left out."""
    return [
        CostShare(name, *sums)
        for name, *sums in rows.drop_nulls(by)
        .group_by(by)
        .agg(*_sums())
        .sort("usd", by, descending=[True, False])
        .iter_rows()
    ]


def total_cost(rows: pl.DataFrame, name: str) -> CostShare:
    """Return the total cost as one part."""
    return CostShare(name, *rows.select(*_sums()).row(0))


def _sums() -> Sequence[pl.Expr]:
    is_machine_time = pl.col("kind").is_in(MACHINE_TIME_KINDS)
    return (
        pl.col("usd").sum(),
        pl.col("usd_on_demand").sum(),
        pl.col("usd_wasted").sum(),
        (pl.col("billed_seconds").filter(is_machine_time).sum() / 3600).alias("hours"),
        IS_ATTEMPT.sum().alias("attempts"),
        pl.col("images").sum(),
        pl.col("video_seconds").sum(),
        pl.col("frames").sum(),
    )
