"""Guess the layout of a graph's outputs from their names, shapes and values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.score_checks import negative_share
from gpu_kernels.inspection.graph_file import GraphOutput
from gpu_kernels.inspection.output_values import (
    MIN_CORNER_ROWS,
    best_score,
    box_format,
    box_units,
    class_numbers,
    class_probabilities,
    live_boxes,
    nearly_class_numbers,
    score_kind,
)

NMS_DECODINGS = {"yolo-objectness", "yolo-anchor-free", "boxes-and-logits"}
# Hugging Face's RT-DETR, beside which an export can have hidden states.
HUGGING_FACE_OUTPUTS = ("pred_boxes", "logits")
# More queries than any RT-DETR has: a network that needs non-maximum suppression.
MANY_ROWS = 1000
# The numbers of a box and its classes, if a graph returns fewer than five boxes.
MAX_CLASSES_OF_FEW = 100
# TensorFlow's object detection API, whose boxes are y1, x1, y2, x2.
TENSORFLOW_BOXES = "detection_boxes"
# Columns of the rows of YOLOv7's export with suppression.
BATCH_ROW_COLUMNS = 7
# The median score of a class is far lower: most boxes hold nothing.
NO_OBJECT_PROBABILITY, NO_OBJECT_LOGIT = 0.9, 2.2
NO_BOX = "no box was found in the pictures tried"
NO_SUPPRESSION = (
    "no decoding applies suppression to them; export columns [N, 4 + classes, boxes], or with "
    "suppression inside"
)

Outputs = Mapping[str, NDArray[Any]]


@dataclass
class Layout:
    """A guess.

    Attributes:
        section: keys of [output]: decoding, and those of outputs, scores, box_format, box_units
            and columns that the values show.
        classes: their number; None: the outputs do not show it.
        seen: the class numbers that were seen, sorted; empty if the outputs have none.
        boxes: the boxes as the graph returns them, [K, 4], for further checks.
        batched: whether the outputs have a batch.
        best: the highest score of a box or a class, 0 to 1.
        reasons: why, one line for each finding.
        doubts: what is only assumed.
        problem: why the outputs cannot be used; None: they can.
    """

    section: dict[str, Any]
    classes: int | None = None
    seen: list[int] = field(default_factory=list)
    boxes: NDArray[Any] | None = None
    batched: bool = True
    best: float = 0.0
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    problem: str | None = None


def guess_layout(
    outputs: Sequence[GraphOutput], batch: int | None, named: int | None = None
) -> Layout | None:
    """Return the most likely layout; None if none fits.

    Args:
        outputs: of one run.
        batch: the number of pictures of the run; None: the graph takes one, without a batch.
        named: the number of classes that the file names; None: it names none.
    """
    if batch == 1 and _without_batch(outputs):
        batch = None
    tables = {each.name: _first_picture(each.values, batch) for each in outputs}
    guesses: list[Callable[[Outputs, int | None], Layout | None]] = [
        _tensorflow,
        _hugging_face,
        _boxes_labels_scores,
        _boxes_and_scores,
        _one_table,
        _classifier,
    ]
    for guess in guesses:
        if (layout := guess(tables, named)) is not None:
            layout.batched = batch is not None
            if len(outputs) and batch is None and outputs[0].values.shape == (1, 6):
                layout.doubts.append("one row of six values: a box, or six scores of a classifier")
            return layout
    return None


def _unusable(problem: str) -> Layout:
    return Layout({"decoding": "unknown"}, problem=problem)


def _without_batch(outputs: Sequence[GraphOutput]) -> bool:
    """Return whether outputs are those of one picture: boxes [K, 4] beside scores [K], or
    rows [K, 6] of boxes with class numbers."""
    shapes = [each.values.shape for each in outputs]
    if any(len(shape) == 2 and shape[1] == 4 and shape[:1] in shapes for shape in shapes):
        return True
    first = outputs[0].values if outputs else np.empty(0)
    if first.shape == (1, BATCH_ROW_COLUMNS):
        return _has_batch_numbers(first)
    if first.shape != (1, 6) or not outputs[0].rows_vary:
        return False
    layout = _six_columns(first, None)  # or a classifier of six classes
    return layout is not None and bool(layout.seen) and box_units(first) == "pixels"


def _first_picture(values: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """Return the first picture's part of an output."""
    has_batch = batch is not None and values.ndim >= 2 and values.shape[0] == batch
    return values[0] if has_batch else values


def _tensorflow(tables: Outputs, named: int | None) -> Layout | None:
    for name in tables:
        if _says(name, TENSORFLOW_BOXES):
            return _unusable(
                f"its output {name} is that of TensorFlow's object detection, with boxes y1, x1, "
                "y2, x2, which no decoding reads; export it with x first and another name"
            )
    return None


def _hugging_face(tables: Outputs, named: int | None) -> Layout | None:
    if len(tables) > 2 and set(HUGGING_FACE_OUTPUTS) <= set(tables):
        return _boxes_and_scores({name: tables[name] for name in HUGGING_FACE_OUTPUTS}, named)
    return None


def _boxes_labels_scores(tables: Outputs, named: int | None) -> Layout | None:
    corners = [name for name, each in tables.items() if each.ndim == 2 and each.shape[1] == 4]
    vectors = {name: each for name, each in tables.items() if each.ndim == 1}
    if len(corners) != 1:
        return None
    boxes = tables[corners[0]]
    vectors = {name: each for name, each in vectors.items() if len(each) == len(boxes)}
    labels = [name for name, each in vectors.items() if each.dtype.kind in "iu"]
    if not labels:
        labels = [name for name, each in vectors.items() if class_numbers(each[each != -1])]
        labels = [name for name in labels if not _says(name, "score", "conf")] or labels
    scores = [name for name, each in vectors.items() if each.dtype.kind == "f"]
    scores = [name for name in scores if name not in labels[:1]]
    if not labels or not scores:
        return None
    names = [corners[0], labels[0], scores[0]]
    layout = Layout({"decoding": "boxes-labels-scores", "outputs": names}, boxes=boxes)
    layout.seen = _seen(tables[labels[0]])
    layout.reasons.append(f"three outputs are boxes, class numbers and scores: {', '.join(names)}")
    _add_values(layout, boxes, tables[scores[0]], "xyxy", "pixels")
    if layout.section.get("box_units") == "fractions":
        layout.doubts.append("that x is before y in boxes: exports of TensorFlow have y first")
    return layout


def _boxes_and_scores(tables: Outputs, named: int | None) -> Layout | None:
    """Return the layout of [K, 4] and [K, C]: RT-DETR, or a network that needs suppression."""
    pairs = [
        (boxes, scores)
        for boxes, first in tables.items()
        for scores, second in tables.items()
        if boxes != scores
        and first.ndim == second.ndim == 2
        and first.shape[1] == 4
        and len(first) == len(second)
    ]
    if len(pairs) == 2:  # four classes: both have four columns
        pairs = [pair for pair in pairs if _says(pair[0], "box") or _says(pair[1], "score", "log",
                                                                         "cls")]  # fmt: skip
    if len(pairs) != 1:
        return None
    names = list(pairs[0])
    boxes, scores = (tables[name] for name in names)
    if _are_offsets(boxes):
        return None
    units = box_units(boxes)
    queries = units == "fractions" and len(boxes) < MANY_ROWS
    layout = Layout(
        {"decoding": "rtdetr" if queries else "boxes-and-logits", "outputs": names},
        scores.shape[1],
        boxes=boxes,
    )
    layout.reasons.append(
        f"{names[0]} has boxes in {units or 'unknown units'}, {names[1]} {scores.shape[1]} scores "
        "for each"
    )
    default = ("cxcywh", "fractions") if queries else ("xyxy", "pixels")
    _add_values(layout, boxes, scores, *default)
    layout.section.setdefault("scores", "probability")
    if units is None:
        layout.doubts.append(NO_BOX)
    if named is not None and scores.shape[1] == named + 1:
        layout.doubts.append(
            f"{named} classes are named, there are {named + 1} scores: one may be 'no object', of "
            "a softmax, which no decoding reads"
        )
    return layout


def _are_offsets(boxes: NDArray[Any]) -> bool:
    """Return whether values [K, 4] are no boxes, but offsets from anchors, as SSD's."""
    return bool((boxes[:, 2:] < 0).mean() > 0.05 and box_format(boxes) != "xyxy")


def _one_table(tables: Outputs, named: int | None) -> Layout | None:
    """Return the layout of one output of rows or columns; further outputs are of other tasks."""
    name, table = next(iter(tables.items()), ("", np.empty(0)))
    if table.ndim != 2 or table.size == 0:
        # Six columns are usual; a graph that finds nothing does not show others.
        return _six_columns(table, named) if table.shape[1:] == (6,) else None
    layout: Layout | None
    if _has_batch_numbers(table):
        return _unusable(
            f"its output {name} has rows of a picture's number, x1, y1, x2, y2, class and score, "
            "as YOLOv7's export with suppression; no decoding reads them: export it without"
        )
    if table.shape[1] == 6:
        layout = _six_columns(table, named)
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
        return rows == 4 + named
    return 5 <= rows < columns or columns < 5 <= rows <= MAX_CLASSES_OF_FEW


def _has_batch_numbers(table: NDArray[Any]) -> bool:
    """Return whether rows are the picture's number, a box, its class and its score."""
    if table.shape[1] != BATCH_ROW_COLUMNS:
        return False
    live = table[(table[:, 1:] != 0).any(axis=1)]
    return bool(
        len(live) and class_numbers(live[:, 0]) and class_numbers(live[:, 5])
    ) and score_kind(live[:, 6]) in (None, "probability")


def _six_columns(table: NDArray[Any], named: int | None) -> Layout | None:
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
        layout.seen = _seen(live[:, 0])
        layout.reasons.append("the first column has class numbers, the sixth scores")
        _add_values(layout, live[:, 1:5], live[:, 5], "xyxy", "pixels")
        return layout
    if not many and nearly_class_numbers(live[:, 5]):
        worst = live[np.abs(live[:, 5] - np.round(live[:, 5])).argmax(), 5]
        return _unusable(
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
    layout.seen = _seen(live[:, 5])
    layout.reasons.append("the sixth column has class numbers, the fifth scores")
    if packed:
        layout.section["columns"] = "score-class"
        _add_values(layout, boxes, live[:, 4], "cxcywh", "fractions")
    else:
        _add_values(layout, boxes, live[:, 4], "xyxy", "pixels")
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
        return _unusable(
            f"its output has {len(table)} rows of a box and {count} score(s), without objectness: "
            + NO_SUPPRESSION
        )
    if not many and (units == "fractions" or count == named):
        return _packed_scores(boxes, scores, units, named)
    if count < 2:
        return None
    layout = Layout({"decoding": "yolo-objectness"}, count - 1, boxes=boxes)
    layout.reasons.append(f"rows of a box in {units}, objectness and {count - 1} scores")
    _add_values(layout, boxes, scores, "cxcywh", "pixels")
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
    _add_values(layout, boxes, scores, "cxcywh", "fractions")
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
        return _unusable(
            f"its output has {count} values after each box, the file names {named} class(es), and "
            "the others are no scores: masks, keypoints or an angle, which no decoding reads; "
            "export a network for detection"
        )
    layout = Layout({"decoding": "yolo-anchor-free"}, count, boxes=boxes)
    layout.reasons.append(
        f"{table.shape[1]} columns of a box and {count} scores, without suppression"
    )
    _add_values(layout, boxes, scores, "cxcywh", "pixels")
    if named == count - 1:
        layout.doubts.append(
            f"{named} class(es) are named, there are {count} scores: one may be objectness, which "
            "this decoding does not read"
        )
    return layout


def _classifier(tables: Outputs, named: int | None) -> Layout | None:
    """Return the layout of one score for each class."""
    vectors = {name: each for name, each in tables.items() if each.ndim == 1 and len(each) > 1}
    if not vectors:
        return None
    name, scores = next(iter(vectors.items()))
    section: dict[str, Any] = {
        "decoding": "probabilities" if class_probabilities(scores) else "logits"
    }
    if len(tables) > 1:
        section["outputs"] = [name]
    total = "is 1" if section["decoding"] == "probabilities" else "is not 1"
    reason = f"{name} has {len(scores)} values, whose sum {total}"
    shares = scores.astype(np.float64)
    if section["decoding"] == "logits":
        shares = np.exp(shares - shares.max())
    best = float(np.nan_to_num((shares / shares.sum()).max()))
    layout = Layout(section, len(scores), best=best, reasons=[reason])
    if section["decoding"] == "logits" and (scores >= 0).all() and (scores <= 1).all():
        layout.doubts.append(
            "all values are from 0 to 1: they may be probabilities of classes that exclude each "
            "other not, which no decoding reads"
        )
    return layout


def _add_values(
    layout: Layout, boxes: NDArray[Any], scores: NDArray[Any], form: str, units: str
) -> None:
    """Add what the values show and is not the decoding's default."""
    if (found := box_format(boxes)) not in (None, form):
        layout.section["box_format"] = found
    if (shown := box_units(boxes)) not in (None, units):
        layout.section["box_units"] = shown
    if found is None and len(live_boxes(boxes)) >= MIN_CORNER_ROWS:
        layout.doubts.append(
            f"box_format: the boxes are between cxcywh and xyxy, {form} is assumed"
        )
    kind = score_kind(scores)
    if kind == "neither":
        layout.problem = (
            f"its scores are from {np.nanmin(scores):.4g} to {np.nanmax(scores):.4g}, "
            f"{negative_share(scores):.0%} of them negative: neither probabilities, 0 to 1, nor "
            "logits in all columns, most of which are negative; correct its export"
        )
    logits = kind == "sigmoid"
    if logits:
        layout.section["scores"] = "sigmoid"
    objectness = layout.section["decoding"] == "yolo-objectness"
    if scores.ndim == 2 and not objectness and len(scores) >= MIN_CORNER_ROWS:
        usual = np.median(scores, axis=0)
        if usual.max() > (NO_OBJECT_LOGIT if logits else NO_OBJECT_PROBABILITY):
            layout.doubts.append(
                f"class {usual.argmax()} has high scores for most boxes: it may be 'no object' or "
                "objectness, which this decoding does not read"
            )
    layout.best = best_score(scores, logits, objectness)


def _seen(numbers: NDArray[Any]) -> list[int]:
    return [int(number) for number in np.unique(numbers) if number >= 0]


def _says(name: str, *words: str) -> bool:
    return any(word in name.lower() for word in words)
