"""Where a camera stood, and when."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from resources.errors import RavneError
from resources.settings.profile import Privacy
from resources.settings.project import Deployment, Project

# Metres of a degree of latitude and of longitude at the equator, where it is longest.
METRES_PER_DEGREE = (110_574, 111_320)
# What would tell a place whose coordinates are rounded.
LOCATION_COLUMNS = ("locationID", "locationName", "deploymentComments")


class NotExportableError(RavneError):
    """A format asks for a fact that is not known. Nothing is made up in its place."""


@dataclass(frozen=True)
class DeploymentPeriod:
    """A camera at one place.

    Attributes:
        deployment_id: unique in the project.
        latitude, longitude: degrees, WGS 84.
        uncertainty: metres; None: not known.
        start, end: the camera's clock; None: open.
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
    camera: ExportTables, project: Project, privacy: Privacy
) -> list[DeploymentPeriod]:
    """A camera's stays: those of the project's deployments, or one where its media say.

    Coordinates are rounded, and what else tells the place is left out, where one of
    `privacy.sensitive_species` was seen. The uncertainty of rounded coordinates is that of Chapman
    and Wieczorek 2020, Georeferencing Best Practices: the diagonal of one unit of both.

    Raises:
        NotExportableError: nothing says where the camera stood.
    """
    rows = [row for row in project.deployments if row.cameraID == camera.camera_id]
    stays = [_listed_period(row, number, len(rows)) for number, row in enumerate(rows, start=1)]
    stays = stays or [_period_from_media(camera)]
    if not _has_sensitive_species(camera, privacy.sensitive_species):
        return stays
    return [_rounded(stay, privacy.sensitive_decimals) for stay in stays]


def _listed_period(row: Deployment, number: int, of: int) -> DeploymentPeriod:
    default = row.cameraID if of == 1 else f"{row.cameraID}-{number}"
    return DeploymentPeriod(
        row.deploymentID or default,
        row.latitude,
        row.longitude,
        row.coordinateUncertainty,
        row.starts,
        row.ends,
        dict(row.remarks),
    )


def _period_from_media(camera: ExportTables) -> DeploymentPeriod:
    known = pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null()
    nowhere = (pl.col("latitude") == 0) & (pl.col("longitude") == 0)
    latitude, longitude = (
        camera.media.filter((pl.col("status") == "ok") & known & ~nowhere)
        .select(pl.col("latitude").median(), pl.col("longitude").median())
        .collect()
        .row(0)
    )
    if latitude is None:
        raise NotExportableError(
            f"camera {camera.camera_id}: no coordinates, in its media or in a table of "
            "deployments; put deployments.csv, with cameraID, latitude and longitude, beside the "
            "camera's folder"
        )
    return DeploymentPeriod(
        camera.camera_id, round(latitude, 6), round(longitude, 6), None, None, None, {}
    )


def _has_sensitive_species(camera: ExportTables, coarse: tuple[str, ...]) -> bool:
    names: list[Any] = list(coarse)
    any_rank = (
        pl.col(rank).is_in(names)
        for rank in ("scientific_name", "genus", "family", "order", "class")
    )
    return bool(camera.observations.select(pl.any_horizontal(*any_rank).any()).item())


def _rounded(stay: DeploymentPeriod, decimals: int) -> DeploymentPeriod:
    diagonal = math.hypot(*METRES_PER_DEGREE) / 10**decimals
    return DeploymentPeriod(
        stay.deployment_id,
        round(stay.latitude, decimals),
        round(stay.longitude, decimals),
        max(stay.uncertainty or 1, math.ceil(diagonal)),
        stay.start,
        stay.end,
        {name: text for name, text in stay.remarks.items() if name not in LOCATION_COLUMNS},
    )


def assign_deployments(
    rows: pl.LazyFrame, column: str, stays: list[DeploymentPeriod]
) -> pl.LazyFrame:
    """Rows with `deploymentID`, by the time in a column; null where no stay holds."""
    held = pl.lit(None, pl.String)
    for stay in reversed(stays):
        begun = pl.lit(True) if stay.start is None else pl.col(column) >= stay.start
        not_over = pl.lit(True) if stay.end is None else pl.col(column) <= stay.end
        here = begun & not_over & pl.col(column).is_not_null()
        held = pl.when(here).then(pl.lit(stay.deployment_id)).otherwise(held)
    return rows.with_columns(deploymentID=held)
