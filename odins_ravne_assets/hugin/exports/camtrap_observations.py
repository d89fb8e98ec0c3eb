"""The observations of Camtrap DP: events, and the media that they are of. See `camtrap_dp`."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from odins_ravne_assets.hugin.exports.deployments import DeploymentPeriod
from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from odins_ravne_assets.hugin.formats import iso_time
from odins_ravne_assets.hugin.identification.identifications import (
    CAMERA_CALIBRATION,
    CAMERA_SETUP,
)
from odins_ravne_assets.munin.tables.instants import instant

# All columns of the standard's table schema, in order.
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
OBSERVATION_TYPES = {"animal": "animal", "person": "human", "vehicle": "vehicle"}
# The words of the standard for people at work on the camera.
CAMERA_SETUP_TYPES = {CAMERA_SETUP: "setup", CAMERA_CALIBRATION: "calibration"}
BBOX_COLUMNS = {"bboxX": "x", "bboxY": "y", "bboxWidth": "w", "bboxHeight": "h"}


@dataclass(frozen=True)
class CameraPart:
    """The part of one camera in a package."""

    tables: ExportTables
    periods: list[DeploymentPeriod]
    media: pl.DataFrame  # MEDIA_COLUMNS, and path, content_hash, captured_at, ends_at, offset
    observations: pl.DataFrame  # rows of tables.OBSERVATIONS, with deploymentID and offset


def with_all_columns(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Select all columns of a table; columns that the rows lack are empty."""
    present = rows.collect_schema().names()
    empty = pl.lit(None, pl.String)
    return rows.select(
        pl.col(name) if name in present else empty.alias(name) for name in columns
    ).collect(engine="streaming")


def observation_rows(part: CameraPart) -> Iterator[pl.DataFrame]:
    """Yield rows of OBSERVATION_COLUMNS of a camera."""
    yield _events(part)
    yield _boxes(part)
    yield _missed_detections(part)
    yield _staff(part)
    yield _media_without_boxes(part)


def _events(part: CameraPart) -> pl.DataFrame:
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


def _boxes(part: CameraPart) -> pl.DataFrame:
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "offset", "temperature")
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
            .when(_IS_STAFF)
            .then(pl.lit("human"))
            .otherwise(pl.lit("unknown")),
            cameraSetupType=_setup_type(),
            scientificName=_scientific_name(),
            probability=pl.when(in_observation)
            .then("observation_confidence")
            .otherwise("confidence"),
            observationTags=_joined_tags(
                pl.coalesce("staff_label", "left_out_reason"),
                pl.format("temperature:{}", "temperature"),
            ),
            observationComments="species",
            **{name: _fraction(side) for name, side in BBOX_COLUMNS.items()},
        ),
    )


def _joined_tags(*tags: pl.Expr) -> pl.Expr:
    """The tags that are not null, separated by a bar; null if there are none."""
    joined = pl.concat_str(*tags, separator="|", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _with_events(rows: pl.LazyFrame, part: CameraPart) -> pl.LazyFrame:
    """Add the eventID of the observation if it is in the package and has the same deployment."""
    events = part.observations.lazy().select("observation_id", event_deployment="deploymentID")
    same_deployment = pl.col("event_deployment") == pl.col("deploymentID")
    return rows.join(events, on="observation_id", how="left").with_columns(
        eventID=pl.when(same_deployment).then("observation_id")
    )


def _missed_detections(part: CameraPart) -> pl.DataFrame:
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


def _staff(part: CameraPart) -> pl.DataFrame:
    """Rows for the labels of people at work on the camera in media without a box for them."""
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.tables.staff()
        .join(media, on="path", how="inner")
        .sort("timestamp", "path", "staff_label")
        .with_columns(
            observationID=pl.format("{}-{}", "mediaID", "staff_label"),
            eventStart="timestamp",
            eventEnd="timestamp",
            observationLevel=pl.lit("media"),
            observationType=pl.lit("human"),
            cameraSetupType=_setup_type(),
            probability=pl.lit(None, pl.Float64),
            observationTags="staff_label",
        ),
    )


_IS_STAFF = pl.col("staff_label").is_not_null()


def _setup_type() -> pl.Expr:
    types = pl.col("left_out_reason").replace_strict(
        CAMERA_SETUP_TYPES, default=None, return_dtype=pl.String
    )
    return pl.when(_IS_STAFF).then(types)


def _observation_type(category: str) -> pl.Expr:
    """The type of an observation; `unknown` for a repeat detection."""
    known = pl.col(category).replace_strict(OBSERVATION_TYPES, default=None)
    return pl.when(_IS_REPEAT).then(pl.lit("unknown")).otherwise(known)


def _scientific_name() -> pl.Expr:
    return pl.when(~_IS_REPEAT).then("scientific_name")


_IS_REPEAT = pl.col("flags").list.contains("repeat_detection").fill_null(False)


def _fraction(side: str) -> pl.Expr:
    return pl.col(side).cast(pl.Float64).round(6).clip(0.000001 if side in "wh" else 0, 1)


def _media_without_boxes(part: CameraPart) -> pl.DataFrame:
    """Rows for media without detections, and for media that were not processed."""
    empty = (pl.col("status") == "done") & (pl.col("boxes") == 0)
    media = part.media.lazy().select("path", "mediaID", "deploymentID", "timestamp")
    return _observation_rows(
        part,
        part.tables.processed.filter(empty | pl.col("status").is_in(["failed", "pending"]))
        .join(media, on="path", how="inner")
        .join(part.tables.missed_detections(), on="content_hash", how="anti")
        .join(part.tables.staff(), on="content_hash", how="anti")
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


def _observation_rows(part: CameraPart, rows: pl.LazyFrame) -> pl.DataFrame:
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
    return with_all_columns(rows.with_columns(**columns), OBSERVATION_COLUMNS)
