"""The detector of Stage 1: pictures in, boxes with a category out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gpu_kernels.categories import categories_of, look_at
from gpu_kernels.device_picture import DeviceFrame
from gpu_kernels.engine import Engine
from gpu_kernels.heads import Boxes, decode
from gpu_kernels.manifest import Category, ModelManifest
from gpu_kernels.preprocess import Pixels
from odins_ravne_assets.munin.journal import Row
from odins_ravne_assets.munin.looking import run_on, whole

# Of the host, uint8 BGR [h, w, 3], upright; or of the GPU.
Picture = npt.NDArray[np.uint8] | DeviceFrame


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


@dataclass(frozen=True)
class LoadedModel:
    """A model on the engine that runs it."""

    manifest: ModelManifest
    engine: Engine


class Detector:
    """A detector and, if it cannot tell people and vehicles itself, a model that can."""

    def __init__(
        self, detector: LoadedModel, categories: LoadedModel | None, threshold: float | None
    ) -> None:
        """Args:
        threshold: least confidence of a box; the detector's own when None.
        """
        self._detector = detector
        self._categories = categories
        own = detector.manifest.detector_output.threshold
        self._threshold = own if threshold is None else threshold
        self._classes = detector.manifest.detector_output.classes
        # Longer side of the picture that the detector sees, in pixels.
        self.input_side = max(detector.manifest.input.height, detector.manifest.input.width)

    def find(self, pictures: Sequence[Picture]) -> list[list[Box]]:
        """The boxes of each picture, by falling confidence."""
        manifest = self._detector.manifest
        outputs = run_on(self._detector.engine, manifest, [whole(each) for each in pictures])
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        found = decode(outputs, manifest, sizes, self._threshold)
        boxes = [self._boxes(picture_boxes) for picture_boxes in found]
        if self._categories is None:
            return boxes
        return self._told_apart(pictures, boxes, self._categories)

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

    def _told_apart(
        self, pictures: Sequence[Picture], boxes: list[list[Box]], model: LoadedModel
    ) -> list[list[Box]]:
        """The boxes with the second model's word on their category, all in one batch."""
        regions: list[tuple[Picture, Pixels]] = []
        looks = []
        for picture, of_picture in zip(pictures, boxes, strict=True):
            for box in of_picture:
                height, width = picture.shape[:2]
                looks.append(look_at(height, width, box.xywh, model.manifest))
                regions.append((picture, looks[-1].region))
        if not looks:
            return boxes
        outputs = run_on(model.engine, model.manifest, regions)
        told = iter(categories_of(outputs, model.manifest, looks))
        return [
            [
                replace(box, category=word.category, category_confidence=word.confidence)
                for box, word in zip(of_picture, told)  # noqa: B905 (told goes on)
            ]
            for of_picture in boxes
        ]
