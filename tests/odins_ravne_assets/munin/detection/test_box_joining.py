"""Joining of boxes: several detectors frame one animal, and one box of it remains."""

from odins_ravne_assets.munin.detection.box_joining import FoundBox, join_boxes

ONE, OTHER = (0, 0), (1, 0)


def box(
    xywh: tuple[float, float, float, float], confidence: float, source: tuple[int, int] = ONE
) -> FoundBox:
    return FoundBox(xywh, "animal", confidence, None, source)


BODY = (0.2, 0.2, 0.4, 0.4)
HEAD = (0.5, 0.2, 0.1, 0.1)  # inside the body
ELSEWHERE = (0.7, 0.7, 0.2, 0.2)


def test_of_two_boxes_of_one_animal_the_more_confident_one_remains() -> None:
    weak, strong = box(BODY, 0.4), box(HEAD, 0.6, OTHER)
    assert join_boxes([weak, strong], 0.5) == [strong]
    assert join_boxes([strong, weak], 0.5) == [strong]


def test_boxes_of_different_animals_remain_by_falling_confidence() -> None:
    found = [box(BODY, 0.3), box(ELSEWHERE, 0.9, OTHER), box((0.0, 0.7, 0.1, 0.1), 0.5)]
    assert [each.confidence for each in join_boxes(found, 0.5)] == [0.9, 0.5, 0.3]


def test_animals_that_one_detector_separates_stay_separate() -> None:
    mother, young = box(BODY, 0.8), box(HEAD, 0.7)
    assert join_boxes([mother, young], 0.5) == [mother, young]


def test_boxes_of_two_classes_of_one_detector_on_the_same_animal_are_one() -> None:
    bear, dog = box(BODY, 0.8), box((0.21, 0.2, 0.4, 0.4), 0.4)
    assert join_boxes([dog, bear], 0.5) == [bear]


def test_a_view_with_more_contrast_is_another_source() -> None:
    plain, contrast = box(BODY, 0.8), box(HEAD, 0.7, (0, 1))
    assert join_boxes([plain, contrast], 0.5) == [plain]


def test_boxes_that_touch_do_not_overlap() -> None:
    left, right = box((0.0, 0.0, 0.5, 1.0), 0.8), box((0.5, 0.0, 0.5, 1.0), 0.7, OTHER)
    assert join_boxes([left, right], 0.5) == [left, right]
    assert join_boxes([], 0.5) == []
