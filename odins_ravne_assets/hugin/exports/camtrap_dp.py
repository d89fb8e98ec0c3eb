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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.hugin.exports.camtrap_metadata import datapackage
from odins_ravne_assets.hugin.exports.deployments import (
    DeploymentPeriod,
    NotExportableError,
    assign_deployments,
    deployment_periods,
    deployments_table,
    listed_periods,
)
from odins_ravne_assets.hugin.exports.export_tables import ExportTables
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
OBSERVATION_COLUMNS = (
    "observationID",
    "deploymentID",
    "mediaID",
    "eventID",
    "eventStart",
    "eventEnd",
    "observationLevel",
    "observationType",
    "cameraSetupType",
    "scientificName",
    "count",
    "lifeStage",
    "sex",
    "behavior",
    "individualID",
    "individualPositionRadius",
    "individualPositionAngle",
    "individualSpeed",
    "bboxX",
    "bboxY",
    "bboxWidth",
    "bboxHeight",
    "classificationMethod",
    "classifiedBy",
    "classificationTimestamp",
    "classificationProbability",
    "observationTags",
    "observationComments",
)
CAMTRAP_DP_TABLES = {
    "deployments": DEPLOYMENT_COLUMNS,
    "media": MEDIA_COLUMNS,
    "observations": OBSERVATION_COLUMNS,
}
OBSERVATION_TYPES = {"animal": "animal", "person": "human", "vehicle": "vehicle"}
# Formats whose IANA media type differs from the name of the format.
MEDIA_TYPES = {
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "mkv": "video/x-matroska",
    "asf": "video/x-ms-asf",
    "3gp": "video/3gpp",
}
PATH_ESCAPES = {"..": "%2E%2E", "\n": "%0A", "\r": "%0D"}
BBOX_COLUMNS = {"bboxX": "x", "bboxY": "y", "bboxWidth": "w", "bboxHeight": "h"}


class ExcludedCounts(NamedTuple):
    """Numbers of rows that are left out.

    Attributes:
        media, observations: without a time, or outside of all deployments.
        deployments: without media, and without a start or an end.
    """

    media: int
    observations: int
    deployments: int = 0


@dataclass(frozen=True)
class _Camera:
    """The part of one camera in a package."""

    tables: ExportTables
    periods: list[DeploymentPeriod]
    media: pl.DataFrame  # MEDIA_COLUMNS, and path, content_hash, captured_at, ends_at, offset
    observations: pl.DataFrame  # rows of tables.OBSERVATIONS, with deploymentID and offset


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
        _with_all_columns(deployments.lazy(), DEPLOYMENT_COLUMNS), folder / "deployments.csv"
    )
    media = (_with_all_columns(part.media.lazy(), MEDIA_COLUMNS) for part in parts)
    _write_parts(media, folder / "media.csv")
    rows = (rows for part in parts for rows in _observations(part))
    _write_parts(rows, folder / "observations.csv")
    package = datapackage(deployments, [part.observations for part in parts], project)
    package["created"] = f"{max(part.tables.labelled_at for part in parts):%Y-%m-%dT%H:%M:%SZ}"
    (folder / "datapackage.json").write_bytes(encode_json(package))
    return ExcludedCounts(
        sum(_readable_media(part.tables).height - part.media.height for part in parts),
        sum(part.tables.observations.height - part.observations.height for part in parts),
        len(left_out),
    )


def _deployments(
    parts: list[_Camera], project: Project, places: Places, silent: Iterable[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The deployments of the cameras, and of others that have no results."""
    by_camera = [(part.tables.camera_id, part.periods, part.media) for part in parts]
    no_media = parts[0].media.clear()
    by_camera += [(each, listed_periods(each, project, places), no_media) for each in silent]
    offsets = {part.tables.camera_id: _one_offset(part.tables) for part in parts}
    return deployments_table(by_camera, offsets)


def _with_all_columns(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Select all columns of a table; columns that the rows lack are empty."""
    present = rows.collect_schema().names()
    empty = pl.lit(None, pl.String)
    return rows.select(
        pl.col(name) if name in present else empty.alias(name) for name in columns
    ).collect(engine="streaming")


def _write_parts(parts: Iterable[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            write_printable_csv(part, file, include_header=number == 0)


def _readable_media(tables: ExportTables) -> pl.DataFrame:
    return tables.media.filter(pl.col("status") == "ok").select("path").collect()


def _camera(tables: ExportTables, project: Project, places: Places) -> _Camera:
    periods = deployment_periods(tables, project, places)
    media = _media(tables, periods, project)
    timed = tables.observations.lazy().filter(pl.col("start_at").is_not_null())
    timed = timed.with_columns(offset=_offset(tables, project, "start_at"))
    observations = assign_deployments(timed, "start_at", "offset", periods)
    observations = observations.filter(pl.col("deploymentID").is_not_null())
    return _Camera(tables, periods, media, observations.collect())


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
        )
        .sort(instant(offset="offset"), "path")
        .collect()
    )
    if without_offset := media["offset"].null_count():
        raise NotExportableError(
            f"camera {tables.camera_id}: the times of {without_offset} media have no UTC offset; "
            'set project.utc_offset, for example "+01:00", or project.time_zone'
        )
    return media


def _file_path() -> pl.Expr:
    """The path below the camera's id; text that the standard forbids is percent-encoded."""
    path = pl.col("path")
    for forbidden, escaped in PATH_ESCAPES.items():
        path = path.str.replace_all(forbidden, escaped, literal=True)
    return pl.format("{}/{}", "camera_id", path)


def _observations(part: _Camera) -> Iterator[pl.DataFrame]:
    yield _events(part)
    yield _boxes(part)
    yield _missed_detections(part)
    yield _media_without_boxes(part)


def _events(part: _Camera) -> pl.DataFrame:
    flags = pl.col("flags").list.join("|")
    return _observation_rows(
        part,
        part.observations.lazy().with_columns(
            observationID="observation_id",
            eventID="observation_id",
            eventStart=iso_time("start_at", "offset", ""),
            eventEnd=iso_time("end_at", pl.coalesce("end_utc_offset_minutes", "offset"), ""),
            observationLevel=pl.lit("event"),
            observationType=_observation_type("category"),
            scientificName=_scientific_name(),
            probability="max_confidence",
            observationTags=pl.when(flags != "").then(flags),
            observationComments="species",
        ),
    )


def _boxes(part: _Camera) -> pl.DataFrame:
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "offset")
    in_observation = pl.col("observation_id").is_not_null()
    return _observation_rows(
        part,
        part.tables.boxes()
        .join(media, on="path", how="inner")
        .pipe(_with_events, part)
        .sort(instant(offset="offset"), "path", "frame_number", "box_number")
        .with_columns(
            observationID=pl.format("{}-{}", "camera_id", "detection_id"),
            eventStart=iso_time("captured_at", "offset", ""),
            eventEnd=iso_time("captured_at", "offset", ""),
            observationLevel=pl.lit("media"),
            observationType=pl.when(in_observation)
            .then(_observation_type("observation_category"))
            .otherwise(pl.lit("unknown")),
            scientificName=_scientific_name(),
            probability=pl.when(in_observation)
            .then("observation_confidence")
            .otherwise("confidence"),
            observationTags="left_out_reason",
            observationComments="species",
            **{name: _fraction(side) for name, side in BBOX_COLUMNS.items()},
        ),
    )


def _with_events(rows: pl.LazyFrame, part: _Camera) -> pl.LazyFrame:
    """Add the eventID of the observation if it is in the package and has the same deployment."""
    events = part.observations.lazy().select("observation_id", event_deployment="deploymentID")
    same_deployment = pl.col("event_deployment") == pl.col("deploymentID")
    return rows.join(events, on="observation_id", how="left").with_columns(
        eventID=pl.when(same_deployment).then("observation_id")
    )


def _missed_detections(part: _Camera) -> pl.DataFrame:
    """Rows for the labels of reviewers in media without detections."""
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.tables.missed_detections()
        .join(media, on="path", how="inner")
        .pipe(_with_events, part)
        .sort("timestamp", "path", "observation_id")
        .with_columns(
            observationID=pl.format("{}-{}", "mediaID", "observation_id"),
            eventStart="timestamp",
            eventEnd="timestamp",
            observationLevel=pl.lit("media"),
            observationType=_observation_type("observation_category"),
            scientificName=_scientific_name(),
            probability="observation_confidence",
            observationComments="species",
        ),
    )


def _observation_type(category: str) -> pl.Expr:
    """The type of an observation; `unknown` for a repeat detection."""
    known = pl.col(category).replace_strict(OBSERVATION_TYPES, default=None)
    return pl.when(_IS_REPEAT).then(pl.lit("unknown")).otherwise(known)


def _scientific_name() -> pl.Expr:
    return pl.when(~_IS_REPEAT).then("scientific_name")


_IS_REPEAT = pl.col("flags").list.contains("repeat_detection").fill_null(False)


def _fraction(side: str) -> pl.Expr:
    return pl.col(side).cast(pl.Float64).round(6).clip(0.000001 if side in "wh" else 0, 1)


def _media_without_boxes(part: _Camera) -> pl.DataFrame:
    """Rows for media without detections, and for media that were not processed."""
    empty = (pl.col("status") == "done") & (pl.col("boxes") == 0)
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.tables.processed.filter(empty | pl.col("status").is_in(["failed", "pending"]))
        .join(media, on="path", how="inner")
        .join(part.tables.missed_detections(), on="content_hash", how="anti")
        .sort("timestamp", "path")
        .with_columns(
            observationID=pl.format("{}-whole", "mediaID"),
            eventStart="timestamp",
            eventEnd="timestamp",
            observationLevel=pl.lit("media"),
            observationType=pl.when(empty).then(pl.lit("blank")).otherwise(pl.lit("unclassified")),
            observationComments="reason",
        ),
    )


def _observation_rows(part: _Camera, rows: pl.LazyFrame) -> pl.DataFrame:
    """Rows with OBSERVATION_COLUMNS and the author of each classification."""
    models = part.tables.models
    processed = pl.col("observationType") != "unclassified"
    labelled_at = f"{part.tables.labelled_at:%Y-%m-%dT%H:%M:%SZ}"
    classifier = pl.when(pl.col("observationType").is_in(["animal", "unknown"])).then(
        pl.lit(models.get("classifier"))
    )
    detector = pl.lit(models.get("detector"))
    if "probability" not in rows.collect_schema().names():
        machine = {"label_source": "machine", "reviewed_by": None, "reviewed_on": None}
        rows = rows.with_columns(
            probability=pl.lit(None, pl.Float64),
            **{name: pl.lit(value, pl.String) for name, value in machine.items()},
        )
    human = pl.col("label_source") == "reviewer"
    day = pl.col("reviewed_on").cast(pl.String) + "T00:00:00Z"
    method = pl.when(human).then(pl.lit("human")).otherwise(pl.lit("machine"))
    columns = {
        "classificationMethod": method,
        "classifiedBy": pl.when(human)
        .then("reviewed_by")
        .otherwise(pl.coalesce(classifier, detector)),
        "classificationTimestamp": pl.when(human).then(day).otherwise(pl.lit(labelled_at)),
        # A reviewer's label has no probability.
        "classificationProbability": pl.when(~human.fill_null(False)).then(
            pl.col("probability").cast(pl.Float64).round(4)
        ),
    }
    columns = {name: pl.when(processed).then(value) for name, value in columns.items()}
    return _with_all_columns(rows.with_columns(**columns), OBSERVATION_COLUMNS)
