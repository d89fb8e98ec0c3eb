"""The MEDIA table as a stream of rows: written and read again in bounded memory.

Its rows are in the order of `key_order`, one table per camera.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from odins_ravne_assets.munin.tables.parquet_io import writing_table
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.batch.work_units import ExpectedMedium, expected_frames
from resources.errors import StoreError
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_TABLE as MEDIA_TABLE
from resources.storage.object_store import ObjectStore

# One row, with the columns of tables.MEDIA.
Row = dict[str, Any]

# Rows in memory at a time, and in a row group of the file.
CHUNK_ROWS = 10_000

# Part of the table's own metadata. A table of another reader version is not built upon: raise it
# when files come to be read differently.
READER_VERSION = "1"
_READER_KEY, _OFFSETS_KEY = "munin.reader", "munin.offset_rules"


@dataclass(frozen=True)
class StoredMedia:
    """The rows of an earlier pass over a camera's footage."""

    rows: Iterable[Row] = ()
    offset_rules: str | None = None  # those that the rows were made with
    camera_id: str | None = None  # None: there are no rows


def write_media_table(rows: Iterable[Row], store: ObjectStore, key: str, offset_rules: str) -> None:
    """Write rows, in their order, as the table under `key`; whole or not at all.

    Args:
        offset_rules: see footage.offset_rules; kept with the table.

    Raises:
        StoreError: the store cannot be written.
    """
    metadata = {_READER_KEY: READER_VERSION, _OFFSETS_KEY: offset_rules}
    with TemporaryDirectory(prefix="media-") as folder, writing_table(store, key) as target:
        parts = list(_write_parts(iter(rows), Path(folder)))
        # Parts first: the streaming sink takes files, and cannot be fed row by row.
        pl.scan_parquet(parts).sink_parquet(target, row_group_size=CHUNK_ROWS, metadata=metadata)


def _write_parts(rows: Iterator[Row], folder: Path) -> Iterator[Path]:
    """Parquet files of CHUNK rows; at least one, so that an empty table has its columns."""
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
    """The table under `key`, for as long as the context lasts; empty when there is none.

    A table that another version of the reader wrote counts as none.

    Raises:
        StoreError: it is damaged.
    """
    if not store.exists(key):
        yield StoredMedia()
        return
    with store.reading(key) as path:
        try:
            metadata = pl.read_parquet_metadata(path)
            schema = pl.read_parquet_schema(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StoreError(
                f"{store.url}/{key}: cannot be read: {error}; delete it to read the footage anew"
            ) from None
        if schema != MEDIA or metadata.get(_READER_KEY) != READER_VERSION:
            yield StoredMedia()
        else:
            cameras = pl.scan_parquet(path).select("camera_id").head(1).collect()["camera_id"]
            camera_id = cameras[0] if len(cameras) else None
            yield StoredMedia(_stream(path), metadata.get(_OFFSETS_KEY), camera_id)


def _stream(path: Path) -> Iterator[Row]:
    """The rows, a row group at a time."""
    table = pl.scan_parquet(path)
    start = 0
    while not (chunk := table.slice(start, CHUNK_ROWS).collect()).is_empty():
        yield from chunk.iter_rows(named=True)
        start += CHUNK_ROWS


def expected_media(store: ObjectStore, profile: Profile) -> Iterator[ExpectedMedium]:
    """Media in the order in which Stage 1 takes them, read in slices."""
    with store.reading(MEDIA_TABLE) as path:
        rows = pl.scan_parquet(path).filter(pl.col("status") == "ok")
        rows = rows.select("path", "kind", "duration_seconds", "fps")
        start = 0
        while (slice_ := rows.slice(start, CHUNK_ROWS).collect()).height:
            for name, kind, duration, fps in slice_.iter_rows():
                frames = expected_frames(kind, duration, fps, profile.pipeline.stage1)
                yield ExpectedMedium(name, frames)
            start += slice_.height


def known_files(store: ObjectStore) -> set[tuple[str, int, int]]:
    """Path below the camera's footage, bytes, and date in nanoseconds since 1970 UTC, of each
    medium; none where there is no table yet."""
    if not store.exists(MEDIA_TABLE):
        return set()
    with store.reading(MEDIA_TABLE) as path:
        return set(pl.read_parquet(path, columns=["path", "bytes", "modified_ns"]).iter_rows())
