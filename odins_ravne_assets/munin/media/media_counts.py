"""The usable media of a camera and how many frames of each will be looked at."""

from collections.abc import Iterator

from odins_ravne_assets.munin.tables.build import MEDIA
from resources.batch.work_units import ExpectedMedium, expected_frames
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore

SLICE = 10_000


def count_media(store: ObjectStore, profile: Profile) -> Iterator[ExpectedMedium]:
    """Media in the order in which Stage 1 takes them, read in slices."""
    import polars as pl

    with store.reading(MEDIA) as path:
        rows = pl.scan_parquet(path).filter(pl.col("status") == "ok")
        rows = rows.select("path", "kind", "duration_seconds", "fps")
        start = 0
        while (slice_ := rows.slice(start, SLICE).collect()).height:
            for name, kind, duration, fps in slice_.iter_rows():
                frames = expected_frames(kind, duration, fps, profile.pipeline.stage1)
                yield ExpectedMedium(name, frames)
            start += slice_.height
