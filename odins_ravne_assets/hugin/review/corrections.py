"""Corrections: labels of reviewers, which override the machine's, stored with author and date.

Corrections are stored in `tables/corrections/`, one file for each review file that was imported,
and never change; deleting a file withdraws its corrections. They refer to media by content hash and
to boxes by position, so they survive renamed files and another detector.

A correction of a whole medium applies to its detections of that category, or to all if it has none:
"red fox" does not turn the person in the same picture into a fox. In a medium without detections it
adds one (`missed_detections`). Boxes in a camera's strip get it only if the medium has no others.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    NAME_CODE,
    UNKNOWN_ANIMAL,
    Identifications,
    SpeciesName,
)
from odins_ravne_assets.hugin.review.missed_detections import find_missed_detections
from odins_ravne_assets.munin.tables import schemas
from resources.storage.layout import CORRECTIONS_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet

# Minimum intersection over union at which a detection is the corrected box.
MIN_BOX_OVERLAP = 0.5

Json = dict[str, Any]


@dataclass(frozen=True)
class ReviewedIdentifications:
    """Identifications after corrections.

    Attributes:
        identified: its rows have `review`, the row number in `corrections` of the correction in
            effect, or null; `machine_name`, the name before the correction; and `counted`, the
            reviewer's count. Rejected detections are removed; missed detections are added, without
            frame_number and box_number.
        corrections: the result of `read_corrections`.
        rows_rejected: detections that a reviewer labelled as empty.
        agreement: the field `review` of `report.json`.
    """

    identified: Identifications
    corrections: pl.DataFrame
    rows_rejected: int
    agreement: Json


def read_corrections(store: ObjectStore, stack: ExitStack) -> pl.DataFrame:
    """Read all corrections of a camera, the latest last.

    Returns:
        Rows of `tables.CORRECTIONS`, and `handed_in`: the number of the file, in the same order.
    """
    keys = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.endswith(".parquet")
    )
    parts = [
        read_parquet(stack.enter_context(store.reading(key))).with_columns(file=pl.lit(key))
        for key in keys
    ]
    # Files of earlier versions lack some columns.
    corrections = pl.concat([_NO_CORRECTIONS, *parts], how="diagonal")
    corrections = corrections.sort("reviewed_on", maintain_order=True)
    return corrections.select(*schemas.CORRECTIONS, handed_in=pl.col("file").rle_id())


_NO_CORRECTIONS = pl.DataFrame(schema={**schemas.CORRECTIONS, "file": pl.String})


def apply_corrections(
    identified: Identifications,
    corrections: pl.DataFrame,
    detections: pl.LazyFrame,
    empty: pl.LazyFrame,
) -> ReviewedIdentifications:
    """Replace the machine's labels by those of reviewers, and add missed detections.

    Args:
        identified: the result of `vote_by_sequence`.
        corrections: the result of `read_corrections`.
        detections: rows of `tables.DETECTIONS`.
        empty: the result of `empty_media`.
    """
    if corrections.is_empty():
        return without_corrections(identified)
    numbered = corrections.with_row_index("review")
    boxes = identified.rows.select(*BOX_KEY, "category", in_strip=pl.col("left_out").is_not_null())
    matched = _match_boxes(numbered, detections, boxes)
    latest = matched.sort("review").unique(BOX_KEY, keep="last")
    codes = [
        None if row["category"] is None else identified.names.code(_species_name(row))
        for row in corrections.iter_rows(named=True)
    ]
    labels = numbered.select(
        "review", "category", counted="count", new_name=pl.Series(codes, dtype=NAME_CODE)
    )
    new_labels = latest.join(labels, on="review").rename({"category": "new_category"})
    rows = _apply_to_rows(identified.rows, new_labels)
    reviewed = rows.filter(pl.col("review").is_not_null())
    rejected = pl.col("review").is_not_null() & pl.col("name").is_null()
    accepted = rows.filter(~rejected)
    missed = find_missed_detections(numbered, labels, empty)
    used = pl.concat([matched["review"], missed.corrections]).n_unique()
    return ReviewedIdentifications(
        replace(identified, rows=pl.concat([accepted, missed.rows], how="diagonal")),
        corrections,
        rows.height - accepted.height,
        _agreement(_label_pairs(reviewed, identified), reviewed.height)
        | {
            "empty_media": missed.summary(identified.names),
            "words_without_effect": numbered.height - used,
        },
    )


def without_corrections(identified: Identifications) -> ReviewedIdentifications:
    """Return the identifications of a camera that has no corrections."""
    columns = {"review": pl.UInt32(), "machine_name": NAME_CODE, "counted": pl.Int32()}
    rows = identified.rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in columns.items()
    )
    no_corrections = pl.DataFrame(schema=schemas.CORRECTIONS)
    empty = {"reviewed": 0, "missed": []}
    agreement = _agreement([], 0) | {"empty_media": empty, "words_without_effect": 0}
    return ReviewedIdentifications(replace(identified, rows=rows), no_corrections, 0, agreement)


def _species_name(row: Json) -> SpeciesName:
    return SpeciesName(row["species"] or UNKNOWN_ANIMAL, row["scientific_name"])


def _apply_to_rows(rows: pl.DataFrame, new_labels: pl.DataFrame) -> pl.DataFrame:
    """The rows with their corrections; the name of a rejected detection is null."""
    corrected = pl.col("review").is_not_null()
    return (
        rows.join(new_labels, on=BOX_KEY, how="left", maintain_order="left")
        .with_columns(
            machine_name=pl.when(corrected).then("name"),
            name=pl.when(corrected).then("new_name").otherwise("name"),
            category=pl.when(corrected).then("new_category").otherwise("category"),
            confidence=pl.when(corrected).then(pl.lit(1.0, pl.Float32)).otherwise("confidence"),
            vote_share=pl.when(~corrected).then("vote_share"),
            relabelled=pl.col("relabelled") & ~corrected,
            disputed=pl.col("disputed") & ~corrected,
            repeat=pl.col("repeat") & ~corrected,
            left_out=pl.when(~corrected).then("left_out"),
        )
        .drop("new_name", "new_category")
    )


def _match_boxes(
    corrections: pl.DataFrame, detections: pl.LazyFrame, identified: pl.DataFrame
) -> pl.DataFrame:
    """The detections of each correction: BOX_KEY and review; a detection may have several.

    Args:
        identified: BOX_KEY and category of all detections, and in_strip, true in camera strips.
    """
    columns = ("content_hash", *BOX_KEY, "x", "y", "w", "h")
    boxes = (
        detections.select(columns)
        .join(corrections.lazy().select("content_hash").unique(), on="content_hash", how="semi")
        .join(identified.lazy(), on=BOX_KEY)
    )
    pairs = corrections.lazy().join(boxes, on="content_hash", suffix="_detected").collect()
    same_frame = pl.col("frame_number").is_null() | (
        pl.col("frame_number") == pl.col("frame_number_detected")
    )
    pairs = pairs.filter(same_frame).with_columns(overlap=_overlap())
    whole = pl.col("x").is_null()
    best = pl.col("overlap") == pl.col("overlap").max().over("review")
    same_category = pl.col("category") == pl.col("category_detected")
    matches = pl.col("category").is_null() | same_category | ~same_category.any().over("review")
    matches &= ~pl.col("in_strip") | pl.col("in_strip").all().over("review")
    return pairs.filter(
        (whole & matches) | (~whole & best & (pl.col("overlap") >= MIN_BOX_OVERLAP))
    ).select("path", "box_number", "review", frame_number="frame_number_detected")


def _overlap() -> pl.Expr:
    """Intersection over union of the corrected box and the detection."""
    sides = []
    for start, size in (("x", "w"), ("y", "h")):
        low = pl.max_horizontal(start, f"{start}_detected")
        ends = (pl.col(f"{start}{side}") + pl.col(f"{size}{side}") for side in ("", "_detected"))
        sides.append((pl.min_horizontal(*ends) - low).clip(0))
    intersection = sides[0] * sides[1]
    areas = pl.col("w") * pl.col("h") + pl.col("w_detected") * pl.col("h_detected")
    return intersection / (areas - intersection)


def _label_pairs(reviewed: pl.DataFrame, identified: Identifications) -> list[Json]:
    """Pairs of the machine's and the reviewer's label with their boxes, most frequent first."""
    names = identified.names.table().select("name", "species")
    return (
        reviewed.select("name", "machine_name")
        .join(names, on="name", how="left")
        .join(names, left_on="machine_name", right_on="name", how="left", suffix="_machine")
        .select(machine="species_machine", reviewer=pl.col("species").fill_null("nothing"))
        .group_by("machine", "reviewer")
        .len("boxes")
        .sort("boxes", "machine", "reviewer", descending=[True, False, False])
        .to_dicts()
    )


def _agreement(pairs: list[Json], boxes: int) -> Json:
    agreed = sum(pair["boxes"] for pair in pairs if pair["machine"] == pair["reviewer"])
    return {
        "boxes": boxes,
        "agreed": agreed,
        "share": round(agreed / boxes, 4) if boxes else None,
        "by_species": pairs,
    }
