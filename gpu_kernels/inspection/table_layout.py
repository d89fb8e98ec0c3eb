"""Guess the layout of an output that is a table: a row or a column for each box."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.inspection.layout import (
    MANY_ROWS,
    Layout,
    add_values,
    class_numbers_seen,
    unusable,
)
from gpu_kernels.inspection.output_values import (
    box_format,
    box_units,
    class_numbers,
    nearly_class_numbers,
    score_kind,
)

# The numbers of a box and its classes, if a graph returns fewer than five boxes.
MAX_CLASSES_OF_FEW = 100
# Columns of the rows of YOLOv7's export with suppression.
BATCH_ROW_COLUMNS = 7
NO_SUPPRESSION = (
    "no decoding applies suppression to them; export columns [N, 4 + classes, boxes], or with "
    "suppression inside"
)


def one_table(tables: Mapping[str, NDArray[Any]], named: int | None) -> Layout | None:
    """Return the layout of one output of rows or columns; further outputs are of other tasks."""
    name, table = next(iter(tables.items()), ("", np.empty(0)))
    if table.ndim != 2 or table.size == 0:
        # Six columns are usual; a graph that finds nothing does not show others.
        return six_columns(table, named) if table.shape[1:] == (6,) else None
    layout: Layout | None
    if has_batch_numbers(table):
        return unusable(
            f"its output {name} has rows of a picture's number, x1, y1, x2, y2, class and score, "
            "as YOLOv7's export with suppression; no decoding reads them: export it without"
        )
    if table.shape[1] == 6:
        layout = six_columns(table, named)
    elif _has_columns(table, named):
        layout = _columns(table, named)
    else:
        layout = _rows(table, named)
    if layout is not None and len(tables) > 1:
        layout.section = {"decoding": layout.section.pop("decoding"), "outputs": [name]} | (
            layout.section
        )
    return layout


def _has_columns(table: NDArray[Any], named: int | None) -> bool:
    """Return whether a table has a column for each box, by its shape."""
    rows, columns = table.shape
    if named is not None and (rows == 4 + named) != (columns in (4 + named, 5 + named)):
        return bool(rows == 4 + named)
    return bool(5 <= rows < columns or columns < 5 <= rows <= MAX_CLASSES_OF_FEW)


def has_batch_numbers(table: NDArray[Any]) -> bool:
    """Return whether rows are the picture's number, a box, its class and its score."""
    if table.shape[1] != BATCH_ROW_COLUMNS:
        return False
    live = table[(table[:, 1:] != 0).any(axis=1)]
    return bool(
        len(live) and class_numbers(live[:, 0]) and class_numbers(live[:, 5])
    ) and score_kind(live[:, 6]) in (None, "probability")


def six_columns(table: NDArray[Any], named: int | None) -> Layout | None:
    """Return the layout of rows of six values; see `guess_layout` for `named`."""
    live = table[(table != 0).any(axis=1) & (table[:, 5] != -1) & np.isfinite(table).all(axis=1)]
    if not len(live):
        layout = Layout({"decoding": "end2end"}, boxes=live[:, :4])
        layout.doubts.append("the output has six columns and no box in the pictures tried")
        return layout
    boxes, many = live[:, :4], len(live) >= MANY_ROWS
    numbered = class_numbers(live[:, 5])
    # Values of 0 and 1 may be the score of the only class, after the objectness.
    scored = numbered and live[:, 5].max() <= 1 and box_format(boxes) == "cxcywh"
    if numbered and not (scored and many):
        return _numbered_rows(live, scored)
    if not numbered and class_numbers(live[:, 0]) and score_kind(live[:, 5]) in (
        None, "probability"
    ):  # fmt: skip
        section = {"decoding": "end2end", "columns": "class-box-score"}
        layout = Layout(section, boxes=live[:, 1:5])
        layout.seen = class_numbers_seen(live[:, 0])
        layout.reasons.append("the first column has class numbers, the sixth scores")
        add_values(layout, live[:, 1:5], live[:, 5], "xyxy", "pixels")
        return layout
    if not many and nearly_class_numbers(live[:, 5]):
        worst = live[np.abs(live[:, 5] - np.round(live[:, 5])).argmax(), 5]
        return unusable(
            f"its output has rows of six values, the last of which are nearly whole numbers, but "
            f"{worst:.6g} is no class; correct its export"
        )
    return _rows(table, named)


def _numbered_rows(live: NDArray[Any], scored: bool) -> Layout:
    """Return the layout of rows of a box, a score and a class number.

    Args:
        live: the rows that are no padding.
        scored: the class numbers may be scores.
    """
    boxes, packed = live[:, :4], box_units(live[:, :4]) == "fractions"
    layout = Layout({"decoding": "rtdetr-packed" if packed else "end2end"}, boxes=boxes)
    layout.seen = class_numbers_seen(live[:, 5])
    layout.reasons.append("the sixth column has class numbers, the fifth scores")
    if packed:
        layout.section["columns"] = "score-class"
        add_values(layout, boxes, live[:, 4], "cxcywh", "fractions")
    else:
        add_values(layout, boxes, live[:, 4], "xyxy", "pixels")
    if len(live) >= MANY_ROWS:
        layout.doubts.append(
            f"{len(live)} boxes, more than a graph with suppression inside returns; for boxes "
            "without suppression, overlapping ones stay"
        )
    elif scored and not packed:
        layout.doubts.append("the sixth column may be the score of one class, after objectness")
    return layout


def _rows(table: NDArray[Any], named: int | None) -> Layout | None:
    """Return the layout of rows with a score per class."""
    boxes, scores = table[:, :4], table[:, 4:]
    count, many, units = scores.shape[1], len(table) >= MANY_ROWS, box_units(boxes)
    if count < 1 or units is None:
        return None
    if many and (count == 1 or count == named):
        return unusable(
            f"its output has {len(table)} rows of a box and {count} score(s), without objectness: "
            + NO_SUPPRESSION
        )
    if not many and (units == "fractions" or count == named):
        return _packed_scores(boxes, scores, units, named)
    if count < 2:
        return None
    layout = Layout({"decoding": "yolo-objectness"}, count - 1, boxes=boxes)
    layout.reasons.append(f"rows of a box in {units}, objectness and {count - 1} scores")
    add_values(layout, boxes, scores, "cxcywh", "pixels")
    if named != count - 1:
        layout.doubts.append(
            f"that the fifth column is objectness, before {count - 1} class(es): if it is the "
            f"score of the first of {count} classes, {NO_SUPPRESSION}"
        )
    if not many and layout.section.get("box_format") == "xyxy":
        layout.doubts.append("few boxes with two corners are unusual with objectness")
    return layout


def _packed_scores(
    boxes: NDArray[Any], scores: NDArray[Any], units: str, named: int | None
) -> Layout:
    count = scores.shape[1]
    layout = Layout({"decoding": "rtdetr-packed"}, count, boxes=boxes)
    if count == 2:
        layout.section["columns"] = "class-scores"
    layout.reasons.append(f"rows of a box in {units} and {count} scores")
    add_values(layout, boxes, scores, "cxcywh", "fractions")
    if units == "pixels":
        layout.doubts.append("that the boxes need no suppression: they are in pixels")
    if named == count - 1:
        layout.doubts.append(
            f"{named} classes are named, there are {count} scores: the first may be objectness, or "
            "the last 'no object'"
        )
    return layout


def _columns(table: NDArray[Any], named: int | None) -> Layout | None:
    """Return the layout of a column for each box: YOLOv8 and later."""
    if table.shape[0] < 5:
        return None
    boxes, scores = table[:4].T, table[4:].T
    count = scores.shape[1]
    if named is not None and named < count and score_kind(scores) not in (None, "probability"):
        return unusable(
            f"its output has {count} values after each box, the file names {named} class(es), and "
            "the others are no scores: masks, keypoints or an angle, which no decoding reads; "
            "export a network for detection"
        )
    layout = Layout({"decoding": "yolo-anchor-free"}, count, boxes=boxes)
    layout.reasons.append(
        f"{table.shape[1]} columns of a box and {count} scores, without suppression"
    )
    add_values(layout, boxes, scores, "cxcywh", "pixels")
    if named == count - 1:
        layout.doubts.append(
            f"{named} class(es) are named, there are {count} scores: one may be objectness, which "
            "this decoding does not read"
        )
    return layout
