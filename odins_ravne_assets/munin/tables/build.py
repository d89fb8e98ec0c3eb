"""Build a camera's tables from its media table and its journal.

    tables/media.parquet            Stage 0
    tables/processed.parquet        Stage 1, one row per media file, with its status
    tables/frames.parquet           Stage 1, one row per processed frame
    tables/detections.parquet       Stage 1, one row per box
    tables/classifications.parquet  Stage 2, one row per box
    tables/taxa.parquet             the taxonomic ranks of its labels, if they have some

The tables do not depend on interruptions, or on the order in which media were finished.

The metadata of Stage 1's and 2's tables contains the journal key and the models, because a later
stage may run alone, with other settings.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import MappingProxyType

import polars as pl

from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.errors import StoreError
from resources.storage.layout import (
    CLASSIFICATIONS_TABLE,
    DETECTIONS_TABLE,
    FRAMES_TABLE,
    MEDIA_TABLE,
    PROCESSED_TABLE,
    TAXA_TABLE,
)
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import scan_parquet

# Between the first frame of a video and another: 31 days, as for headers of videos.
MAX_TIME_OFFSET_MS = 31 * 86_400_000
BOX_KEYS = ["content_hash", "frame_number", "box_number"]
# True for detections that may show a person, for everything that protects people.
IS_POSSIBLE_PERSON = (pl.col("category") == "person") | pl.col("person_confidence").is_not_null()
_ORIGIN_KEY = "munin.origin"
# The key of Stage 1's journal whose boxes the classifications label. Classifications of version
# 0.1.0 lack it: the detections that replace those of another journal have it for them.
_LABELLED_KEY = "munin.labelled_journal"


@dataclass(frozen=True)
class Origin:
    """The journal and the models that a table was built from."""

    journal_key: str
    models: Mapping[str, str]  # role, and name with hash


def read_origin(store: ObjectStore, key: str) -> Origin:
    """Read the origin of a table of Stage 1 or 2.

    Raises:
        StoreError: the table is damaged, or of a version without an origin.
    """
    try:
        return Origin(**json.loads(_metadata(store, key)[_ORIGIN_KEY]))
    except (pl.exceptions.PolarsError, OSError, KeyError, TypeError, ValueError):
        raise StoreError(
            f"{store.url}: {key} is damaged or of another version; run all stages again"
        ) from None


def check_same_journal(store: ObjectStore) -> None:
    """Check that the tables of Stages 1 and 2 are of the same journal.

    They are not if an update has ended before Stage 2 has labelled the new boxes.

    Raises:
        StoreError: they are not, or a table is damaged or of a version without an origin; names the
            stage to run.
    """
    boxes = read_origin(store, DETECTIONS_TABLE).journal_key
    for key in (PROCESSED_TABLE, FRAMES_TABLE):
        if _has_other_journal(store, key, boxes):
            raise StoreError(
                f"{store.url}: {key} and {DETECTIONS_TABLE} are of different settings, because an "
                "update was interrupted; run Stages 1 and 2 (detections, classifications) first"
            )
    if _labelled_journal(store) not in {None, boxes}:
        raise StoreError(
            f"{store.url}: {CLASSIFICATIONS_TABLE} has no labels for the boxes of the updated "
            f"{DETECTIONS_TABLE}; run Stage 2 (classifications) first"
        )


def _has_other_journal(store: ObjectStore, key: str, journal_key: str) -> bool:
    """True if a table exists, names its journal, and it is another one."""
    if not store.exists(key) or _ORIGIN_KEY not in _metadata(store, key):
        return False
    return read_origin(store, key).journal_key != journal_key


def _labelled_journal(store: ObjectStore) -> str | None:
    """The key of Stage 1's journal whose boxes are labelled; None: of the detections, or none."""
    for key in (CLASSIFICATIONS_TABLE, DETECTIONS_TABLE):
        if store.exists(key) and (labelled := _metadata(store, key).get(_LABELLED_KEY)):
            return labelled
    return None


def _replaced_journal(store: ObjectStore, journal_key: str) -> dict[str, str]:
    """The metadata of new detections, for classifications that do not name their journal."""
    if not (store.exists(CLASSIFICATIONS_TABLE) and store.exists(DETECTIONS_TABLE)):
        return {}
    try:
        if _LABELLED_KEY in _metadata(store, CLASSIFICATIONS_TABLE):
            return {}
        before = _labelled_journal(store) or read_origin(store, DETECTIONS_TABLE).journal_key
    except (StoreError, pl.exceptions.PolarsError):
        return {}  # damaged: written again, or Stage 3 reports it
    return {_LABELLED_KEY: before} if before != journal_key else {}


def _metadata(store: ObjectStore, key: str) -> dict[str, str]:
    with store.reading(key) as path:
        return pl.read_parquet_metadata(path)


def write_stage1_tables(
    store: ObjectStore, journal: Stage1Journal, models: Mapping[str, str]
) -> None:
    """Write processed, frames and detections from the media table and Stage 1's journal.

    Args:
        models: see Origin.
    """
    origin = Origin(journal.key, models)
    with ExitStack() as stack:
        media = scan_parquet(stack.enter_context(store.reading(MEDIA_TABLE)))
        finished = journal.scan("media", stack)
        _write(store, PROCESSED_TABLE, _processed(media, finished), schemas.PROCESSED, origin)
        usable = media.filter(pl.col("status") == "ok")
        frames = _of_media(journal.scan("frames", stack), usable)
        _write(store, FRAMES_TABLE, frames.sort("path", "frame_number"), schemas.FRAMES, origin)
        boxes = _of_media(journal.scan("boxes", stack), usable).with_columns(
            detection_id=pl.format(
                "{}-{}-{}",
                pl.col("content_hash").str.slice(0, 16),
                "frame_number",
                "box_number",
            )
        )
        _write(
            store,
            DETECTIONS_TABLE,
            boxes.sort("path", "frame_number", "box_number"),
            schemas.DETECTIONS,
            origin,
            _replaced_journal(store, journal.key),
        )


def write_stage2_table(
    store: ObjectStore, stage1: Stage1Journal, stage2: Stage2Journal, models: Mapping[str, str]
) -> None:
    """Write classifications from the detections table and Stage 2's journal.

    Args:
        models: see Origin.
    """
    with ExitStack() as stack:
        detections = scan_parquet(stack.enter_context(store.reading(DETECTIONS_TABLE)))
        labelled = stage2.parts()
        labels = stage2.scan([part for part in stage1.parts() if part in labelled], stack)
        rows = detections.rename({"confidence": "detection_confidence"}).join(
            labels, on=BOX_KEYS, how="inner"
        )
        _write(
            store,
            CLASSIFICATIONS_TABLE,
            rows.sort("path", "frame_number", "box_number"),
            schemas.CLASSIFICATIONS,
            Origin(stage2.key, models),
            {_LABELLED_KEY: stage1.key},
        )


def write_taxa(store: ObjectStore, labels: Iterable[SpeciesNetLabel]) -> None:
    """Write the taxa of Stage 2's labels; delete the table if there are none."""
    rows = {label.scientific_name: label.taxon for label in labels if label.scientific_name}
    if not rows:
        store.delete(TAXA_TABLE)
        return
    with writing_table(store, TAXA_TABLE) as path:
        taxa = pl.DataFrame(list(rows.values()), schema=schemas.TAXA, orient="row")
        taxa.sort("scientific_name").write_parquet(path)


def _processed(media: pl.LazyFrame, finished: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per media file, with its status."""
    processed_frames = pl.col("frames_decoded") - pl.col("frames_skipped")
    status = (
        pl.when(pl.col("status") != "ok")
        .then("status")
        .otherwise(pl.col("status_stage1").fill_null("pending"))
    )
    remarks = pl.concat_str("reason", "reason_stage1", separator="; ", ignore_nulls=True)
    return (
        media.select("camera_id", "path", "content_hash", "kind", "status", "reason")
        .join(finished, on="content_hash", how="left", suffix="_stage1")
        .with_columns(
            reason=pl.when(pl.col("status") == "ok")
            .then(pl.when(remarks != "").then(remarks))
            .otherwise("reason"),
            status=status,
            frames_looked_at=processed_frames,
        )
        .sort("path")
    )


def _of_media(rows: pl.LazyFrame, media: pl.LazyFrame) -> pl.LazyFrame:
    """Return the journal rows of the camera's media, with current paths and times of frames."""
    columns = ["camera_id", "path", "content_hash", "kind", "captured_at", "utc_offset_minutes"]
    at = pl.col("captured_at") + pl.duration(milliseconds="time_offset_ms")
    # Journals from before the bounds of headers have frames thousands of years after the first.
    plausible = pl.col("time_offset_ms").is_between(0, MAX_TIME_OFFSET_MS)
    return rows.join(media.select(columns), on="content_hash", how="inner").with_columns(
        captured_at=pl.when(plausible).then(at.cast(schemas.TIME))
    )


def _write(
    store: ObjectStore,
    key: str,
    rows: pl.LazyFrame,
    schema: pl.Schema,
    origin: Origin,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    metadata = {_ORIGIN_KEY: json.dumps(asdict(origin), sort_keys=True), **metadata}
    with writing_table(store, key) as path:
        typed = rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        typed.sink_parquet(path, metadata=metadata)
