"""Place the labels of reviewers on detections.

Of several labels for a detection, the one of the latest review file is placed. Within a file, a
label of the box is preferred to one of the whole medium; then one of the detection's category, one
with the machine's name, and the last.
"""

from dataclasses import dataclass

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import BOX_KEY

# Minimum intersection over union at which a detection is the corrected box.
MIN_BOX_OVERLAP = 0.5

# Of the labels of a detection, the one that sorts last is placed.
_PRECEDENCE = ("handed_in", "is_box", "same_category", "same_name", "review")


@dataclass(frozen=True)
class PlacedLabels:
    """Labels of reviewers on detections.

    Attributes:
        boxes: BOX_KEY and review, the label of each labelled detection.
        without_box: the `review` of the labels of whole media whose detections all have another
            label that does not replace this one.
        replaced: the `review` of labels whose detections all have a label of a later file, or the
            same label.
    """

    boxes: pl.DataFrame
    without_box: pl.Series
    replaced: pl.Series


def place_labels(
    labels: pl.DataFrame, detections: pl.LazyFrame, identified: pl.DataFrame
) -> PlacedLabels:
    """Place labels on the detections that are identified.

    Args:
        labels: rows of `read_corrections`, those of whole media only if they are in effect, with
            review, the row number, and new_name, the code of the name.
        detections: rows of `tables.DETECTIONS`.
        identified: the rows of `Identifications`.
    """
    boxes = identified.select(
        *BOX_KEY, "category", "name", in_strip=pl.col("left_out").is_not_null()
    )
    matched = _match_boxes(labels, detections, boxes)
    placed = matched.sort(_PRECEDENCE).unique(BOX_KEY, keep="last", maintain_order=True)
    others = matched.join(placed, on="review", how="anti").join(
        placed.select(*BOX_KEY, "handed_in", "is_box", "new_name"), on=BOX_KEY, suffix="_placed"
    )
    same_file = pl.col("handed_in") == pl.col("handed_in_placed")
    both_whole = ~pl.col("is_box") & ~pl.col("is_box_placed")
    differs = pl.col("new_name").ne_missing(pl.col("new_name_placed"))
    contradicted = others.group_by("review", "is_box", maintain_order=True).agg(
        contradicted=((same_file | both_whole) & differs).any()
    )
    whole = pl.col("contradicted") & ~pl.col("is_box")
    return PlacedLabels(
        placed.select(*BOX_KEY, "review"),
        contradicted.filter(whole)["review"],
        contradicted.filter(~pl.col("contradicted"))["review"],
    )


def _match_boxes(
    labels: pl.DataFrame, detections: pl.LazyFrame, identified: pl.DataFrame
) -> pl.DataFrame:
    """The detections of each label: BOX_KEY, _PRECEDENCE and new_name; several of both.

    Args:
        identified: BOX_KEY, category and name of all detections that may have a label, and
            in_strip, true in camera strips.
    """
    columns = ("content_hash", *BOX_KEY, "x", "y", "w", "h")
    boxes = (
        detections.select(columns)
        .join(labels.lazy().select("content_hash").unique(), on="content_hash", how="semi")
        .join(identified.lazy(), on=BOX_KEY)
    )
    pairs = labels.lazy().join(boxes, on="content_hash", suffix="_detected").collect()
    same_frame = pl.col("frame_number").is_null() | (
        pl.col("frame_number") == pl.col("frame_number_detected")
    )
    whole = pl.col("x").is_null()
    pairs = pairs.filter(same_frame).with_columns(
        overlap=overlap(),
        is_box=~whole,
        same_category=(pl.col("category") == pl.col("category_detected")).fill_null(False),
        same_name=(pl.col("new_name") == pl.col("name")).fill_null(False),
    )
    best = pl.col("overlap") == pl.col("overlap").max().over("review")
    same_category = pl.col("same_category")
    matches = pl.col("category").is_null() | same_category | ~same_category.any().over("review")
    matches &= ~pl.col("in_strip") | pl.col("in_strip").all().over("review")
    return pairs.filter(
        (whole & matches) | (~whole & best & (pl.col("overlap") >= MIN_BOX_OVERLAP))
    ).select("path", "box_number", *_PRECEDENCE, "new_name", frame_number="frame_number_detected")


def overlap() -> pl.Expr:
    """Return the intersection over union of the boxes xywh and xywh with suffix `_detected`."""
    sides = []
    for start, size in (("x", "w"), ("y", "h")):
        low = pl.max_horizontal(start, f"{start}_detected")
        ends = (pl.col(f"{start}{side}") + pl.col(f"{size}{side}") for side in ("", "_detected"))
        sides.append((pl.min_horizontal(*ends) - low).clip(0))
    intersection = sides[0] * sides[1]
    areas = pl.col("w") * pl.col("h") + pl.col("w_detected") * pl.col("h_detected")
    return intersection / (areas - intersection)
