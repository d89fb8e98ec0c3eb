"""Stage 3 of one camera: reads the tables of the stages before it, writes the files of results.

stage3/observations.parquet           `tables.OBSERVATIONS`
stage3/compressed_observations.json   the same, for programs without Parquet (`visits_json`)
stage3/report.json                    what was seen and what was left out (`build_report`)
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import identify
from odins_ravne_assets.hugin.identification.repeat_detections import mark_repeat_detections
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import (
    Taxon,
    project_taxonomy,
    taxa_from_table,
)
from odins_ravne_assets.hugin.review.corrections import apply_corrections, read_corrections
from odins_ravne_assets.hugin.review.missed_detections import empty_media
from odins_ravne_assets.hugin.visits.observations import CompressionResult, compress
from odins_ravne_assets.hugin.visits.observations_json import write_observations_json
from odins_ravne_assets.hugin.visits.report_json import Stage3Tables, build_report, encode_json
from odins_ravne_assets.hugin.visits.species_summary import species_table
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.errors import StoreError
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import ListedSpecies
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_JSON, OBSERVATIONS_TABLE, REPORT_JSON
from resources.storage.object_store import ObjectStore

# Of each table: its key, its schema, and what writes it.
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
    """The numbers of a run of Stage 3, as `CompressionResult` has them, and the species as Markdown."""

    observations: int
    needs_review: int
    species_table: str
    rows_in: int
    rows_rejected: int
    rows_below_confidence: int
    rows_without_time: int
    rows_too_short: int
    rows_in_visits: int
    visits_too_short: int


def run_stage3(
    store: ObjectStore,
    settings: Stage3,
    models: Mapping[str, str],
    privacy: Privacy,
    species: Sequence[ListedSpecies] = (),
    results: ObjectStore | None = None,
) -> Stage3Result:
    """Compress a camera's classifications into observations and write the results.

    Runs on the CPU alone. The same tables and settings give the same bytes.

    Args:
        store: the camera's output, with `tables/`.
        settings: the rule's settings.
        models: the role of each model and its name and version, for the report.
        privacy: what is kept back in what is made of the results, for the report.
        species: the project's list; empty: anything may be there.
        results: where `stage3/` is written; beside the tables when not given.

    Raises:
        StoreError: a table is missing, damaged or of another version; or the store refuses.
        UsageError: the taxonomy does not know a listed species.
    """
    target = results or store
    with ExitStack() as stack:
        read = Stage3Tables(
            **{name: read_table(store, stack, *source) for name, source in TABLE_SOURCES.items()}
        )
        taxonomy = project_taxonomy(species, read_model_taxa(store, stack))
        counted = identify(read.classifications, taxonomy, settings.roll_up)
        marked = mark_repeat_detections(counted, read.detections, settings)
        del counted
        seen = vote_by_sequence(marked, taxonomy, settings)
        del marked
        words = read_corrections(store, stack)
        reviewed = apply_corrections(
            seen, words, read.detections, empty_media(read.media, read.processed)
        )
        compressed = compress(reviewed, taxonomy, settings)
        agreement = reviewed.agreement
        del seen, reviewed
        with writing_table(target, OBSERVATIONS_TABLE) as path:
            compressed.observations.write_parquet(path)
        with target.writing(OBSERVATIONS_JSON) as path:
            write_observations_json(compressed.observations, path)
        told = build_report(read, compressed, settings, models, privacy) | {
            "review": agreement,
            "species_list": [row.model_dump(exclude_none=True) for row in species],
        }
        target.write_bytes(REPORT_JSON, encode_json(told))
    return _result(compressed)


def read_model_taxa(store: ObjectStore, stack: ExitStack) -> dict[str, Taxon]:
    """What the labels of Stage 2 tell of their ranks; most classifiers' tell nothing."""
    if not store.exists(layout.TAXA_TABLE):
        return {}
    source = (layout.TAXA_TABLE, schemas.TAXA, "Stage 2 (classifications)")
    return taxa_from_table(read_table(store, stack, *source).collect())


def read_table(
    store: ObjectStore, stack: ExitStack, key: str, schema: pl.Schema, stage: str
) -> pl.LazyFrame:
    """A table to scan for as long as `stack` lasts, once it is known to be what it should be.

    Raises:
        StoreError: it is missing, damaged or of another version; names the stage to run.
    """
    if not store.exists(key):
        raise StoreError(f"{store.url}: {key} is missing; run {stage} first")
    table = pl.scan_parquet(stack.enter_context(store.reading(key)))
    try:
        found = table.collect_schema()
    except pl.exceptions.PolarsError as error:
        said = str(error).partition("\n")[0]
        raise StoreError(f"{store.url}: {key} is damaged ({said}); run {stage} again") from None
    if dict(found) != dict(schema):
        raise StoreError(f"{store.url}: {key} is of another version; run {stage} again")
    return table


def _result(compressed: CompressionResult) -> Stage3Result:
    return Stage3Result(
        observations=compressed.observations.height,
        needs_review=int(compressed.observations["needs_review"].sum()),
        species_table=species_table(compressed.observations),
        rows_in=compressed.rows_in,
        rows_rejected=compressed.rows_rejected,
        rows_below_confidence=compressed.rows_below_confidence,
        rows_without_time=compressed.rows_without_time,
        rows_too_short=compressed.rows_too_short,
        rows_in_visits=int(compressed.observations["detection_count"].cast(pl.Int64).sum()),
        visits_too_short=compressed.visits_too_short,
    )
