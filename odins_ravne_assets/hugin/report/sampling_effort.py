"""Sampling effort: the days on which cameras were active, and visits per period.

A camera with deployments was active in them, without its outages; days are then the length of these
times, so that half a day is half a day. Any other camera counts as active from the day of its first
file to the day of its last, both included, also on days without files. Days are those of the
camera's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from odins_ravne_assets.hugin.report.active_times import (
    DAY,
    Interval,
    active_intervals,
    contains,
    place_interval,
    total_days,
    whole_days,
)
from odins_ravne_assets.munin.tables.schemas import TIME
from resources.settings.deployments import Deployment

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
    """A position of a camera; latitude and longitude in degrees."""

    camera_id: str
    latitude: float
    longitude: float
    visits: int
    rounded: bool  # to protect a sensitive species
    name: str | None = None  # of the place


INTERVALS = pl.List(pl.Struct({"start": TIME, "end": TIME}))
PLACES = pl.List(
    pl.Struct(
        {
            "latitude": pl.Float64,
            "longitude": pl.Float64,
            "name": pl.String,  # locationName
            "start": TIME,
            "end": TIME,
        }
    )
)


EFFORT: dict[str, pl.DataType | type[pl.DataType]] = {
    "camera_id": pl.String,
    "media": pl.Int64,
    "first_day": pl.Date,
    "last_day": pl.Date,
    "camera_days": pl.Float64,
    "days_with_media": pl.Int64,
    "files_outside": pl.Int64,
    "deployed": pl.Boolean,
    "active": INTERVALS,
    "places": PLACES,
}


def sampling_effort(
    media: pl.LazyFrame,
    deployments: Sequence[Deployment] = (),
    now: datetime | None = None,
) -> pl.DataFrame:
    """Return a row per camera, ordered by camera_id.

    Columns: camera_id, media (files), first_day and last_day (of the active times; null where they
    are not known), camera_days (a float; 0: unknown), days_with_media, files_outside (files with a
    time outside of the deployments), deployed (True: the days are those of deployments), active
    (INTERVALS), places (PLACES: of the deployments, else one, the median of the files).

    Args:
        media: rows of `tables.MEDIA`.
        deployments: those of other cameras are ignored.
        now: see `active_intervals`; default: the time of this machine.
    """
    cameras = (
        media.group_by("camera_id")
        .agg(
            pl.len().alias("media"),
            pl.col("captured_at").min().alias("first"),
            pl.col("captured_at").max().alias("last"),
            pl.col("captured_at").dt.date().drop_nulls().n_unique().alias("days_with_media"),
            pl.col("latitude", "longitude").median(),
        )
        .sort("camera_id")
        .collect(engine="streaming")
    )
    rows = []
    for row in cameras.iter_rows(named=True):
        own = [each for each in deployments if each.cameraID == row["camera_id"]]
        outside = _files_outside(media, row["camera_id"], own) if own else 0
        rows.append(_of_camera(row, own, now or datetime.now()) | {"files_outside": outside})
    return pl.DataFrame(rows, schema=EFFORT, orient="row")


def _of_camera(
    row: dict[str, Any], deployments: Sequence[Deployment], now: datetime
) -> dict[str, Any]:
    """The columns of `sampling_effort`, except files_outside."""
    first, last = row["first"], row["last"]
    if deployments:
        active = active_intervals(deployments, first, last, now)
    else:
        active = [whole_days(first.date(), last.date())] if first else []
    second = timedelta(seconds=1)
    return {
        "camera_id": row["camera_id"],
        "media": row["media"],
        "first_day": active[0].start.date() if active else None,
        "last_day": (active[-1].end - second).date() if active else None,
        "camera_days": total_days(active),
        "days_with_media": row["days_with_media"],
        "deployed": bool(deployments),
        "active": [each._asdict() for each in active],
        "places": _places(row, deployments),
    }


def _files_outside(media: pl.LazyFrame, camera_id: str, deployments: Sequence[Deployment]) -> int:
    """The number of files with a time that no deployment contains."""
    at = pl.col("captured_at")
    inside = [
        (at >= start if each.starts else pl.lit(True)) & (at < end if each.ends else pl.lit(True))
        for each in deployments
        for start, end in [place_interval(each)]
    ]
    of_camera = media.filter((pl.col("camera_id") == camera_id) & at.is_not_null())
    return int(of_camera.select((~pl.any_horizontal(inside)).sum()).collect().item())


def _places(row: dict[str, Any], deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    in_order = sorted(deployments, key=lambda each: each.starts or datetime.min)
    found = [
        {
            "latitude": each.latitude,
            "longitude": each.longitude,
            "name": each.remarks.get("locationName"),
            "start": each.starts,
            "end": place_interval(each).end if each.ends else None,
        }
        for each in in_order
    ]
    position = {name: row[name] for name in ("latitude", "longitude")}
    if found or None in position.values():
        return found
    return [position | dict.fromkeys(("name", "start", "end"))]


def exact_positions(effort: pl.DataFrame) -> list[tuple[str, float, float]]:
    """Return the exact positions of cameras: id, latitude and longitude in degrees.

    Args:
        effort: the result of `sampling_effort`.
    """
    return [
        (row["camera_id"], place["latitude"], place["longitude"])
        for row in effort.select("camera_id", "places").iter_rows(named=True)
        for place in row["places"]
    ]


def counted_visits(observations: pl.DataFrame, cameras: pl.DataFrame) -> pl.Series:
    """Return True for each visit in the active times of a camera; of one without a time, where the
    camera's days are known.

    Args:
        observations: rows of `tables.OBSERVATIONS`.
        cameras: the result of `sampling_effort`.
    """
    active = {row["camera_id"]: _intervals(row) for row in cameras.iter_rows(named=True)}
    counted = [
        bool(active[camera]) and (start is None or contains(active[camera], start))
        for camera, start in observations.select("camera_id", "start_at").iter_rows()
    ]
    return pl.Series("counted", counted, dtype=pl.Boolean)


def _intervals(row: dict[str, Any]) -> list[Interval]:
    return [Interval(each["start"], each["end"]) for each in row["active"]]


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
    active = [each for row in cameras.iter_rows(named=True) for each in _intervals(row)]
    bounds = [datetime.combine(day, time()) for day in calendar.starts]
    averages = []
    for start, end in pairwise(bounds):
        times = (min(each.end, end) - max(each.start, start) for each in active)
        days = sum((max(each, timedelta()) for each in times), timedelta()) / DAY
        averages.append(days / ((end - start) / DAY))
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
