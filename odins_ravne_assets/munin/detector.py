"""The detector of Stage 1: pictures in, boxes with a category out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gpu_kernels.categories import categories_of, least_score, look_at
from gpu_kernels.device_picture import DeviceFrame
from gpu_kernels.engine import Engine
from gpu_kernels.heads import Boxes
from gpu_kernels.manifest import Category, ModelManifest
from gpu_kernels.preprocess import Pixels
from odins_ravne_assets.munin.journal import Row
from odins_ravne_assets.munin.looking import Finder, whole

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
        own = detector.manifest.detector_output.threshold
        least = own if threshold is None else threshold
        self._finder = Finder(detector.engine, detector.manifest, least)
        self._categories = categories.manifest if categories else None
        self._teller = (
            Finder(categories.engine, categories.manifest, least_score(categories.manifest))
            if categories
            else None
        )
        self._classes = detector.manifest.detector_output.classes
        # Longer side of the picture that the detector sees, in pixels.
        self.input_side = max(detector.manifest.input.height, detector.manifest.input.width)
        # A GPU looks at a batch while the next one is made ready; the CPU has nothing to spare.
        self.looks_ahead = detector.engine.device is not None

    def find(self, pictures: Sequence[Picture]) -> list[list[Box]]:
        """The boxes of each picture, by falling confidence."""
        return self.start(pictures)()

    def start(self, pictures: Sequence[Picture]) -> Callable[[], list[list[Box]]]:
        """Start looking at pictures, which must not change until the answer was asked for.

        Returns:
            What waits, and gives the boxes of each picture, by falling confidence.
        """
        found = self._finder.start([whole(each) for each in pictures])

        def finish() -> list[list[Box]]:
            return self._told_apart(pictures, [self._boxes(each) for each in found()])

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

    def _told_apart(self, pictures: Sequence[Picture], boxes: list[list[Box]]) -> list[list[Box]]:
        """The boxes with the second model's word on their category, all in one batch."""
        manifest = self._categories
        if manifest is None or self._teller is None:
            return boxes
        regions: list[tuple[Picture, Pixels]] = []
        looks = []
        for picture, of_picture in zip(pictures, boxes, strict=True):
            for box in of_picture:
                height, width = picture.shape[:2]
                looks.append(look_at(height, width, box.xywh, manifest))
                regions.append((picture, looks[-1].region))
        if not looks:
            return boxes
        told = iter(categories_of(self._teller.start(regions)(), manifest, looks))
        return [
            [
                replace(box, category=word.category, category_confidence=word.confidence)
                for box, word in zip(of_picture, told)  # noqa: B905 (told goes on)
            ]
            for of_picture in boxes
        ]
