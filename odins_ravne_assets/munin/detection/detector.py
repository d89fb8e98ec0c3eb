"""The detector of Stage 1: takes pictures, returns boxes with a category.

A second model may refine the categories. On a GPU it processes the boxes of one batch while the
detector processes the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.category_refinement import min_score, refine_categories, refinement_crop
from gpu_kernels.models.manifest_sections import Category
from gpu_kernels.preprocessing.crop_regions import PixelRegion
from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.inference.run_model import DetectorRunner, LoadedModel, whole_picture
from odins_ravne_assets.munin.tables.journal import Row

# On the host, uint8 BGR [h, w, 3], upright; or on the GPU.
Picture = npt.NDArray[np.uint8] | DeviceFrame
# Waits for the models; returns the boxes of each picture of a batch, by falling confidence.
PendingBoxes = Callable[[], "list[list[Box]]"]


@dataclass(frozen=True)
class Box:
    """A box; x, y, w, h are fractions of the upright picture."""

    xywh: tuple[float, float, float, float]
    category: Category
    confidence: float
    category_confidence: float | None

    def as_row(self) -> Row:
        x, y, w, h = self.xywh
        return {
            "category": self.category,
            "confidence": self.confidence,
            "category_confidence": self.category_confidence,
            "x": x,
            "y": y,
            "w": w,
            "h": h,
        }


class CategoryDetector:
    """A second detector, which refines the categories of the first one's boxes."""

    def __init__(self, model: LoadedModel) -> None:
        self._runner = DetectorRunner(model, min_score(model.manifest))
        self._manifest = model.manifest

    def start(self, pictures: Sequence[Picture], boxes: list[list[Box]]) -> PendingBoxes:
        """Start inference on all boxes of a batch."""
        regions: list[tuple[Picture, PixelRegion]] = []
        views = []
        for picture, of_picture in zip(pictures, boxes, strict=True):
            for box in of_picture:
                height, width = picture.shape[:2]
                views.append(refinement_crop(height, width, box.xywh, self._manifest))
                regions.append((picture, views[-1].region))
        if not views:
            return lambda: boxes
        found = self._runner.start(regions)

        def finish() -> list[list[Box]]:
            categories = iter(refine_categories(found(), self._manifest, views))
            return [
                [
                    replace(box, category=each.category, category_confidence=each.confidence)
                    for box, each in zip(of_picture, categories)  # noqa: B905 (consumed in parts)
                ]
                for of_picture in boxes
            ]

        return finish


class Detector:
    """A detector and, if it does not recognise people and vehicles, a second model that does."""

    def __init__(
        self, detector: LoadedModel, categories: LoadedModel | None, threshold: float | None
    ) -> None:
        """Args:
        threshold: least confidence of a box; the detector's own when None.
        """
        own = detector.manifest.detector_output.threshold
        self._runner = DetectorRunner(detector, own if threshold is None else threshold)
        self._category_detector = CategoryDetector(categories) if categories else None
        self._classes = detector.manifest.detector_output.classes
        # Waits for the boxes of the last batch, and starts the category detector on them.
        self._last: Callable[[], PendingBoxes] | None = None
        # Longer side of the detector's input, in pixels.
        self.input_side = max(detector.manifest.input.largest_size)
        # Batches that may be started before the answer of an earlier one is read: one per model.
        self.max_pending = detector.max_pending * (1 if categories is None else 2)

    def detect(self, pictures: Sequence[Picture]) -> list[list[Box]]:
        """Return the boxes of each picture, by falling confidence."""
        return self.start(pictures)()

    def start(self, pictures: Sequence[Picture]) -> PendingBoxes:
        """Start inference on pictures, which must not change until the answer is read."""
        found = self._runner.start([whole_picture(each) for each in pictures])
        if self._last:
            self._last()  # the detector is busy again; now the category detector

        @cache  # called by the next batch or for the answer, whichever is first
        def refine() -> PendingBoxes:
            boxes = [self._boxes(each) for each in found()]
            if self._category_detector is None:
                return lambda: boxes
            return self._category_detector.start(pictures, boxes)

        def finish() -> list[list[Box]]:
            answer = refine()()
            if self._last is refine:
                self._last = None  # release the pictures
            return answer

        self._last = refine
        return finish

    def _boxes(self, found: Boxes) -> list[Box]:
        result: list[Box] = []
        for xywh, confidence, index in zip(
            found.xywh, found.confidence, found.class_index, strict=True
        ):
            category = self._classes[int(index)].category
            if category is None:
                continue  # a class that the manifest ignores
            x, y, w, h = (float(value) for value in xywh)
            result.append(Box((x, y, w, h), category, float(confidence), None))
        return result
