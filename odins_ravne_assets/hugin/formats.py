"""How results are written: times and durations, first and last of a group, long tables in parts."""

from collections.abc import Iterator

import polars as pl

# Rows of timelines that are unfolded at once: about 50 MB.
ROWS_PER_BATCH = 100_000


def iso_time(time: str, utc_offset: str, fraction: str = "%.3f") -> pl.Expr:
    """A column of times as ISO 8601 text; null where there is no time.

    The clock is the camera's own, as everywhere. The offset (a column of minutes) is written when
    it is known ("2026-05-01T02:14:00.000+02:00"); without it the text has no zone. `fraction` is
    the format of parts of a second: three digits, or "" for none, which cuts them off.
    """
    minutes = pl.col(utc_offset).cast(pl.Int32)
    sign = pl.when(minutes < 0).then(pl.lit("-")).otherwise(pl.lit("+"))
    digits = (minutes.abs() // 60 * 100 + minutes.abs() % 60).cast(pl.String).str.zfill(4)
    zone = pl.format("{}{}:{}", sign, digits.str.slice(0, 2), digits.str.slice(2))
    return pl.col(time).dt.strftime("%Y-%m-%dT%H:%M:%S" + fraction) + zone.fill_null("")


def seconds(milliseconds: str) -> pl.Expr:
    """A column of whole milliseconds in seconds.

    Rounded, because polars divides by multiplying: 295001 / 1000 is 295.00100000000003 to it.
    """
    return (pl.col(milliseconds) / 1000).round(3)


def first_and_last(start: str, end: str) -> list[pl.Expr]:
    """Aggregations of a group: its earliest start and latest end, each with its own row's offset.

    `FIRST_TIME` and `LAST_TIME` are their ISO 8601 text.
    """
    offset = pl.col("utc_offset_minutes")
    first, last = pl.col(start).min(), pl.col(end).max()
    return [
        first.alias("first_at"),
        offset.filter(pl.col(start) == first).min().alias("first_offset"),
        last.alias("last_at"),
        offset.filter(pl.col(end) == last).min().alias("last_offset"),
    ]


FIRST_TIME = iso_time("first_at", "first_offset").alias("first_time")
LAST_TIME = iso_time("last_at", "last_offset").alias("last_time")


def iter_batches(observations: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of `tables.OBSERVATIONS` with about ROWS_PER_BATCH rows of timelines each.

    Observations stay whole: one with a longer timeline is a part of its own size.
    """
    rows_before = observations["detection_count"].cast(pl.Int64).cum_sum().shift(1, fill_value=0)
    for run in (rows_before // ROWS_PER_BATCH).rle().struct.unnest().iter_rows():
        length: int = run[0]
        yield observations.head(length)
        observations = observations.slice(length)
