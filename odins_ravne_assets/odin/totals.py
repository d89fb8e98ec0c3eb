"""Sums over rows of the cost ledger: jobs, and where the money went.

Rows are a frame of `cost_ledger.SCHEMA`. Money is decimal, in USD; times are seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

ZERO_USD = Decimal(0)
# Kinds that are time of machines, in which spot and on-demand differ.
MACHINE_TIME_KINDS = ("attempt", "overhead")
JOB_KEY = ["camera_id", "launch", "unit"]
IS_ATTEMPT = pl.col("kind") == "attempt"
HAS_STARTED = pl.col("started_at").is_not_null()


def sum_usd(rows: pl.DataFrame, column: str = "usd") -> Decimal:
    """The sum of a column of money."""
    return Decimal(rows[column].sum())


def exclude_local(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of what AWS is paid for: without those of machines of one's own."""
    return rows.filter(pl.col("market").is_null() | (pl.col("market") != "local"))


@dataclass(frozen=True)
class JobTotals:
    """Work units: each is one job, however many attempts it took.

    Args:
        open: they wait or run.
        attempts: submitted, whether they ran or not.
        interruptions: attempts whose spot machine EC2 took.
        moved: jobs that were tried on spot and ended on demand.
        processing_seconds: of all attempts, together.
        queue_seconds: from submission to start, of all attempts that started, together.
    """

    total: int
    done: int
    failed: int
    open: int
    attempts: int
    interruptions: int
    moved: int
    processing_seconds: float
    queue_seconds: float

    @property
    def success_rate(self) -> float | None:
        """Share of the jobs that ended which are done; None: none has ended."""
        ended = self.done + self.failed
        return self.done / ended if ended else None


@dataclass(frozen=True)
class CostShare:
    """A part of the money.

    Args:
        name: of the camera, market, machine type, kind of cost or reason.
        usd_on_demand: the same seconds on demand; what has no spot price counts as it is.
        machine_hours: billed hours of machines that are in it.
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
    """Count the jobs, and how they went."""
    attempts = rows.filter(IS_ATTEMPT)
    units = attempts.group_by(JOB_KEY).agg(
        done=(pl.col("end") == "done").any(),
        open=(pl.col("end").is_null()).any(),
        moved=(pl.col("market") == "spot").any()
        & (pl.col("market").sort_by("intended_at").last() == "ondemand"),
    )
    done, open_ = _count(units, "done"), _count(units.filter(~pl.col("done")), "open")
    ran = attempts.filter(HAS_STARTED)
    return JobTotals(
        total=units.height,
        done=done,
        failed=units.height - done - open_,
        open=open_,
        attempts=attempts.height,
        interruptions=attempts.filter(pl.col("end") == "interrupted").height,
        moved=_count(units, "moved"),
        processing_seconds=_seconds(ran, "started_at", "ended_at"),
        queue_seconds=_seconds(ran, "intended_at", "started_at"),
    )


def _count(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum())


def _seconds(frame: pl.DataFrame, since: str, until: str) -> float:
    return float(frame.select((pl.col(until) - pl.col(since)).sum()).item().total_seconds())


def cost_shares(rows: pl.DataFrame, by: str) -> list[CostShare]:
    """The money by a column's values, the dearest first; rows without one are left out."""
    return [
        CostShare(name, *sums)
        for name, *sums in rows.drop_nulls(by)
        .group_by(by)
        .agg(*_sums())
        .sort("usd", by, descending=[True, False])
        .iter_rows()
    ]


def total_cost(rows: pl.DataFrame, name: str) -> CostShare:
    """All of the money, as one part."""
    return CostShare(name, *rows.select(*_sums()).row(0))


def _sums() -> Sequence[pl.Expr]:
    return (
        pl.col("usd").sum(),
        pl.col("usd_on_demand").sum(),
        pl.col("usd_wasted").sum(),
        (
            pl.col("billed_seconds").filter(pl.col("kind").is_in(MACHINE_TIME_KINDS)).sum() / 3600
        ).alias("hours"),
        IS_ATTEMPT.sum().alias("attempts"),
        pl.col("images").sum(),
        pl.col("video_seconds").sum(),
        pl.col("frames").sum(),
    )
