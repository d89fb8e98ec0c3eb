"""Determine whether a step has work for a machine, from listings, tables and journals.

Opens no medium. A step that only has to write tables runs locally, so that no machine is started
without work for it.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, cast

import polars as pl

from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_journal_key
from odins_ravne_assets.munin.media.camera_clock import camera_clocks
from odins_ravne_assets.munin.media.footage import FootageCounts, FootageStore, read_footage
from odins_ravne_assets.munin.media.media_table import (
    OTHER_READER,
    open_media_table,
    path_in_source,
)
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage
from odins_ravne_assets.munin.tables import build
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal, unlabelled_parts
from resources.errors import RavneError, StoreError
from resources.settings.profile import Profile
from resources.storage import layout
from resources.storage.object_store import ObjectStore, OnListError, StoredObject
from resources.storage.parquet_files import scan_parquet

# Files that could not be read are retried in each run; up to this many bytes are retried locally.
MAX_RETRY_BYTES = 32 * 2**20


def needs_machine(
    camera_id: str,
    stages: Collection[str],
    footage: Footage,
    output: ObjectStore,
    profile: Profile,
) -> bool:
    """Return True if a step has footage to read, media to process or crops to label.

    Otherwise it only writes tables.

    Args:
        stages: names of assets.
        profile: with the settings of the run, see `used_settings`.
    """
    try:
        if "footage" in stages:
            return _footage_to_read(camera_id, footage, output, profile)
        if "detections" in stages:
            journal = Stage1Journal(output, stage1_journal_key(output, profile))
            if _any_unfinished(footage, output, journal):
                return True
        elif "classifications" in stages:
            origin = build.read_origin(output, layout.DETECTIONS_TABLE)
            journal = Stage1Journal(output, origin.journal_key)
        else:
            return False
        labels = Stage2Journal(output, stage2_key(profile, journal.key))
        return "classifications" in stages and any(unlabelled_parts(journal, labels))
    except RavneError:
        return True  # the worker reports what is missing or damaged


def _any_unfinished(footage: Footage, output: ObjectStore, journal: Stage1Journal) -> bool:
    """Return True if media of sources that are available are not in the journal."""
    finished = journal.finished()
    with output.reading(layout.MEDIA_TABLE) as path:
        usable = scan_parquet(path).filter(pl.col("status") == "ok")
        if isinstance(footage, SourceFootage):
            for prefix in footage.missing_prefixes():
                usable = usable.filter(~pl.col("path").str.starts_with(prefix))
        hashes = usable.select("content_hash").collect()["content_hash"]
    return any(each not in finished for each in hashes)


def _footage_to_read(
    camera_id: str, footage: Footage, output: ObjectStore, profile: Profile
) -> bool:
    with open_media_table(output, layout.MEDIA_TABLE) as known:
        if known.camera_id is None or known.offset_rules == OTHER_READER:
            return True
        failed = {
            path_in_source(row["path"], row["source"]): (row["bytes"], row["modified_ns"])
            for row in known.rows
            if row["status"] == "failed"
        }
    listings: list[_ListingStore] = []

    def listing_of(store: ObjectStore) -> _ListingStore:
        listings.append(_ListingStore(store, failed))
        return listings[-1]

    listing: FootageStore | SourceFootage
    if isinstance(footage, SourceFootage):
        listing = footage.with_stores(lambda store: cast(ObjectStore, listing_of(store)))
    else:
        listing = listing_of(footage)
    with open_media_table(output, layout.MEDIA_TABLE) as known:
        rows = read_footage(
            camera_id,
            listing,
            profile.pipeline.stage0,
            _never,
            known,
            camera_clocks(
                profile.pipeline.stage0.clock_corrections,
                profile.project.deployments,
                profile.project.time_zone,
            ),
            FootageCounts(),
        )
        return any(any(each.has_work for each in listings) for _ in rows)


class _ListingStore:
    """A store that lists its objects, and counts reads instead of reading.

    Args:
        failed: size and date of each file that could not be read before, by path.
    """

    def __init__(self, store: ObjectStore, failed: dict[str, tuple[int, int]]) -> None:
        self._store = store
        self._failed = failed
        self._listed: StoredObject | None = None
        self._retry_bytes = 0
        self._has_new = False
        self.url = store.url

    @property
    def has_work(self) -> bool:
        return self._has_new or self._retry_bytes > MAX_RETRY_BYTES

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore."""
        for found in self._store.list(prefix, on_error):
            self._listed = found
            yield found

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """Count the object, which must be the last one listed."""
        found = self._listed
        assert found is not None
        assert found.key == key
        if self._failed.get(key) == (found.size, found.modified_ns):
            self._retry_bytes += found.size
        else:
            self._has_new = True
        raise StoreError(f"{key}: not read")


def _never(path: Path) -> NoReturn:
    raise AssertionError(f"{path} was read")
