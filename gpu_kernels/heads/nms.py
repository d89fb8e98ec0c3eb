"""TODO-DOC of gpu_kernels/heads/nms.py."""

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Floats


def non_maximum_suppression(
    corners: Floats, class_index: NDArray[np.int64], limit: float
) -> NDArray[np.int64]:
    """Positions that survive suppression within each class; `corners` by falling confidence."""
    alive = np.ones(len(corners), dtype=bool)
    for position in range(len(corners)):
        if alive[position]:
            later = position + 1 + np.flatnonzero(alive[position + 1 :])
            later = later[class_index[later] == class_index[position]]
            alive[later[iou(corners[position], corners[later]) > limit]] = False
    return np.flatnonzero(alive)


def iou(one: Floats, many: Floats) -> Floats:
    """Intersection over union of a box [4] with boxes [K, 4], all x0, y0, x1, y1."""
    sides = np.minimum(one[2:], many[:, 2:]) - np.maximum(one[:2], many[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    total = (one[2:] - one[:2]).prod() + (many[:, 2:] - many[:, :2]).prod(axis=1) - shared
    share: Floats = shared / np.maximum(total, np.finfo(np.float32).tiny)
    return share
