"""Find damaged files of a camera's results.

A damaged part of the journal counts as uncommitted: it is deleted, and its media are processed
again. Columns that a newer version added are ignored; a part in which a column has another type is
refused, because deleting it would lose its results.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from odins_ravne_assets.munin.tables.schemas import ADDED_COLUMNS
from resources.errors import DamagedFileError, StoreError
from resources.storage import layout
from resources.storage.object_store import ObjectStore, StoredObject
from resources.storage.parquet_files import read_parquet, read_schema

LOCAL_URL = "file:"
# A Parquet file has its magic number at both ends, and the length of its footer.
MIN_PARQUET_BYTES = 12
FOLDERS = (layout.TABLES_FOLDER, "journal", layout.STAGE3_FOLDER)


def damaged_parts(
    store: ObjectStore, folder: str, tables: Mapping[str, pl.Schema]
) -> dict[str, list[str]]:
    """Return the names of a journal's parts with a damaged file, and these files with the reason.

    A part that is committed and lacks a file is damaged. Footers are read on this machine only; on
    S3, where that costs a request per file, other damage is found when a stage reads the part.

    Args:
        tables: the schema of each kind of file, PART.KIND.parquet; the last one commits the part.

    Raises:
        StoreError: a part was written by a newer version.
    """
    found: dict[str, list[str]] = {}
    kinds: dict[str, set[str]] = defaultdict(set)
    for stored in list(store.list(folder)):
        part, kind, *_ = [*stored.key.rsplit("/", 1)[1].split("."), ""]
        if kind not in tables:
            continue
        kinds[part].add(kind)
        if problem := _problem_of(store, stored, tables[kind]):
            found.setdefault(part, []).append(f"{stored.key} ({problem})")
    *_, commit = tables
    for part, present in kinds.items():
        if commit in present and (missing := tables.keys() - present):
            names = (f"{folder}/{part}.{kind}.parquet (is missing)" for kind in sorted(missing))
            found.setdefault(part, []).extend(names)
    return found


def _problem_of(store: ObjectStore, stored: StoredObject, schema: pl.Schema) -> str | None:
    """Return why an object of a journal cannot be used; None if no reason is known."""
    if stored.size < MIN_PARQUET_BYTES:
        return f"has {stored.size} bytes"
    if not store.url.startswith(LOCAL_URL):
        return None
    with store.reading(stored.key) as path:
        return _problem(path, schema, f"{store.url}/{stored.key}")


def _problem(path: Path, schema: pl.Schema, shown: str) -> str | None:
    """Return why a file cannot be used; None if it can."""
    try:
        columns = read_schema(path)
    except DamagedFileError as error:
        return error.reason
    other = [name for name in schema if name in columns and columns[name] != schema[name]]
    if other:
        raise StoreError(
            f"{shown}: was written by a newer version of Odins Ravne (column {other[0]}); update "
            "the program, or name another OUTPUT"
        )
    missing = [name for name in schema if name not in columns and name not in ADDED_COLUMNS]
    return f"column {missing[0]} is missing" if missing else None


def damaged_files(store: ObjectStore) -> Iterator[tuple[str, str]]:
    """Yield key and reason of each Parquet file that a run makes and that cannot be read.

    Every file is read as a whole: to find the one that made a query fail.
    """
    for folder in FOLDERS:
        for stored in list(store.list(folder)):
            if stored.key.startswith(f"{layout.CORRECTIONS_FOLDER}/"):
                continue  # people made them: never deleted
            if stored.key.endswith(".parquet"):
                with store.reading(stored.key) as path:
                    try:
                        read_parquet(path)
                    except DamagedFileError as error:
                        yield stored.key, error.reason


def delete_damaged(store: ObjectStore) -> dict[str, str]:
    """Delete the damaged files of a camera's results, as after a query that failed.

    Returns:
        Their keys, with the reason.
    """
    damaged = dict(damaged_files(store))
    for key in sorted(damaged, key=lambda key: not key.endswith(".media.parquet")):
        _delete_commit(store, key)
        store.delete(key)
    return damaged


def damage_error(store: ObjectStore, damaged: Mapping[str, str]) -> StoreError:
    """Return the error that names the result of `delete_damaged`."""
    shown = "; ".join(f"{key} ({reason})" for key, reason in sorted(damaged.items()))
    return StoreError(f"{store.url}: damaged and deleted: {shown}; run again to make it again")


def _delete_commit(store: ObjectStore, key: str) -> None:
    """Delete the commit of a part of Stage 1, before another of its files."""
    folder, _, name = key.rpartition("/")
    if folder.startswith(layout.JOURNAL_STAGE1):
        store.delete(f"{folder}/{name.partition('.')[0]}.media.parquet")
