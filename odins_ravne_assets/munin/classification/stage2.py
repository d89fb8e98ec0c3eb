"""Stage 2: classify the animal crops of Stage 1's journal.

It reads the stored crops, even right after Stage 1, so that a later run with another model starts
from the same pixels. A thread reads a bounded number of batches ahead of the one that runs the
classifier. A GPU processes a batch while the next one is prepared.
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

from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.preprocessing.crop_regions import crop_picture, crop_region
from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.classification.labelled_boxes import (
    label_by_category,
    labelled_box,
    ranked_label,
)
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.run_model import (
    LoadedModel,
    start_classification,
    whole_picture,
)
from odins_ravne_assets.munin.inference.timing import INFERENCE, INPUT_WAIT, SAVING, StageTiming
from odins_ravne_assets.munin.tables.journal import (
    Row,
    Stage1Journal,
    Stage2Journal,
)
from resources.errors import ModelError, StoreError
from resources.storage.parquet_files import read_parquet

# Batches of crops that are read ahead.
READ_AHEAD = 2
Batch = tuple[pl.DataFrame, list[Picture]]
Scores = npt.NDArray[Any]  # [crops, classes]


class Stage2:
    """One pass over parts of Stage 1's journal."""

    def __init__(
        self,
        classifier: LoadedModel,
        auto_ok_threshold: float,
        batch_size: int,
        on_progress: Callable[[int], None],
        timing: StageTiming,
    ) -> None:
        """Args:
        on_progress: called with the number of crops labelled so far.
        timing: receives seconds by step.
        """
        self._classifier = classifier
        if classifier.manifest.crop is None:
            raise ModelError(
                f"model {classifier.manifest.name}: is not a classifier; set models.classifier"
            )
        self._crop_rule = classifier.manifest.crop
        self._threshold = auto_ok_threshold
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._timing = timing
        self.labelled = 0

    def run(
        self, stage1: Stage1Journal, stage2: Stage2Journal, parts: list[str], stop: Event
    ) -> None:
        """Label these parts; after `stop` a part is left out, never incomplete."""
        with BackgroundWorker(self._read, READ_AHEAD, self._timing.crops) as reader:
            for part in parts:
                labels = list(self._label_part(stage1, part, stop, reader))
                if stop.is_set():
                    return
                with self._timing.timed(SAVING):
                    stage2.write(part, labels)

    def _label_part(
        self,
        journal: Stage1Journal,
        part: str,
        stop: Event,
        reader: BackgroundWorker[pl.DataFrame, Batch],
    ) -> Iterator[Row]:
        with self._timing.timed(INPUT_WAIT), ExitStack() as stack:
            boxes = read_parquet(stack.enter_context(journal.reading(part, "boxes")))
            crops = read_parquet(stack.enter_context(journal.reading(part, "crops")))
        animals = boxes.filter(pl.col("category") == "animal")
        others = boxes.filter(pl.col("category") != "animal")
        yield from label_by_category(others, self._threshold)
        keys = ["content_hash", "frame_number", "box_number"]
        crops = animals.join(crops, on=keys, how="inner", maintain_order="left")
        batches = reader.map(crops.iter_slices(self._batch_size))
        pending: deque[tuple[pl.DataFrame, Callable[[], Scores]]] = deque()
        while batch := self._next(batches):
            if stop.is_set():
                return
            pending.append((batch[0], self._start(batch[1])))
            while len(pending) > self._classifier.max_pending:
                yield from self._label(*pending.popleft())
        for each in pending:
            yield from self._label(*each)

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        with self._timing.timed(INPUT_WAIT):
            return next(batches, None)

    def _read(self, crops: pl.DataFrame) -> Batch:
        return crops, [self._apply_crop_rule(row) for row in crops.iter_rows(named=True)]

    def _start(self, pictures: list[Picture]) -> Callable[[], Scores]:
        with self._timing.timed(INFERENCE):
            return start_classification(
                self._classifier, [whole_picture(each) for each in pictures]
            )

    def _label(self, crops: pl.DataFrame, answer: Callable[[], Scores]) -> Iterator[Row]:
        with self._timing.timed(INFERENCE):
            scores = answer()
        ranked = rank_labels(scores, self._classifier.manifest)
        for row, labels in zip(crops.iter_rows(named=True), ranked, strict=True):
            best = labels[0]
            # Classifiers have labels that are not animals.
            auto_ok = best.is_animal and best.confidence >= self._threshold
            top5 = [
                ranked_label(each.label, each.scientific_name, each.confidence) for each in labels
            ]
            yield labelled_box(
                row, best.label, best.scientific_name, best.confidence, auto_ok, top5
            )
        self.labelled += crops.height
        self._on_progress(self.labelled)

    def _apply_crop_rule(self, row: Row) -> Picture:
        """Return the part of a stored crop that the classifier was trained on, uint8 BGR."""
        stored = read_crop(row["jpeg"])
        rule = self._crop_rule
        # The size of the whole picture, at the scale of the stored crop.
        width = stored.shape[1] / row["crop_w"]
        height = stored.shape[0] / row["crop_h"]
        box = (row["x"], row["y"], row["w"], row["h"])
        x, y, w, h = crop_region(box, rule.shape, rule.margin, round(width), round(height))
        left, top = (
            _clamp((x - row["crop_x"]) / row["crop_w"]),
            _clamp((y - row["crop_y"]) / row["crop_h"]),
        )
        right = _clamp((x + w - row["crop_x"]) / row["crop_w"])
        bottom = _clamp((y + h - row["crop_y"]) / row["crop_h"])
        return crop_picture(stored, (left, top, right - left, bottom - top))


def read_crop(jpeg: bytes) -> Picture:
    """Decode a crop of the journal to a picture, uint8 BGR [h, w, 3].

    Raises:
        StoreError: it is damaged.
    """
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise StoreError("journal/stage1: a crop is damaged; delete the journal to rebuild it")
    return np.asarray(picture, np.uint8)


def _clamp(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)
