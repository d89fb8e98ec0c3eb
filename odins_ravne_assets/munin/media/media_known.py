"""The media that a camera's table holds: what Stage 0 has read, in whatever state it is."""

from odins_ravne_assets.munin.tables.build import MEDIA
from resources.storage.object_store import ObjectStore


def media_known(store: ObjectStore) -> set[tuple[str, int, int]]:
    """Path below the camera's footage, bytes, and date in nanoseconds since 1970 UTC, of each
    medium; none where there is no table yet."""
    import polars as pl

    if not store.exists(MEDIA):
        return set()
    with store.reading(MEDIA) as path:
        return set(pl.read_parquet(path, columns=["path", "bytes", "modified_ns"]).iter_rows())
