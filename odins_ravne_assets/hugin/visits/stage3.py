"""Stage 3 of one camera: read the tables of Stages 0 to 2, write observations and their report.

stage3/observations.parquet           `tables.OBSERVATIONS`
stage3/left_out_detections.parquet    `tables.LEFT_OUT_DETECTIONS`
stage3/compressed_observations.json   the same as JSON (`observations_json`), without people if
                                       `privacy.leave_out_people` is set
stage3/report.json                    counts, settings and exclusions (`report_json`)
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.camera_strips import leave_out_camera_strips
from odins_ravne_assets.hugin.identification.identifications import identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.near_people import leave_out_near_people
from odins_ravne_assets.hugin.identification.repeat_detections import mark_repeat_detections
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import (
    Taxon,
    Taxonomy,
    project_taxonomy,
    taxa_from_table,
)
from odins_ravne_assets.hugin.privacy.people import is_person
from odins_ravne_assets.hugin.privacy.sensitive_taxa import sensitive_taxa
from odins_ravne_assets.hugin.review.corrections import (
    ReviewedIdentifications,
    apply_corrections,
    read_corrections,
)
from odins_ravne_assets.hugin.review.missed_detections import labelled_media
from odins_ravne_assets.hugin.review.staff import leave_out_staff
from odins_ravne_assets.hugin.review.without_effect import describe_without_effect
from odins_ravne_assets.hugin.visits.observations import CompressionResult, compress
from odins_ravne_assets.hugin.visits.observations_json import write_observations_json
from odins_ravne_assets.hugin.visits.report_json import Stage3Tables, build_report, encode_json
from odins_ravne_assets.hugin.visits.species_summary import species_table
from odins_ravne_assets.munin.media.other_files_table import read_other_files
from odins_ravne_assets.munin.media.shared_media import load_shared_media
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.build import check_same_journal
from odins_ravne_assets.munin.tables.parquet_io import scan_table, writing_table
from resources.errors import DamagedFileError, StoreError
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import ListedSpecies
from resources.storage import layout
from resources.storage.layout import (
    LEFT_OUT_TABLE,
    OBSERVATIONS_JSON,
    OBSERVATIONS_TABLE,
    REPORT_JSON,
)
from resources.storage.object_store import ObjectStore

# Key, schema and writing stage of each table.
TABLE_SOURCES = {
    "media": (layout.MEDIA_TABLE, schemas.MEDIA, "Stage 0 (footage)"),
    "processed": (layout.PROCESSED_TABLE, schemas.PROCESSED, "Stage 1 (detections)"),
    "frames": (layout.FRAMES_TABLE, schemas.FRAMES, "Stage 1 (detections)"),
    "detections": (layout.DETECTIONS_TABLE, schemas.DETECTIONS, "Stage 1 (detections)"),
    "classifications": (
        layout.CLASSIFICATIONS_TABLE,
        schemas.CLASSIFICATIONS,
        "Stage 2 (classifications)",
    ),
}


@dataclass(frozen=True)
class Stage3Result:
    """The counts of `CompressionResult`, and the species as a Markdown table.

    `labels_without_effect` is the result of `describe_without_effect`.
    """

    observations: int
    needs_review: int
    species_table: str
    rows_in: int
    rows_rejected: int
    rows_left_out: Mapping[str, int]
    rows_below_confidence: int
    rows_lowered: int
    rows_without_time: int
    rows_too_short: int
    rows_in_observations: int
    observations_too_short: int
    labels_without_effect: str | None


def run_stage3(
    store: ObjectStore,
    settings: Stage3,
    models: Mapping[str, str],
    privacy: Privacy,
    species: Sequence[ListedSpecies] = (),
    results: ObjectStore | None = None,
) -> Stage3Result:
    """Compress a camera's classifications into observations and write the results.

    Runs on the CPU. The same tables and settings give the same bytes.

    Args:
        store: the camera's output, with `tables/`.
        settings: the settings of Stage 3.
        models: the name and version of each model by role, for the report.
        privacy: the privacy settings, for the report and the JSON.
        species: the project's list of species; empty: all species are allowed.
        results: the store in which `stage3/` is written; default: `store`.

    Raises:
        StoreError: a table is missing, damaged, of another version or of other settings than the
            rest (`check_same_journal`); or the store refuses access.
        UsageError: the taxonomy does not know a listed or a sensitive species.
    """
    target = results or store
    with ExitStack() as stack:
        tables = Stage3Tables(
            **{name: read_table(store, stack, *source) for name, source in TABLE_SOURCES.items()}
        )
        check_same_journal(store)
        taxonomy = project_taxonomy(species, read_model_taxa(store, stack))
        sensitive_taxa(privacy.sensitive_species, [taxonomy])  # names are checked before the work
        reviewed = _identify(tables, read_corrections(store, stack), taxonomy, settings)
        compressed = compress(reviewed, taxonomy, settings)
        agreement = reviewed.agreement
        del reviewed  # to free its memory
        with writing_table(target, OBSERVATIONS_TABLE) as path:
            compressed.observations.write_parquet(path)
        with writing_table(target, LEFT_OUT_TABLE) as path:
            compressed.left_out.write_parquet(path)
        with target.writing(OBSERVATIONS_JSON) as path:
            shared = compressed.observations
            if privacy.leave_out_people:
                shared = shared.filter(~is_person())
            write_observations_json(shared, path)
        report = build_report(tables, compressed, settings, models, privacy) | {
            "review": agreement,
            "other_files": read_other_files(store),
            "shared_media": [asdict(each) for each in load_shared_media(store)],
            "species_list": [row.model_dump(exclude_none=True) for row in species],
        }
        target.write_bytes(REPORT_JSON, encode_json(report))
    return _result(compressed, agreement)


def _identify(
    tables: Stage3Tables, corrections: pl.DataFrame, taxonomy: Taxonomy, settings: Stage3
) -> ReviewedIdentifications:
    """Identify detections, and apply the rules of `identification` and corrections."""
    identified = identify(tables.classifications, taxonomy, settings.roll_up)
    identified = leave_out_camera_strips(identified, tables.detections, tables.frames, tables.media)
    identified = mark_repeat_detections(identified, tables.detections, settings)
    identified = vote_by_sequence(identified, taxonomy, settings)
    identified = apply_name_threshold(identified, settings)
    media = labelled_media(tables.media, tables.processed, corrections)
    reviewed = apply_corrections(identified, corrections, tables.detections, media)
    left_out = leave_out_near_people(reviewed.identified, tables.detections, settings)
    return replace(reviewed, identified=leave_out_staff(left_out))


def read_model_taxa(store: ObjectStore, stack: ExitStack) -> dict[str, Taxon]:
    """Read the taxa of the classifier's labels; empty if its labels have no ranks."""
    if not store.exists(layout.TAXA_TABLE):
        return {}
    source = (layout.TAXA_TABLE, schemas.TAXA, "Stage 2 (classifications)")
    return taxa_from_table(read_table(store, stack, *source).collect())


def read_left_out(results: ObjectStore, stack: ExitStack) -> pl.LazyFrame:
    """Read the detections that Stage 3 left out; results of earlier versions have none."""
    if not results.exists(LEFT_OUT_TABLE):
        return schemas.LEFT_OUT_DETECTIONS.to_frame(eager=False)
    source = (LEFT_OUT_TABLE, schemas.LEFT_OUT_DETECTIONS, "Stage 3 (observations)")
    return read_table(results, stack, *source)


def read_table(
    store: ObjectStore, stack: ExitStack, key: str, schema: pl.Schema, stage: str
) -> pl.LazyFrame:
    """Return a scan of a table after checking its schema; valid until `stack` closes.

    `schemas.ADDED_COLUMNS` that the table lacks are null.

    Raises:
        StoreError: the table is missing, damaged or of another version; names the stage to run.
    """
    if not store.exists(key):
        raise StoreError(f"{store.url}: {key} is missing; run {stage} first")
    path = stack.enter_context(store.reading(key))
    try:
        return scan_table(path, schema)
    except DamagedFileError as error:
        raise StoreError(
            f"{store.url}: {key} is damaged or of another version; run {stage} again "
            f"({error.reason})"
        ) from None


def _result(compressed: CompressionResult, agreement: Mapping[str, Any]) -> Stage3Result:
    return Stage3Result(
        observations=compressed.observations.height,
        needs_review=int(compressed.observations["needs_review"].sum()),
        species_table=species_table(compressed.observations),
        rows_in=compressed.rows_in,
        rows_rejected=compressed.rows_rejected,
        rows_left_out=compressed.rows_left_out,
        rows_below_confidence=compressed.rows_below_confidence,
        rows_lowered=compressed.rows_lowered,
        rows_without_time=compressed.rows_without_time,
        rows_too_short=compressed.rows_too_short,
        rows_in_observations=int(compressed.observations["detection_count"].cast(pl.Int64).sum()),
        observations_too_short=compressed.observations_too_short,
        labels_without_effect=describe_without_effect(agreement),
    )
