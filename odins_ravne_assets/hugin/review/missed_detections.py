"""Missed detections: animals that a reviewer labelled in media where the detector found nothing.

A review file lists everything in a medium, so a later file replaces the labels of an earlier one. A
correction of one observation (`instead_of`) only changes the species of that observation.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    DETECTION_COLUMNS,
    SpeciesNames,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class MissedDetections:
    """Animals, people and vehicles that the detector missed.

    Attributes:
        rows: rows of `Identifications` with `review` and `counted`; frame_number and box_number are
            null, and columns without a meaning for them are missing.
        corrections: the `review` of every correction of a medium without detections.
        media: number of media without detections that reviewers labelled.
    """

    rows: pl.DataFrame
    corrections: pl.Series
    media: int

    def summary(self, names: SpeciesNames) -> Json:
        """Return the field `empty_media` of `report.json`."""
        species = (
            self.rows.join(names.table().select("name", "species"), on="name")
            .group_by("species")
            .len("media")
            .sort("media", "species", descending=[True, False])
        )
        return {"reviewed": self.media, "missed": species.to_dicts()}


def empty_media(media: pl.LazyFrame, processed: pl.LazyFrame) -> pl.LazyFrame:
    """Return the processed media without detections, once for each content.

    Columns: camera_id, path, content_hash, kind, captured_at, utc_offset_minutes.

    Args:
        media, processed: rows of the tables of these names.
    """
    dated = media.select("path", "captured_at", "utc_offset_minutes")
    return (
        processed.filter((pl.col("status") == "done") & (pl.col("boxes") == 0))
        .select("camera_id", "path", "content_hash", "kind")
        .join(dated, on="path")
    )


def find_missed_detections(
    corrections: pl.DataFrame, labels: pl.DataFrame, empty: pl.LazyFrame
) -> MissedDetections:
    """Return what reviewers labelled in media without detections.

    Args:
        corrections: the result of `read_corrections`, with `review`, the row number.
        labels: review, category, and new_name, the code of the name.
        empty: the result of `empty_media`.
    """
    whole = pl.col("x").is_null() & pl.col("frame_number").is_null()
    columns = ("review", "content_hash", "category", "species", "count", "instead_of", "handed_in")
    matched = (
        corrections.lazy()
        .filter(whole)
        .select(columns)
        .join(empty, on="content_hash")
        .sort("review")
        .collect()
    )
    names = labels.select("review", name="new_name")
    rows = _identification_rows(_latest_corrections(matched), matched, names)
    return MissedDetections(rows, matched["review"], matched["content_hash"].n_unique())


def _latest_corrections(corrections: pl.DataFrame) -> pl.DataFrame:
    """The corrections in effect: review, and counted, which a change of the species retains."""
    media: dict[str, dict[str, tuple[int, int | None]]] = {}
    files: dict[str, int] = {}
    for correction in corrections.iter_rows(named=True):
        content = correction["content_hash"]
        labels = media.setdefault(content, {})
        _, count = labels.pop(correction["instead_of"], (0, None))
        if correction["instead_of"] is None and files.get(content) != correction["handed_in"]:
            files[content] = correction["handed_in"]
            labels.clear()
        if correction["category"] is not None:
            labels[correction["species"]] = (correction["review"], correction["count"] or count)
    rows = [row for labels in media.values() for row in labels.values()]
    return pl.DataFrame(rows, {"review": pl.UInt32, "counted": pl.Int32}, orient="row")


def _identification_rows(
    latest: pl.DataFrame, corrections: pl.DataFrame, names: pl.DataFrame
) -> pl.DataFrame:
    constants = {
        "detection_id": pl.format("{}-reviewer", pl.col("content_hash").str.slice(0, 16)),
        "frame_number": pl.lit(None, pl.Int32),
        "box_number": pl.lit(None, pl.Int32),
        "time_offset_ms": pl.lit(0, pl.Int64),
        "confidence": pl.lit(1.0, pl.Float32),
        **dict.fromkeys(("relabelled", "disputed", "repeat", "lowered"), pl.lit(False)),
    }
    return (
        latest.join(corrections, on="review", maintain_order="left")
        .join(names, on="review", maintain_order="left")
        .select(
            *(pl.col(name) for name in DETECTION_COLUMNS if name not in constants),
            "review",
            "counted",
            "name",
            **constants,
        )
    )
