"""Candidates: a detector's raw boxes of one picture that reach the threshold, before NMS.

Formulas; C is the number of classes
- yolo-objectness: one output [A, 5 + C]: box, objectness, a score per class; confidence is
  objectness times the best class (YOLOv5, MegaDetector v5, YOLOX).
- yolo-anchor-free: one output [4 + C, A]: box, a score per class, of which the best counts
  (YOLOv8, YOLO11 and YOLOv9 exports without their own suppression).
- boxes-and-logits: outputs [A, 4] and [A, C]; the best class counts (MIT YOLO).
- rtdetr: outputs [Q, 4] and [Q, C]; each class that reaches the threshold is a candidate, as in
  RT-DETR's own selection of the best of all Q * C scores.
- end2end: one output [K, 6] box, score, class (YOLOv10, Ultralytics' nms=True), or class, box,
  score (MIT YOLO with NMS).
- rtdetr-packed: one output [K, 6] box, score, class, or [K, 4 + C] box, a score per class.
- boxes-labels-scores: outputs [K, 4], [K] class numbers, [K] scores (RT-DETR's exporter,
  torchvision).
- ssd: outputs [A, 4] offsets ty, tx, th, tw and [A, C] logits. With an anchor's centre and
  size, yc = ty / 10 * ha + yca, h = exp(th / 5) * ha, likewise x; each class's score is the
  sigmoid of its logit (box coder and score converter of the TensorFlow Object Detection API).

Scores are probabilities, or logits if the manifest says `scores = "sigmoid"`. A score that is not
finite or not a probability, the class of a candidate that the manifest does not list, and a
candidate's box that is not finite are errors: the manifest or the graph is wrong, and a box made
from them would look like any other.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.nms import Floats
from gpu_kernels.heads.output_shapes import has_class_numbers
from gpu_kernels.heads.score_checks import check_scores, sigmoid
from gpu_kernels.heads.ssd_anchors import load_anchors
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import EndToEndOutput, SsdOutput
from resources.errors import ModelError

SSD_CENTRE_SCALE = 10.0
SSD_SIZE_SCALE = 5.0
PADDING_CLASS = -1


class Candidates(NamedTuple):
    """Boxes of one picture that reach the threshold, before NMS, in the order of the output."""

    corners: Floats  # [K, 4] x0, y0, x1, y1 in input pixels
    confidence: Floats
    class_index: NDArray[np.int64]


class _RawBoxes(NamedTuple):
    """Boxes as the graph gives them, with the confidence of one class each."""

    boxes: Floats  # [K, 4] in the manifest's format and units
    confidence: Floats
    class_index: NDArray[np.int64]


def find_candidates(
    outputs: Sequence[NDArray[Any]],
    manifest: ModelManifest,
    input_size: tuple[int, int],
    threshold: float,
) -> Candidates:
    """Return the candidates of one picture.

    Args:
        outputs: of the graph, without the batch, in the order that the decoding needs.
        manifest: the detector.
        input_size: height and width of the model's input, in pixels.
        threshold: minimum confidence, inclusive.

    Raises:
        ModelError: a score, a class or a box is impossible.
    """
    head = manifest.detector_output
    raw = _DECODERS[head.decoding](outputs, manifest, threshold)
    size = np.array([input_size[1], input_size[0]] * 2, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        if isinstance(head, SsdOutput):
            corners = _corners(raw.boxes * size)
        else:
            boxes = raw.boxes * size if head.box_units == "fractions" else raw.boxes
            corners = _corners(boxes) if head.box_format == "cxcywh" else boxes
    if not np.isfinite(corners).all():
        raise ModelError(
            f"model {manifest.name}: gives a box that is not finite; its graph overflows or is "
            "damaged: export it in float32, or set fp16 = false in its manifest"
        )
    return Candidates(corners, np.minimum(raw.confidence, np.float32(1.0)), raw.class_index)


def _yolo_objectness(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    rows = outputs[0]
    scores = check_scores(rows[:, 4:], manifest)
    # The confidence cannot exceed the objectness, so most rows are dropped early.
    keep = scores[:, 0] >= threshold
    boxes, scores = rows[keep, :4].astype(np.float32), scores[keep]
    return _best_class(boxes, scores[:, :1] * scores[:, 1:], threshold)


def _yolo_anchor_free(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    rows = outputs[0].T.astype(np.float32)
    return _best_class(rows[:, :4], check_scores(rows[:, 4:], manifest), threshold)


def _boxes_and_logits(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    return _best_class(outputs[0].astype(np.float32), check_scores(outputs[1], manifest), threshold)


def _best_class(boxes: Floats, scores: Floats, threshold: float) -> _RawBoxes:
    best = scores.argmax(axis=1)
    confidence = scores[np.arange(len(scores)), best]
    keep = confidence >= threshold
    return _RawBoxes(boxes[keep], confidence[keep], best[keep])


def _rtdetr(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    return _each_class(outputs[0].astype(np.float32), check_scores(outputs[1], manifest), threshold)


def _each_class(boxes: Floats, scores: Floats, threshold: float) -> _RawBoxes:
    row, class_index = np.nonzero(scores >= threshold)
    return _RawBoxes(boxes[row], scores[row, class_index], class_index)


def _end2end(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    rows, head = outputs[0], manifest.detector_output
    assert isinstance(head, EndToEndOutput)
    if head.columns == "class-box-score":
        return _numbered(rows[:, 1:5], rows[:, 5], rows[:, 0], manifest, threshold)
    return _numbered(rows[:, :4], rows[:, 4], rows[:, 5], manifest, threshold)


def _rtdetr_packed(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    rows = outputs[0]
    if has_class_numbers(manifest, rows.shape[1]):
        return _numbered(rows[:, :4], rows[:, 4], rows[:, 5], manifest, threshold)
    boxes, scores = rows[:, :4].astype(np.float32), rows[:, 4:]
    return _each_class(boxes, check_scores(scores, manifest), threshold)


def _boxes_labels_scores(
    outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float
) -> _RawBoxes:
    boxes, labels, scores = outputs[:3]
    if scores.dtype.kind != "f":
        raise ModelError(
            f"model {manifest.name}: its third output, the scores, has integers; name the outputs "
            'in the order boxes, labels, scores: outputs = ["boxes", "labels", "scores"]'
        )
    return _numbered(boxes, scores, labels, manifest, threshold)


def _numbered(
    boxes: NDArray[Any],
    raw_scores: NDArray[Any],
    numbers: NDArray[Any],
    manifest: ModelManifest,
    threshold: float,
) -> _RawBoxes:
    """Return the boxes of rows with one score and a class number each, without padding."""
    used = (numbers != PADDING_CLASS) & (raw_scores != 0)
    boxes, numbers = boxes[used], numbers[used]
    scores = check_scores(raw_scores[used], manifest)
    keep = scores >= threshold
    numbers = numbers[keep]
    classes = len(manifest.detector_output.classes)
    known = (numbers >= 0) & (numbers < classes) & (numbers == np.floor(numbers))
    if not known.all():
        raise ModelError(
            f"model {manifest.name}: gives a box of class {numbers[~known][0]:g}, the manifest "
            f"lists {classes} class(es), 0 to {classes - 1}; correct output.classes, "
            "output.decoding or output.outputs"
        )
    return _RawBoxes(boxes[keep].astype(np.float32), scores[keep], numbers.astype(np.int64))


def _ssd(outputs: Sequence[NDArray[Any]], manifest: ModelManifest, threshold: float) -> _RawBoxes:
    """Return boxes as centre and size, in fractions of the input."""
    offsets = outputs[0].astype(np.float32)
    scores = sigmoid(outputs[1], manifest)
    anchor, class_index = np.nonzero(scores >= threshold)
    y0, x0, y1, x1 = load_anchors(manifest)[anchor].T
    ty, tx, th, tw = offsets[anchor].T
    height, width = y1 - y0, x1 - x0
    with np.errstate(over="ignore"):  # refused with all boxes that are not finite
        centres = np.stack(
            [
                tx / SSD_CENTRE_SCALE * width + (x0 + x1) / 2,
                ty / SSD_CENTRE_SCALE * height + (y0 + y1) / 2,
                np.exp(tw / SSD_SIZE_SCALE) * width,
                np.exp(th / SSD_SIZE_SCALE) * height,
            ],
            axis=1,
        )
    return _RawBoxes(centres, scores[anchor, class_index], class_index)


_DECODERS: dict[str, Callable[[Sequence[NDArray[Any]], ModelManifest, float], _RawBoxes]] = {
    "yolo-objectness": _yolo_objectness,
    "yolo-anchor-free": _yolo_anchor_free,
    "boxes-and-logits": _boxes_and_logits,
    "rtdetr": _rtdetr,
    "end2end": _end2end,
    "rtdetr-packed": _rtdetr_packed,
    "boxes-labels-scores": _boxes_labels_scores,
    "ssd": _ssd,
}


def _corners(centres: Floats) -> Floats:
    """Convert cx, cy, w, h to x0, y0, x1, y1."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)
