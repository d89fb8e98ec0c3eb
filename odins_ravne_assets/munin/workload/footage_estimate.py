"""Estimate the media and frames of a camera before a run, from names and headers.

Reads no file in full. Of very many videos it reads a sample, evenly spread, and scales by size.
Values in the media table of an earlier run are not read again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.classification.speciesnet_predictions import is_predictions
from odins_ravne_assets.munin.detection.journal_key import stage1_journal_key
from odins_ravne_assets.munin.media.media_files import is_medium, kind_by_name
from odins_ravne_assets.munin.media.media_table import with_prefixes
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.raw_pairs import without_raw_copies
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal, unlabelled_parts
from odins_ravne_assets.munin.tables.parquet_io import scan_table
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.batch.work_units import expected_frames
from resources.errors import MediaError, StoreError
from resources.settings.profile import Profile
from resources.storage import layout
from resources.storage.object_store import ObjectStore

# Most headers read, of local files and of remote files, where each takes a request.
MAX_LOCAL_HEADERS = 400
MAX_REMOTE_HEADERS = 40

LISTED_SCHEMA = {"path": pl.String, "kind": pl.String, "bytes": pl.Int64}
KNOWN_COLUMNS = ("path", "bytes", "duration_seconds", "fps", "status", "content_hash")


@dataclass(frozen=True)
class FootageCount:
    """Counts of a camera's footage.

    Args:
        videos_read: videos of known length; the length of the others is estimated.
        videos_unreadable: those of them without a readable header.
        video_seconds: length of all videos together.
        frames: of all media, that Stage 1 processes if the motion gate skips none.
        media_finished: media that an earlier run processed with the same models and settings.
        frames_left: `frames` without those of finished media.
        crops_left: boxes of animals in finished media that other settings of Stage 2 classify
            again.
    """

    images: int
    videos: int
    bytes: int
    videos_read: int
    videos_unreadable: int
    video_seconds: float
    frames: int
    media_finished: int
    frames_left: int
    crops_left: int = 0

    @property
    def media(self) -> int:
        return self.images + self.videos


def count_footage(
    footage: Footage,
    output: ObjectStore | None,
    profile: Profile,
    probe: Callable[[Path], Probe],
) -> FootageCount:
    """Count a camera's media and the frames in them.

    Args:
        footage: its sources that are available; or one store, for a camera without results.
        output: the camera's results, with the media table and the journal of an earlier run;
            None if there are none.
        probe: reads one header; raises MediaError for a file that cannot be used.

    Raises:
        StoreError: the footage cannot be listed.
    """
    listed = [
        (found.key, kind_by_name(found.key), found.size)
        for found in without_raw_copies(
            footage.list("", partial(_on_list_error, footage.url)), lambda each: each.key
        )
        if is_medium(found.key)
    ]
    prefixes = footage.prefixes() if isinstance(footage, SourceFootage) else {}
    media = _with_known_columns(
        pl.DataFrame(listed, schema=LISTED_SCHEMA, orient="row"), output, profile, prefixes
    )
    counted = _count(_with_lengths(media, footage, probe), profile)
    return replace(counted, crops_left=_crops_left(output, profile)) if output else counted


def _on_list_error(url: str, key: str, reason: str) -> None:
    """Raise for footage that cannot be listed; the run reports what cannot be listed in it."""
    if key in {"", "."}:
        raise StoreError(f"{url}: cannot be listed: {reason}")


def _crops_left(output: ObjectStore, profile: Profile) -> int:
    if is_predictions(profile.models.classifier):
        return 0  # no model runs
    journal = Stage1Journal(output, stage1_journal_key(output, profile))
    labels = Stage2Journal(output, stage2_key(profile, journal.key))
    return sum(journal.animals(part) for part in unlabelled_parts(journal, labels))


def _with_known_columns(
    listed: pl.DataFrame,
    output: ObjectStore | None,
    profile: Profile,
    prefixes: Mapping[str, str],
) -> pl.DataFrame:
    """Add KNOWN_COLUMNS, null for files that no earlier run read, and `finished`.

    Args:
        prefixes: what paths begin with, by name of a source, the first one first.
    """
    if output is None or not output.exists(layout.MEDIA_TABLE):
        lengths = [pl.lit(None, pl.Float64).alias(name) for name in ("duration_seconds", "fps")]
        status = pl.lit(None, pl.String).alias("status")
        return listed.with_columns(*lengths, status, finished=pl.lit(False))
    with output.reading(layout.MEDIA_TABLE) as path:
        table = scan_table(path, MEDIA).select(*KNOWN_COLUMNS, "source")
        known = with_prefixes(table, prefixes).drop("source").collect()
    finished = Stage1Journal(output, stage1_journal_key(output, profile)).finished()
    is_finished = pl.Series([each in finished for each in known["content_hash"]], dtype=pl.Boolean)
    known = known.with_columns(finished=is_finished).drop("content_hash")
    joined = listed.join(known, on=["path", "bytes"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("finished").fill_null(False))


def _with_lengths(
    media: pl.DataFrame, footage: Footage, probe: Callable[[Path], Probe]
) -> pl.DataFrame:
    """Add the lengths of unknown videos, read from all of them or from a sample."""
    unknown = (pl.col("kind") == "video") & pl.col("status").is_null()
    paths = media.filter(unknown)["path"]
    limit = MAX_LOCAL_HEADERS if footage.url.startswith("file:") else MAX_REMOTE_HEADERS
    step = max(1.0, len(paths) / limit)
    sample = [paths[int(number * step)] for number in range(min(len(paths), limit))]
    read = [(path, *_length(footage, path, probe)) for path in sample]
    schema = {"path": pl.String, "seconds": pl.Float64, "rate": pl.Float64, "found": pl.String}
    lengths = pl.DataFrame(read, schema=schema, orient="row")
    return media.join(lengths, on="path", how="left", maintain_order="left").select(
        "kind",
        "bytes",
        "finished",
        pl.coalesce("status", "found").alias("status"),
        pl.coalesce("duration_seconds", "seconds").alias("duration_seconds"),
        pl.coalesce("fps", "rate").alias("fps"),
    )


def _length(
    footage: Footage, path: str, probe: Callable[[Path], Probe]
) -> tuple[float | None, float | None, str]:
    """Return the seconds, the frame rate and the status by a video's header.

    An archived video, which cannot be read now, counts as one of unknown length.
    """
    try:
        with footage.reading_edges(path) as file:
            found = probe(file)
    except MediaError:
        return None, None, "failed"
    except StoreError:
        return None, None, "ok"
    return found.duration_seconds, found.fps, "ok"


def _count(media: pl.DataFrame, profile: Profile) -> FootageCount:
    media = media.with_columns(frames=_frames(media, profile))
    videos = media.filter(pl.col("kind") == "video")
    read = videos.filter(pl.col("status").is_not_null())
    finished = media.filter("finished")
    # The videos that were read stand for the others, by size.
    scale = _total(videos, "bytes") / max(1.0, _total(read, "bytes"))
    frames = _total(media, "frames") + _total(read, "frames") * (scale - 1)
    return FootageCount(
        images=media.height - videos.height,
        videos=videos.height,
        bytes=round(_total(media, "bytes")),
        videos_read=read.height,
        videos_unreadable=read.filter(pl.col("status") == "failed").height,
        video_seconds=_total(read, "duration_seconds") * scale,
        frames=round(frames),
        media_finished=finished.height,
        frames_left=round(frames - _total(finished, "frames")),
    )


def _frames(media: pl.DataFrame, profile: Profile) -> pl.Series:
    """Return the frames of each medium that Stage 1 processes; null for a video not read."""
    stage1 = profile.pipeline.stage1
    found: list[int | None] = []
    rows = media.select("kind", "status", "duration_seconds", "fps").iter_rows()
    for kind, status, seconds, fps in rows:
        if kind == "video" and status is None:
            found.append(None)
        elif status in {None, "ok"}:
            found.append(expected_frames(kind, seconds, fps, stage1))
        else:
            found.append(0)
    return pl.Series(found, dtype=pl.Int64)


def _total(media: pl.DataFrame, column: str) -> float:
    return float(media.select(pl.col(column).sum()).item() or 0)
