"""The layout of a graph's outputs, and what their values add to it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.score_checks import negative_share
from gpu_kernels.inspection.output_values import (
    MIN_CORNER_ROWS,
    best_score,
    box_format,
    box_units,
    live_boxes,
    score_kind,
)

# More queries than any RT-DETR has: a network that needs non-maximum suppression.
MANY_ROWS = 1000
# The median score of a class is far lower: most boxes hold nothing.
NO_OBJECT_PROBABILITY, NO_OBJECT_LOGIT = 0.9, 2.2


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


def unusable(problem: str) -> Layout:
    """Return the layout of outputs that no decoding reads."""
    return Layout({"decoding": "unknown"}, problem=problem)


def add_values(
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


def class_numbers_seen(numbers: NDArray[Any]) -> list[int]:
    """Return the class numbers, sorted, without padding."""
    return [int(number) for number in np.unique(numbers) if number >= 0]
