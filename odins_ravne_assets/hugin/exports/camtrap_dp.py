"""Camtrap DP 1.0.2: a package of three CSV tables and `datapackage.json`.

Source of the format: https://camtrap-dp.tdwg.org (data, metadata, and the table schemas of 1.0.2).

- A visit is an event: one row of level `event` with the count of individuals (MaxN) and no medium.
- Every box is a row of level `media`, and belongs to the event of its visit. A box in no visit is
  `unknown`, and so is a repeat detection. A medium without a box is one row `blank`, or one for
  each species that a reviewer saw there; one that Stage 1 could not look at is `unclassified`.
- Times are the camera's, in whole seconds, with its offset from UTC or the project's. What has no
  time cannot be in a package; it is left out and counted.
- Places are those of the project's deployments, or the median of the positions in the media.
- File paths are those in the footage, after the camera's id; the files themselves are not public.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from odins_ravne_assets.hugin.exports.camtrap_metadata import datapackage
from odins_ravne_assets.hugin.exports.deployments import (
    DeploymentPeriod,
    NotExportableError,
    assign_deployments,
    deployment_periods,
)
from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from odins_ravne_assets.hugin.formats import iso_time
from odins_ravne_assets.hugin.visits.report_json import encode_json
from odins_ravne_assets.munin.media.capture_time import parse_offset
from resources.settings.profile import Privacy
from resources.settings.project import DEPLOYMENT_COLUMNS, DEPLOYMENT_REMARKS, Project

# Of the standard's table schemas: all columns, in their order.
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
# Of formats whose IANA media type is not the name of the format.
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
    """What a package could not hold, for it has no time, or lies outside of all deployments."""

    media: int
    visits: int


@dataclass(frozen=True)
class _Camera:
    """One camera's part of the package."""

    results: ExportTables
    stays: list[DeploymentPeriod]
    media: pl.DataFrame  # MEDIA's columns, and path, content_hash, at, ends_at, offset
    visits: pl.DataFrame  # of tables.OBSERVATIONS, with deploymentID and offset


def write_camtrap_dp(
    cameras: Iterable[ExportTables], folder: Path, project: Project, privacy: Privacy
) -> ExcludedCounts:
    """Write a package of some cameras into a folder.

    Raises:
        NotExportableError: a camera has no coordinates, or no offset from UTC, or none has times.
    """
    every = [_camera(results, project, privacy) for results in cameras]
    parts = [part for part in every if not part.media.is_empty()]
    if not parts:
        raise NotExportableError(
            f"camera {every[0].results.camera_id}: no media with a time within its deployments; "
            "see the times in tables/media.parquet, and project.deployments"
        )
    deployments = pl.concat(_deployments(part) for part in parts)
    _check_unique_ids(deployments)
    _with_all_columns(deployments.lazy(), DEPLOYMENT_COLUMNS).write_csv(folder / "deployments.csv")
    media = (_with_all_columns(part.media.lazy(), MEDIA_COLUMNS) for part in parts)
    _write_parts(media, folder / "media.csv")
    rows = (rows for part in parts for rows in _observations(part))
    _write_parts(rows, folder / "observations.csv")
    package = datapackage(deployments, [part.visits for part in parts], project)
    package["created"] = f"{max(part.results.labelled_at for part in parts):%Y-%m-%dT%H:%M:%SZ}"
    (folder / "datapackage.json").write_bytes(encode_json(package))
    return ExcludedCounts(
        sum(_readable_media(part.results).height - part.media.height for part in every),
        sum(part.results.observations.height - part.visits.height for part in every),
    )


def _with_all_columns(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """The columns of a table; those that the rows lack are empty."""
    have = rows.collect_schema().names()
    none = pl.lit(None, pl.String)
    return rows.select(
        pl.col(name) if name in have else none.alias(name) for name in columns
    ).collect(engine="streaming")


def _write_parts(parts: Iterable[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            part.write_csv(file, include_header=number == 0)


def _readable_media(results: ExportTables) -> pl.DataFrame:
    return results.media.filter(pl.col("status") == "ok").select("path").collect()


def _camera(results: ExportTables, project: Project, privacy: Privacy) -> _Camera:
    stays = deployment_periods(results, project, privacy)
    media = _media(results, stays, project)
    timed = results.observations.lazy().filter(pl.col("start_at").is_not_null())
    visits = assign_deployments(timed, "start_at", stays).filter(
        pl.col("deploymentID").is_not_null()
    )
    offset = _offset(results, project)
    return _Camera(results, stays, media, visits.with_columns(offset=offset).collect())


def _offset(results: ExportTables, project: Project) -> pl.Expr:
    """Minutes from UTC: what the medium says, or all others of the camera that do, or the project.

    Cameras often write it into stills and not into videos.
    """
    others = results.media.select(pl.col("utc_offset_minutes").drop_nulls().unique()).collect()
    if others.height == 1:
        stated = others.item()
    else:
        stated = parse_offset(project.utc_offset) if project.utc_offset else None
    return pl.coalesce("utc_offset_minutes", pl.lit(stated, pl.Int16))


def _media(results: ExportTables, stays: list[DeploymentPeriod], project: Project) -> pl.DataFrame:
    timed = results.media.filter((pl.col("status") == "ok") & pl.col("captured_at").is_not_null())
    lasts = pl.duration(milliseconds=(pl.col("duration_seconds").fill_null(0) * 1000).round())
    media = (
        assign_deployments(timed, "captured_at", stays)
        .filter(pl.col("deploymentID").is_not_null())
        .with_columns(offset=_offset(results, project), ends_at=pl.col("captured_at") + lasts)
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
        .sort("captured_at", "path")
        .collect()
    )
    if unzoned := media["offset"].null_count():
        raise NotExportableError(
            f"camera {results.camera_id}: {unzoned} media do not say which zone their time is in; "
            "set project.utc_offset, as +01:00"
        )
    return media


def _file_path() -> pl.Expr:
    """Below the camera's id; what the standard's pattern does not allow is percent-encoded."""
    path = pl.col("path")
    for forbidden, written in PATH_ESCAPES.items():
        path = path.str.replace_all(forbidden, written, literal=True)
    return pl.format("{}/{}", "camera_id", path)


def _deployments(part: _Camera) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for stay in part.stays:
        here = part.media.filter(pl.col("deploymentID") == stay.deployment_id)
        if here.is_empty():
            continue  # of another season: nothing of it is in the package
        rows.append(
            {
                "deploymentID": stay.deployment_id,
                "latitude": stay.latitude,
                "longitude": stay.longitude,
                "coordinateUncertainty": stay.uncertainty,
                "start": stay.start or here["captured_at"].min(),
                "end": stay.end or here["ends_at"].max(),
                "offset": here["offset"][0],
                "cameraID": part.results.camera_id,
                **{name: stay.remarks.get(name) for name in DEPLOYMENT_REMARKS},
            }
        )
    texts = ("deploymentID", "cameraID", *DEPLOYMENT_REMARKS)
    schema: dict[str, pl.DataType] = {
        "start": pl.Datetime("ms"),
        "end": pl.Datetime("ms"),
        "offset": pl.Int16(),
    }
    schema |= {"coordinateUncertainty": pl.Int64()} | dict.fromkeys(texts, pl.String())
    return pl.DataFrame(rows, schema_overrides=schema).with_columns(
        deploymentStart=iso_time("start", "offset", ""),
        deploymentEnd=iso_time("end", "offset", ""),
    )


def _check_unique_ids(deployments: pl.DataFrame) -> None:
    twins = deployments.filter(pl.col("deploymentID").is_duplicated())
    if not twins.is_empty():
        raise NotExportableError(
            f"project.deployments: deploymentID {twins['deploymentID'][0]} is there twice; each "
            "stay of a camera needs its own"
        )


def _observations(part: _Camera) -> Iterator[pl.DataFrame]:
    yield _events(part)
    yield _boxes(part)
    yield _missed_detections(part)
    yield _media_without_boxes(part)


def _events(part: _Camera) -> pl.DataFrame:
    flags = pl.col("flags").list.join("|")
    return _observation_rows(
        part,
        part.visits.lazy().with_columns(
            observationID="observation_id",
            eventID="observation_id",
            eventStart=iso_time("start_at", "offset", ""),
            eventEnd=iso_time("end_at", "offset", ""),
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
    in_visit = pl.col("observation_id").is_not_null()
    return _observation_rows(
        part,
        part.results.boxes()
        .join(media, on="path", how="inner")
        .pipe(_with_events, part)
        .sort("captured_at", "path", "frame_number", "box_number")
        .with_columns(
            observationID=pl.format("{}-{}", "camera_id", "detection_id"),
            eventStart=iso_time("captured_at", "offset", ""),
            eventEnd=iso_time("captured_at", "offset", ""),
            observationLevel=pl.lit("media"),
            observationType=pl.when(in_visit)
            .then(_observation_type("visit_category"))
            .otherwise(pl.lit("unknown")),
            scientificName=_scientific_name(),
            probability=pl.when(in_visit).then("visit_confidence").otherwise("confidence"),
            observationComments="species",
            **{name: _fraction(side) for name, side in BBOX_COLUMNS.items()},
        ),
    )


def _with_events(rows: pl.LazyFrame, part: _Camera) -> pl.LazyFrame:
    """Rows with the eventID of their visit, if it is in the package and at the same place."""
    events = part.visits.lazy().select("observation_id", event_at="deploymentID")
    same_place = pl.col("event_at") == pl.col("deploymentID")
    return rows.join(events, on="observation_id", how="left").with_columns(
        eventID=pl.when(same_place).then("observation_id")
    )


def _missed_detections(part: _Camera) -> pl.DataFrame:
    """What reviewers saw in media in which nothing was found."""
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.results.missed()
        .join(media, on="path", how="inner")
        .pipe(_with_events, part)
        .sort("timestamp", "path", "observation_id")
        .with_columns(
            observationID=pl.format("{}-{}", "mediaID", "observation_id"),
            eventStart="timestamp",
            eventEnd="timestamp",
            observationLevel=pl.lit("media"),
            observationType=_observation_type("visit_category"),
            scientificName=_scientific_name(),
            probability="visit_confidence",
            observationComments="species",
        ),
    )


def _observation_type(category: str) -> pl.Expr:
    """Of a visit: a repeat is what nobody can say it is."""
    known = pl.col(category).replace_strict(OBSERVATION_TYPES, default=None)
    return pl.when(_IS_REPEAT).then(pl.lit("unknown")).otherwise(known)


def _scientific_name() -> pl.Expr:
    return pl.when(~_IS_REPEAT).then("scientific_name")


_IS_REPEAT = pl.col("flags").list.contains("repeat_detection").fill_null(False)


def _fraction(side: str) -> pl.Expr:
    return pl.col(side).cast(pl.Float64).round(6).clip(0.000001 if side in "wh" else 0, 1)


def _media_without_boxes(part: _Camera) -> pl.DataFrame:
    """Media in which nothing was found, and those that were not looked at."""
    empty = (pl.col("status") == "done") & (pl.col("boxes") == 0)
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.results.processed.filter(empty | pl.col("status").is_in(["failed", "pending"]))
        .join(media, on="path", how="inner")
        .join(part.results.missed(), on="content_hash", how="anti")
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
    """Rows of OBSERVATIONS; a column that they lack is empty."""
    models = part.results.models
    looked = pl.col("observationType") != "unclassified"
    at = f"{part.results.labelled_at:%Y-%m-%dT%H:%M:%SZ}"
    by = pl.when(pl.col("observationType").is_in(["animal", "unknown"])).then(
        pl.lit(models.get("classifier"))
    )
    detector = pl.lit(models.get("detector"))
    if "probability" not in rows.collect_schema().names():
        nobody = {"label_source": "machine", "reviewed_by": None, "reviewed_on": None}
        rows = rows.with_columns(
            probability=pl.lit(None, pl.Float64),
            **{k: pl.lit(v, pl.String) for k, v in nobody.items()},
        )
    human = pl.col("label_source") == "reviewer"
    day = pl.col("reviewed_on").cast(pl.String) + "T00:00:00Z"
    method = pl.when(human).then(pl.lit("human")).otherwise(pl.lit("machine"))
    made = {
        "classificationMethod": method,
        "classifiedBy": pl.when(human).then("reviewed_by").otherwise(pl.coalesce(by, detector)),
        "classificationTimestamp": pl.when(human).then(day).otherwise(pl.lit(at)),
        # A person's word has no probability.
        "classificationProbability": pl.when(~human.fill_null(False)).then(
            pl.col("probability").cast(pl.Float64).round(4)
        ),
    }
    made = {name: pl.when(looked).then(value) for name, value in made.items()}
    return _with_all_columns(rows.with_columns(**made), OBSERVATION_COLUMNS)
