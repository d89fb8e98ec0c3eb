"""Write Parquet tables to a store with polars."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from odins_ravne_assets.munin.tables.schemas import ADDED_COLUMNS
from resources.storage.object_store import ObjectStore

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


def with_added_columns(table: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    """Return a table with null columns for `schemas.ADDED_COLUMNS` that it lacks.

    Raises:
        polars.exceptions.PolarsError: the table is damaged.
    """
    missing = [name for name in schema if name in ADDED_COLUMNS - table.collect_schema().keys()]
    return table.with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)
