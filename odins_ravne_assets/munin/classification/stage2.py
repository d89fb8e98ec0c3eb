"""Stage 2: labels the animal crops of Stage 1's journal.

It always works from the crops as they are stored, also right after Stage 1, so that labelling
again with another model, later and elsewhere, starts from the same pixels. A thread reads crops
ahead of the one that runs the classifier, a bounded number of batches. On a GPU a batch is looked
at while the next one is made ready.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from gpu_kernels.heads.decode import rank
from gpu_kernels.preprocessing.letterbox import Picture, cut, cut_region
from odins_ravne_assets.munin.classification.labelled_boxes import (
    ranked_label,
    label_by_category,
    labelled_box,
)
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.run_model import LoadedModel, start_classification, whole_picture
from odins_ravne_assets.munin.inference.timing import SAVING, INFERENCE, INPUT_WAIT, StageTiming
from odins_ravne_assets.munin.tables.journal import (
    Row,
    Stage1Journal,
    Stage2Journal,
)
from resources.errors import ModelError, StoreError

# Batches of crops that may be read ahead.
READ_AHEAD = 2
Batch = tuple[pl.DataFrame, list[Picture]]
Scores = npt.NDArray[Any]  # [crops, classes]


class Stage2:
    """One pass over the parts of Stage 1's journal that are not labelled yet."""

    def __init__(
        self,
        classifier: LoadedModel,
        auto_ok_threshold: float,
        batch_size: int,
        on_progress: Callable[[int], None],
        pace: StageTiming,
    ) -> None:
        """Args:
        on_progress: told the number of crops labelled so far.
        pace: told where the time goes.
        """
        self._classifier = classifier
        if classifier.manifest.crop is None:
            raise ModelError(f"model {classifier.manifest.name}: is no classifier; name one")
        self._rule = classifier.manifest.crop
        self._threshold = auto_ok_threshold
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._pace = pace
        self.labelled = 0

    def run(
        self, stage1: Stage1Journal, stage2: Stage2Journal, parts: list[str], stop: Event
    ) -> None:
        """Label these parts; a part is labelled whole or not at all."""
        with BackgroundWorker(self._read, READ_AHEAD, self._pace.crops) as reading:
            for part in parts:
                labels = list(self._label_part(stage1, part, stop, reading))
                if stop.is_set():
                    return
                with self._pace.timed(SAVING):
                    stage2.write(part, labels)

    def _label_part(
        self,
        journal: Stage1Journal,
        part: str,
        stop: Event,
        reading: BackgroundWorker[pl.DataFrame, Batch],
    ) -> Iterator[Row]:
        with self._pace.timed(INPUT_WAIT), ExitStack() as stack:
            boxes = pl.read_parquet(stack.enter_context(journal.reading(part, "boxes")))
            crops = pl.read_parquet(stack.enter_context(journal.reading(part, "crops")))
        animals = boxes.filter(pl.col("category") == "animal")
        others = boxes.filter(pl.col("category") != "animal")
        yield from label_by_category(others, self._threshold)
        keys = ["content_hash", "frame_number", "box_number"]
        crops = animals.join(crops, on=keys, how="inner", maintain_order="left")
        batches = reading.through(crops.iter_slices(self._batch_size))
        looking: deque[tuple[pl.DataFrame, Callable[[], Scores]]] = deque()
        while batch := self._next(batches):
            if stop.is_set():
                return
            looking.append((batch[0], self._look(batch[1])))
            while len(looking) > self._classifier.looks_ahead:
                yield from self._label(*looking.popleft())
        for each in looking:
            yield from self._label(*each)

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        with self._pace.timed(INPUT_WAIT):
            return next(batches, None)

    def _read(self, crops: pl.DataFrame) -> Batch:
        return crops, [self._as_trained(row) for row in crops.iter_rows(named=True)]

    def _look(self, pictures: list[Picture]) -> Callable[[], Scores]:
        with self._pace.timed(INFERENCE):
            return start_classification(self._classifier, [whole_picture(each) for each in pictures])

    def _label(self, crops: pl.DataFrame, answer: Callable[[], Scores]) -> Iterator[Row]:
        with self._pace.timed(INFERENCE):
            scores = answer()
        ranked = rank(scores, self._classifier.manifest)
        for row, labels in zip(crops.iter_rows(named=True), ranked, strict=True):
            best = labels[0]
            # What a classifier takes for a teapot is no animal it knows.
            sure = best.is_animal and best.confidence >= self._threshold
            top5 = [ranked_label(each.label, each.scientific_name, each.confidence) for each in labels]
            yield labelled_box(row, best.label, best.scientific_name, best.confidence, sure, top5)
        self.labelled += crops.height
        self._on_progress(self.labelled)

    def _as_trained(self, row: Row) -> Picture:
        """The part of a stored crop that the classifier's crop rule asks for, uint8 BGR."""
        stored = read_crop(row["jpeg"])
        rule = self._rule
        # The whole picture's size at the stored crop's scale.
        width = stored.shape[1] / row["crop_w"]
        height = stored.shape[0] / row["crop_h"]
        box = (row["x"], row["y"], row["w"], row["h"])
        x, y, w, h = cut_region(box, rule.shape, rule.margin, round(width), round(height))
        left, top = (
            _clamp((x - row["crop_x"]) / row["crop_w"]),
            _clamp((y - row["crop_y"]) / row["crop_h"]),
        )
        right = _clamp((x + w - row["crop_x"]) / row["crop_w"])
        bottom = _clamp((y + h - row["crop_y"]) / row["crop_h"])
        return cut(stored, (left, top, right - left, bottom - top))


def read_crop(jpeg: bytes) -> Picture:
    """A crop of the journal as a picture, uint8 BGR [h, w, 3].

    Raises:
        StoreError: it is damaged.
    """
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise StoreError("journal/stage1: a crop is damaged; delete the journal to make it anew")
    return np.asarray(picture, np.uint8)


def _clamp(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)
