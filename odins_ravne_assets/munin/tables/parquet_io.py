"""Tables in a store, written with polars."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from resources.storage.object_store import ObjectStore

# More than can be left of a disk on which polars found no room.
PROBE_BYTES = 2**20


@contextmanager
def writing_table(store: ObjectStore, key: str) -> Iterator[Path]:
    """A local file for polars to write; it becomes the object when the context ends well.

    Raises:
        StoreError: the disk is full, or the store refuses for another reason.
    """
    with store.writing(key) as path:
        try:
            yield path
        except pl.exceptions.ComputeError:
            # Polars tells the system's errors as its own, and a full disk in several ways. A plain
            # write to the same file meets them as what they are, for the store to explain.
            with path.open("ab", buffering=0) as file:
                for _ in range(2):  # the first may still find a little room
                    file.write(bytes(PROBE_BYTES))
            raise
