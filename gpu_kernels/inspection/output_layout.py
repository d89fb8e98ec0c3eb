"""Guess the layout of a graph's outputs from their names, shapes and values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.inspection.graph_file import GraphOutput
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
    class_probabilities,
)
from gpu_kernels.inspection.table_layout import (
    BATCH_ROW_COLUMNS,
    has_batch_numbers,
    one_table,
    six_columns,
)

NMS_DECODINGS = {"yolo-objectness", "yolo-anchor-free", "boxes-and-logits"}
# Hugging Face's RT-DETR, beside which an export can have hidden states.
HUGGING_FACE_OUTPUTS = ("pred_boxes", "logits")
# TensorFlow's object detection API, whose boxes are y1, x1, y2, x2.
TENSORFLOW_BOXES = "detection_boxes"
NO_BOX = "no box was found in the pictures tried"

Outputs = Mapping[str, NDArray[Any]]


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
        one_table,
        _classifier,
    ]
    for guess in guesses:
        if (layout := guess(tables, named)) is not None:
            layout.batched = batch is not None
            if len(outputs) and batch is None and outputs[0].values.shape == (1, 6):
                layout.doubts.append("one row of six values: a box, or six scores of a classifier")
            return layout
    return None


def _without_batch(outputs: Sequence[GraphOutput]) -> bool:
    """Return whether outputs are those of one picture: boxes [K, 4] beside scores [K], or
    rows [K, 6] of boxes with class numbers."""
    shapes = [each.values.shape for each in outputs]
    if any(len(shape) == 2 and shape[1] == 4 and shape[:1] in shapes for shape in shapes):
        return True
    first = outputs[0].values if outputs else np.empty(0)
    if first.shape == (1, BATCH_ROW_COLUMNS):
        return has_batch_numbers(first)
    if first.shape != (1, 6) or not outputs[0].rows_vary:
        return False
    layout = six_columns(first, None)  # or a classifier of six classes
    return layout is not None and bool(layout.seen) and box_units(first) == "pixels"


def _first_picture(values: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """Return the first picture's part of an output."""
    has_batch = batch is not None and values.ndim >= 2 and values.shape[0] == batch
    return values[0] if has_batch else values


def _tensorflow(tables: Outputs, named: int | None) -> Layout | None:
    for name in tables:
        if _says(name, TENSORFLOW_BOXES):
            return unusable(
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
    layout.seen = class_numbers_seen(tables[labels[0]])
    layout.reasons.append(f"three outputs are boxes, class numbers and scores: {', '.join(names)}")
    add_values(layout, boxes, tables[scores[0]], "xyxy", "pixels")
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
    add_values(layout, boxes, scores, *default)
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


def _says(name: str, *words: str) -> bool:
    return any(word in name.lower() for word in words)
