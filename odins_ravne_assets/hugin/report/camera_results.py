"""What the report is made of: a camera's results of Stage 3, with pictures made to be shared."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import CATEGORY_NAMES
from odins_ravne_assets.hugin.report.sampling_effort import sampling_effort
from odins_ravne_assets.hugin.report.thumbnails import update_thumbnails
from resources.errors import StoreError
from resources.ledger import table
from resources.settings.profile import Privacy
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_TABLE, REPORT_JSON
from resources.storage.object_store import ObjectStore

HUMAN_SCIENTIFIC_NAME = CATEGORY_NAMES["person"].scientific_name
# Visits of a camera that have a picture: the ones to review first, then the surest. A page with
# more would be too large to open.
MAX_THUMBNAILS = 10_000
COST_COLUMNS = ["kind", "market", "usd", "usd_on_demand", "usd_wasted"]


@dataclass(frozen=True)
class CameraResults:
    """One camera's results.

    Attributes:
        report: the content of `stage3/report.json`.
        observations: rows of `tables.OBSERVATIONS` that may be shared, without their timelines,
            with `detection_id`, the surest detection of each.
        thumbnails: rows of `tables.THUMBNAILS` of these detections, as far as there are any.
        effort: what `sampling_effort.effort` tells of the camera.
        failures: path and reason of each medium that could not be used, by path.
        cost: rows of the camera's ledger, as far as it is known: `COST_COLUMNS`.
        people_left_out: visits of people that are not in `observations`.
    """

    report: dict[str, Any]
    observations: pl.DataFrame
    thumbnails: pl.DataFrame
    effort: pl.DataFrame
    failures: pl.DataFrame
    cost: pl.DataFrame
    people_left_out: int


def load_camera_results(source: ObjectStore, made: ObjectStore, privacy: Privacy) -> CameraResults:
    """Read a camera's results and make the pictures of its visits, as far as they are missing.

    Args:
        source: the camera's output: its tables, its journal if it is at hand, its thumbnails.
        made: where Stage 3 put its results, and thumbnails go; the same, or a folder of a re-run.
        privacy: what is kept back.

    Raises:
        StoreError: the store refuses, or a crop is damaged.
    """
    with ExitStack() as stack:

        def scan(store: ObjectStore, key: str) -> pl.LazyFrame:
            return pl.scan_parquet(stack.enter_context(store.reading(key)))

        observations = scan(made, OBSERVATIONS_TABLE)
        people = is_person()
        detections = scan(source, layout.DETECTIONS_TABLE)
        told = _detection_ids(observations.filter(people), detections)
        left_out = observations.filter(people).select(pl.len()).collect().item()
        if privacy.leave_out_people:
            observations = observations.filter(~people)
        shared = _with_best_detection(observations, detections)
        failed = pl.col("status") == "failed"
        processed = scan(source, layout.PROCESSED_TABLE).filter(failed)
        out = sampling_effort(scan(source, layout.MEDIA_TABLE))
        failures = processed.select("path", "reason").sort("path").collect(engine="streaming")
    return CameraResults(
        report=json.loads(made.read_bytes(REPORT_JSON)),
        observations=shared,
        thumbnails=update_thumbnails(
            source, made, _thumbnail_requests(shared), told, privacy.blur_people
        ),
        effort=out,
        failures=failures,
        cost=_read_ledger(source),
        people_left_out=left_out if privacy.leave_out_people else 0,
    )


def is_person() -> pl.Expr:
    """Whether a row of `tables.OBSERVATIONS` is a person, whoever said so: model or reviewer."""
    named = pl.col("scientific_name").eq_missing(pl.lit(HUMAN_SCIENTIFIC_NAME))
    return named.or_(pl.col("category") == "person")


def _detection_ids(observations: pl.LazyFrame, detections: pl.LazyFrame) -> pl.DataFrame:
    """The detection_id of every box that the observations are made of."""
    place = ["path", "frame_number", "box_number"]
    boxes = (
        observations.select("detection_timeline")
        .explode("detection_timeline")
        .select(pl.col("detection_timeline").struct.field(*place))
    )
    return detections.join(boxes, on=place, how="semi").select("detection_id").collect()


def _with_best_detection(observations: pl.LazyFrame, detections: pl.LazyFrame) -> pl.DataFrame:
    """Observations with the surest detection of each in place of their timelines."""
    element = pl.element()
    boxes = element.filter(element.struct.field("box_number").is_not_null())
    surest = pl.col("detection_timeline").list.eval(
        boxes.sort_by(boxes.struct.field("confidence"), descending=True)
    )
    place = ["path", "frame_number", "box_number"]
    return (
        observations.with_columns(surest.list.first().struct.field(*place))
        .drop("detection_timeline")
        .join(
            detections.select(*place, "detection_id"), on=place, how="left", maintain_order="left"
        )
        .drop(place)
        .collect()
    )


def _read_ledger(source: ObjectStore) -> pl.DataFrame:
    ledgers = [pl.DataFrame(schema={name: table.LEDGER_SCHEMA[name] for name in COST_COLUMNS})]
    for found in source.list(layout.LEDGER_FOLDER):
        if not found.key.endswith(".parquet"):
            continue  # what is known of a launch lies beside its rows
        with source.reading(found.key) as path:
            try:
                ledgers.append(pl.read_parquet(path, columns=COST_COLUMNS))
            except pl.exceptions.PolarsError as error:
                said = str(error).partition("\n")[0]
                raise StoreError(
                    f"{source.url}: {found.key} is damaged or of another version ({said}); "
                    "delete it, and its launch's cost is not told"
                ) from None
    return pl.concat(ledgers)


def _thumbnail_requests(observations: pl.DataFrame) -> pl.DataFrame:
    """What `update_thumbnails` is to make."""
    order = ["needs_review", "max_confidence", "observation_id"]
    return (
        observations.drop_nulls("detection_id")
        .sort(order, descending=[True, True, False])
        .head(MAX_THUMBNAILS)
        .select("detection_id", person=is_person())
    )
