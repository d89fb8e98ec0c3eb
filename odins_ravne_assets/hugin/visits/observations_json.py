"""`compressed_observations.json`: a JSON list of observations, one per line.

Each observation has, in this order: observation_id, camera_id, category, species, scientific_name,
taxon_rank, class, order, family, genus, count, start_time, end_time, duration_seconds,
max_confidence, avg_confidence, frame_count, detection_count, media_count, source_video,
detection_timeline (a list of time, path, frame_number, box_number, time_offset_seconds,
confidence), vote_share, relabelled, label_source, machine_species, reviewed_by, reviewed_on, flags
and needs_review. `tables.OBSERVATIONS` defines the columns; an entry of a timeline without
frame_number and box_number is a missed detection of a reviewer. Each time has its own offset, or
that of the row before it; shares and confidences have four digits; text is UTF-8.
"""

import io
from pathlib import Path

import polars as pl

from odins_ravne_assets.hugin.formats import end_time, iso_time, iter_batches, seconds
from resources.printable import escaped_json


def write_observations_json(observations: pl.DataFrame, path: Path) -> None:
    """Write rows of `tables.OBSERVATIONS`; memory holds the text of one batch at a time."""
    with path.open("wb") as file:
        file.write(b"[")
        separator = b"\n"
        for batch in iter_batches(observations):
            lines = io.BytesIO()
            _json_columns(batch).write_ndjson(lines)
            # JSON escapes line breaks within values, so these end the observations.
            text = escaped_json(lines.getvalue().decode().rstrip("\n").replace("\n", ",\n"))
            file.write(separator + text.encode())
            separator = b",\n"
        file.write(b"\n]\n")


def _json_columns(observations: pl.DataFrame) -> pl.DataFrame:
    return observations.select(
        "observation_id",
        "camera_id",
        "category",
        "species",
        "scientific_name",
        "taxon_rank",
        "class",
        "order",
        "family",
        "genus",
        "count",
        iso_time("start_at", "utc_offset_minutes").alias("start_time"),
        end_time().alias("end_time"),
        "duration_seconds",
        _four_digits("max_confidence"),
        _four_digits("avg_confidence"),
        "frame_count",
        "detection_count",
        "media_count",
        "source_video",
        _timelines(observations),
        _four_digits("vote_share"),
        "relabelled",
        "label_source",
        "machine_species",
        "reviewed_by",
        "reviewed_on",
        "flags",
        "needs_review",
    )


def _timelines(observations: pl.DataFrame) -> pl.Series:
    return (
        observations.select(
            "detection_timeline",
            offset=pl.coalesce(
                "detection_offsets",
                pl.col("utc_offset_minutes").repeat_by(pl.col("detection_timeline").list.len()),
            ),
        )
        .with_row_index("observation")
        .explode("detection_timeline", "offset")
        .unnest("detection_timeline")
        .group_by("observation", maintain_order=True)
        .agg(
            detection_timeline=pl.struct(
                iso_time("captured_at", "offset").alias("time"),
                "path",
                "frame_number",
                "box_number",
                seconds("time_offset_ms").alias("time_offset_seconds"),
                _four_digits("confidence"),
            )
        )["detection_timeline"]
    )


def _four_digits(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).round(4)
