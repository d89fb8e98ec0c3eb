"""Decode the raw outputs of a detector into boxes.

Formulas
- yolo-objectness: one output [N, A, 5 + C]: cx, cy, w, h in input pixels, objectness, a score per
  class; confidence is objectness times the best class (YOLOv5, MegaDetector v5, YOLOX).
- yolo-anchor-free: one output [N, 4 + C, A]: cx, cy, w, h in input pixels, a score per class
  (YOLOv8, YOLO11 and YOLOv9 exports without their own suppression).
- rtdetr: outputs [N, Q, 4] cx, cy, w, h as fractions of the input and [N, Q, C] scores.
- ssd: outputs [N, A, 4] offsets ty, tx, th, tw and [N, A, C] logits. With an anchor's centre and
  size, yc = ty / 10 * ha + yca, h = exp(th / 5) * ha, likewise x; each class's score is the
  sigmoid of its logit (box coder and score converter of the TensorFlow Object Detection API).

All scores except those of ssd are already probabilities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.nms import Floats, non_maximum_suppression
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import SsdOutput, YoloOutput
from gpu_kernels.preprocessing.letterbox import scale_boxes
from resources.errors import ModelError

SSD_CENTRE_SCALE = 10.0
SSD_SIZE_SCALE = 5.0
# NMS compares boxes pairwise; a threshold near 0 must not make a picture take minutes.
MAX_CANDIDATES = 2000


@dataclass(frozen=True)
class Boxes:
    """The boxes of one picture, by falling confidence."""

    xywh: Floats  # [K, 4] x, y, w, h as fractions of the upright picture, inside it
    confidence: Floats  # [K] 0 to 1
    class_index: NDArray[np.int64]  # [K] position in the manifest's classes

    def __len__(self) -> int:
        return len(self.confidence)


class Candidates(NamedTuple):
    """Boxes of one picture that reach the threshold, before NMS, in the order of the output."""

    corners: Floats  # [K, 4] x0, y0, x1, y1 in input pixels
    confidence: Floats
    class_index: NDArray[np.int64]


def decode_boxes(
    outputs: Sequence[NDArray[Any]],
    manifest: ModelManifest,
    sizes: Sequence[tuple[int, int]],
    threshold: float,
) -> list[Boxes]:
    """Return the boxes of each picture of a batch.

    Args:
        outputs: the outputs of `Engine.run`.
        manifest: the detector.
        sizes: (height, width) in pixels of each picture before `fit`.
        threshold: minimum confidence, inclusive.

    Raises:
        ModelError: the shapes of the outputs do not match the manifest's decoding.
    """
    if not sizes:
        return []
    check_output_shapes([tuple(output.shape) for output in outputs], manifest, len(sizes))
    find_candidates = _DECODERS[manifest.detector_output.decoding]
    boxes = []
    for number, (height, width) in enumerate(sizes):
        candidates = find_candidates([output[number] for output in outputs], manifest, threshold)
        boxes.append(select_boxes(candidates, manifest, height, width))
    return boxes


def check_output_shapes(
    shapes: Sequence[tuple[int, ...]], manifest: ModelManifest, count: int
) -> None:
    """Check the shapes of a detector's outputs for `count` pictures.

    Raises:
        ModelError: they do not match the manifest's decoding.
    """
    head = manifest.detector_output
    classes = len(head.classes)
    by_decoding: dict[str, list[tuple[str | int, ...]]] = {
        "yolo-objectness": [(count, "A", 5 + classes)],
        "yolo-anchor-free": [(count, 4 + classes, "A")],
        "rtdetr": [(count, "Q", 4), (count, "Q", classes)],
        "ssd": [(count, "A", 4), (count, "A", classes)],
    }
    expected = by_decoding[head.decoding]
    if isinstance(head, SsdOutput):
        anchors = len(load_anchors(manifest))
        expected = [tuple(anchors if size == "A" else size for size in s) for s in expected]
    if len(shapes) < len(expected) or not all(
        len(have) == len(want)
        and all(isinstance(w, str) or h == w for h, w in zip(have, want, strict=True))
        for have, want in zip(shapes, expected, strict=False)
    ):
        raise ModelError(
            f"model {manifest.name}: outputs {shapes}, but {head.decoding} with {classes} "
            f"class(es) needs {expected}; correct output.decoding or output.classes of the manifest"
        )


def _yolo_objectness(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> Candidates:
    rows = outputs[0]
    # The confidence cannot exceed the objectness, so most rows are dropped early.
    rows = rows[rows[:, 4] >= threshold].astype(np.float32)
    return _best_class_candidates(rows[:, :4], rows[:, 4:5] * rows[:, 5:], threshold)


def _yolo_anchor_free(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> Candidates:
    rows = outputs[0].T.astype(np.float32)
    return _best_class_candidates(rows[:, :4], rows[:, 4:], threshold)


def _best_class_candidates(centres: Floats, scores: Floats, threshold: float) -> Candidates:
    if not len(scores):
        return _no_candidates()
    best = np.nan_to_num(scores, nan=-1.0).argmax(axis=1)
    confidence = scores[np.arange(len(scores)), best]
    keep = confidence >= threshold
    return Candidates(_corners(centres[keep]), confidence[keep], best[keep])


def _rtdetr(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> Candidates:
    centres, scores = (output.astype(np.float32) for output in outputs[:2])
    query, class_index = np.nonzero(scores >= threshold)
    size = np.array([manifest.input.width, manifest.input.height] * 2, dtype=np.float32)
    return Candidates(_corners(centres[query] * size), scores[query, class_index], class_index)


def _ssd(outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float) -> Candidates:
    offsets, logits = (output.astype(np.float32) for output in outputs[:2])
    scores = _sigmoid(logits)
    anchor, class_index = np.nonzero(scores >= threshold)
    y0, x0, y1, x1 = load_anchors(manifest)[anchor].T
    ty, tx, th, tw = offsets[anchor].T
    height, width = y1 - y0, x1 - x0
    centres = np.stack(
        [
            tx / SSD_CENTRE_SCALE * width + (x0 + x1) / 2,
            ty / SSD_CENTRE_SCALE * height + (y0 + y1) / 2,
            np.exp(tw / SSD_SIZE_SCALE) * width,
            np.exp(th / SSD_SIZE_SCALE) * height,
        ],
        axis=1,
    )
    size = np.array([manifest.input.width, manifest.input.height] * 2, dtype=np.float32)
    return Candidates(_corners(centres * size), scores[anchor, class_index], class_index)


def _sigmoid(logits: Floats) -> Floats:
    # The tanh form is exact and cannot overflow.
    return np.asarray(0.5 + 0.5 * np.tanh(logits / 2), dtype=np.float32)


_DECODERS: dict[str, Callable[[Sequence[NDArray[Any]], ModelManifest, float], Candidates]] = {
    "yolo-objectness": _yolo_objectness,
    "yolo-anchor-free": _yolo_anchor_free,
    "rtdetr": _rtdetr,
    "ssd": _ssd,
}


def load_anchors(manifest: ModelManifest) -> Floats:
    """Return the anchors of a detector of decoding ssd, [A, 4] y0, x0, y1, x1 normalised.

    Raises:
        ModelError: they cannot be read.
    """
    head = manifest.detector_output
    assert isinstance(head, SsdOutput)
    return _read_anchors(manifest.resolve(head.anchors))


@lru_cache(maxsize=8)
def _read_anchors(path: Path) -> Floats:
    try:
        anchors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"anchors {path}: cannot be read as .npy: {error}") from None
    if anchors.ndim != 2 or anchors.shape[1] != 4:
        raise ModelError(
            f"anchors {path}: have shape {anchors.shape}; [A, 4] y0, x0, y1, x1 is needed"
        )
    return np.asarray(anchors, dtype=np.float32)


def _no_candidates() -> Candidates:
    return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


def _corners(centres: Floats) -> Floats:
    """Convert cx, cy, w, h to x0, y0, x1, y1."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)


def select_boxes(candidates: Candidates, manifest: ModelManifest, height: int, width: int) -> Boxes:
    """Return the boxes of a picture of `height` x `width` pixels.

    Drops candidates without an area, limits their number to MAX_CANDIDATES and applies NMS.
    """
    head = manifest.detector_output
    xywh = scale_boxes(candidates.corners, height, width, manifest.input)
    finite = np.isfinite(candidates.corners).all(axis=1) & np.isfinite(candidates.confidence)
    valid = np.flatnonzero(finite & (xywh[:, 2] > 0) & (xywh[:, 3] > 0))
    # lexsort is stable: equal confidence and class stay in the order of the output.
    order = valid[np.lexsort((candidates.class_index[valid], -candidates.confidence[valid]))]
    order = order[:MAX_CANDIDATES]
    if isinstance(head, YoloOutput | SsdOutput):
        corners, class_index = candidates.corners[order], candidates.class_index[order]
        order = order[non_maximum_suppression(corners, class_index, head.nms_iou)]
    return Boxes(
        np.ascontiguousarray(xywh[order], dtype=np.float32),
        candidates.confidence[order].astype(np.float32),
        candidates.class_index[order].astype(np.int64),
    )
