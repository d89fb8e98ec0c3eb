"""Import a reviewer's file into the results of a camera; the next run of Stage 3 applies it."""

import hashlib
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.review.review_files import ReviewTables, parse_review_file
from odins_ravne_assets.hugin.visits.stage3 import TABLE_SOURCES, read_model_taxa, read_table
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.build import check_same_journal
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.settings.profile import Profile
from resources.storage.layout import CORRECTIONS_FOLDER, OBSERVATIONS_TABLE
from resources.storage.object_store import ObjectStore


def import_corrections(
    camera: Camera,
    others: frozenset[str],
    profile: Profile,
    file: Path,
    reviewed_by: str,
    reviewed_on: date,
    column: str | None,
) -> int:
    """Store the corrections of a review file with the camera's tables.

    Importing the same file twice stores it once.

    Args:
        others: ids of other cameras that the file may mention.
        reviewed_by, reviewed_on: author and date of the corrections.
        column: see `parse_review_file`.

    Returns:
        The number of corrected boxes and media.

    Raises:
        UsageError: see `parse_review_file`.
        StoreError: a table is missing or damaged, or the store refuses access.
    """
    store = store_of(camera.output_url, profile)
    with ExitStack() as stack:
        taxonomy = project_taxonomy(profile.project.species, read_model_taxa(store, stack))
    corrections = parse_review_file(
        file,
        _review_tables(store, camera.camera_id, others),
        taxonomy,
        reviewed_by,
        reviewed_on,
        column,
    )
    content = f"{reviewed_by} {file.name} ".encode() + corrections.write_csv().encode()
    key = _corrections_key(store, reviewed_on, hashlib.sha256(content).hexdigest()[:12])
    with writing_table(store, key) as path:
        corrections.write_parquet(path)
    return corrections.height


def _corrections_key(store: ObjectStore, reviewed_on: date, checksum: str) -> str:
    """The key of a file's corrections; keys of one day sort in the order of their import."""
    day = f"{CORRECTIONS_FOLDER}/{reviewed_on}-"
    existing = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.startswith(day)
    )
    if existing and existing[-1].endswith(f"-{checksum}.parquet"):
        return existing[-1]
    number = int(existing[-1].removeprefix(day).partition("-")[0]) + 1 if existing else 1
    return f"{day}{number:04d}-{checksum}.parquet"


def _review_tables(store: ObjectStore, camera_id: str, others: frozenset[str]) -> ReviewTables:
    with ExitStack() as stack:
        media = read_table(store, stack, *TABLE_SOURCES["media"])
        detections = read_table(store, stack, *TABLE_SOURCES["detections"])
        check_same_journal(store)
        observations = read_table(
            store, stack, OBSERVATIONS_TABLE, schemas.OBSERVATIONS, "Stage 3 (observations)"
        )
        return ReviewTables(
            camera_id,
            media.select("path", "content_hash").collect(),
            detections.collect(),
            observations.collect(),
            others,
        )
