"""Refine the category of boxes: distinguish people and vehicles from animals.

For detectors of one class. A second detector, the category detector, processes a generous crop
around each box: `refinement_crop` computes the crop, and `refine_categories` evaluates the boxes
found in it. A box of the category detector counts if it overlaps enough with the original box. A
person or a vehicle must score higher than every animal there and than the manifest's threshold.
In doubt the category is animal, because an animal labelled as a person is hidden from all results.

The rule was chosen on MegadetectorLite's boxes of confidence 0.25 and higher, processed by SSD
MobileNet V2: 189 on animals (42 on stills, 147 on frames of one clip), 4 on people (2 of them not
from camera traps), 33 on vehicles (32 of them cars from straight above, in one clip). Results:

| input                  | animal > person/vehicle | person > animal | vehicle > animal / person |
|------------------------|-------------------------|-----------------|---------------------------|
| the whole picture      | 1                       | 2               | 25 / 0                    |
| a crop, margin 0.25    | 6                       | 0               | 23 / 0                    |
| a crop, margin 0.5     | 7                       | 1               | 24 / 0                    |
| a crop, margin 1       | 1                       | 0               | 24 / 1                    |
| a crop, margin 2       | 1                       | 1               | 26 / 0                    |

With few people and few kinds of vehicles, these figures compare rules; they are not error rates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import (
    Category,
    CategoryRefinement,
    EnsembleRefinement,
)
from gpu_kernels.preprocessing.crop_regions import PixelRegion, Region, crop_region, to_pixels
from resources.errors import ModelError


class RefinementCrop(NamedTuple):
    """The input of the category detector for one box."""

    region: PixelRegion  # of the picture
    box: Region  # x, y, w, h of the original box as fractions of the region

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        left, top, right, bottom = self.region
        return bottom - top, right - left


class RefinedCategory(NamedTuple):
    """The category of a box."""

    category: Category
    confidence: float | None  # of the category detector; None: it found nothing, hence animal
    # Score of a person there that is below the threshold of people; None: none, or it is a person.
    possible_person: float | None = None
    best: float = 0.0  # best score of any category there


def refinement_crop(
    height: int, width: int, box: Region, manifest: ModelManifest
) -> RefinementCrop:
    """Return the crop around a box for the category detector.

    Args:
        height, width: of the upright picture, in pixels.
        box: x, y, w, h as fractions of the picture.
        manifest: the category detector, with sections [crop] and [category_refinement].

    Raises:
        ModelError: the manifest lacks these sections.
    """
    _refinement_rule(manifest)
    assert manifest.crop is not None  # required by [category_refinement]
    region = crop_region(box, manifest.crop.shape, manifest.crop.margin, width, height)
    left, top, right, bottom = to_pixels(region, width, height)
    x, y, w, h = box
    crop_width, crop_height = right - left, bottom - top
    box_in_crop = (
        (x * width - left) / crop_width,
        (y * height - top) / crop_height,
        w * width / crop_width,
        h * height / crop_height,
    )
    return RefinementCrop((left, top, right, bottom), box_in_crop)


def min_score(manifest: ModelManifest) -> float:
    """Return the minimum confidence of boxes that `refine_categories` uses.

    Raises:
        ModelError: the manifest has no [category_refinement] section.
    """
    rule = _refinement_rule(manifest)
    scores = [rule.person, rule.vehicle]
    if isinstance(rule, EnsembleRefinement):
        scores.append(rule.possible_person)
    return min(scores)


def refine_categories(
    found: Sequence[Boxes], manifest: ModelManifest, crops: Sequence[RefinementCrop]
) -> list[RefinedCategory]:
    """Return the category of each box.

    Args:
        found: the category detector's boxes of confidence `min_score` and higher in each crop.
        manifest: the category detector.
        crops: from `refinement_crop`, in the same order.

    Raises:
        ModelError: the manifest has no [category_refinement] section.
    """
    rule = _refinement_rule(manifest)
    return [
        _refine(boxes, crop.box, manifest, rule) for boxes, crop in zip(found, crops, strict=True)
    ]


def _refinement_rule(manifest: ModelManifest) -> CategoryRefinement:
    if manifest.category_refinement is None:
        raise ModelError(
            f"model {manifest.name}: cannot distinguish people and vehicles from animals; add a "
            "[category_refinement] section to its manifest, or set models.category_detector to "
            "another model"
        )
    return manifest.category_refinement


def _refine(
    boxes: Boxes, box: Region, manifest: ModelManifest, rule: CategoryRefinement
) -> RefinedCategory:
    matches = _overlap_of_smaller(np.asarray(box, dtype=np.float32), boxes.xywh) >= rule.overlap
    best: dict[Category, float] = {}
    for index, score in zip(boxes.class_index[matches], boxes.confidence[matches], strict=True):
        category = manifest.detector_output.classes[index].category
        if category is not None:
            best[category] = max(best.get(category, 0.0), float(score))
    animal = best.get("animal", 0.0)
    strongest = max(best.values(), default=0.0)

    def doubt(category: Category) -> float | None:
        person = best.get("person", 0.0)
        if category == "person" or not isinstance(rule, EnsembleRefinement):
            return None
        return person if person >= rule.possible_person and person > animal else None

    thresholds: tuple[tuple[Category, float], ...] = (
        ("person", rule.person),
        ("vehicle", rule.vehicle),
    )
    stronger = [
        RefinedCategory(category, best[category], doubt(category), strongest)
        for category, threshold in thresholds
        if category in best and best[category] >= threshold and best[category] > animal
    ]
    if not stronger:
        return RefinedCategory("animal", best.get("animal"), doubt("animal"), strongest)
    return max(stronger, key=lambda each: each.confidence or 0.0)


def _overlap_of_smaller(
    box: NDArray[np.float32], boxes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the intersection of a box [4] with boxes [K, 4], x, y, w, h, as a share of the
    smaller of the two."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=1)
    smaller = np.minimum(box[2:].prod(), boxes[:, 2:].prod(axis=1))
    share: NDArray[np.float32] = intersection / np.maximum(smaller, np.finfo(np.float32).tiny)
    return share
