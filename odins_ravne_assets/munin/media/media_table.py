"""The media table, written and read as a stream of rows, in bounded memory.

One table per camera; its rows are in `key_order`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.munin.tables.parquet_io import scan_table, writing_table
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.batch.work_units import ExpectedMedium, expected_frames
from resources.errors import DamagedFileError
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_TABLE
from resources.storage.object_store import ObjectStore, key_order
from resources.storage.parquet_files import read_parquet, scan_parquet
from resources.storage.temporary_folder import temporary_folder

# One row, with the columns of schemas.MEDIA.
Row = dict[str, Any]

# Rows in memory at a time, and in a row group of the file.
CHUNK_ROWS = 10_000

# Stored in the table's metadata. Rows of another reader version are not reused: raise it when a
# change of the code changes what is read from files.
READER_VERSION = "1"
# Rows of another version of the readers of tags (times, cameras' notes) stay until an update: to
# read them again costs a download of the footage. Raise it when these readers find more.
TAG_READER = 2
_READER_KEY, _OFFSETS_KEY = "munin.reader", "munin.offset_rules"
_TAG_READER_KEY = "munin.tag_reader"
# The sources that were not available when the table was written, and whose rows were made by other
# rules than the table's, by name: with other offsets, or by another reader version.
_KEPT_RULES_KEY = "munin.retained_rules"
OTHER_OFFSETS, OTHER_READER = "other offsets", "another reader version"


@dataclass(frozen=True)
class StoredMedia:
    """The rows of the previous pass over a camera's footage.

    Args:
        rows: those that need not be read again.
        offset_rules: the rules that the rows were made with, see footage.offset_rules.
        camera_id: None if there are no rows.
        retained_rules: by name of a source, OTHER_OFFSETS or OTHER_READER where its rows differ.
        path: the table; None: there is none.
        tag_reader: the oldest TAG_READER of its rows.
    """

    rows: Iterable[Row] = ()
    offset_rules: str | None = None
    camera_id: str | None = None
    retained_rules: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    tag_reader: int = TAG_READER

    def read_again(self) -> "StoredMedia":
        """Return the table without rows to reuse: those of sources that are available are read."""
        return replace(self, rows=(), offset_rules=OTHER_READER, retained_rules={})

    def rules_of(self, source: str) -> str | None:
        """Return the rules that a source's rows were made with; OTHER_READER: read them again."""
        return self.retained_rules.get(source, self.offset_rules)

    def source_names(self) -> list[str]:
        """Return the names of several sources, in the order of the table; none if it has one."""
        if self.path is None:
            return []
        table = scan_table(self.path, MEDIA)
        names = table.select(pl.col("source").drop_nulls().unique(maintain_order=True))
        return names.collect()["source"].to_list()

    def rows_of(self, source: str, is_first: bool) -> Iterator[Row]:
        """Yield the rows of a source, with paths relative to it.

        Args:
            is_first: the rows without a source are its rows.
        """
        if self.path is None:
            return
        for row in _stream(self.path, _is_of(source, is_first)):
            yield {**row, "path": path_in_source(row["path"], row["source"])}

    def count_of(self, source: str, is_first: bool) -> int:
        """Return the number of rows that `rows_of` yields."""
        if self.path is None:
            return 0
        table = scan_table(self.path, MEDIA)
        return int(table.filter(_is_of(source, is_first)).select(pl.len()).collect().item())


def _is_of(source: str, is_first: bool) -> pl.Expr:
    mine = pl.col("source") == source
    return mine | pl.col("source").is_null() if is_first else mine


class PreviousRows:
    """The usable rows of the previous pass, read in step with the listing: both are in order."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = (row for row in rows if row["status"] != "failed")
        self._next = next(self._rows, None)

    def find(self, key: str) -> Row | None:
        """Return the row of a path, or None. Call it in `key_order`."""
        order = key_order(key)
        while self._next is not None and key_order(self._next["path"]) < order:
            self._next = next(self._rows, None)
        return self._next if self._next is not None and self._next["path"] == key else None


def path_in_source(path: str, source: str | None) -> str:
    """Return the path of a medium relative to its source, by the columns of its row."""
    return path if source is None else path.removeprefix(f"{source}/")


def write_media_table(
    rows: Iterable[Row],
    store: ObjectStore,
    key: str,
    offset_rules: str,
    retained_rules: Mapping[str, str] | None = None,
    tag_reader: int = TAG_READER,
) -> None:
    """Write rows, in their order, as the table under `key` (atomic write).

    Args:
        offset_rules: see footage.offset_rules; stored with the table.
        retained_rules, tag_reader: see StoredMedia.

    Raises:
        StoreError: the store cannot be written.
    """
    metadata = {_READER_KEY: READER_VERSION, _OFFSETS_KEY: offset_rules}
    metadata[_TAG_READER_KEY] = str(tag_reader)
    if retained_rules:
        metadata[_KEPT_RULES_KEY] = json.dumps(dict(retained_rules), sort_keys=True)
    with temporary_folder("media") as folder, writing_table(store, key) as target:
        parts = list(_write_parts(iter(rows), folder))
        # Write parts first: the streaming sink takes files, not rows.
        scan_parquet(parts).sink_parquet(target, row_group_size=CHUNK_ROWS, metadata=metadata)


def _write_parts(rows: Iterator[Row], folder: Path) -> Iterator[Path]:
    """Write Parquet files of CHUNK_ROWS rows; at least one, so that an empty table has columns."""
    chunk = list(islice(rows, CHUNK_ROWS))
    for number in count():
        path = folder / f"{number:09d}.parquet"
        pl.DataFrame(chunk, schema=MEDIA, orient="row").write_parquet(path)
        yield path
        chunk = list(islice(rows, CHUNK_ROWS))
        if not chunk:
            return


@contextmanager
def open_media_table(store: ObjectStore, key: str) -> Iterator[StoredMedia]:
    """Open the table under `key` for the context; empty if there is none.

    The rows of another reader version are read again from the footage; those of sources that are
    not available stay. A damaged table counts as empty: it is rebuilt from the footage.
    """
    if not store.exists(key):
        yield StoredMedia()
        return
    with store.reading(key) as path:
        try:
            metadata = pl.read_parquet_metadata(path)
            table = scan_table(path, MEDIA)
        except (DamagedFileError, pl.exceptions.PolarsError, OSError):
            yield StoredMedia()
            return
        cameras = table.select("camera_id").head(1).collect()["camera_id"]
        camera_id = cameras[0] if len(cameras) else None
        kept = json.loads(metadata.get(_KEPT_RULES_KEY, "{}"))
        tag_reader = int(metadata.get(_TAG_READER_KEY, "1"))
        rules = metadata.get(_OFFSETS_KEY)
        known = StoredMedia(_stream(path), rules, camera_id, kept, path, tag_reader)
        is_readable = metadata.get(_READER_KEY) == READER_VERSION
        yield known if is_readable else known.read_again()


def _stream(path: Path, mine: pl.Expr | None = None) -> Iterator[Row]:
    """Yield the rows, or those for which `mine` is true, reading a row group at a time."""
    table = scan_table(path, MEDIA)
    total = table.select(pl.len()).collect().item()
    for start in range(0, total, CHUNK_ROWS):
        chunk = table.slice(start, CHUNK_ROWS).collect()
        yield from (chunk if mine is None else chunk.filter(mine)).iter_rows(named=True)


def expected_media(store: ObjectStore, profile: Profile) -> Iterator[ExpectedMedium]:
    """Yield the usable media with their expected frames, in Stage 1's order."""
    with store.reading(MEDIA_TABLE) as path:
        rows = scan_parquet(path).filter(pl.col("status") == "ok")
        rows = rows.select("path", "kind", "duration_seconds", "fps")
        start = 0
        while (chunk := rows.slice(start, CHUNK_ROWS).collect()).height:
            for name, kind, duration, fps in chunk.iter_rows():
                frames = expected_frames(kind, duration, fps, profile.pipeline.stage1)
                yield ExpectedMedium(name, frames)
            start += chunk.height


def known_files(store: ObjectStore, source: str | None = None) -> set[tuple[str, int, int]]:
    """Return path, size in bytes and date (ns since 1970 UTC) of each medium of the table.

    Args:
        source: the name of one of several sources: its media alone, by the path in it.
    """
    if not store.exists(MEDIA_TABLE):
        return set()
    with store.reading(MEDIA_TABLE) as path:
        if source is None:
            return set(read_parquet(path, columns=["path", "bytes", "modified_ns"]).iter_rows())
        rows = _stream(path, pl.col("source") == source)
        return {
            (path_in_source(row["path"], source), row["bytes"], row["modified_ns"]) for row in rows
        }


def with_prefixes(media: pl.LazyFrame, prefixes: Mapping[str, str]) -> pl.LazyFrame:
    """Return a media table with paths that begin as they do with today's sources of its camera.

    Args:
        media: with the columns `path` and `source`.
        prefixes: by name of a source, the first one first; empty: paths stay as they are. Rows of
            other sources are left out.
    """
    if not prefixes:
        return media
    first = next(iter(prefixes))
    below = pl.col("path").str.slice(pl.col("source").str.len_chars() + 1)
    inside = pl.when(pl.col("source").is_null()).then("path").otherwise(below)
    source = pl.col("source").fill_null(first)
    begin = source.replace_strict(prefixes, default=None, return_dtype=pl.String)
    return media.with_columns(path=begin + inside).filter(pl.col("path").is_not_null())


def case_conflicts(store: ObjectStore) -> list[tuple[str, str]]:
    """Return pairs of paths that are one file on a case-insensitive disk: macOS, Windows.

    Paths that differ only in their Unicode form count too.
    """
    folded = pl.col("path").str.normalize("NFC").str.to_lowercase()
    with store.reading(MEDIA_TABLE) as path:
        # Hashes first: a few bytes for each medium.
        media = scan_parquet(path).select("path", digest=folded.hash())
        counts = media.group_by("digest").agg(count=pl.len()).filter(pl.col("count") > 1)
        alike = media.join(counts, on="digest", how="semi").collect(engine="streaming")
    groups = alike.group_by(folded.alias("folded")).agg(pl.col("path").sort())["path"]
    return sorted((group[0], other) for group in groups for other in group[1:])
