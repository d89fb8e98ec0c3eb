"""The effort and the places of cameras in the report: rates of visits, and a row per camera.

The parameter `effort` is the result of `sampling_effort` for all cameras, `visits` their
observations.
"""

from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from odins_ravne_assets.hugin.privacy.places import Places
from odins_ravne_assets.hugin.report.sampling_effort import CameraPosition
from odins_ravne_assets.hugin.visits.species_summary import IS_ANIMAL_SPECIES

UNKNOWN = "unknown"
POSITION_DECIMALS = 5  # of coordinates in degrees: about a metre
# A longer period between a camera's first and last file is more likely due to a wrong clock.
MAX_PLAUSIBLE_DAYS = 4 * 365
# With fewer camera days, a rate per 100 camera days is mostly chance.
MIN_SIGNIFICANT_DAYS = 30

Row = dict[str, Any]


class VisitRate(NamedTuple):
    """Visits per 100 camera days, the relative abundance index of camera trapping.

    Attributes:
        camera_days: sum over all cameras; None: no rates are shown.
        explanation: how the rate is computed, or why it cannot be.
    """

    camera_days: float | None
    explanation: str

    def of(self, visits: int) -> str:
        """Return the formatted rate, with one decimal or two significant digits."""
        if not self.camera_days:
            return ""
        rate = 100 * visits / self.camera_days
        return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def visit_rate(effort: pl.DataFrame, not_counted: int = 0) -> VisitRate:
    """Return the rate of visits; without camera days if a clock may have been wrong.

    Args:
        not_counted: visits of cameras without known days, or outside of the active times.
    """
    days = float(effort["camera_days"].sum())
    if not implausible(effort).is_empty():
        return VisitRate(
            None,
            "Visits per 100 camera days cannot be computed because the clock of a camera may have "
            "been wrong.",
        )
    if not days:
        return VisitRate(
            None, "Visits per 100 camera days cannot be computed because no file has a time."
        )
    shown = format_number(days)
    camera_days = f"{shown} camera day{'s' * (shown != '1')}"
    text = f"The rate per 100 camera days is the number of visits / {camera_days} × 100"
    text += "; it is not reliable for so few days." if days < MIN_SIGNIFICANT_DAYS else "."
    if not_counted:
        visits = "1 visit is" if not_counted == 1 else f"{not_counted:,} visits are"
        text += (
            f" {visits} not counted in it: of cameras whose days are not known, or outside of the "
            "times in which the camera was active."
        )
    return VisitRate(days, text)


def format_number(number: float) -> str:
    """Return a number with at most one decimal."""
    return f"{round(number, 1):,.1f}".removesuffix(".0")


def implausible(effort: pl.DataFrame) -> pl.DataFrame:
    """Return the cameras whose files span more days than is plausible.

    Days of deployments are not those of files.
    """
    return effort.filter((pl.col("camera_days") > MAX_PLAUSIBLE_DAYS) & ~pl.col("deployed"))


def camera_positions(
    visits: pl.DataFrame, effort: pl.DataFrame, places: Places
) -> list[CameraPosition]:
    """Return the positions of cameras, rounded where their place is covered.

    A camera that was moved has one for each place, with the visits of that time.
    """
    return [
        position
        for row in effort.iter_rows(named=True)
        for position in _positions(visits, row, places)
    ]


def _positions(visits: pl.DataFrame, row: Row, places: Places) -> list[CameraPosition]:
    camera_id = row["camera_id"]
    starts = visits.filter(pl.col("camera_id") == camera_id)["start_at"]
    found: dict[tuple[float, float], CameraPosition] = {}
    for place in row["places"]:
        latitude, longitude = places.position(
            camera_id,
            round(place["latitude"], POSITION_DECIMALS),
            round(place["longitude"], POSITION_DECIMALS),
        )
        known = found.get((latitude, longitude))
        number = len(starts) if len(row["places"]) == 1 else _visits_at(starts, place)
        found[latitude, longitude] = CameraPosition(
            camera_id,
            latitude,
            longitude,
            number + (known.visits if known else 0),
            places.covers(camera_id),
            places.remarks(camera_id, {"locationName": place["name"] or ""}).get("locationName"),
        )
    return list(found.values())


def _visits_at(starts: pl.Series, place: Row) -> int:
    """The number of visits that began while the camera was at a place."""
    since, until = place["start"] or datetime.min, place["end"] or datetime.max
    return sum(since <= start < until for start in starts.drop_nulls())


def camera_rows(visits: pl.DataFrame, effort: pl.DataFrame, places: Places) -> list[Row]:
    """Return a row per camera, in the order of `effort`; `place` has its coordinates."""
    visit_counts = dict(visits["camera_id"].value_counts().iter_rows())
    species_counts = dict(
        visits.filter(IS_ANIMAL_SPECIES)
        .group_by("camera_id")
        .agg(pl.col("species").n_unique())
        .rows()
    )
    return [
        row
        | {
            "first_day": row["first_day"] or UNKNOWN,
            "last_day": row["last_day"] or UNKNOWN,
            "camera_days": format_number(row["camera_days"]) if row["first_day"] else UNKNOWN,
            "visits": visit_counts.get(row["camera_id"], 0),
            "species": species_counts.get(row["camera_id"], 0),
            "place": "; ".join(
                _format_position(position, places) for position in _positions(visits, row, places)
            ),
        }
        for row in effort.iter_rows(named=True)
    ]


def _format_position(position: CameraPosition, places: Places) -> str:
    digits = places.decimals if position.rounded else POSITION_DECIMALS
    text = f"{position.latitude:.{digits}f}, {position.longitude:.{digits}f}"
    if position.rounded:
        return f"{text} (rounded)"
    return f"{position.name}: {text}" if position.name else text
