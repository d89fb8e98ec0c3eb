"""The time at which the cost of a ledger row arose."""

from datetime import UTC, datetime

import polars as pl

from resources.pricing.prices import CostKind

ROW_TIME = pl.col("row_time")


def with_row_times(rows: pl.DataFrame, now: float) -> pl.DataFrame:
    """Add the column `row_time`, UTC: the end of the time that was paid for.

    Requests and logs count at the end of the last of their launch's jobs; what has not ended
    counts as of now.

    Args:
        now: seconds since 1970 UTC.
    """
    never_ran = pl.when(pl.col("end").is_not_null()).then("intended_at")
    own = pl.coalesce("ended_at", "machine_ended_at", never_ran)
    launch_end = own.max().over("camera_id", "launch")
    is_per_launch = pl.col("kind").is_in([CostKind.REQUESTS, CostKind.LOGS])
    return rows.with_columns(
        row_time=pl.coalesce(own, pl.when(is_per_launch).then(launch_end), time_literal(now))
    )


def rows_since(rows: pl.DataFrame, since: float | None) -> pl.DataFrame:
    """Return the rows with a time after `since`, in seconds since 1970 UTC; None: all rows."""
    return rows if since is None else rows.filter(time_literal(since) < ROW_TIME)


def time_literal(seconds: float) -> pl.Expr:
    """Return a time in seconds since 1970 UTC as a literal that is comparable with row times."""
    return pl.lit(datetime.fromtimestamp(seconds, UTC), pl.Datetime("ms", "UTC"))
