"""Sampling effort: the days on which cameras were active, and visits per period.

A camera counts as active from the day of its first file to the day of its last, both included, also
on days without files. Days are those of the camera's clock.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

HOURS = 24
# Maximum number of days shown by day, by week, by month; longer times are shown by year.
MAX_DAYS = (("1d", 62), ("1w", 430), ("1mo", 3700))
PERIOD_NAMES = {"1d": "day", "1w": "week", "1mo": "month", "1y": "year"}


@dataclass(frozen=True)
class Calendar:
    """A time range split into days, weeks, months or years.

    Attributes:
        period_name: day, week, month or year.
        starts: the first day of each period, and the first day after the last.
    """

    period_name: str
    starts: list[date]

    @property
    def periods(self) -> int:
        """The number of periods."""
        return len(self.starts) - 1

    def label(self, start: date) -> str:
        """Return a short label of the period that begins on a day."""
        if self.period_name == "year":
            return f"{start:%Y}"
        return f"{start:%b %Y}" if self.period_name == "month" else f"{start.day} {start:%b %y}"


class CameraPosition(NamedTuple):
    """The position of a camera; latitude and longitude in degrees."""

    camera_id: str
    latitude: float
    longitude: float
    visits: int
    rounded: bool  # to protect a sensitive species


def sampling_effort(media: pl.LazyFrame) -> pl.DataFrame:
    """Return a row per camera, ordered by camera_id.

    Columns: camera_id, media (files), first_day and last_day (null where no file has a time),
    camera_days, days_with_media, latitude and longitude (degrees, the median of its files).

    Args:
        media: rows of `tables.MEDIA`.
    """
    day = pl.col("captured_at").dt.date()
    return (
        media.group_by("camera_id")
        .agg(
            pl.len().alias("media"),
            day.min().alias("first_day"),
            day.max().alias("last_day"),
            day.drop_nulls().n_unique().alias("days_with_media"),
            pl.col("latitude", "longitude").median(),
        )
        .with_columns(
            camera_days=((pl.col("last_day") - pl.col("first_day")).dt.total_days() + 1).fill_null(
                0
            )
        )
        .sort("camera_id")
        .collect(engine="streaming")
    )


def first_and_last_day(cameras: pl.DataFrame) -> tuple[date, date] | None:
    """Return the first and last day of all cameras; None if no file has a time."""
    spans: list[tuple[date, date]] = (
        cameras.drop_nulls("first_day").select("first_day", "last_day").rows()
    )
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


def make_calendar(first: date, last: date) -> Calendar:
    """Return the days, weeks (from Monday), months or years from one day to another.

    The period is chosen so that the number of periods is readable in a plot (MAX_DAYS).
    """
    days = (last - first).days + 1
    every = next((every for every, max_days in MAX_DAYS if days <= max_days), "1y")
    start = pl.Series([first]).dt.truncate(every).item()
    starts = pl.date_range(start, last, every, eager=True)
    end = pl.Series([starts[-1]]).dt.offset_by(every).item()
    return Calendar(PERIOD_NAMES[every], [*starts.to_list(), end])


def visits_per_period(observations: pl.DataFrame, calendar: Calendar) -> list[int]:
    """Return the number of observations that start in each period."""
    days = observations["start_at"].drop_nulls().dt.date()
    return _histogram(days, calendar.starts)


def cameras_per_period(cameras: pl.DataFrame, calendar: Calendar) -> list[float]:
    """Return the average number of active cameras in each period (camera days / days).

    Args:
        cameras: the result of `sampling_effort`.
    """
    spans = cameras.drop_nulls("first_day").select("first_day", "last_day").rows()
    averages = []
    for start, end in zip(calendar.starts, calendar.starts[1:], strict=False):
        last = end - timedelta(days=1)
        days = sum(max(0, (min(b, last) - max(a, start)).days + 1) for a, b in spans)
        averages.append(days / (end - start).days)
    return averages


def visits_per_hour(observations: pl.DataFrame) -> list[int]:
    """Return the number of observations that start in each hour of the day, from midnight."""
    hours = observations["start_at"].drop_nulls().dt.hour()
    counts = dict(hours.value_counts().iter_rows())
    return [counts.get(hour, 0) for hour in range(HOURS)]


def _histogram(days: pl.Series, starts: list[date]) -> list[int]:
    index = pl.Series(starts).search_sorted(days, side="right") - 1
    counts = dict(index.value_counts().iter_rows())
    return [counts.get(number, 0) for number in range(len(starts) - 1)]
