"""The comparison of two engines' results, within the stated tolerance."""

import numpy as np
import pytest

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.engine_agreement import (
    EDGE_TOLERANCE,
    SCORE_TOLERANCE,
    Agreement,
    compare_boxes,
    compare_labels,
)
from gpu_kernels.heads.label_ranking import RankedLabel


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """Return boxes of rows x, y, w, h, confidence, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


FOX = (0.2, 0.2, 0.4, 0.4, 0.8, 0)


def test_a_clear_box_without_a_match_is_counted() -> None:
    assert compare_boxes(boxes(FOX), boxes(FOX), 0.25) == Agreement(2, 0)
    assert compare_boxes(boxes(FOX), boxes(), 0.25) == Agreement(1, 1)
    assert compare_boxes(boxes(), boxes(FOX), 0.25) == Agreement(1, 1)
    assert compare_boxes(boxes(FOX), boxes((*FOX[:5], 1)), 0.25) == Agreement(2, 2)


def test_a_box_near_the_threshold_may_be_missing() -> None:
    near = (*FOX[:4], 0.25 + SCORE_TOLERANCE / 2, 0)
    assert compare_boxes(boxes(near), boxes(), 0.25).within_tolerance


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0.2 + EDGE_TOLERANCE / 2, 0.2, 0.4, 0.4, 0.8, 0), True),
        ((0.2 + EDGE_TOLERANCE * 2, 0.2, 0.4, 0.4, 0.8, 0), False),
        ((0.2, 0.2, 0.4, 0.4, 0.8 + SCORE_TOLERANCE / 2, 0), True),
        ((0.2, 0.2, 0.4, 0.4, 0.8 + SCORE_TOLERANCE * 2, 0), False),
    ],
)
def test_matches_may_differ_by_the_stated_tolerance(
    other: tuple[float, float, float, float, float, int], expected: bool
) -> None:
    assert compare_boxes(boxes(FOX), boxes(other), 0.25).within_tolerance is expected


def labels(**confidence: float) -> list[RankedLabel]:
    ranked = sorted(confidence.items(), key=lambda item: -item[1])
    return [RankedLabel(name, None, value, True) for name, value in ranked]


def test_a_clear_best_label_must_be_the_same() -> None:
    close = compare_labels(labels(fox=0.6, cat=0.58), labels(cat=0.59, fox=0.585))
    assert close.within_tolerance
    assert compare_labels(labels(fox=0.9, cat=0.1), labels(cat=0.9, fox=0.1)).unmatched == 1
