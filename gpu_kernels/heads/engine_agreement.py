"""Whether two engines, or two forms of a model, give the same answers for a picture.

Not the networks' numbers are compared but what the pipeline takes from them: boxes after
suppression, and ranked labels. Two answers agree when every clear box of the one has a partner in
the other, of the same class, at the same place, with nearly the same confidence, and when the best
label is the same wherever it is clear. Clear: further from the threshold, or from the next label,
than `SCORE`; what is on the edge may fall either way by rounding, and so may which of two boxes
suppresses the other where their confidences are as near as that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.label_ranking import RankedLabel
from gpu_kernels.heads.nms import iou

# The stated tolerance: what engines may differ by.
SCORE_TOLERANCE = 0.05  # confidences and probabilities, of 1
EDGE_TOLERANCE = 0.02  # edges of boxes, of the picture's side
# Boxes that overlap by this much, of one class, are one and the same.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Agreement:
    """Answers compared, and the largest differences."""

    compared: int = 0  # boxes and labels
    unmatched: int = 0  # clear ones without a partner
    score: float = 0.0
    place: float = 0.0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.compared + other.compared,
            self.unmatched + other.unmatched,
            max(self.score, other.score),
            max(self.place, other.place),
        )

    def __str__(self) -> str:
        return (
            f"{self.compared} answers compared, {self.unmatched} of them without a partner; "
            f"confidences differ by at most {self.score:.4f}, edges by {self.place:.4f}"
        )

    @property
    def holds(self) -> bool:
        """Whether all of it is within the stated tolerance."""
        return not self.unmatched and self.score <= SCORE_TOLERANCE and self.place <= EDGE_TOLERANCE


def compare_boxes(one: Boxes, other: Boxes, threshold: float) -> Agreement:
    """The boxes of one picture by two engines, both with least confidence `threshold`."""
    total = Agreement()
    for some, others in ((one, other), (other, one)):
        for place in range(len(some)):
            total += _match_box(some, place, others, threshold)
    return total


def _match_box(some: Boxes, place: int, others: Boxes, threshold: float) -> Agreement:
    confidence = float(some.confidence[place])
    same_class = others.class_index == some.class_index[place]
    shared = np.where(same_class, iou(_corners(some)[place], _corners(others)), 0.0)
    if not len(shared) or shared.max() < MATCH_IOU:
        return Agreement(1, int(confidence >= threshold + SCORE_TOLERANCE))
    best = int(shared.argmax())
    edges = np.abs(_corners(some)[place] - _corners(others)[best]).max()
    score = abs(confidence - float(others.confidence[best]))
    return Agreement(1, 0, score, float(edges))


def _corners(boxes: Boxes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.concatenate([boxes.xywh[:, :2], boxes.xywh[:, :2] + boxes.xywh[:, 2:]], axis=1)


def compare_labels(one: Sequence[RankedLabel], other: Sequence[RankedLabel]) -> Agreement:
    """The ranked labels of one crop by two engines; at least two of each."""
    by_name = {each.label: each.confidence for each in other}
    clear = one[0].confidence - one[1].confidence > SCORE_TOLERANCE
    differ = [abs(each.confidence - by_name[each.label]) for each in one if each.label in by_name]
    return Agreement(1, int(clear and one[0].label != other[0].label), max(differ, default=0.0))
