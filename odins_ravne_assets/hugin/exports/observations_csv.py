"""`observations.csv`: the observations as a spreadsheet that can be imported as corrections.

One row per observation, with the columns of `tables.OBSERVATIONS` except the timeline. Times are
ISO 8601 with the camera's offset, flags are separated by a bar. The last columns are empty, for the
labels of a reviewer (`review.review_files`).
"""

from pathlib import Path

import polars as pl

from odins_ravne_assets.hugin.formats import end_time, iso_time, write_printable_csv

REVIEWER_COLUMNS = ("confirmed_species", "comment")
# Spreadsheets run a cell that begins with one of these as a formula (CSV injection).
FORMULA_PREFIX = r"^[=+\-@\t\r]"


def write_observations_csv(observations: pl.DataFrame, path: Path) -> None:
    """Write rows of `tables.OBSERVATIONS`."""
    rows = observations.select(
        "observation_id",
        _text("camera_id"),
        "category",
        _text("species"),
        _text("scientific_name"),
        "taxon_rank",
        "count",
        iso_time("start_at", "utc_offset_minutes", "").alias("start_time"),
        end_time("").alias("end_time"),
        "duration_seconds",
        pl.col("max_confidence", "avg_confidence", "vote_share").cast(pl.Float64).round(4),
        "detection_count",
        "frame_count",
        "media_count",
        _text("source_video").alias("first_medium"),
        "label_source",
        "machine_species",
        "reviewed_by",
        "reviewed_on",
        "needs_review",
        pl.col("flags").list.join("|"),
        "first_detection",
        *(pl.lit(None, pl.String).alias(column) for column in REVIEWER_COLUMNS),
    )
    write_printable_csv(rows, path)


def _text(column: str) -> pl.Expr:
    """A text column in which a formula is escaped with a leading apostrophe."""
    text = pl.col(column)
    return pl.when(text.str.contains(FORMULA_PREFIX)).then("'" + text).otherwise(text).alias(column)
