"""What the values of outputs show: the units and format of boxes, the kind of scores.

Each function returns None where the values do not show it.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.score_checks import (
    MIN_NEGATIVE_LOGITS,
    SCORE_TOLERANCE,
    negative_share,
)

# Fewer boxes or scores show no format: they can look like another one by chance.
MIN_ROWS = 10
MIN_CORNER_ROWS = 30
MIN_SCORES = 20
# Fractions exceed 1 where a box reaches over the edge; boxes in pixels are not all this small.
MAX_FRACTION = 2.0
MAX_CLASS_NUMBER = 100_000
# A class number with a rounding error is as near to a whole number.
NEARLY_WHOLE = 0.01
# Of two corners, at most this share is in the wrong order, by damaged rows.
MAX_UNORDERED = 0.02

ScoreKind = Literal["probability", "sigmoid", "neither"]


def box_units(boxes: NDArray[Any]) -> Literal["pixels", "fractions"] | None:
    """Return the units of boxes [K, 4]."""
    boxes = live_boxes(boxes)
    if len(boxes) == 0:
        return None
    # Of most boxes: single ones may be far outside the picture, or damaged.
    return "pixels" if typical_coordinate(boxes) > MAX_FRACTION else "fractions"


def typical_coordinate(boxes: NDArray[Any]) -> float:
    """Return the median of the boxes' largest coordinates, without padding; 0 if there is none."""
    boxes = live_boxes(boxes)
    return float(np.median(np.abs(boxes).max(axis=1))) if len(boxes) else 0.0


def box_format(boxes: NDArray[Any]) -> Literal["cxcywh", "xyxy"] | None:
    """Return whether boxes [K, 4] are centre and size, or two corners.

    A second corner is never left of or above the first one. A size smaller than the centre's
    coordinate is common.
    """
    boxes = live_boxes(boxes)
    if len(boxes) < MIN_ROWS:
        return None
    ordered = (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
    if ordered.mean() >= 1 - MAX_UNORDERED:
        return "xyxy" if len(boxes) >= MIN_CORNER_ROWS else None
    return "cxcywh" if ordered.mean() < 0.9 else None


def score_kind(scores: NDArray[Any]) -> ScoreKind | None:
    """Return whether scores [K] or [K, C] are probabilities, or logits that need a sigmoid.

    Values above 1 of which hardly any is negative are neither, nor are columns of which some are
    probabilities and others are not.
    """
    finite = np.where(np.isfinite(scores), scores.astype(np.float64), 0.5)
    outside = (finite < -SCORE_TOLERANCE) | (finite > 1 + SCORE_TOLERANCE)
    if not outside.any():
        return "probability" if scores.size >= MIN_SCORES else None
    differ = scores.ndim == 2 and len(scores) >= MIN_ROWS and not outside.any(axis=0).all()
    return "neither" if differ or negative_share(finite) < MIN_NEGATIVE_LOGITS else "sigmoid"


def best_score(scores: NDArray[Any], logits: bool, objectness: bool) -> float:
    """Return the highest score, 0 to 1; 0 if there is none.

    Args:
        scores: [K] or [K, C].
        logits: they need a sigmoid.
        objectness: the first of C columns is a factor of the others.
    """
    values = np.nan_to_num(scores.astype(np.float64))
    if logits:
        values = 0.5 + 0.5 * np.tanh(values / 2)
    if objectness:
        values = values[:, :1] * values[:, 1:]
    return float(values.max(initial=0.0))


def class_numbers(values: NDArray[Any]) -> bool:
    """Return whether values may be class numbers."""
    values = values.astype(np.float64)
    return bool(
        np.isfinite(values).all()
        and (values == np.floor(values)).all()
        and (values >= 0).all()
        and (values <= MAX_CLASS_NUMBER).all()
    )


def nearly_class_numbers(values: NDArray[Any]) -> bool:
    """Return whether most values are near to a whole number: damaged or rounded class numbers."""
    values = values.astype(np.float64)
    return bool((np.abs(values - np.round(values)) < NEARLY_WHOLE).mean() >= 0.9)


def class_probabilities(scores: NDArray[Any]) -> bool:
    """Return whether scores [C] of a classifier are probabilities, whose sum is 1."""
    scores = scores.astype(np.float64)
    return bool(scores.min() >= -SCORE_TOLERANCE and abs(scores.sum() - 1) < 0.01)


def live_boxes(boxes: NDArray[Any]) -> NDArray[Any]:
    """Return the boxes that are finite and not padding."""
    used = np.isfinite(boxes).all(axis=1) & (boxes != 0).any(axis=1)
    return np.asarray(boxes[used], dtype=np.float64)
