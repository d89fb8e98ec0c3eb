"""The journal: results of finished media, in parts that are written once and never changed.

    journal/stage1/KEY/PART.media.parquet     one row per finished medium: commits the part
    journal/stage1/KEY/PART.frames.parquet    processed frames
    journal/stage1/KEY/PART.boxes.parquet     boxes
    journal/stage1/KEY/PART.crops.parquet     crops of the boxes, as JPEG
    journal/stage2/KEY/PART.labels.parquet    labels of the boxes of Stage 1's part of that name
    journal/withdrawn/KEY/NAME.parquet        failures of Stage 1 that are to be retried
    journal/settings/STAGE.json               models and settings of the results: see
                                              munin/workload/recorded_settings.py

KEY is a hash of the models and settings that the results depend on; media are identified by the
hash of their content. So a renamed file is not processed again, other settings have their own
journal, and a return to earlier settings finds its results. A part without its commit is ignored.
A worker that is killed loses the part that it was filling: at most `PART_SECONDS` of work, and the
media in progress.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.damage import damaged_parts
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.storage.layout import JOURNAL_STAGE1, JOURNAL_STAGE2, WITHDRAWN_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet, scan_parquet

Row = dict[str, Any]

# Bytes of SHA-256 that identify a medium: two of a billion agree with a chance below 1 in 10^20.
HASH_BYTES = 16

PART_MEDIA = 256
PART_SECONDS = 10.0
PART_CROP_BYTES = 64 * 1024 * 1024

COMMIT_SUFFIX = ".media.parquet"
LABELS_SUFFIX = ".labels.parquet"
# The commit is written last: the other tables exist if it does.
STAGE1_TABLES = {
    "crops": schemas.CROPS,
    "boxes": schemas.FOUND_BOXES,
    "frames": schemas.FOUND_FRAMES,
    "media": schemas.FINISHED_MEDIA,
}


def journal_key(dependencies: Mapping[str, Any]) -> str:
    """Return the key of a journal: a hash of all that its results depend on."""
    text = json.dumps(dependencies, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Stage1Journal:
    """Stage 1's journal under one key."""

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        written: list[str] | None = None,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        written: receives the names of the parts that are committed through this object.
        before_commit: called before each commit.
        """
        self.key = key
        self._store = store
        self._before_commit = before_commit
        self._folder = f"{JOURNAL_STAGE1}/{key}"
        self._withdrawals = Withdrawals(store, key)
        self._rows: dict[str, list[Row]] = {name: [] for name in STAGE1_TABLES}
        self._part_started = time.monotonic()
        self._crop_bytes = 0
        self.written = [] if written is None else written

    def parts(self) -> list[str]:
        """Return the names of the committed parts, sorted."""
        return sorted(
            stored.key.rsplit("/", 1)[1].removesuffix(COMMIT_SUFFIX)
            for stored in self._store.list(self._folder)
            if stored.key.endswith(COMMIT_SUFFIX)
        )

    def has_finished(self) -> bool:
        """Return True if any part is committed."""
        return any(stored.key.endswith(COMMIT_SUFFIX) for stored in self._store.list(self._folder))

    def remove_uncommitted(self) -> list[str]:
        """Delete uncommitted parts, which killed workers left, and damaged ones.

        Only for a worker with exclusive access to the journal.

        Returns:
            The damaged files, with the reason.

        Raises:
            StoreError: a part was written by a newer version.
        """
        damaged = damaged_parts(self._store, self._folder, STAGE1_TABLES)
        for part in damaged:
            self._store.delete(self._object_key(part, "media"))
        committed = set(self.parts())
        for stored in list(self._store.list(self._folder)):
            if stored.key.rsplit("/", 1)[1].partition(".")[0] not in committed:
                self._store.delete(stored.key)
        return [file for files in damaged.values() for file in files]

    def reading(self, part: str, table: str) -> AbstractContextManager[Path]:
        """Open a local file with a table of a part: media, frames, boxes or crops."""
        return self._store.reading(self._object_key(part, table))

    def _object_key(self, part: str, table: str) -> str:
        return f"{self._folder}/{part}.{table}.parquet"

    def finished(self) -> "HashSet":
        """Return the content hashes of all finished media."""
        return HashSet(self._hashes_of(part) for part in self.parts())

    def animals(self, part: str) -> int:
        """Return the number of a part's boxes that hold animals."""
        with self.reading(part, "boxes") as path:
            boxes = scan_parquet(path).select((pl.col("category") == "animal").sum())
            return int(boxes.collect().item())

    def withdraw_failures(self) -> int:
        """Let the next run retry the media that failed; return their number."""
        rows = [(part, each) for part in self.parts() for each in self._failed_in(part)]
        return self._withdrawals.add(rows)

    def _hashes_of(self, part: str) -> pl.Series:
        with self.reading(part, "media") as path:
            hashes = read_parquet(path, columns=["content_hash"])["content_hash"]
        return hashes.filter(~hashes.is_in(self._withdrawals.of(part)))

    def _failed_in(self, part: str) -> list[str]:
        with self.reading(part, "media") as path:
            failed = scan_parquet(path).filter(pl.col("status") == "failed")
            return failed.select("content_hash").collect()["content_hash"].to_list()

    def append(self, media: Row, frames: list[Row], boxes: list[Row], crops: list[Row]) -> None:
        """Add a finished medium; it is saved when `flush` has returned."""
        if not self._rows["media"]:
            self._part_started = time.monotonic()
        self._rows["media"].append(media)
        self._rows["frames"] += frames
        self._rows["boxes"] += boxes
        self._rows["crops"] += crops
        self._crop_bytes += sum(len(crop["jpeg"]) for crop in crops)

    def due(self) -> bool:
        """Return True if the part being filled is full, or older than PART_SECONDS."""
        return bool(self._rows["media"]) and (
            len(self._rows["media"]) >= PART_MEDIA
            or self._crop_bytes >= PART_CROP_BYTES
            or time.monotonic() - self._part_started >= PART_SECONDS
        )

    def flush(self) -> None:
        """Commit the part being filled, if it holds anything."""
        if not self._rows["media"]:
            return
        hashes = sorted(row["content_hash"] for row in self._rows["media"])
        part = self._name_of(hashes)
        self._before_commit()
        for name, schema in STAGE1_TABLES.items():
            frame = pl.DataFrame(self._rows[name], schema=schema, orient="row")
            with writing_table(self._store, self._object_key(part, name)) as path:
                frame.write_parquet(path)
        self.written.append(part)
        self._rows = {name: [] for name in STAGE1_TABLES}
        self._crop_bytes = 0

    def _name_of(self, hashes: list[str]) -> str:
        """Return the name of a part, a hash of its media: a part written twice is the same part.

        Withdrawn failures change the name, because the same media may fail again.
        """
        withdrawn = self._withdrawals.count(hashes)
        text = "".join(hashes) + (f"+{withdrawn}" if withdrawn else "")
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def scan(self, table: str, stack: ExitStack) -> pl.LazyFrame:
        """Scan all valid rows of one table; readable until `stack` is closed."""
        withdrawn = self._withdrawals.parts() if table == "media" else set()
        parts = self.parts()
        unchanged = [part for part in parts if part not in withdrawn]
        rows = [self._scan(unchanged, table, stack)]
        for part in withdrawn.intersection(parts):
            valid = ~pl.col("content_hash").is_in(self._withdrawals.of(part))
            rows.append(self._scan([part], table, stack).filter(valid))
        return pl.concat(rows)

    def _scan(self, parts: list[str], table: str, stack: ExitStack) -> pl.LazyFrame:
        keys = [self._object_key(part, table) for part in parts]
        return scan_tables(self._store, keys, STAGE1_TABLES[table], stack)


class Withdrawals:
    """Failures in Stage 1's parts under one key that are to be retried."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._folder = f"{WITHDRAWN_FOLDER}/{key}"

    def add(self, rows: list[tuple[str, str]]) -> int:
        """Withdraw failures, as (part, content hash); return the number of new ones."""
        known = set(self._rows.iter_rows())
        new = sorted(row for row in rows if row not in known)
        if new:
            name = hashlib.sha256(json.dumps(new).encode()).hexdigest()[:24]
            frame = pl.DataFrame(new, schema=schemas.WITHDRAWN, orient="row")
            with writing_table(self._store, f"{self._folder}/{name}.parquet") as path:
                frame.write_parquet(path)
            del self._rows
        return len(new)

    def parts(self) -> set[str]:
        """Return the names of the parts with withdrawn failures."""
        return set(self._rows["part"])

    def of(self, part: str) -> list[str]:
        """Return the content hashes of the withdrawn failures of a part."""
        return self._rows.filter(pl.col("part") == part)["content_hash"].to_list()

    def count(self, hashes: list[str]) -> int:
        """Return how often these media were withdrawn."""
        return self._rows.filter(pl.col("content_hash").is_in(hashes)).height

    @cached_property
    def _rows(self) -> pl.DataFrame:
        with ExitStack() as stack:
            keys = [stored.key for stored in self._store.list(self._folder)]
            return scan_tables(self._store, keys, schemas.WITHDRAWN, stack).collect()


def withdraw_all_failures(store: ObjectStore) -> int:
    """Let the next run retry all media of a camera that failed, under any settings.

    Returns:
        The number of withdrawn failures.
    """
    found = {stored.key.split("/")[2] for stored in store.list(JOURNAL_STAGE1)}
    return sum(Stage1Journal(store, key).withdraw_failures() for key in sorted(found))


class Stage2Journal:
    """Stage 2's journal: labels, one part for each of Stage 1's parts."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self.key = key
        self._store = store
        self._folder = f"{JOURNAL_STAGE2}/{key}"

    def parts(self) -> set[str]:
        """Return the names of the labelled parts."""
        return {
            stored.key.rsplit("/", 1)[1].removesuffix(LABELS_SUFFIX)
            for stored in self._store.list(self._folder)
        }

    def remove_damaged(self) -> list[str]:
        """Delete damaged labels; return their files, with the reason.

        Raises:
            StoreError: labels were written by a newer version.
        """
        damaged = damaged_parts(self._store, self._folder, {"labels": schemas.LABELLED_BOXES})
        for part in damaged:
            self._store.delete(f"{self._folder}/{part}{LABELS_SUFFIX}")
        return [file for files in damaged.values() for file in files]

    def has_finished(self) -> bool:
        """Return True if any part is labelled."""
        return any(True for _ in self._store.list(self._folder))

    def write(self, part: str, labels: list[Row]) -> None:
        """Commit the labels of one of Stage 1's parts."""
        frame = pl.DataFrame(labels, schema=schemas.LABELLED_BOXES, orient="row")
        with writing_table(self._store, f"{self._folder}/{part}{LABELS_SUFFIX}") as path:
            frame.write_parquet(path)

    def scan(self, parts: list[str], stack: ExitStack) -> pl.LazyFrame:
        """Scan the labels of these parts; readable until `stack` is closed."""
        keys = [f"{self._folder}/{part}{LABELS_SUFFIX}" for part in parts]
        return scan_tables(self._store, keys, schemas.LABELLED_BOXES, stack)


def scan_tables(
    store: ObjectStore, keys: list[str], schema: pl.Schema, stack: ExitStack
) -> pl.LazyFrame:
    """Scan several Parquet objects of one schema as one lazy table.

    Objects of earlier versions may lack `schemas.ADDED_COLUMNS`; columns of newer ones are ignored.
    """
    if not keys:
        return pl.LazyFrame(schema=schema)
    paths = [stack.enter_context(store.reading(key)) for key in keys]
    return scan_parquet(paths, schema=schema, missing_columns="insert", extra_columns="ignore")


class HashSet:
    """A set of SHA-256 hashes in 16 bytes each, for cameras with millions of media."""

    def __init__(self, batches: Iterable[pl.Series]) -> None:
        """Args:
        batches: series of hashes in hexadecimal.
        """
        packed = b"".join(_truncate(text) for batch in batches for text in batch)
        self._sorted = np.unique(np.frombuffer(packed, f"S{HASH_BYTES}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, content_hash: object) -> bool:
        if not isinstance(content_hash, str):
            return False
        target = _truncate(content_hash)
        place = int(np.searchsorted(self._sorted, np.bytes_(target)))
        # numpy strips trailing zeros of byte strings.
        return place < len(self._sorted) and (
            self._sorted[place].ljust(HASH_BYTES, b"\0") == target
        )


def _truncate(content_hash: str) -> bytes:
    return bytes.fromhex(content_hash)[:HASH_BYTES]


def unlabelled_parts(stage1: Stage1Journal, stage2: Stage2Journal) -> Iterator[str]:
    """Yield Stage 1's parts that Stage 2 has not labelled, sorted."""
    labelled = stage2.parts()
    yield from (part for part in stage1.parts() if part not in labelled)
