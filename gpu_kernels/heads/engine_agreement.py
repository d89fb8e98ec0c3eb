"""Compare the results of two engines, or of two forms of a model, within a tolerance.

Compares what the pipeline uses: boxes after NMS, and ranked labels. Two results agree if every
clear box of either has a match in the other, of the same class, position and confidence within
the tolerance, and if the best label is the same wherever it is clear. Clear: further than
SCORE_TOLERANCE from the threshold, or from the next label. Rounding may decide the others either
way, and also which of two boxes of nearly equal confidence suppresses the other. Results that are
not finite agree with nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.label_ranking import RankedLabel
from gpu_kernels.heads.nms import Floats, iou

# The stated tolerance between engines.
SCORE_TOLERANCE = 0.05  # confidences and probabilities, of 1
EDGE_TOLERANCE = 0.02  # edges of boxes, of the picture's side
# Boxes of one class with at least this IoU match.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Agreement:
    """The number of compared results, and the largest differences."""

    compared: int = 0  # boxes and labels
    unmatched: int = 0  # clear ones without a match
    score_difference: float = 0.0
    edge_difference: float = 0.0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.compared + other.compared,
            self.unmatched + other.unmatched,
            max(self.score_difference, other.score_difference),
            max(self.edge_difference, other.edge_difference),
        )

    def __str__(self) -> str:
        return (
            f"{self.compared} results compared, {self.unmatched} of them without a match; "
            f"confidences differ by at most {self.score_difference:.4f}, edges by "
            f"{self.edge_difference:.4f}"
        )

    @property
    def within_tolerance(self) -> bool:
        """True if all results match within the stated tolerance."""
        return (
            not self.unmatched
            and self.score_difference <= SCORE_TOLERANCE
            and self.edge_difference <= EDGE_TOLERANCE
        )


def compare_boxes(boxes: Boxes, others: Boxes, threshold: float) -> Agreement:
    """Compare the boxes of one picture by two engines, both of minimum confidence `threshold`."""
    if not (_finite(boxes) and _finite(others)):
        return Agreement(1, 1)
    total = Agreement()
    for some, candidates in ((boxes, others), (others, boxes)):
        for index in range(len(some)):
            total += _match_box(some, index, candidates, threshold)
    return total


def _finite(boxes: Boxes) -> bool:
    return bool(np.isfinite(boxes.xywh).all() and np.isfinite(boxes.confidence).all())


def _match_box(boxes: Boxes, index: int, candidates: Boxes, threshold: float) -> Agreement:
    confidence = float(boxes.confidence[index])
    same_class = candidates.class_index == boxes.class_index[index]
    overlaps = np.where(same_class, iou(_corners(boxes)[index], _corners(candidates)), 0.0)
    if not len(overlaps) or overlaps.max() < MATCH_IOU:
        return Agreement(1, int(confidence >= threshold + SCORE_TOLERANCE))
    best = int(overlaps.argmax())
    edge_difference = np.abs(_corners(boxes)[index] - _corners(candidates)[best]).max()
    score_difference = abs(confidence - float(candidates.confidence[best]))
    return Agreement(1, 0, score_difference, float(edge_difference))


def _corners(boxes: Boxes) -> Floats:
    return np.concatenate([boxes.xywh[:, :2], boxes.xywh[:, :2] + boxes.xywh[:, 2:]], axis=1)


def compare_labels(labels: Sequence[RankedLabel], others: Sequence[RankedLabel]) -> Agreement:
    """Compare the ranked labels of one crop by two engines, at least one of each."""
    if not np.isfinite([each.confidence for each in (*labels, *others)]).all():
        return Agreement(1, 1)
    by_name = {each.label: each.confidence for each in others}
    second = labels[1].confidence if len(labels) > 1 else 0.0
    clear = labels[0].confidence - second > SCORE_TOLERANCE
    differences = [
        abs(each.confidence - by_name[each.label]) for each in labels if each.label in by_name
    ]
    unmatched = int(clear and labels[0].label != others[0].label)
    return Agreement(1, unmatched, max(differences, default=0.0))
