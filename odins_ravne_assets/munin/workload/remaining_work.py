"""What a step has left to do, asked of listings, tables and journals: no medium is opened.

What only has to write tables anew is done where the question was asked: no machine is started to
say that there is nothing to do.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import polars as pl

from gpu_kernels.engines.engine import EngineKind
from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.media.camera_clock import camera_clocks
from odins_ravne_assets.munin.media.footage import FootageCounts, read_footage
from odins_ravne_assets.munin.media.media_table import open_media_table
from odins_ravne_assets.munin.tables import build
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal, unlabelled_parts
from resources.errors import RavneError, StoreError
from resources.settings.profile import Profile
from resources.storage import layout
from resources.storage.object_store import ObjectStore, OnListError, StoredObject

# Files that could not be read are read again in each run; so many bytes of them, here.
MAX_RETRY_BYTES = 32 * 2**20


def engine_with_results(
    camera_id: str,
    stages: Collection[str],
    footage: ObjectStore,
    output: ObjectStore,
    profile: Profile,
) -> EngineKind | None:
    """The engine whose answers are all there, so that a step only has to write tables.

    Args:
        stages: names of assets.

    Returns:
        None: there is footage to read, or there are media to look at or crops to label.
    """
    stage1 = profile.pipeline.stage1
    engines: list[EngineKind] = ["tensorrt"] if stage1.engine != "onnxruntime" else []
    if stage1.engine != "tensorrt" or stage1.engine_fallback:
        engines.append("onnxruntime")
    if "detections" not in stages:
        engines = engines[:1]  # they differ in Stage 1's answers alone
    for engine in engines:
        if not _takes_machine(camera_id, stages, footage, output, profile, engine):
            return engine
    return None


def _takes_machine(
    camera_id: str,
    stages: Collection[str],
    footage: ObjectStore,
    output: ObjectStore,
    profile: Profile,
    engine: EngineKind,
) -> bool:
    try:
        if "footage" in stages:
            return _footage_to_read(camera_id, footage, output, profile)
        if "detections" in stages:
            journal = Stage1Journal(output, stage1_key(profile, engine))
            if _any_unfinished(output, journal):
                return True
        elif "classifications" in stages:
            origin = build.read_origin(output, layout.DETECTIONS_TABLE)
            journal = Stage1Journal(output, origin.journal_key)
        else:
            return False
        labels = Stage2Journal(output, stage2_key(profile, journal.key))
        return "classifications" in stages and any(unlabelled_parts(journal, labels))
    except RavneError:
        return True  # the worker says what is missing or damaged, in its own words


def _any_unfinished(output: ObjectStore, journal: Stage1Journal) -> bool:
    finished = journal.finished()
    with output.reading(layout.MEDIA_TABLE) as path:
        usable = pl.scan_parquet(path).filter(pl.col("status") == "ok")
        hashes = usable.select("content_hash").collect()["content_hash"]
    return any(each not in finished for each in hashes)


def _footage_to_read(
    camera_id: str, footage: ObjectStore, output: ObjectStore, profile: Profile
) -> bool:
    with open_media_table(output, layout.MEDIA_TABLE) as known:
        if known.camera_id is None:
            return True
        failed = {
            row["path"]: (row["bytes"], row["modified_ns"])
            for row in known.rows
            if row["status"] == "failed"
        }
    unread = _Unread(footage, failed)
    with open_media_table(output, layout.MEDIA_TABLE) as known:
        rows = read_footage(
            camera_id,
            unread,
            profile.pipeline.stage0,
            _never,
            known,
            camera_clocks(profile.pipeline.stage0.clock_corrections, profile.project.deployments),
            FootageCounts(),
        )
        return any(unread.is_much for _ in rows)


class _Unread:
    """A store's listing. What somebody wants to read of it is counted instead.

    Args:
        failed: sizes and dates of files that could not be read, by path.
    """

    def __init__(self, store: ObjectStore, failed: dict[str, tuple[int, int]]) -> None:
        self._store = store
        self._failed = failed
        self._listed: StoredObject | None = None
        self._again = 0
        self._new = False
        self.url = store.url

    @property
    def is_much(self) -> bool:
        return self._new or self._again > MAX_RETRY_BYTES

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore."""
        for found in self._store.list(prefix, on_error):
            self._listed = found
            yield found

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """Count the object, which was listed last."""
        found = self._listed
        assert found is not None
        assert found.key == key
        if self._failed.get(key) == (found.size, found.modified_ns):
            self._again += found.size
        else:
            self._new = True
        raise StoreError(f"{key}: is not read here")


def _never(path: Path) -> NoReturn:
    raise AssertionError(f"{path} was read")
