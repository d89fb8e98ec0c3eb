"""When the cost of a row of the ledger arose."""

from datetime import UTC, datetime

import polars as pl

ROW_TIME = pl.col("moment")


def with_row_times(rows: pl.DataFrame, now: float) -> pl.DataFrame:
    """The rows with a column `time_literal` more, UTC: the end of what was paid for.

    Requests and logs count at the end of the last of their launch's jobs; what goes on, now.

    Args:
        now: seconds since 1970 UTC.
    """
    never_ran = pl.when(pl.col("end").is_not_null()).then("intended_at")
    own = pl.coalesce("ended_at", "machine_ended_at", never_ran)
    of_launch = own.max().over("camera_id", "launch")
    of_requests = pl.when(pl.col("kind").is_in(["requests", "logs"])).then(of_launch)
    return rows.with_columns(moment=pl.coalesce(own, of_requests, time_literal(now)))


def rows_since(rows: pl.DataFrame, since: float | None) -> pl.DataFrame:
    """The rows whose moment is after a time in seconds since 1970 UTC; all, if it is None."""
    return rows if since is None else rows.filter(time_literal(since) < ROW_TIME)


def time_literal(seconds: float) -> pl.Expr:
    """A time in seconds since 1970 UTC, to be compared with moments."""
    return pl.lit(datetime.fromtimestamp(seconds, UTC), pl.Datetime("ms", "UTC"))
