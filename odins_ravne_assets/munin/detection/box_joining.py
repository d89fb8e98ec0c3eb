"""Join the boxes of several detectors on one picture: one box for each animal."""

from collections.abc import Sequence
from typing import NamedTuple

from gpu_kernels.models.manifest_sections import Category


class FoundBox(NamedTuple):
    """A box of one detector, before its category is refined."""

    xywh: tuple[float, float, float, float]  # fractions of the upright picture
    category: Category
    confidence: float
    support: float | None  # see `gpu_kernels.models.ensemble.Part`
    source: tuple[int, int]  # the part of the ensemble, and the view of the picture


def join_boxes(boxes: Sequence[FoundBox], overlap: float) -> list[FoundBox]:
    """Return the boxes without those of the same animal, by falling confidence.

    Of two boxes of the same animal the more confident one remains. Detectors frame the same animal
    differently, so boxes of two sources are of the same animal if they share `overlap` of the
    smaller one. One detector separates animals that stand close together, so of its own boxes only
    those are the same that share `overlap` of their union, as two classes may.
    """
    remaining: list[FoundBox] = []
    for box in sorted(boxes, key=lambda each: -each.confidence):
        if not any(_overlap(box, other) > overlap for other in remaining):
            remaining.append(box)
    return remaining


def _overlap(one: FoundBox, other: FoundBox) -> float:
    (x, y, w, h), (u, v, m, n) = one.xywh, other.xywh
    width = min(x + w, u + m) - max(x, u)
    height = min(y + h, v + n) - max(y, v)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    same_source = one.source == other.source
    return shared / (w * h + m * n - shared if same_source else min(w * h, m * n))
