"""Tells people and vehicles from animals in the boxes of a detector that does not.

A second detector looks at a generous crop around each box: `look_at` says which, and
`categories_of` reads the boxes that it found there. A box of the second detector counts if it
shares enough area with the first one's, and a person or a vehicle must score more than every animal
there and than the manifest's threshold: where in doubt it is an animal, because an animal taken for
a person is never seen again.

The rule was chosen on MegadetectorLite's boxes of confidence 0.25 and more, looked at by SSD
MobileNet V2: 189 on animals (42 on stills, 147 on frames of one clip), 4 on people (2 of them not
from camera traps), 33 on vehicles (32 of them cars from straight above, in one clip). Called
were:

| looked at              | animal > person/vehicle | person > animal | vehicle > animal / person |
|------------------------|-------------------------|-----------------|---------------------------|
| the whole picture      | 1                       | 2               | 25 / 0                    |
| a crop, margin 0.25    | 6                       | 0               | 23 / 0                    |
| a crop, margin 0.5     | 7                       | 1               | 24 / 0                    |
| a crop, margin 1       | 1                       | 0               | 24 / 1                    |
| a crop, margin 2       | 1                       | 1               | 26 / 0                    |

Few people and few kinds of vehicles: these figures choose between rules, they promise no rates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.models.manifest import Category, CategoryRefinement, ModelManifest
from gpu_kernels.preprocessing.crop_regions import PixelRegion, Region, crop_region, to_pixels
from resources.errors import ModelError


class RefinementCrop(NamedTuple):
    """What the second detector is shown of one box."""

    region: PixelRegion  # of the picture
    box: Region  # x, y, w, h of the first detector's box as fractions of the region

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        left, top, right, bottom = self.region
        return bottom - top, right - left


class RefinedCategory(NamedTuple):
    """What a box holds."""

    category: Category
    confidence: float | None  # of the second detector; None: it saw nothing, hence an animal


def refinement_crop(
    height: int, width: int, box: Region, manifest: ModelManifest
) -> RefinementCrop:
    """The crop around a box that the second detector is to be shown.

    Args:
        height, width: of the upright picture, in pixels.
        box: x, y, w, h as fractions of the picture.
        manifest: the second detector, with sections [crop] and [telling].

    Raises:
        ModelError: the manifest lacks these sections.
    """
    _refinement_rule(manifest)
    assert manifest.crop is not None  # no manifest has [telling] without it
    region = crop_region(box, manifest.crop.shape, manifest.crop.margin, width, height)
    left, top, right, bottom = to_pixels(region, width, height)
    x, y, w, h = box
    wide, high = right - left, bottom - top
    within = (
        (x * width - left) / wide,
        (y * height - top) / high,
        w * width / wide,
        h * height / high,
    )
    return RefinementCrop((left, top, right, bottom), within)


def min_score(manifest: ModelManifest) -> float:
    """Least confidence of the second detector's boxes that are of use.

    Raises:
        ModelError: the manifest has no [telling] section.
    """
    rule = _refinement_rule(manifest)
    return min(rule.person, rule.vehicle)


def refine_categories(
    seen: Sequence[Boxes], manifest: ModelManifest, looks: Sequence[RefinementCrop]
) -> list[RefinedCategory]:
    """The category of each box.

    Args:
        seen: the second detector's boxes of `least_score` and more in the looks' regions, in their
            order.
        manifest: the second detector.
        looks: what `look_at` gave.

    Raises:
        ModelError: the manifest has no [telling] section.
    """
    rule = _refinement_rule(manifest)
    return [
        _refine(boxes, look.box, manifest, rule) for boxes, look in zip(seen, looks, strict=True)
    ]


def _refinement_rule(manifest: ModelManifest) -> CategoryRefinement:
    if manifest.telling is None:
        raise ModelError(
            f"model {manifest.name}: cannot tell people and vehicles from animals; its manifest "
            "needs a [telling] section, or models.category_detector another model"
        )
    return manifest.telling


def _refine(
    boxes: Boxes, box: Region, manifest: ModelManifest, rule: CategoryRefinement
) -> RefinedCategory:
    there = _overlap_of_smaller(np.asarray(box, dtype=np.float32), boxes.xywh) >= rule.overlap
    best: dict[Category, float] = {}
    for index, score in zip(boxes.class_index[there], boxes.confidence[there], strict=True):
        category = manifest.detector_output.classes[index].category
        if category is not None:
            best[category] = max(best.get(category, 0.0), float(score))
    animal = best.get("animal", 0.0)
    least: tuple[tuple[Category, float], ...] = (("person", rule.person), ("vehicle", rule.vehicle))
    told = [
        RefinedCategory(category, best[category])
        for category, threshold in least
        if category in best and best[category] >= threshold and best[category] > animal
    ]
    if not told:
        return RefinedCategory("animal", best.get("animal"))
    return max(told, key=lambda each: each.confidence or 0.0)


def _overlap_of_smaller(one: NDArray[np.float32], many: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area shared by a box [4] and boxes [K, 4], x, y, w, h, in parts of the smaller of the two."""
    low = np.maximum(one[:2], many[:, :2])
    high = np.minimum(one[:2] + one[2:], many[:, :2] + many[:, 2:])
    area = np.clip(high - low, 0, None).prod(axis=1)
    smaller = np.minimum(one[2:].prod(), many[:, 2:].prod(axis=1))
    shared: NDArray[np.float32] = area / np.maximum(smaller, np.finfo(np.float32).tiny)
    return shared
