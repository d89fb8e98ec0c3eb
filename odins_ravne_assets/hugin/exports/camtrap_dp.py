"""Camtrap DP 1.0.2: a package of three CSV tables and `datapackage.json`.

Source of the format: https://camtrap-dp.tdwg.org (data, metadata, and the table schemas of 1.0.2).

- An observation is an event: one row of level `event` with the count of individuals (MaxN) and no
  medium.
- Every detection is a row of level `media` and belongs to the event of its observation. A detection
  in no observation is `unknown`, and so is a repeat detection; the tag `in_camera_strip` or
  `near_person` says why it is in none. A medium without detections is one
  row `blank`, or one for each species that a reviewer added; a medium that Stage 1 could not
  process is `unclassified`.
- Times are the camera's, in whole seconds, each with its own UTC offset or the project's. Media and
  observations without a time are left out and counted, because the format requires times.
- Coordinates are those of the project's deployments, or the median of the positions in the media;
  `hugin.privacy.places` covers them where a sensitive species was observed.
- File paths are those of the footage, below the camera's id; the files are not public.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.hugin.exports.camtrap_metadata import datapackage
from odins_ravne_assets.hugin.exports.camtrap_observations import (
    OBSERVATION_COLUMNS,
    CameraPart,
    observation_rows,
    with_all_columns,
)
from odins_ravne_assets.hugin.exports.capture_method import capture_methods
from odins_ravne_assets.hugin.exports.deployments import (
    DeploymentPeriod,
    NotExportableError,
    assign_deployments,
    deployment_periods,
    deployments_table,
    listed_periods,
)
from odins_ravne_assets.hugin.exports.export_tables import ExportTables, shared_media_remarks
from odins_ravne_assets.hugin.formats import iso_time, write_printable_csv, zone_offset_at
from odins_ravne_assets.hugin.privacy.places import Places
from odins_ravne_assets.hugin.visits.report_json import encode_json
from odins_ravne_assets.munin.tables.instants import instant
from resources.settings.clock_corrections import parse_utc_offset
from resources.settings.deployments import DEPLOYMENT_COLUMNS
from resources.settings.project import Project

# All columns of the standard's table schemas, in order.
MEDIA_COLUMNS = (
    "mediaID",
    "deploymentID",
    "captureMethod",
    "timestamp",
    "filePath",
    "filePublic",
    "fileName",
    "fileMediatype",
    "exifData",
    "favorite",
    "mediaComments",
)
CAMTRAP_DP_TABLES = {
    "deployments": DEPLOYMENT_COLUMNS,
    "media": MEDIA_COLUMNS,
    "observations": OBSERVATION_COLUMNS,
}
# Formats whose IANA media type differs from the name of the format.
MEDIA_TYPES = {
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "mkv": "video/x-matroska",
    "asf": "video/x-ms-asf",
    "3gp": "video/3gpp",
}
# Columns of `tables.MEDIA` in exifData, by the names that ExifTool gives to such tags.
CAMERA_NOTES = {
    "sequence_number": "SequenceNumber",
    "sequence_length": "SequenceLength",
    "trigger": "TriggerMode",
    "temperature": "AmbientTemperature",
    "moon_phase": "MoonPhase",
}
PATH_ESCAPES = {"..": "%2E%2E", "\n": "%0A", "\r": "%0D"}


class ExcludedCounts(NamedTuple):
    """Numbers of rows that are left out.

    Attributes:
        media, observations: without a time, or outside of all deployments.
        deployments: without media, and without a start or an end.
    """

    media: int
    observations: int
    deployments: int = 0


def write_camtrap_dp(
    cameras: Iterable[ExportTables],
    folder: Path,
    project: Project,
    places: Places,
    silent: Iterable[str] = (),
) -> ExcludedCounts:
    """Write a package of one or more cameras into a folder.

    Args:
        places: the result of `covered_cameras` for these cameras.
        silent: ids of cameras without results, whose deployments are in the package.

    Raises:
        NotExportableError: a camera has no coordinates or no UTC offset, or none has times.
    """
    parts = [_camera(tables, project, places) for tables in cameras]
    if all(part.media.is_empty() for part in parts):
        raise NotExportableError(
            f"camera {parts[0].tables.camera_id}: no media with a time within its deployments; "
            "check the times in tables/media.parquet and project.deployments"
        )
    deployments, left_out = _deployments(parts, project, places, silent)
    write_printable_csv(
        with_all_columns(deployments.lazy(), DEPLOYMENT_COLUMNS), folder / "deployments.csv"
    )
    media = (with_all_columns(part.media.lazy(), MEDIA_COLUMNS) for part in parts)
    _write_parts(media, folder / "media.csv")
    rows = (rows for part in parts for rows in observation_rows(part))
    _write_parts(rows, folder / "observations.csv")
    methods = {method for part in parts for method in part.media["captureMethod"].drop_nulls()}
    package = datapackage(deployments, [part.observations for part in parts], project, methods)
    package["created"] = f"{max(part.tables.labelled_at for part in parts):%Y-%m-%dT%H:%M:%SZ}"
    if remarks := list(shared_media_remarks(cameras)):
        package["description"] = "\n".join(remarks)
    (folder / "datapackage.json").write_bytes(encode_json(package))
    return ExcludedCounts(
        sum(_readable_media(part.tables).height - part.media.height for part in parts),
        sum(part.tables.observations.height - part.observations.height for part in parts),
        len(left_out),
    )


def _deployments(
    parts: list[CameraPart], project: Project, places: Places, silent: Iterable[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The deployments of the cameras, and of others that have no results."""
    by_camera = [(part.tables.camera_id, part.periods, part.media) for part in parts]
    no_media = parts[0].media.clear()
    by_camera += [(each, listed_periods(each, project, places), no_media) for each in silent]
    offsets = {part.tables.camera_id: _one_offset(part.tables) for part in parts}
    return deployments_table(by_camera, offsets)


def _write_parts(parts: Iterable[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            write_printable_csv(part, file, include_header=number == 0)


def _readable_media(tables: ExportTables) -> pl.DataFrame:
    return tables.media.filter(pl.col("status") == "ok").select("path").collect()


def _camera(tables: ExportTables, project: Project, places: Places) -> CameraPart:
    periods = deployment_periods(tables, project, places)
    media = _media(tables, periods, project)
    timed = tables.observations.lazy().filter(pl.col("start_at").is_not_null())
    timed = timed.with_columns(offset=_offset(tables, project, "start_at"))
    observations = assign_deployments(timed, "start_at", "offset", periods)
    observations = observations.filter(pl.col("deploymentID").is_not_null())
    return CameraPart(tables, periods, media, observations.collect())


def _offset(tables: ExportTables, project: Project, time: str) -> pl.Expr:
    """The UTC offset in minutes: of the medium, else of the camera's other media, else the project.

    Cameras often write the offset into stills and not into videos.

    Args:
        time: the column of local times.
    """
    default = pl.lit(_one_offset(tables), pl.Int16)
    if project.time_zone:
        default = pl.coalesce(default, zone_offset_at(time, project.time_zone))
    elif project.utc_offset:
        default = pl.coalesce(default, pl.lit(parse_utc_offset(project.utc_offset), pl.Int16))
    return pl.coalesce("utc_offset_minutes", default)


def _one_offset(tables: ExportTables) -> int | None:
    """The UTC offset of a camera's media, if all that have one have the same."""
    found = tables.media.select(pl.col("utc_offset_minutes").drop_nulls().unique()).collect()
    return int(found.item()) if found.height == 1 else None


def _media(tables: ExportTables, periods: list[DeploymentPeriod], project: Project) -> pl.DataFrame:
    timed = tables.media.filter((pl.col("status") == "ok") & pl.col("captured_at").is_not_null())
    duration = pl.duration(milliseconds=(pl.col("duration_seconds").fill_null(0) * 1000).round())
    media = (
        timed.with_columns(
            offset=_offset(tables, project, "captured_at"),
            ends_at=pl.col("captured_at") + duration,
        )
        .pipe(assign_deployments, "captured_at", "offset", periods)
        .filter(pl.col("deploymentID").is_not_null())
        .with_columns(
            mediaID=pl.format("{}-{}", "camera_id", pl.col("content_hash").str.slice(0, 16)),
            timestamp=iso_time("captured_at", "offset", ""),
            filePath=_file_path(),
            filePublic=pl.lit("false"),
            fileName=pl.col("path").str.split("/").list.last(),
            fileMediatype=pl.col("format").replace_strict(
                MEDIA_TYPES, default=pl.format("{}/{}", "kind", "format")
            ),
            exifData=_camera_notes(),
        )
        .sort(instant(offset="offset"), "path")
        .collect()
    )
    if without_offset := media["offset"].null_count():
        raise NotExportableError(
            f"camera {tables.camera_id}: the times of {without_offset} media have no UTC offset; "
            'set project.utc_offset, for example "+01:00", or project.time_zone'
        )
    return media.with_columns(capture_methods(media, project.capture_method))


def _camera_notes() -> pl.Expr:
    """The camera's notes of a medium as a JSON object; null if it has none."""
    known = pl.any_horizontal(pl.col(name).is_not_null() for name in CAMERA_NOTES)
    return pl.when(known).then(
        pl.struct(
            pl.col(name).alias(key) for name, key in CAMERA_NOTES.items()
        ).struct.json_encode()
    )


def _file_path() -> pl.Expr:
    """The path below the camera's id; text that the standard forbids is percent-encoded."""
    path = pl.col("path")
    for forbidden, escaped in PATH_ESCAPES.items():
        path = path.str.replace_all(forbidden, escaped, literal=True)
    return pl.format("{}/{}", "camera_id", path)
