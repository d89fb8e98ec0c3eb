"""The table of a camera's files that are not media."""

from typing import Any

import polars as pl

from odins_ravne_assets.munin.media.other_files import OtherFiles
from odins_ravne_assets.munin.tables.parquet_io import read_table, writing_table
from odins_ravne_assets.munin.tables.schemas import OTHER_FILES
from resources.errors import DamagedFileError
from resources.storage.layout import OTHER_FILES_TABLE
from resources.storage.object_store import ObjectStore


def write_other_files(other: OtherFiles, store: ObjectStore) -> None:
    """Write the counts as a table of the camera's results.

    Raises:
        StoreError: the store cannot be written.
    """
    with writing_table(store, OTHER_FILES_TABLE) as path:
        pl.DataFrame(other.rows(), schema=OTHER_FILES, orient="row").write_parquet(path)


def read_other_files(store: ObjectStore) -> list[dict[str, Any]]:
    """Return the rows of the table; empty if results of an earlier version, or damaged ones.

    The next pass over the footage writes it again.
    """
    if not store.exists(OTHER_FILES_TABLE):
        return []
    with store.reading(OTHER_FILES_TABLE) as path:
        try:
            return read_table(path, OTHER_FILES).to_dicts()
        except DamagedFileError:
            return []
