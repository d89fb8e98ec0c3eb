"""The detector of Stage 1: takes pictures, returns boxes with a category.

It has one model, or several on the same pictures whose boxes it joins (an ensemble), and a second
model may refine the categories. On a GPU that one processes the boxes of one batch while the
detector processes the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.category_refinement import min_score, refine_categories, refinement_crop
from gpu_kernels.models.ensemble import DetectorModels, DetectorPart
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import Category
from gpu_kernels.preprocessing.contrast import SAMPLE_SIDE, is_grey, raise_contrast
from gpu_kernels.preprocessing.crop_regions import PixelRegion
from gpu_kernels.preprocessing.device_picture import DeviceFrame
from gpu_kernels.preprocessing.letterbox import placement
from odins_ravne_assets.munin.detection.box_joining import FoundBox, join_boxes
from odins_ravne_assets.munin.inference.host_pictures import resize_to_host
from odins_ravne_assets.munin.inference.run_model import (
    DetectorRunner,
    HostPicture,
    LoadedModel,
    whole_picture,
)
from odins_ravne_assets.munin.tables.journal import Row

# On the host, uint8 BGR [h, w, 3], upright; or on the GPU.
Picture = npt.NDArray[np.uint8] | DeviceFrame
# Waits for the models; returns the boxes of each picture of a batch, by falling confidence.
PendingBoxes = Callable[[], "list[list[Box]]"]
# Share of the picture from which on a box is large, see `DetectorPart.large_threshold`.
LARGE_AREA = 0.5
# Scores of the category detector below this are noise and support nothing.
MIN_SUPPORT = 0.05


@dataclass(frozen=True)
class Box:
    """A box; x, y, w, h are fractions of the upright picture.

    Attributes:
        category_confidence: of the category detector, for `category`.
        person_confidence: of a person in a box that is not named one; see RefinedCategory.
    """

    xywh: tuple[float, float, float, float]
    category: Category
    confidence: float
    category_confidence: float | None
    person_confidence: float | None = None

    def as_row(self) -> Row:
        x, y, w, h = self.xywh
        return {
            "category": self.category,
            "confidence": self.confidence,
            "category_confidence": self.category_confidence,
            "person_confidence": self.person_confidence,
            "x": x,
            "y": y,
            "w": w,
            "h": h,
        }


class CategoryDetector:
    """A second detector, which refines the categories of the first one's boxes.

    It also supports them, or does not: a box that needs support is dropped without it.
    """

    def __init__(self, model: LoadedModel, supports: bool) -> None:
        """Args:
        supports: boxes may need support, so low scores count.
        """
        score = min_score(model.manifest)
        self._runner = DetectorRunner(model, min(score, MIN_SUPPORT) if supports else score)
        self._manifest = model.manifest

    def start(self, pictures: Sequence[Picture], boxes: list[list[FoundBox]]) -> PendingBoxes:
        """Start inference on all boxes of a batch."""
        regions: list[tuple[Picture, PixelRegion]] = []
        views = []
        for picture, of_picture in zip(pictures, boxes, strict=True):
            for box in of_picture:
                height, width = picture.shape[:2]
                views.append(refinement_crop(height, width, box.xywh, self._manifest))
                regions.append((picture, views[-1].region))
        if not views:
            return lambda: [[] for _ in boxes]
        found = self._runner.start(regions)

        def finish() -> list[list[Box]]:
            refined = iter(refine_categories(found(), self._manifest, views))
            return [
                [
                    replace(
                        _as_box(box),
                        category=each.category,
                        category_confidence=each.confidence,
                        person_confidence=each.possible_person,
                    )
                    for box, each in zip(of_picture, refined)  # noqa: B905 (consumed in parts)
                    if box.support is None or box.confidence + each.best >= box.support
                ]
                for of_picture in boxes
            ]

        return finish


def _as_box(box: FoundBox) -> Box:
    return Box(box.xywh, box.category, box.confidence, None)


class _Views(NamedTuple):
    """The pictures that a part processes: all of a batch, and some with more contrast."""

    pictures: list[Picture]
    sources: list[int]  # the position in the batch that each is a view of


class PartRunner:
    """Runs one part of an ensemble, or the only detector."""

    def __init__(
        self, part: DetectorPart, number: int, model: LoadedModel, threshold: float | None
    ) -> None:
        """Args:
        number: of the part.
        threshold: minimum confidence of all boxes; the part's own when None.
        """
        self._part, self._number = part, number
        own = part.threshold if threshold is None else threshold
        self._large_threshold = max(own, part.large_threshold or 0.0)
        self._runner = DetectorRunner(model, own)
        self._spec = model.manifest.input
        self._classes = model.manifest.detector_output.classes

    def start(self, pictures: Sequence[Picture]) -> Callable[[], list[list[FoundBox]]]:
        """Start inference on a batch; the function waits, and returns the boxes by picture."""
        views = self._views(pictures)
        found = self._runner.start([whole_picture(each) for each in views.pictures])

        def finish() -> list[list[FoundBox]]:
            boxes: list[list[FoundBox]] = [[] for _ in pictures]
            for place, (source, of_view) in enumerate(zip(views.sources, found(), strict=True)):
                boxes[source] += self._boxes(of_view, view=int(place >= len(pictures)))
            return boxes

        return finish

    def _views(self, pictures: Sequence[Picture]) -> _Views:
        views = _Views(list(pictures), list(range(len(pictures))))
        contrast = self._part.contrast
        if contrast is None:
            return views
        samples = resize_to_host(pictures, [(SAMPLE_SIDE, SAMPLE_SIDE)] * len(pictures))
        grey = [number for number, sample in enumerate(samples) if is_grey(sample)]
        # At the size of the model's input: less to equalize, and less to copy from a GPU.
        sizes = [self._fitted_size(pictures[number]) for number in grey]
        small: list[HostPicture] = resize_to_host([pictures[number] for number in grey], sizes)
        views.pictures.extend(raise_contrast(each, contrast) for each in small)
        views.sources.extend(grey)
        return views

    def _fitted_size(self, picture: Picture) -> tuple[int, int]:
        place = placement(picture.shape[0], picture.shape[1], self._spec)
        return place.height, place.width

    def _boxes(self, found: Boxes, view: int) -> list[FoundBox]:
        part = self._part
        result: list[FoundBox] = []
        for xywh, confidence, index in zip(
            found.xywh, found.confidence, found.class_index, strict=True
        ):
            category = self._classes[int(index)].category
            if category is None:
                continue  # a class that the manifest ignores
            if part.categories is not None and category not in part.categories:
                continue
            x, y, w, h = (float(value) for value in xywh)
            if w * h > LARGE_AREA and confidence < self._large_threshold:
                continue
            result.append(
                FoundBox(
                    (x, y, w, h), category, float(confidence), part.support, (self._number, view)
                )
            )
        return result


class Detector:
    """All models of Stage 1."""

    def __init__(
        self,
        models: DetectorModels,
        load: Callable[[ModelManifest], LoadedModel],
        threshold: float | None,
    ) -> None:
        """Args:
        load: return a model with its engine; called for each part, then for the category
            detector, and may return the same engine again.
        threshold: least confidence of a box; the models' own when None.
        """
        loaded = [load(part.manifest) for part in models.parts]
        self._parts = [
            PartRunner(part, number, model, threshold)
            for number, (part, model) in enumerate(zip(models.parts, loaded, strict=True))
        ]
        self._overlap = models.overlap
        supports = any(part.support is not None for part in models.parts)
        categories = load(models.category_detector) if models.category_detector else None
        self._category_detector = CategoryDetector(categories, supports) if categories else None
        # Waits for the boxes of the last batch, and starts the category detector on them.
        self._last: Callable[[], PendingBoxes] | None = None
        # Longer side of the largest input, in pixels.
        self.input_side = max(max(part.manifest.input.largest_size) for part in models.parts)
        # Batches that may be started before the answer of an earlier one is read: one for the
        # detector and one for the category detector.
        pending = min(model.max_pending for model in loaded)
        self.max_pending = pending * (1 if categories is None else 2)

    def detect(self, pictures: Sequence[Picture]) -> list[list[Box]]:
        """Return the boxes of each picture, by falling confidence."""
        return self.start(pictures)()

    def start(self, pictures: Sequence[Picture]) -> PendingBoxes:
        """Start inference on pictures, which must not change until the answer is read."""
        pending = [part.start(pictures) for part in self._parts]
        if self._last:
            self._last()  # the detector is busy again; now the category detector

        @cache  # called by the next batch or for the answer, whichever is first
        def refine() -> PendingBoxes:
            boxes = self._joined([of_part() for of_part in pending])
            if self._category_detector is None:
                plain = [[_as_box(each) for each in of_picture] for of_picture in boxes]
                return lambda: plain
            return self._category_detector.start(pictures, boxes)

        def finish() -> list[list[Box]]:
            answer = refine()()
            if self._last is refine:
                self._last = None  # release the pictures
            return answer

        self._last = refine
        return finish

    def _joined(self, found: list[list[list[FoundBox]]]) -> list[list[FoundBox]]:
        """Join the boxes of all parts, [part][picture][box], by picture."""
        by_picture = [list(chain.from_iterable(parts)) for parts in zip(*found, strict=True)]
        if self._overlap is None:
            return by_picture
        return [join_boxes(boxes, self._overlap) for boxes in by_picture]
