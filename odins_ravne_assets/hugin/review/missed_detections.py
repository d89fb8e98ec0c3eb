"""Missed detections: animals that a reviewer labelled where the detector found nothing.

A review file lists everything in a medium, so a later file replaces the labels of an earlier one. A
correction of one observation (`instead_of`) only changes the species of that observation.

An animal is also added to a medium with boxes if the reviewer named more species than it has boxes.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    DETECTION_COLUMNS,
    SpeciesNames,
)
from odins_ravne_assets.hugin.identification.observation_ids import added_detection_id

Json = dict[str, Any]


@dataclass(frozen=True)
class MissedDetections:
    """Animals, people and vehicles that the detector missed.

    Attributes:
        rows: rows of `Identifications` with `review` and `counted`; frame_number and box_number are
            null, and columns without a meaning for them are missing.
        in_empty_media: the `review` of the rows in media without detections.
        confirmed_empty: the `review` of the labels "nothing" of media that have no other label.
        media: number of media without detections that reviewers labelled.
    """

    rows: pl.DataFrame
    in_empty_media: pl.Series
    confirmed_empty: pl.Series
    media: int

    def summary(self, names: SpeciesNames) -> Json:
        """Return the field `empty_media` of `report.json`."""
        species = (
            self.rows.filter(pl.col("review").is_in(self.in_empty_media.implode()))
            .join(names.table().select("name", "species"), on="name")
            .group_by("species")
            .len("media")
            .sort("media", "species", descending=[True, False])
        )
        return {"reviewed": self.media, "missed": species.to_dicts()}


def labelled_media(
    media: pl.LazyFrame, processed: pl.LazyFrame, corrections: pl.DataFrame
) -> pl.DataFrame:
    """Return the media that corrections refer to; several with the same content are rows each.

    Columns: camera_id, path, content_hash, kind, captured_at, utc_offset_minutes, status, boxes.

    Args:
        media, processed: rows of the tables of these names.
        corrections: the result of `read_corrections`.
    """
    dated = media.select("path", "captured_at", "utc_offset_minutes")
    return (
        processed.select("camera_id", "path", "content_hash", "kind", "status", "boxes")
        .join(corrections.lazy().select("content_hash").unique(), on="content_hash", how="semi")
        .join(dated, on="path")
        .sort("path")
        .collect(engine="streaming")
    )


def find_missed_detections(
    in_effect: pl.DataFrame, media: pl.DataFrame, without_box: pl.Series
) -> MissedDetections:
    """Return what reviewers labelled where the detector found nothing.

    Args:
        in_effect: the result of `labels_in_effect`, with new_name, the code of the name.
        media: the result of `labelled_media`.
        without_box: the `review` of labels of media with boxes that none of the boxes is left for.
    """
    done = media.filter(pl.col("status") == "done")
    matched = in_effect.join(done, on="content_hash", maintain_order="left")
    in_empty = pl.col("boxes") == 0
    is_present = pl.col("category").is_not_null()
    missed = matched.filter(is_present & (in_empty | pl.col("review").is_in(without_box.implode())))
    empty = matched.filter(in_empty)
    alone = ~is_present & ~is_present.any().over("content_hash")
    return MissedDetections(
        _identification_rows(missed),
        empty.filter(is_present)["review"],
        empty.filter(alone)["review"],
        empty["content_hash"].n_unique(),
    )


def labels_in_effect(corrections: pl.DataFrame) -> pl.DataFrame:
    """Return the corrections of whole media that no later one replaces.

    Args:
        corrections: the result of `read_corrections`, with `review`, the row number.

    Returns:
        Rows of `corrections`; `counted`, the count, which a change of the species retains; and
        `number`, of the label in its medium, which neither another species nor other labels change.
    """
    media: dict[str, dict[str, tuple[int, int | None]]] = {}
    numbers: dict[str, _Numbers] = defaultdict(_Numbers)
    files: dict[str, int] = {}
    whole = corrections.filter(pl.col("x").is_null())
    for correction in whole.iter_rows(named=True):
        content = correction["content_hash"]
        labels = media.setdefault(content, {})
        count = None
        if correction["instead_of"] is not None:
            _, count = labels.pop(correction["instead_of"], (0, None))
            numbers[content].rename(correction["instead_of"], correction["species"] or "")
        elif files.get(content) != correction["handed_in"]:
            files[content] = correction["handed_in"]
            labels.clear()
        species = correction["species"] or ""  # empty: nothing
        _, same = labels.get(species, (0, None))
        labels[species] = (correction["review"], correction["count"] or count or same)
        numbers[content].of(species)
    rows = [
        (*label, numbers[content].of(species))
        for content, labels in media.items()
        for species, label in labels.items()
    ]
    columns = {"review": pl.UInt32, "counted": pl.Int32, "number": pl.Int32}
    latest = pl.DataFrame(rows, columns, orient="row")
    return latest.join(corrections, on="review", maintain_order="left")


class _Numbers:
    """The numbers of the species of a medium, from 0; each species that is added gets a new one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._next = 0

    def of(self, species: str) -> int:
        if species not in self._numbers:
            self._numbers[species] = self._next
            self._next += 1
        return self._numbers[species]

    def rename(self, species: str, new: str) -> None:
        if species in self._numbers and new not in self._numbers:
            self._numbers[new] = self._numbers.pop(species)


def _identification_rows(missed: pl.DataFrame) -> pl.DataFrame:
    constants = {
        "detection_id": added_detection_id(),
        "frame_number": pl.lit(None, pl.Int32),
        "box_number": pl.lit(None, pl.Int32),
        "time_offset_ms": pl.lit(0, pl.Int64),
        "confidence": pl.lit(1.0, pl.Float32),
        **dict.fromkeys(("relabelled", "disputed", "repeat", "lowered"), pl.lit(False)),
    }
    return missed.select(
        *(pl.col(name) for name in DETECTION_COLUMNS if name not in constants),
        "review",
        "counted",
        name="new_name",
        **constants,
    )
