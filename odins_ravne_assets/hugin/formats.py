"""Formats of results: times as ISO 8601, durations in seconds, and batches of long tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import polars as pl

from odins_ravne_assets.munin.tables.instants import instant
from resources.printable import CONTROL_CHARACTERS, printable

# Rows of timelines that are exploded at once: about 50 MB.
ROWS_PER_BATCH = 100_000

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)


def iso_time(time: str, utc_offset: str | pl.Expr, fraction: str = "%.3f") -> pl.Expr:
    """Return a column of local times as ISO 8601 text; null if there is no time.

    Args:
        time: a column of times of the camera's clock.
        utc_offset: offsets in minutes; if null, the text has no offset.
        fraction: the format of fractions of a second; "" truncates to whole seconds.
    """
    zone = offset_text(pl.col(utc_offset) if isinstance(utc_offset, str) else utc_offset)
    return pl.col(time).dt.strftime("%Y-%m-%dT%H:%M:%S" + fraction) + zone.fill_null("")


def offset_text(minutes: pl.Expr) -> pl.Expr:
    """Return UTC offsets as `+02:00`; null if unknown."""
    minutes = minutes.cast(pl.Int32)
    sign = pl.when(minutes < 0).then(pl.lit("-")).otherwise(pl.lit("+"))
    digits = (minutes.abs() // 60 * 100 + minutes.abs() % 60).cast(pl.String).str.zfill(4)
    return pl.format("{}{}:{}", sign, digits.str.slice(0, 2), digits.str.slice(2))


def shown_time(time: str, utc_offset: str, text_format: str) -> pl.Expr:
    """Return a time of `tables.OBSERVATIONS` as people read it, without its offset.

    With its offset where that of start and end differ, as 02:58 +02:00 and 02:01 +01:00.
    """
    offset = pl.coalesce(utc_offset, "utc_offset_minutes")
    differ = pl.col("utc_offset_minutes") != pl.col("end_utc_offset_minutes")
    zone = pl.when(differ).then(" " + offset_text(offset)).fill_null("")
    return pl.col(time).dt.strftime(text_format) + zone


def end_time(fraction: str = "%.3f") -> pl.Expr:
    """Return the end of rows of `tables.OBSERVATIONS` as ISO 8601 text, with its own offset."""
    offset = pl.coalesce("end_utc_offset_minutes", "utc_offset_minutes")
    return iso_time("end_at", offset, fraction)


def zone_offset_at(time: str, zone: str) -> pl.Expr:
    """Return the UTC offset in minutes (Int16) of local times in a named time zone.

    Of a time that occurs twice it is the first one's; of one that is skipped, that before the
    change, as `resources.settings.time_zones.zone_offset` has it.
    """
    local = pl.col(time)
    offsets = [
        _offset_in(each.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"))
        for each in (local, local.dt.offset_by("-1h"))
    ]
    return pl.coalesce(offsets).cast(pl.Int16)


def _offset_in(moment: pl.Expr) -> pl.Expr:
    return (moment.dt.base_utc_offset() + moment.dt.dst_offset()).dt.total_minutes()


def seconds(milliseconds: str) -> pl.Expr:
    """Return a column of whole milliseconds in seconds.

    Rounded, because polars multiplies by the reciprocal: 295001 / 1000 is 295.00100000000003.
    """
    return (pl.col(milliseconds) / 1000).round(3)


def with_instants(rows: Rows, start: str, end: str) -> Rows:
    """Add start_instant and end_instant, which `first_and_last` compares; see `instants`.

    Args:
        rows: with camera_id and utc_offset_minutes.
        start, end: columns of times of the camera's clock.
    """
    return rows.with_columns(
        start_instant=instant(start), end_instant=instant(end, _end_offset(end))
    )


def _end_offset(end: str) -> str:
    """The column of the offset of an end: observations have one of their own."""
    return "end_utc_offset_minutes" if end == "end_at" else "utc_offset_minutes"


def first_and_last(start: str, end: str) -> list[pl.Expr]:
    """Return aggregations of a group: its earliest start and latest end, with their UTC offsets.

    `FIRST_TIME` and `LAST_TIME` are their ISO 8601 text.

    Args:
        start, end: columns of rows of `with_instants`.
    """
    is_first = pl.col("start_instant") == pl.col("start_instant").min()
    is_last = pl.col("end_instant") == pl.col("end_instant").max()
    return [
        pl.col(start).filter(is_first).min().alias("first_at"),
        pl.col("utc_offset_minutes").filter(is_first).min().alias("first_offset"),
        pl.col(end).filter(is_last).max().alias("last_at"),
        pl.col(_end_offset(end)).filter(is_last).min().alias("last_offset"),
    ]


FIRST_TIME = iso_time("first_at", "first_offset").alias("first_time")
LAST_TIME = iso_time("last_at", "last_offset").alias("last_time")


def write_printable_csv(
    rows: pl.DataFrame, file: Path | IO[bytes], include_header: bool = True
) -> None:
    """Write rows as CSV, with control characters in texts escaped."""
    with_printable_texts(rows).write_csv(file, include_header=include_header)


def with_printable_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in whose texts control characters are escaped."""
    texts = [
        column.map_elements(printable, return_dtype=pl.String)
        for column in rows.select(pl.col(pl.String)).iter_columns()
        if column.str.contains(f"[{CONTROL_CHARACTERS}]").any()
    ]
    return rows.with_columns(texts)


def iter_batches(observations: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield slices of `tables.OBSERVATIONS` with about ROWS_PER_BATCH rows of timelines each.

    Observations are not split: one with a longer timeline makes a larger batch.
    """
    rows_before = observations["detection_count"].cast(pl.Int64).cum_sum().shift(1, fill_value=0)
    for run in (rows_before // ROWS_PER_BATCH).rle().struct.unnest().iter_rows():
        length: int = run[0]
        yield observations.head(length)
        observations = observations.slice(length)
