"""The input of a report: the results of a camera, with thumbnails that may be shared."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    PEOPLE_LEFT_OUT,
)
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.privacy.people import is_person, people_boxes, reviewed_people_boxes
from odins_ravne_assets.hugin.report.sampling_effort import sampling_effort
from odins_ravne_assets.hugin.report.thumbnails import update_thumbnails
from odins_ravne_assets.hugin.review.corrections import read_corrections
from odins_ravne_assets.hugin.visits.report_json import truncated
from odins_ravne_assets.hugin.visits.results_taxonomy import results_taxonomy
from odins_ravne_assets.hugin.visits.stage3 import read_left_out
from odins_ravne_assets.hugin.visits.stored_deployments import read_deployments
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.build import check_same_journal
from odins_ravne_assets.munin.tables.parquet_io import scan_table
from resources.ledger import table
from resources.settings.deployments import Deployment
from resources.settings.profile import Privacy
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_TABLE, REPORT_JSON
from resources.storage.object_store import ObjectStore
from resources.storage.stored_json import REPORT_REMEDY, read_json_object

# Maximum number of visits with a picture per camera: those to review first, then by confidence. A
# page with more would be too large for a browser.
MAX_THUMBNAILS = 10_000
COST_COLUMNS = ["kind", "market", "usd", "usd_on_demand", "usd_wasted"]


@dataclass(frozen=True)
class CameraResults:
    """The results of a camera.

    Attributes:
        report: the content of `stage3/report.json`.
        observations: rows of `tables.OBSERVATIONS` that may be shared, without timelines, with
            `detection_id`, the detection with the highest confidence.
        thumbnails: rows of `tables.THUMBNAILS` of these detections; some may be missing.
        effort: the result of `sampling_effort`.
        left_out: path, captured_at (of the first frame), reason and boxes of each medium with boxes
            that a rule left out, ordered by reason, time and path.
        failures: path and reason of each failed medium, ordered by path.
        truncated: path and reason of each medium of which a part is missing, ordered by path.
        costs: the columns `COST_COLUMNS` of the camera's ledger.
        cost_remarks: sentences on files of the ledger that are left out.
        people_left_out: number of observations of people that are not in `observations`.
        taxonomy: the result of `results_taxonomy`.
    """

    report: dict[str, Any]
    observations: pl.DataFrame
    thumbnails: pl.DataFrame
    effort: pl.DataFrame
    left_out: pl.DataFrame
    failures: pl.DataFrame
    truncated: pl.DataFrame
    costs: pl.DataFrame
    cost_remarks: tuple[str, ...]
    people_left_out: int
    taxonomy: Taxonomy


def load_camera_results(
    source: ObjectStore,
    results: ObjectStore,
    privacy: Privacy,
    deployments: Sequence[Deployment] | None = None,
) -> CameraResults:
    """Read the results of a camera, and make missing thumbnails of its observations.

    Args:
        source: the camera's output: tables, thumbnails, and the journal if it is available.
        results: the store with `stage3/`, to which thumbnails are written: `source`, or the folder
            of a re-run.
        privacy: the privacy settings.
        deployments: default: those that are stored with the tables.

    Raises:
        StoreError: the store refuses access, a crop is damaged, or the tables are those of an
            interrupted update (`check_same_journal`).
    """
    check_same_journal(source)
    with ExitStack() as stack:

        def scan(store: ObjectStore, key: str, schema: pl.Schema) -> pl.LazyFrame:
            return scan_table(stack.enter_context(store.reading(key)), schema)

        observations = scan(results, OBSERVATIONS_TABLE, schemas.OBSERVATIONS)
        detections = scan(source, layout.DETECTIONS_TABLE, schemas.DETECTIONS)
        left_out = read_left_out(results, stack)
        labels = (
            scan(source, layout.CLASSIFICATIONS_TABLE, schemas.CLASSIFICATIONS)
            if source.exists(layout.CLASSIFICATIONS_TABLE)
            else schemas.CLASSIFICATIONS.to_frame(eager=False)  # boxes are not labelled yet
        )
        reviewed = reviewed_people_boxes(read_corrections(source, stack), detections)
        people = people_boxes(observations, labels, left_out, reviewed)
        people_detections = _detection_ids(people, detections)
        people_count = observations.filter(is_person()).select(pl.len()).collect().item()
        if privacy.leave_out_people:
            observations = observations.filter(~is_person())
            left_out = left_out.filter(~pl.col("reason").is_in(PEOPLE_LEFT_OUT))
        shared = _with_best_detection(observations, detections)
        if deployments is None:
            deployments = read_deployments(source)
        effort = sampling_effort(scan(source, layout.MEDIA_TABLE, schemas.MEDIA), deployments)
        media_left_out = _by_medium(left_out)
        processed = scan(source, layout.PROCESSED_TABLE, schemas.PROCESSED)
        failures = _paths_and_reasons(processed.filter(pl.col("status") == "failed"))
        cut = _paths_and_reasons(truncated(processed))
    costs, cost_remarks = _read_ledger(source)
    return CameraResults(
        report=read_json_object(results, REPORT_JSON, REPORT_REMEDY),
        observations=shared,
        thumbnails=update_thumbnails(
            source, results, _thumbnail_requests(shared), people_detections, privacy.blur_people
        ),
        effort=effort,
        left_out=media_left_out,
        failures=failures,
        truncated=cut,
        costs=costs,
        cost_remarks=cost_remarks,
        people_left_out=people_count if privacy.leave_out_people else 0,
        taxonomy=results_taxonomy(source, results),
    )


def _paths_and_reasons(processed: pl.LazyFrame) -> pl.DataFrame:
    return processed.select("path", "reason").sort("path").collect(engine="streaming")


def _by_medium(left_out: pl.LazyFrame) -> pl.DataFrame:
    """`CameraResults.left_out` of rows of `tables.LEFT_OUT_DETECTIONS`."""
    return (
        left_out.group_by("reason", "path")
        .agg(pl.col("captured_at").min(), pl.col("box_number").count().alias("boxes"))
        .sort("reason", "captured_at", "path", nulls_last=True)
        .collect(engine="streaming")
    )


def _detection_ids(boxes: pl.LazyFrame, detections: pl.LazyFrame) -> pl.DataFrame:
    """The detection_id of boxes, given by BOX_KEY."""
    return detections.join(boxes, on=BOX_KEY, how="semi").select("detection_id").collect()


def _with_best_detection(observations: pl.LazyFrame, detections: pl.LazyFrame) -> pl.DataFrame:
    """Observations with the detection of highest confidence instead of their timelines."""
    element = pl.element()
    boxes = element.filter(element.struct.field("box_number").is_not_null())
    by_confidence = pl.col("detection_timeline").list.eval(
        boxes.sort_by(boxes.struct.field("confidence"), descending=True)
    )
    return (
        observations.with_columns(by_confidence.list.first().struct.field(*BOX_KEY))
        .drop("detection_timeline")
        .join(
            detections.select(*BOX_KEY, "detection_id"),
            on=BOX_KEY,
            how="left",
            maintain_order="left",
        )
        .drop(BOX_KEY)
        .collect()
    )


def _read_ledger(source: ObjectStore) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The columns `COST_COLUMNS`, and remarks that name unusable files by their keys.

    The page is shared: the remarks hold no path of this machine.
    """
    ledgers = [pl.DataFrame(schema={name: table.LEDGER_SCHEMA[name] for name in COST_COLUMNS})]
    remarks = []
    for found in source.list(layout.LEDGER_FOLDER):
        if not found.key.endswith(".parquet"):
            continue  # launch records are stored next to the ledger's tables
        try:
            ledgers.append(table.read_ledger_file(source, found.key).select(COST_COLUMNS))
        except table.UnusableLedgerError:
            remarks.append(f"the costs in {found.key} are left out: the file cannot be read")
    return pl.concat(ledgers), tuple(remarks)


def _thumbnail_requests(observations: pl.DataFrame) -> pl.DataFrame:
    """The thumbnails of the observations: detection_id and person."""
    order = ["needs_review", "max_confidence", "observation_id"]
    return (
        observations.drop_nulls("detection_id")
        .sort(order, descending=[True, True, False])
        .head(MAX_THUMBNAILS)
        .select("detection_id", person=is_person())
    )
