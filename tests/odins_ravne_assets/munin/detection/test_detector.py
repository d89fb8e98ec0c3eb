"""The detector of Stage 1 with networks of known answers: which boxes of an ensemble count."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from model_files import CATEGORY_DETECTOR, DETECTOR
from numpy.typing import NDArray

from gpu_kernels.heads.ssd_anchors import load_anchors
from gpu_kernels.models.ensemble import load_detector
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from odins_ravne_assets.munin.detection.detector import Box, Detector
from odins_ravne_assets.munin.inference.run_model import LoadedModel

SIDE = 640  # of MegadetectorLite's input and of the pictures
SSD_CLASSES = [each.name for each in load_manifest(CATEGORY_DETECTOR).detector_output.classes]
COLOUR = np.full((SIDE, SIDE, 3), (20, 90, 200), np.uint8)
GREY = np.full((SIDE, SIDE, 3), 90, np.uint8)
BOX = (0.4, 0.4, 0.2, 0.2)
LARGE = (0.1, 0.1, 0.8, 0.8)

Finding = tuple[tuple[float, float, float, float], float]  # x, y, w, h as fractions; confidence


class Answers:
    """An engine whose network gives the next of some answers for each picture."""

    description, fixed_batch = "known answers", 1
    device: str | None = None

    def __init__(self, answers: Sequence[list[NDArray[np.float32]]]) -> None:
        self._answers = list(answers)
        self.pictures: list[NDArray[Any]] = []

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        self.pictures += list(images)
        each = [self._answers.pop(0) if self._answers else [] for _ in images]
        return [np.concatenate(outputs) for outputs in zip(*each, strict=True)]


def yolox(*found: Finding) -> list[NDArray[np.float32]]:
    """Return MegadetectorLite's output with these boxes."""
    rows = np.zeros((1, max(1, len(found)), 6), np.float32)
    for row, ((x, y, w, h), confidence) in zip(rows[0], found, strict=False):
        row[:] = (*(SIDE * v for v in (x + w / 2, y + h / 2, w, h)), confidence, 1.0)
    return [rows]


def ssd(*found: tuple[str, Finding]) -> list[NDArray[np.float32]]:
    """Return SSD's outputs with these boxes, each of a class."""
    anchors = load_anchors(load_manifest(CATEGORY_DETECTOR))
    offsets = np.zeros((1, len(anchors), 4), np.float32)
    logits = np.full((1, len(anchors), len(SSD_CLASSES)), -20.0, np.float32)
    for number, (name, ((x, y, w, h), score)) in enumerate(found):
        y0, x0, y1, x1 = anchors[number]
        height, width = y1 - y0, x1 - x0
        offsets[0, number] = (
            10 * (y + h / 2 - (y0 + y1) / 2) / height,
            10 * (x + w / 2 - (x0 + x1) / 2) / width,
            5 * np.log(h / height),
            5 * np.log(w / width),
        )
        logits[0, number, SSD_CLASSES.index(name)] = np.log(score / (1 - score))
    return [offsets, logits]


EVERYWHERE = (0.0, 0.0, 1.0, 1.0)  # in a crop around a box


def detect(
    picture: NDArray[np.uint8],
    lite: Sequence[list[NDArray[np.float32]]],
    whole: list[NDArray[np.float32]],
    crops: Sequence[list[NDArray[np.float32]]],
    threshold: float | None = None,
) -> tuple[list[Box], Answers]:
    """Return the boxes of the shipped ensemble on a picture, and MegadetectorLite's engine.

    Args:
        lite: MegadetectorLite's answers, for the picture and for the one with more contrast.
        whole: SSD's answer for the picture.
        crops: SSD's answers for the crops around the boxes.
    """
    engines = iter([Answers(lite), Answers([whole]), Answers(crops)])
    opened: list[Answers] = []

    def load(manifest: ModelManifest) -> LoadedModel:
        opened.append(next(engines))
        return LoadedModel(manifest, opened[-1])

    (boxes,) = Detector(load_detector("lite-ensemble"), load, threshold).detect([picture])
    return boxes, opened[0]


@pytest.mark.parametrize(
    ("confidence", "animal", "counts"),
    [(0.3, 0.1, False), (0.3, 0.25, True), (0.45, 0.06, True), (0.55, 0.0, True),
     (0.45, 0.04, False), (0.2, 0.9, False)],
)  # fmt: skip
def test_a_doubtful_box_needs_the_support_of_the_category_detector(
    confidence: float, animal: float, counts: bool
) -> None:
    crop = ssd(("dog", (EVERYWHERE, animal))) if animal else ssd()
    boxes, _ = detect(COLOUR, [yolox((BOX, confidence))], ssd(), [crop])
    assert [each.confidence for each in boxes] == ([pytest.approx(confidence)] if counts else [])


def test_a_person_supports_a_box_too() -> None:
    crop = ssd(("person", (EVERYWHERE, 0.9)))
    ((box,), _) = detect(COLOUR, [yolox((BOX, 0.3))], ssd(), [crop])
    assert (box.category, box.category_confidence) == ("person", pytest.approx(0.9))
    assert box.person_confidence is None


@pytest.mark.parametrize(
    ("person", "animal", "category", "possible"),
    [(0.6, 0.1, "animal", 0.6), (0.7, 0.1, "person", None), (0.25, 0.1, "animal", None),
     (0.6, 0.62, "animal", None)],
)  # fmt: skip
def test_a_person_is_named_later_than_blurred(
    person: float, animal: float, category: str, possible: float | None
) -> None:
    crop = ssd(("person", (EVERYWHERE, person)), ("dog", (EVERYWHERE, animal)))
    ((box,), _) = detect(COLOUR, [yolox((BOX, 0.6))], ssd(), [crop])
    assert box.category == category
    assert box.person_confidence == (possible and pytest.approx(possible))


def test_animals_of_the_second_part_are_added_and_its_people_are_not() -> None:
    elsewhere = (0.05, 0.7, 0.2, 0.2)
    whole = ssd(("dog", (elsewhere, 0.4)), ("person", ((0.7, 0.1, 0.2, 0.2), 0.9)))
    boxes, _ = detect(COLOUR, [yolox((BOX, 0.8))], whole, [ssd(), ssd()])
    assert [each.confidence for each in boxes] == pytest.approx([0.8, 0.4], abs=1e-5)
    assert boxes[1].xywh == pytest.approx(elsewhere, abs=1e-5)


@pytest.mark.parametrize(("confidence", "expected"), [(0.5, 0), (0.7, 1)])
def test_a_box_of_most_of_the_picture_needs_more_confidence(
    confidence: float, expected: int
) -> None:
    boxes, _ = detect(COLOUR, [yolox()], ssd(("dog", (LARGE, confidence))), [ssd()])
    assert len(boxes) == expected


def test_one_animal_has_one_box_the_more_confident_one() -> None:
    boxes, _ = detect(COLOUR, [yolox((BOX, 0.6))], ssd(("dog", (BOX, 0.9))), [ssd(), ssd()])
    assert [each.confidence for each in boxes] == pytest.approx([0.9], abs=1e-5)


def test_a_grey_picture_is_processed_again_with_more_contrast() -> None:
    answers = [yolox(), yolox((BOX, 0.8))]
    boxes, lite = detect(GREY, answers, ssd(), [ssd()])
    assert len(lite.pictures) == 2
    assert [each.xywh for each in boxes] == [pytest.approx(BOX, abs=1e-5)]


def test_a_coloured_picture_is_processed_once() -> None:
    _, lite = detect(COLOUR, [yolox((BOX, 0.8))], ssd(), [ssd()])
    assert len(lite.pictures) == 1


def test_the_threshold_of_the_profile_replaces_those_of_all_parts() -> None:
    whole = ssd(("dog", ((0.05, 0.7, 0.2, 0.2), 0.4)))
    boxes, _ = detect(COLOUR, [yolox((BOX, 0.6))], whole, [ssd()], threshold=0.5)
    assert [each.confidence for each in boxes] == pytest.approx([0.6])


def test_a_plain_detector_counts_every_box_above_its_threshold() -> None:
    models = load_detector(DETECTOR)
    engines = iter([Answers([yolox((BOX, 0.3))]), Answers([ssd()])])
    detector = Detector(models, lambda each: LoadedModel(each, next(engines)), None)
    ((box,),) = detector.detect([COLOUR])
    assert (box.category, box.category_confidence, box.person_confidence) == ("animal", None, None)
    assert box.confidence == pytest.approx(0.3)
