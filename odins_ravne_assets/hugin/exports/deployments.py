"""Deployments: the place of a camera during a period, with coordinates rounded for privacy."""

import math
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from odins_ravne_assets.hugin.privacy.places import Places
from resources.errors import RavneError
from resources.settings.deployments import Deployment
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
        start, end: times of the camera's clock; None: open.
        remarks: further columns of Camtrap DP's deployments.
    """

    deployment_id: str
    latitude: float
    longitude: float
    uncertainty: int | None
    start: datetime | None
    end: datetime | None
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
    rows = [row for row in project.deployments if row.cameraID == camera.camera_id]
    periods = [_listed_period(row, number, len(rows)) for number, row in enumerate(rows, start=1)]
    periods = periods or [_period_from_media(camera)]
    if not places.covers(camera.camera_id):
        return periods
    return [
        _covered(
            period, camera.camera_id, _default_id(camera.camera_id, number, len(periods)), places
        )
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
        row.starts,
        row.ends,
        dict(row.remarks),
    )


def _period_from_media(camera: ExportTables) -> DeploymentPeriod:
    known = pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null()
    null_island = (pl.col("latitude") == 0) & (pl.col("longitude") == 0)
    latitude, longitude = (
        camera.media.filter((pl.col("status") == "ok") & known & ~null_island)
        .select(pl.col("latitude").median(), pl.col("longitude").median())
        .collect()
        .row(0)
    )
    if latitude is None:
        raise NotExportableError(
            f"camera {camera.camera_id}: no coordinates in its media or in a table of "
            "deployments; put deployments.csv with cameraID, latitude and longitude next to the "
            "camera's folder"
        )
    return DeploymentPeriod(
        camera.camera_id, round(latitude, 6), round(longitude, 6), None, None, None, {}
    )


def _covered(
    period: DeploymentPeriod, camera_id: str, deployment_id: str, places: Places
) -> DeploymentPeriod:
    diagonal = math.hypot(*METRES_PER_DEGREE) / 10**places.decimals
    latitude, longitude = places.position(camera_id, period.latitude, period.longitude)
    return DeploymentPeriod(
        deployment_id,
        latitude,
        longitude,
        max(period.uncertainty or 1, math.ceil(diagonal)),
        period.start,
        period.end,
        places.remarks(camera_id, period.remarks),
    )


def assign_deployments(
    rows: pl.LazyFrame, column: str, periods: list[DeploymentPeriod]
) -> pl.LazyFrame:
    """Add `deploymentID` by the time in a column; null if no period contains it."""
    deployment_id = pl.lit(None, pl.String)
    for period in reversed(periods):
        started = pl.lit(True) if period.start is None else pl.col(column) >= period.start
        not_ended = pl.lit(True) if period.end is None else pl.col(column) <= period.end
        contains = started & not_ended & pl.col(column).is_not_null()
        deployment_id = (
            pl.when(contains).then(pl.lit(period.deployment_id)).otherwise(deployment_id)
        )
    return rows.with_columns(deploymentID=deployment_id)
