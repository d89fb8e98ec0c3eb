"""Non-maximum suppression (NMS): of overlapping boxes of a class only the strongest remains."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def non_maximum_suppression(
    corners: Floats, class_index: NDArray[np.int64], max_iou: float
) -> NDArray[np.int64]:
    """Return the positions of the boxes that remain.

    Args:
        corners: [K, 4] x0, y0, x1, y1, by falling confidence.
        class_index: [K]; boxes of different classes do not suppress each other.
        max_iou: a box is removed if its overlap with a stronger one exceeds this.
    """
    alive = np.ones(len(corners), dtype=bool)
    for position in range(len(corners)):
        if alive[position]:
            later = position + 1 + np.flatnonzero(alive[position + 1 :])
            later = later[class_index[later] == class_index[position]]
            alive[later[iou(corners[position], corners[later]) > max_iou]] = False
    return np.flatnonzero(alive)


def iou(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union (IoU) of a box [4] with boxes [K, 4].

    All boxes are x0, y0, x1, y1.
    """
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - intersection
    ratio: Floats = intersection / np.maximum(union, np.finfo(np.float32).tiny)
    return ratio
