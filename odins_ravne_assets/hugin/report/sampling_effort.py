"""When cameras were out, and when they saw something.

A camera is taken to have been out from the day of its first file to the day of its last, both
included, also on days without a file: a quiet day is a day of effort. Days are those of the
camera's own clock.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

HOURS = 24
# The longest time that is shown by day, by week, by month; longer ones by year.
MAX_DAYS = (("1d", 62), ("1w", 430), ("1mo", 3700))
PERIOD_NAMES = {"1d": "day", "1w": "week", "1mo": "month", "1y": "year"}


@dataclass(frozen=True)
class Calendar:
    """A stretch of time in equal parts.

    Attributes:
        name: of a part: day, week, month or year.
        starts: the first day of each part, and last the first day after all of them.
    """

    name: str
    starts: list[date]

    @property
    def parts(self) -> int:
        return len(self.starts) - 1

    def written(self, start: date) -> str:
        """A part by its first day, as short as can be told apart."""
        if self.name == "year":
            return f"{start:%Y}"
        return f"{start:%b %Y}" if self.name == "month" else f"{start.day} {start:%b %y}"


class CameraPosition(NamedTuple):
    """Where a camera stands; latitude and longitude in degrees."""

    camera_id: str
    latitude: float
    longitude: float
    visits: int
    rounded: bool  # for a species that is not to be found by it


def sampling_effort(media: pl.LazyFrame) -> pl.DataFrame:
    """A row per camera, by camera_id.

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
    """Of all cameras that `sampling_effort` tells of; None when no file has a time."""
    spans: list[tuple[date, date]] = (
        cameras.drop_nulls("first_day").select("first_day", "last_day").rows()
    )
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


def make_calendar(first: date, last: date) -> Calendar:
    """Days, weeks (from Monday), months or years that hold both days, as few as can be read."""
    days = (last - first).days + 1
    every = next((every for every, longest in MAX_DAYS if days <= longest), "1y")
    start = pl.Series([first]).dt.truncate(every).item()
    starts = pl.date_range(start, last, every, eager=True)
    end = pl.Series([starts[-1]]).dt.offset_by(every).item()
    return Calendar(PERIOD_NAMES[every], [*starts.to_list(), end])


def visits_per_period(observations: pl.DataFrame, parts: Calendar) -> list[int]:
    """How many observations began in each part of a calendar."""
    days = observations["start_at"].drop_nulls().dt.date()
    return _histogram(days, parts.starts)


def cameras_per_period(cameras: pl.DataFrame, parts: Calendar) -> list[float]:
    """Camera days of each part of a calendar, per day: how many cameras were out on average.

    Args:
        cameras: what `sampling_effort` returns.
    """
    spans = cameras.drop_nulls("first_day").select("first_day", "last_day").rows()
    out = []
    for start, end in zip(parts.starts, parts.starts[1:], strict=False):
        last = end - timedelta(days=1)
        days = sum(max(0, (min(b, last) - max(a, start)).days + 1) for a, b in spans)
        out.append(days / (end - start).days)
    return out


def visits_per_hour(observations: pl.DataFrame) -> list[int]:
    """How many observations began in each hour of the cameras' day, from midnight."""
    hours = observations["start_at"].drop_nulls().dt.hour()
    counts = dict(hours.value_counts().iter_rows())
    return [counts.get(hour, 0) for hour in range(HOURS)]


def _histogram(days: pl.Series, starts: list[date]) -> list[int]:
    place = pl.Series(starts).search_sorted(days, side="right") - 1
    counts = dict(place.value_counts().iter_rows())
    return [counts.get(number, 0) for number in range(len(starts) - 1)]
