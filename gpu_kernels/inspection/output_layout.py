"""Guess the layout of a graph's outputs from their names, shapes and values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.inspection.graph_file import GraphOutput
from gpu_kernels.inspection.output_values import (
    best_score,
    box_format,
    box_units,
    class_numbers,
    class_probabilities,
    score_kind,
)

NMS_DECODINGS = {"yolo-objectness", "yolo-anchor-free", "boxes-and-logits"}
# Hugging Face's RT-DETR, beside which an export can have hidden states.
HUGGING_FACE_OUTPUTS = ("pred_boxes", "logits")
# More queries than any RT-DETR has: a network that needs non-maximum suppression.
MANY_ROWS = 1000
# The numbers of a box and its classes, if a graph returns fewer than five boxes.
MAX_CLASSES_OF_FEW = 100

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
    """

    section: dict[str, Any]
    classes: int | None = None
    seen: list[int] = field(default_factory=list)
    boxes: NDArray[Any] | None = None
    batched: bool = True
    best: float = 0.0
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def guess_layout(outputs: Sequence[GraphOutput], batch: int | None) -> Layout | None:
    """Return the most likely layout; None if none fits.

    Args:
        outputs: of one run.
        batch: the number of pictures of the run; None: the graph takes one, without a batch.
    """
    if batch == 1 and _without_batch(outputs):
        batch = None
    tables = {each.name: _first_picture(each.values, batch) for each in outputs}
    guesses: list[Callable[[Outputs], Layout | None]] = [
        _hugging_face,
        _boxes_labels_scores,
        _boxes_and_scores,
        _one_table,
        _classifier,
    ]
    for guess in guesses:
        if (layout := guess(tables)) is not None:
            layout.batched = batch is not None
            return layout
    return None


def _without_batch(outputs: Sequence[GraphOutput]) -> bool:
    """Return whether outputs are those of one picture: boxes [K, 4] beside scores [K], or
    rows [K, 6] of boxes with class numbers."""
    shapes = [each.values.shape for each in outputs]
    if any(len(shape) == 2 and shape[1] == 4 and shape[:1] in shapes for shape in shapes):
        return True
    first = outputs[0].values if outputs else np.empty(0)
    if first.ndim != 2 or first.shape != (1, 6):
        return False
    layout = _six_columns(first)  # or a classifier of six classes
    return layout is not None and bool(layout.seen) and box_units(first) == "pixels"


def _first_picture(values: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """Return the first picture's part of an output."""
    has_batch = batch is not None and values.ndim >= 2 and values.shape[0] == batch
    return values[0] if has_batch else values


def _hugging_face(tables: Outputs) -> Layout | None:
    if len(tables) > 2 and set(HUGGING_FACE_OUTPUTS) <= set(tables):
        return _boxes_and_scores({name: tables[name] for name in HUGGING_FACE_OUTPUTS})
    return None


def _boxes_labels_scores(tables: Outputs) -> Layout | None:
    named = [name for name, each in tables.items() if each.ndim == 2 and each.shape[1] == 4]
    vectors = {name: each for name, each in tables.items() if each.ndim == 1}
    if len(named) != 1:
        return None
    boxes = tables[named[0]]
    vectors = {name: each for name, each in vectors.items() if len(each) == len(boxes)}
    labels = [name for name, each in vectors.items() if each.dtype.kind in "iu"]
    if not labels:
        labels = [name for name, each in vectors.items() if class_numbers(each[each != -1])]
        labels = [name for name in labels if not _says(name, "score", "conf")] or labels
    scores = [name for name, each in vectors.items() if each.dtype.kind == "f"]
    scores = [name for name in scores if name not in labels[:1]]
    if not labels or not scores:
        return None
    names = [named[0], labels[0], scores[0]]
    layout = Layout({"decoding": "boxes-labels-scores", "outputs": names}, boxes=boxes)
    layout.seen = _seen(tables[labels[0]])
    layout.reasons.append(f"three outputs are boxes, class numbers and scores: {', '.join(names)}")
    _add_values(layout, boxes, tables[scores[0]], "xyxy", "pixels")
    return layout


def _boxes_and_scores(tables: Outputs) -> Layout | None:
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
    layout.section["scores"] = score_kind(scores) or "probability"
    return layout


def _are_offsets(boxes: NDArray[Any]) -> bool:
    """Return whether values [K, 4] are no boxes, but offsets from anchors, as SSD's."""
    return bool((boxes[:, 2:] < 0).mean() > 0.05 and box_format(boxes) != "xyxy")


def _one_table(tables: Outputs) -> Layout | None:
    """Return the layout of one output of rows or columns; further outputs are of other tasks."""
    name, table = next(iter(tables.items()), ("", np.empty(0)))
    if table.ndim != 2:
        return None
    layout: Layout | None
    if table.shape[1] == 6:
        layout = _six_columns(table)
    elif 5 <= table.shape[0] < table.shape[1] or (
        table.shape[1] < 5 <= table.shape[0] <= MAX_CLASSES_OF_FEW
    ):
        layout = _columns(table)
    else:
        layout = _rows(table)
    if layout is not None and len(tables) > 1:
        layout.section = {"decoding": layout.section.pop("decoding"), "outputs": [name]} | (
            layout.section
        )
    return layout


def _six_columns(table: NDArray[Any]) -> Layout | None:
    live = table[(table != 0).any(axis=1) & (table[:, 5] != -1) & np.isfinite(table).all(axis=1)]
    if not len(live):
        layout = Layout({"decoding": "end2end"}, boxes=live[:, :4])
        layout.doubts.append("the output has six columns and no box in the pictures tried")
        return layout
    boxes = live[:, :4]
    if class_numbers(live[:, 5]):
        packed = box_units(boxes) == "fractions"
        layout = Layout({"decoding": "rtdetr-packed" if packed else "end2end"}, boxes=boxes)
        layout.seen = _seen(live[:, 5])
        layout.reasons.append("the sixth column has class numbers, the fifth scores")
        if packed:
            layout.section["columns"] = "score-class"
            _add_values(layout, boxes, live[:, 4], "cxcywh", "fractions")
        else:
            _add_values(layout, boxes, live[:, 4], "xyxy", "pixels")
    elif class_numbers(live[:, 0]) and score_kind(live[:, 5]) != "sigmoid":
        boxes = live[:, 1:5]
        section = {"decoding": "end2end", "columns": "class-box-score"}
        layout = Layout(section, boxes=boxes)
        layout.seen = _seen(live[:, 0])
        layout.reasons.append("the first column has class numbers, the sixth scores")
        _add_values(layout, boxes, live[:, 5], "xyxy", "pixels")
    else:
        return _rows(table)
    return layout


def _rows(table: NDArray[Any]) -> Layout | None:
    """Return the layout of rows with a score per class."""
    boxes, scores = table[:, :4], table[:, 4:]
    if scores.shape[1] < 1:
        return None
    if box_units(boxes) == "fractions":
        layout = Layout({"decoding": "rtdetr-packed"}, scores.shape[1], boxes=boxes)
        if scores.shape[1] == 2:
            layout.section["columns"] = "class-scores"
        layout.reasons.append(f"rows of a box in fractions and {scores.shape[1]} scores")
        _add_values(layout, boxes, scores, "cxcywh", "fractions")
        return layout
    if scores.shape[1] < 2:
        return None
    layout = Layout({"decoding": "yolo-objectness"}, scores.shape[1] - 1, boxes=boxes)
    layout.reasons.append(f"rows of a box in pixels, objectness and {scores.shape[1] - 1} scores")
    _add_values(layout, boxes, scores, "cxcywh", "pixels")
    return layout


def _columns(table: NDArray[Any]) -> Layout | None:
    """Return the layout of a column for each box: YOLOv8 and later."""
    if table.shape[0] < 5:
        return None
    boxes, scores = table[:4].T, table[4:]
    layout = Layout({"decoding": "yolo-anchor-free"}, len(scores), boxes=boxes)
    layout.reasons.append(
        f"{table.shape[1]} columns of a box and {len(scores)} scores, without suppression"
    )
    _add_values(layout, boxes, scores, "cxcywh", "pixels")
    return layout


def _classifier(tables: Outputs) -> Layout | None:
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
    return Layout(section, len(scores), best=best, reasons=[reason])


def _add_values(
    layout: Layout, boxes: NDArray[Any], scores: NDArray[Any], form: str, units: str
) -> None:
    """Add what the values show and is not the decoding's default."""
    if (found := box_format(boxes)) not in (None, form):
        layout.section["box_format"] = found
    if (shown := box_units(boxes)) not in (None, units):
        layout.section["box_units"] = shown
    logits = score_kind(scores) == "sigmoid"
    if logits:
        layout.section["scores"] = "sigmoid"
    layout.best = best_score(scores, logits, layout.section["decoding"] == "yolo-objectness")


def _seen(numbers: NDArray[Any]) -> list[int]:
    return [int(number) for number in np.unique(numbers) if number >= 0]


def _says(name: str, *words: str) -> bool:
    return any(word in name.lower() for word in words)
