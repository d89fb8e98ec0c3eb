"""Deployments: the place of a camera during a period, with coordinates rounded for privacy.

- A start or end with a UTC offset is an instant, and is compared with the instants of media; one
  without is compared with their local times.
- A missing start or end is that of the media in the deployment. A deployment without any medium is
  in the package too, if it has both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from odins_ravne_assets.hugin.privacy.places import Places
from resources.errors import RavneError
from resources.settings.deployments import DEPLOYMENT_REMARKS, Deployment, to_local
from resources.settings.project import Project

# Metres per degree of latitude, and of longitude at the equator, its maximum.
METRES_PER_DEGREE = (110_574, 111_320)


class NotExportableError(RavneError):
    """A format requires information that is missing, and that must not be invented."""


@dataclass(frozen=True)
class DeploymentPeriod:
    """A period in which a camera was at one place.

    Attributes:
        deployment_id: unique in the project.
        latitude, longitude: degrees, WGS 84.
        uncertainty: metres; None: unknown.
        start, end: instants, with a zone, or local times without one; inclusive; None: open.
        zone: the time zone at the camera; None: unknown.
        remarks: further columns of Camtrap DP's deployments.
    """

    deployment_id: str
    latitude: float
    longitude: float
    uncertainty: int | None
    start: datetime | None
    end: datetime | None
    zone: tzinfo | None
    remarks: dict[str, str]


def deployment_periods(
    camera: ExportTables, project: Project, places: Places
) -> list[DeploymentPeriod]:
    """Return a camera's deployments: those of the project, or one at the position in its media.

    Of a covered camera, coordinates are rounded, columns that could reveal the place are left out,
    and deployments have the camera's id instead of the project's. The uncertainty of rounded
    coordinates follows Chapman and Wieczorek 2020, Georeferencing Best Practices: the diagonal of
    one unit of both.

    Raises:
        NotExportableError: the camera has no coordinates.
    """
    periods = listed_periods(camera.camera_id, project, places)
    if periods:
        return periods
    alone = _period_from_media(camera)
    if not places.covers(camera.camera_id):
        return [alone]
    return [_covered(alone, camera.camera_id, camera.camera_id, places)]


def listed_periods(camera_id: str, project: Project, places: Places) -> list[DeploymentPeriod]:
    """Return a camera's deployments in the project's table; see `deployment_periods`."""
    rows = [row for row in project.deployments if row.cameraID == camera_id]
    periods = [_listed_period(row, number, len(rows)) for number, row in enumerate(rows, start=1)]
    if not places.covers(camera_id):
        return periods
    return [
        _covered(period, camera_id, _default_id(camera_id, number, len(periods)), places)
        for number, period in enumerate(periods, start=1)
    ]


def _default_id(camera_id: str, number: int, of: int) -> str:
    return camera_id if of == 1 else f"{camera_id}-{number}"


def _listed_period(row: Deployment, number: int, of: int) -> DeploymentPeriod:
    return DeploymentPeriod(
        row.deploymentID or _default_id(row.cameraID, number, of),
        row.latitude,
        row.longitude,
        row.coordinateUncertainty,
        row.start,
        row.end,
        row.zone,
        dict(row.remarks),
    )


def exact_positions(camera: ExportTables, project: Project) -> list[tuple[str, float, float]]:
    """Return a camera's exact positions, of deployments and media: id, latitude, longitude."""
    listed = [each for each in project.deployments if each.cameraID == camera.camera_id]
    positions = [(each.latitude, each.longitude) for each in listed]
    if in_media := _position_in_media(camera):
        positions.append(in_media)
    return [(camera.camera_id, *position) for position in positions]


def _position_in_media(camera: ExportTables) -> tuple[float, float] | None:
    """The median of latitude and longitude in a camera's media."""
    known = pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null()
    null_island = (pl.col("latitude") == 0) & (pl.col("longitude") == 0)
    latitude, longitude = (
        camera.media.filter((pl.col("status") == "ok") & known & ~null_island)
        .select(pl.col("latitude").median(), pl.col("longitude").median())
        .collect()
        .row(0)
    )
    return None if latitude is None else (latitude, longitude)


def _period_from_media(camera: ExportTables) -> DeploymentPeriod:
    position = _position_in_media(camera)
    if position is None:
        raise NotExportableError(
            f"camera {camera.camera_id}: no coordinates in its media or in a table of "
            "deployments; put deployments.csv with cameraID, latitude and longitude next to the "
            "camera's folder"
        )
    latitude, longitude = position
    latitude, longitude = position
    return DeploymentPeriod(
        camera.camera_id, round(latitude, 6), round(longitude, 6), None, None, None, None, {}
    )


def _covered(
    period: DeploymentPeriod, camera_id: str, deployment_id: str, places: Places
) -> DeploymentPeriod:
    diagonal = math.hypot(*METRES_PER_DEGREE) / 10**places.decimals
    latitude, longitude = places.position(camera_id, period.latitude, period.longitude)
    return replace(
        period,
        deployment_id=deployment_id,
        latitude=latitude,
        longitude=longitude,
        uncertainty=max(period.uncertainty or 1, math.ceil(diagonal)),
        remarks=places.remarks(camera_id, period.remarks),
    )


def assign_deployments(
    rows: pl.LazyFrame, column: str, offset: str, periods: list[DeploymentPeriod]
) -> pl.LazyFrame:
    """Add `deploymentID` by the time in a column; null if no period contains it.

    Args:
        column, offset: columns of local times, and of their UTC offsets in minutes.
    """
    deployment_id = pl.lit(None, pl.String)
    for period in reversed(periods):
        started = not_ended = pl.lit(True)
        if period.start is not None:
            time, start = _comparable(column, offset, period.start, period.zone)
            started = time >= start
        if period.end is not None:
            # Inclusive, and in whole seconds.
            time, end = _comparable(column, offset, period.end, period.zone)
            not_ended = time < end + pl.duration(seconds=1)
        contains = started & not_ended & pl.col(column).is_not_null()
        deployment_id = (
            pl.when(contains).then(pl.lit(period.deployment_id)).otherwise(deployment_id)
        )
    return rows.with_columns(deploymentID=deployment_id)


def _comparable(
    column: str, offset: str, bound: datetime, zone: tzinfo | None
) -> tuple[pl.Expr, pl.Expr]:
    """Times and a bound of a deployment, both in UTC or, where one has no offset, both local."""
    time = pl.col(column)
    local = pl.lit(to_local(bound, zone))
    if bound.tzinfo is None:
        return time, local
    known = pl.col(offset).is_not_null()
    utc = time - pl.duration(minutes=pl.col(offset).fill_null(0))
    in_utc = pl.lit(bound.astimezone(UTC).replace(tzinfo=None))
    return pl.when(known).then(utc).otherwise(time), pl.when(known).then(in_utc).otherwise(local)


def deployments_table(
    cameras: Iterable[tuple[str, Sequence[DeploymentPeriod], pl.DataFrame]],
    offsets: dict[str, int | None],
) -> tuple[pl.DataFrame, list[str]]:
    """Return the columns of Camtrap DP's deployments, and the ids of those that are left out.

    Left out are deployments without media that have no start or no end.

    Args:
        cameras: of each camera its id, its deployments, and its media with deploymentID,
            captured_at, ends_at and offset (minutes), in order of time.
        offsets: UTC offset in minutes by camera id, of times that have no other.

    Raises:
        NotExportableError: an id occurs twice, or a time without media has no UTC offset.
    """
    rows: list[dict[str, Any]] = []
    open_periods: list[str] = []
    for camera_id, periods, all_media in cameras:
        for period in periods:
            media = all_media.filter(pl.col("deploymentID") == period.deployment_id)
            start, end = _bounds(period, media, camera_id, offsets.get(camera_id))
            if start is None or end is None:
                open_periods.append(period.deployment_id)
                continue
            rows.append(
                {
                    "deploymentID": period.deployment_id,
                    "latitude": period.latitude,
                    "longitude": period.longitude,
                    "coordinateUncertainty": period.uncertainty,
                    "deploymentStart": start,
                    "deploymentEnd": end,
                    "cameraID": camera_id,
                    **{name: period.remarks.get(name) for name in DEPLOYMENT_REMARKS},
                }
            )
    texts = ("deploymentID", "cameraID", "deploymentStart", "deploymentEnd", *DEPLOYMENT_REMARKS)
    schema: dict[str, pl.DataType] = dict.fromkeys(("latitude", "longitude"), pl.Float64())
    schema |= {"coordinateUncertainty": pl.Int64()} | dict.fromkeys(texts, pl.String())
    table = pl.DataFrame(rows, schema=schema)
    _check_unique_ids(table)
    return table, open_periods


def _bounds(
    period: DeploymentPeriod, media: pl.DataFrame, camera_id: str, offset: int | None
) -> tuple[str | None, str | None]:
    """Start and end as Camtrap DP writes times; None if they are open and there is no medium."""
    start, end = period.start, period.end
    first = last = offset
    if not media.is_empty():
        first, last = media["offset"][0], media["offset"][-1]
        start = start or media["captured_at"][0]
        if end is None:
            end = media["ends_at"].max()  # type: ignore[assignment]  # a column of times
    return (
        _iso(start, period.zone, first, camera_id),
        _iso(end, period.zone, last, camera_id),
    )


def _iso(
    moment: datetime | None, zone: tzinfo | None, offset: int | None, camera_id: str
) -> str | None:
    """A time with the UTC offset of a named zone, else of the media, else of the zone."""
    if moment is None:
        return None
    there = zone
    if offset is not None and not isinstance(zone, ZoneInfo):
        there = timezone(timedelta(minutes=offset))
    there = there or moment.tzinfo
    if there is None:
        raise NotExportableError(
            f"camera {camera_id}: the times of its deployments have no UTC offset; "
            'set project.utc_offset, for example "+01:00", or project.time_zone'
        )
    local = moment.astimezone(there) if moment.tzinfo else moment.replace(tzinfo=there)
    return local.isoformat(timespec="seconds")


def _check_unique_ids(deployments: pl.DataFrame) -> None:
    duplicates = deployments.filter(pl.col("deploymentID").is_duplicated())
    if not duplicates.is_empty():
        raise NotExportableError(
            f"project.deployments: deploymentID {duplicates['deploymentID'][0]} occurs twice; give "
            "each period of a camera a different one"
        )
