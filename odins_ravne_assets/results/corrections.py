"""Takes a reviewer's file into a camera's results; Stage 3 then makes the visits with it."""

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
    """Put what a reviewer says beside the camera's tables; the same file twice is there once.

    Args:
        others: ids of further cameras that the file may be about.
        reviewed_by, reviewed_on: who says it, and when.
        column: see `parse_review_file`.

    Returns:
        How many boxes and media the file says something about.

    Raises:
        UsageError: see `parse_review_file`.
        StoreError: a table is missing or damaged, or the store refuses.
    """
    store = store_of(camera.output_url, profile)
    with ExitStack() as stack:
        taxonomy = project_taxonomy(profile.project.species, read_model_taxa(store, stack))
    words = parse_review_file(
        file,
        _footage(store, camera.camera_id, others),
        taxonomy,
        reviewed_by,
        reviewed_on,
        column,
    )
    said = f"{reviewed_by} {file.name} ".encode() + words.write_csv().encode()
    key = _key(store, reviewed_on, hashlib.sha256(said).hexdigest()[:12])
    with writing_table(store, key) as path:
        words.write_parquet(path)
    return words.height


def _key(store: ObjectStore, reviewed_on: date, content: str) -> str:
    """Where a file's words are kept; of one day, the one handed in later sorts behind."""
    day = f"{CORRECTIONS_FOLDER}/{reviewed_on}-"
    before = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.startswith(day)
    )
    if before and before[-1].endswith(f"-{content}.parquet"):
        return before[-1]
    number = int(before[-1].removeprefix(day).partition("-")[0]) + 1 if before else 1
    return f"{day}{number:04d}-{content}.parquet"


def _footage(store: ObjectStore, camera_id: str, others: frozenset[str]) -> ReviewTables:
    with ExitStack() as stack:
        media = read_table(store, stack, *TABLE_SOURCES["media"])
        detections = read_table(store, stack, *TABLE_SOURCES["detections"])
        visits = read_table(
            store, stack, OBSERVATIONS_TABLE, schemas.OBSERVATIONS, "Stage 3 (observations)"
        )
        return ReviewTables(
            camera_id,
            media.select("path", "content_hash").collect(),
            detections.collect(),
            visits.collect(),
            others,
        )
