"""Stage 2 from a file of SpeciesNet predictions, in place of a classifier.

Reads both formats: "20261015" (speciesnet 5.0.6 on), with a classification for each detection, and
the older one, with a classification for each picture. Source: README, "Output format from
run_model", of speciesnet 5.0.6 and of the releases before it.

- A prediction belongs to the medium whose path in the footage is the end of its `filepath`.
- A box has the label of the detection with the largest overlap, if their intersection over union
  (IoU) is at least MIN_IOU; in the older format all animals of a picture have the picture's label.
- A box without a prediction becomes an unknown animal.

The run saves the file in the camera's output, under its SHA-256, because a remote worker cannot
read files of this machine.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl

from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel, parse_label
from odins_ravne_assets.munin.classification.labelled_boxes import (
    label_by_category,
    labelled_box,
    ranked_label,
)
from odins_ravne_assets.munin.tables.journal import Row, Stage1Journal, Stage2Journal
from resources.errors import ModelError
from resources.storage.layout import PREDICTIONS_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet
from resources.user_path import user_path

# Least intersection over union of two detectors' boxes of the same animal.
MIN_IOU = 0.5
MAX_LABELS = 5
NO_PREDICTION = "no prediction"
# The key of saved predictions; replaces the path of the file in `models.classifier`.
STORED_KEY = re.compile(PREDICTIONS_FOLDER + r"/(?P<hash>[0-9a-f]{64})\.json")
WHOLE_PICTURE = "0"

Json = dict[str, Any]
Box = tuple[float, float, float, float]  # x, y, w, h as fractions of the upright picture


def is_predictions(name: str) -> bool:
    """Return True if `models.classifier` names a file of predictions, not a model."""
    return name.lower().endswith(".json")


def predictions_hash(name: str) -> str:
    """Return the SHA-256 of saved predictions, or of a local file.

    Raises:
        ModelError: see `Predictions`.
    """
    stored = STORED_KEY.fullmatch(name)
    return stored["hash"] if stored else Predictions(name).hash


def save_predictions(name: str, output: ObjectStore) -> str:
    """Save a file of predictions in a camera's output.

    Returns:
        The key, the new value of `models.classifier`.

    Raises:
        ModelError: see `Predictions`.
        StoreError: the store cannot be written.
    """
    if STORED_KEY.fullmatch(name):
        return name
    predictions = Predictions(name)
    key = f"{PREDICTIONS_FOLDER}/{predictions.hash}.json"
    if not output.exists(key):
        output.write_bytes(key, predictions.data)
    return key


def load_predictions(name: str, output: ObjectStore) -> "Predictions":
    """Load predictions that `save_predictions` has saved.

    Raises:
        ModelError: they are missing or damaged.
        StoreError: the store cannot be read.
    """
    stored = STORED_KEY.fullmatch(name)
    if stored is None or not output.exists(name):
        raise ModelError(f"{output.url}: {name} is missing; run Stage 2 again")
    with output.reading(name) as path:
        predictions = Predictions(path)
    if predictions.hash != stored["hash"]:
        raise ModelError(f"{output.url}: {name} is damaged; delete it and run Stage 2 again")
    return predictions


class Predictions:
    """A file of SpeciesNet predictions."""

    def __init__(self, path: str | Path) -> None:
        """Raises:
        ModelError: the file cannot be read, or is not one of SpeciesNet's.
        UsageError: the path is in the home of an unknown user.
        """
        self._path = user_path(str(path))
        try:
            self.data = self._path.read_bytes()
            content = json.loads(self.data)
            predictions = content["predictions"]
            self._by_name: dict[str, list[Json]] = {}
            for prediction in predictions:
                name = prediction["filepath"].replace("\\", "/")
                self._by_name.setdefault(name.rsplit("/", 1)[-1], []).append(prediction)
        except OSError as error:
            raise ModelError(
                f"predictions {self._path}: cannot be read: {error.strerror or error}"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelError(
                f"predictions {self._path}: are not SpeciesNet's: a list `predictions` with a "
                "`filepath` in each entry is needed"
            ) from None
        self.hash = hashlib.sha256(self.data).hexdigest()
        versions = sorted({str(each.get("model_version") or "?") for each in predictions})
        self.name = f"SpeciesNet {', '.join(versions)} {self.hash[:12]}"

    def find(self, path: str) -> Json | None:
        """Return the prediction of a medium, by its path; None if not exactly one matches."""
        candidates = self._by_name.get(path.rsplit("/", 1)[-1], [])
        matching = [
            each
            for each in candidates
            if f"/{each['filepath']}".replace("\\", "/").endswith(f"/{path}")
        ]
        return matching[0] if len(matching) == 1 else None

    def labels(self) -> Iterator[SpeciesNetLabel]:
        """Yield each label of the file once."""
        texts = {
            text
            for name in self._by_name.values()
            for prediction in name
            for text in _texts(prediction)
        }
        yield from (label for label in map(parse_label, sorted(texts)) if label)


def _texts(prediction: Json) -> Iterator[str]:
    for ranked in _rankings(prediction):
        yield from (text for text, _ in ranked)


def _rankings(prediction: Json) -> Iterator[list[tuple[str, float]]]:
    yield _picture_labels(prediction)
    for detection in prediction.get("detections") or []:
        yield _detection_labels(detection)


def _picture_labels(prediction: Json) -> list[tuple[str, float]]:
    """Return the labels in the older format, best first."""
    ranked = _classes(prediction.get("classifications"))
    return _with_first(prediction.get("prediction"), prediction.get("prediction_score"), ranked)


def _detection_labels(detection: Json) -> list[tuple[str, float]]:
    """Return the labels in the newer format, best first."""
    final = detection.get("processed_classification") or {}
    ranked = _classes(detection.get("raw_classifications"))
    return _with_first(final.get("class"), final.get("score"), ranked)


def _classes(found: Json | None) -> list[tuple[str, float]]:
    found = found or {}
    pairs = zip(found.get("classes") or [], found.get("scores") or [], strict=False)
    return [(str(text), float(score)) for text, score in pairs]


def _with_first(
    text: str | None, score: float | None, ranked: list[tuple[str, float]]
) -> list[tuple[str, float]]:
    """Return SpeciesNet's final label, then the others by score."""
    if not text or score is None:
        return ranked[:MAX_LABELS]
    rest = [pair for pair in ranked if pair[0] != text]
    return [(text, float(score)), *rest][:MAX_LABELS]


class PredictionLabeller:
    """One pass over parts of Stage 1's journal; the counterpart of `Stage2`."""

    def __init__(
        self,
        predictions: Predictions,
        paths: Mapping[str, str],
        auto_ok_threshold: float,
        on_progress: Callable[[int], None],
    ) -> None:
        """Args:
        paths: the path of each medium in the footage, by its content hash.
        on_progress: called with the number of animals labelled so far.
        """
        self._predictions, self._paths = predictions, paths
        self._threshold = auto_ok_threshold
        self._on_progress = on_progress
        self.labelled = 0

    def run(
        self, stage1: Stage1Journal, stage2: Stage2Journal, parts: list[str], stop: Event
    ) -> None:
        """Label these parts; after `stop` a part is left out, never incomplete."""
        for part in parts:
            if stop.is_set():
                return
            with ExitStack() as stack:
                boxes = read_parquet(stack.enter_context(stage1.reading(part, "boxes")))
            animals = boxes.filter(pl.col("category") == "animal")
            others = label_by_category(
                boxes.filter(pl.col("category") != "animal"), self._threshold
            )
            labels = [self._label(row) for row in animals.iter_rows(named=True)]
            stage2.write(part, [*others, *labels])
            self.labelled += animals.height
            self._on_progress(self.labelled)

    def _label(self, box: Row) -> Row:
        prediction = self._predictions.find(self._paths.get(box["content_hash"], ""))
        ranked = self._ranked(box, prediction) if prediction else []
        named = [(label, score) for text, score in ranked if (label := parse_label(text))]
        if not named:
            return labelled_box(box, NO_PREDICTION, None, 0.0, False, [])
        best, score = named[0]
        auto_ok = best.is_animal and score >= self._threshold
        top5 = [
            ranked_label(label.common_name, label.scientific_name, each) for label, each in named
        ]
        name = best.scientific_name
        return labelled_box(box, best.common_name, name, score, auto_ok, top5)

    def _ranked(self, box: Row, prediction: Json) -> list[tuple[str, float]]:
        labelled = [each for each in prediction.get("detections") or [] if _detection_labels(each)]
        if not labelled:
            return _picture_labels(prediction)
        for each in labelled:
            if each.get("category") == WHOLE_PICTURE:
                return _detection_labels(each)
        xywh = (box["x"], box["y"], box["w"], box["h"])
        by_iou = [(_iou(xywh, each["bbox"]), each) for each in labelled]
        iou, best = max(by_iou, key=lambda pair: pair[0])
        return _detection_labels(best) if iou >= MIN_IOU else []


def _iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes x, y, w, h."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    union = one[2] * one[3] + other[2] * other[3] - intersection
    return intersection / union if union > 0 else 0.0
