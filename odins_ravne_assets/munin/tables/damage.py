"""Find damaged files of a camera's results.

A damaged part of the journal counts as uncommitted: it is deleted, and its media are processed
again. A part of a newer version is refused, because deleting it would lose its results.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from odins_ravne_assets.munin.tables.schemas import ADDED_COLUMNS
from resources.errors import DamagedFileError, StoreError
from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet, read_schema

LOCAL_URL = "file:"
FOLDERS = (layout.TABLES_FOLDER, "journal", layout.STAGE3_FOLDER)


def damaged_parts(
    store: ObjectStore, folder: str, tables: Mapping[str, pl.Schema]
) -> dict[str, list[str]]:
    """Return the names of a journal's parts with a damaged file, and these files with the reason.

    Only the footers are read, and only on this machine: S3 stores an object whole or not at all.

    Args:
        tables: the schema of each kind of file, PART.KIND.parquet.

    Raises:
        StoreError: a part was written by a newer version.
    """
    found: dict[str, list[str]] = {}
    if not store.url.startswith(LOCAL_URL):
        return found
    for stored in list(store.list(folder)):
        part, kind, *_ = [*stored.key.rsplit("/", 1)[1].split("."), ""]
        if kind not in tables:
            continue
        with store.reading(stored.key) as path:
            problem = _problem(path, tables[kind], f"{store.url}/{stored.key}")
        if problem:
            found.setdefault(part, []).append(f"{stored.key} ({problem})")
    return found


def _problem(path: Path, schema: pl.Schema, shown: str) -> str | None:
    """Return why a file cannot be used; None if it can."""
    try:
        columns = read_schema(path)
    except DamagedFileError as error:
        return error.reason
    other = [name for name in columns if columns[name] != schema.get(name, None)]
    if other:
        raise StoreError(
            f"{shown}: was written by a newer version of Odins Ravne (column {other[0]}); update "
            "the program, or name another OUTPUT"
        )
    missing = [name for name in schema if name not in columns and name not in ADDED_COLUMNS]
    return f"column {missing[0]} is missing" if missing else None


def damaged_files(store: ObjectStore) -> Iterator[tuple[str, str]]:
    """Yield key and reason of each Parquet file of a camera's results that cannot be read.

    Every file is read as a whole: to find the one that made a query fail.
    """
    for folder in FOLDERS:
        for stored in list(store.list(folder)):
            if stored.key.endswith(".parquet"):
                with store.reading(stored.key) as path:
                    try:
                        read_parquet(path)
                    except DamagedFileError as error:
                        yield stored.key, error.reason


def explain_failed_query(store: ObjectStore) -> StoreError | None:
    """Delete the damaged files that made a query fail, and return the error that names them.

    Returns:
        None if no file is damaged.
    """
    damaged = dict(damaged_files(store))
    if not damaged:
        return None
    for key in sorted(damaged, key=lambda key: not key.endswith(".media.parquet")):
        _delete_commit(store, key)
        store.delete(key)
    shown = "; ".join(f"{key} ({reason})" for key, reason in sorted(damaged.items()))
    return StoreError(f"{store.url}: damaged and deleted: {shown}; run again to make it again")


def _delete_commit(store: ObjectStore, key: str) -> None:
    """Delete the commit of a part of Stage 1, before another of its files."""
    folder, _, name = key.rpartition("/")
    if folder.startswith(layout.JOURNAL_STAGE1):
        store.delete(f"{folder}/{name.partition('.')[0]}.media.parquet")
