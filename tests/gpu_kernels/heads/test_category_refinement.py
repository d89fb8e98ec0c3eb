"""Refinement of categories: people and vehicles are distinguished from animals."""

import numpy as np
import pytest
from model_files import CATEGORY_DETECTOR, DETECTOR
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.category_refinement import (
    RefinedCategory,
    RefinementCrop,
    min_score,
    refine_categories,
    refinement_crop,
)
from gpu_kernels.models.manifest import load_manifest
from resources.errors import ModelError

MANIFEST = load_manifest(CATEGORY_DETECTOR)
CLASSES = [c.name for c in MANIFEST.detector_output.classes]
LAST = 1916  # the anchor that covers almost the whole crop
CORNER = 0  # a small anchor in the top left corner


def ssd_outputs(*scores: tuple[str, float, int]) -> list[NDArray[np.float32]]:
    """Return raw outputs of SSD for one crop, with (class, score, anchor) as given."""
    logits = np.full((1, 1917, len(CLASSES)), -20.0, np.float32)
    for name, score, anchor in scores:
        logits[0, anchor, CLASSES.index(name)] = np.log(score / (1 - score))
    return [np.zeros((1, 1917, 4), np.float32), logits]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], RefinedCategory("animal", None)),
        ([("person", 0.6, LAST)], RefinedCategory("person", 0.6)),
        ([("person", 0.45, LAST)], RefinedCategory("animal", None)),
        ([("truck", 0.3, LAST)], RefinedCategory("vehicle", 0.3)),
        ([("truck", 0.15, LAST)], RefinedCategory("animal", None)),
        ([("dog", 0.7, LAST)], RefinedCategory("animal", 0.7)),
        ([("person", 0.8, LAST), ("bear", 0.9, LAST)], RefinedCategory("animal", 0.9)),
        ([("person", 0.9, LAST), ("bear", 0.8, LAST)], RefinedCategory("person", 0.9)),
        ([("person", 0.9, LAST), ("car", 0.8, LAST)], RefinedCategory("person", 0.9)),
        ([("person", 0.8, LAST), ("car", 0.9, LAST)], RefinedCategory("vehicle", 0.9)),
        ([("person", 0.4, LAST), ("car", 0.3, LAST)], RefinedCategory("vehicle", 0.3)),
        ([("person", 0.9, CORNER)], RefinedCategory("animal", None)),
        ([("person", 0.9, CORNER), ("dog", 0.5, LAST)], RefinedCategory("animal", 0.5)),
    ],
)
def test_a_box_is_an_animal_unless_a_person_or_vehicle_there_scores_more(
    scores: list[tuple[str, float, int]], expected: RefinedCategory
) -> None:
    crop = RefinementCrop((0, 0, 90, 90), (0.33, 0.33, 0.34, 0.34))
    boxes = decode_boxes(ssd_outputs(*scores), MANIFEST, [crop.size], min_score(MANIFEST))
    (refined,) = refine_categories(boxes, MANIFEST, [crop])
    assert refined.category == expected.category
    confidence = expected.confidence and pytest.approx(expected.confidence, abs=1e-5)
    assert refined.confidence == confidence


def test_the_refinement_crop_is_a_square_with_a_margin_and_contains_the_box() -> None:
    # A box of 40 x 20 pixels at (200, 100).
    crop = refinement_crop(200, 400, (0.5, 0.5, 0.1, 0.1), MANIFEST)
    assert crop.region == (160, 50, 280, 170)
    assert crop.box == pytest.approx((40 / 120, 50 / 120, 40 / 120, 20 / 120))


def test_no_boxes_have_no_categories() -> None:
    assert refine_categories([], MANIFEST, []) == []


def test_a_model_without_a_category_refinement_section_is_refused() -> None:
    detector = load_manifest(DETECTOR)
    with pytest.raises(ModelError, match=r"add a \[category_refinement\] section"):
        refinement_crop(9, 9, (0, 0, 1, 1), detector)
