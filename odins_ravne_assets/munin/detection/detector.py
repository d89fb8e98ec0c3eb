"""The detector of Stage 1: pictures in, boxes with a category out.

A second model may tell the categories. On a GPU it looks at the boxes of one batch while the
detector has the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from gpu_kernels.heads.category_refinement import categories_of, least_score, look_at
from gpu_kernels.heads.decode import Boxes
from gpu_kernels.models.manifest import Category
from gpu_kernels.preprocessing.device_picture import DeviceFrame
from gpu_kernels.preprocessing.letterbox import Pixels
from odins_ravne_assets.munin.inference.run_model import DetectorRunner, LoadedModel, whole_picture
from odins_ravne_assets.munin.tables.journal import Row

# Of the host, uint8 BGR [h, w, 3], upright; or of the GPU.
Picture = npt.NDArray[np.uint8] | DeviceFrame
# Waits for models, and gives the boxes of each picture of a batch, by falling confidence.
PendingBoxes = Callable[[], "list[list[Box]]"]


@dataclass(frozen=True)
class Box:
    """x, y, w, h as fractions of the upright picture."""

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
    """A second detector, which tells the categories of the first one's boxes."""

    def __init__(self, model: LoadedModel) -> None:
        self._finder = DetectorRunner(model, least_score(model.manifest))
        self._manifest = model.manifest

    def start(self, pictures: Sequence[Picture], boxes: list[list[Box]]) -> PendingBoxes:
        """Start looking at all boxes of a batch, to have its word on their categories."""
        regions: list[tuple[Picture, Pixels]] = []
        looks = []
        for picture, of_picture in zip(pictures, boxes, strict=True):
            for box in of_picture:
                height, width = picture.shape[:2]
                looks.append(look_at(height, width, box.xywh, self._manifest))
                regions.append((picture, looks[-1].region))
        if not looks:
            return lambda: boxes
        seen = self._finder.start(regions)

        def finish() -> list[list[Box]]:
            told = iter(categories_of(seen(), self._manifest, looks))
            return [
                [
                    replace(box, category=word.category, category_confidence=word.confidence)
                    for box, word in zip(of_picture, told)  # noqa: B905 (told goes on)
                ]
                for of_picture in boxes
            ]

        return finish


class Detector:
    """A detector and, if it cannot tell people and vehicles itself, a model that can."""

    def __init__(
        self, detector: LoadedModel, categories: LoadedModel | None, threshold: float | None
    ) -> None:
        """Args:
        threshold: least confidence of a box; the detector's own when None.
        """
        own = detector.manifest.detector_output.threshold
        self._finder = DetectorRunner(detector, own if threshold is None else threshold)
        self._teller = CategoryDetector(categories) if categories else None
        self._classes = detector.manifest.detector_output.classes
        # Waits for the detector's boxes of the last batch, and has the teller start on them.
        self._last: Callable[[], PendingBoxes] | None = None
        # Longer side of the picture that the detector sees, in pixels.
        self.input_side = max(detector.manifest.input.height, detector.manifest.input.width)
        # Batches that may be started before an answer is waited for: each model has one.
        self.looks_ahead = (1 if categories is None else 2) if detector.looks_ahead else 0

    def find(self, pictures: Sequence[Picture]) -> list[list[Box]]:
        """The boxes of each picture, by falling confidence."""
        return self.start(pictures)()

    def start(self, pictures: Sequence[Picture]) -> PendingBoxes:
        """Start looking at pictures, which must not change until the answer was asked for."""
        found = self._finder.start([whole_picture(each) for each in pictures])
        if self._last:
            self._last()  # the detector has work again; now the teller

        @cache  # who comes first, the next batch or the answer, has the teller start
        def told() -> PendingBoxes:
            boxes = [self._boxes(each) for each in found()]
            return self._teller.start(pictures, boxes) if self._teller else lambda: boxes

        def finish() -> list[list[Box]]:
            answer = told()()
            if self._last is told:
                self._last = None  # it would keep the pictures
            return answer

        self._last = told
        return finish

    def _boxes(self, found: Boxes) -> list[Box]:
        result: list[Box] = []
        for xywh, confidence, index in zip(
            found.xywh, found.confidence, found.class_index, strict=True
        ):
            category = self._classes[int(index)].category
            if category is None:
                continue  # a class that the manifest says is of no interest
            x, y, w, h = (float(value) for value in xywh)
            result.append(Box((x, y, w, h), category, float(confidence), None))
        return result
