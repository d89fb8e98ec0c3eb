"""Write Parquet tables to a store with polars, and scan those of other versions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from odins_ravne_assets.munin.tables.schemas import ADDED_COLUMNS
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_known_columns, scan_known_columns

# More than the free space of a disk that polars found full.
PROBE_BYTES = 2**20


@contextmanager
def writing_table(store: ObjectStore, key: str) -> Iterator[Path]:
    """Open a local file for polars to write; it is stored when the context succeeds.

    Raises:
        StoreError: the disk is full, or the store cannot be written for another reason.
    """
    with store.writing(key) as path:
        try:
            yield path
        except pl.exceptions.ComputeError:
            # Polars wraps errors of the system, a full disk in several ways. A plain write to the
            # same file raises the OSError itself, which the store translates.
            with path.open("ab", buffering=0) as file:
                for _ in range(2):  # the first may fill the remaining space
                    file.write(bytes(PROBE_BYTES))
            raise


def scan_table(path: Path, schema: pl.Schema) -> pl.LazyFrame:
    """Scan a table of `schemas`, of this version or another.

    Columns of newer versions are ignored; `schemas.ADDED_COLUMNS` that it lacks are null.

    Raises:
        DamagedFileError: the table is damaged, or lacks another column.
    """
    return scan_known_columns(path, schema, ADDED_COLUMNS)


def read_table(path: Path, schema: pl.Schema) -> pl.DataFrame:
    """Read a table of `schemas`; see `scan_table`, also for the errors."""
    return read_known_columns(path, schema, ADDED_COLUMNS)
