"""Every layout that public exports of detectors have, against a decoder written as plain loops.

The layouts are those of the exporters' own sources: Ultralytics (raw, nms=True, YOLOv10, RT-DETR),
RT-DETR's export_onnx.py, Hugging Face, torchvision, MIT YOLO (raw, and with its NMS). The same
outputs are decoded by numpy and by the kernels, on the device `cpu`.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from finished_slot import decode_on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import SIDE, plain_manifest
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

CLASSES = 3
NMS = {"nms_iou": 0.5}


class Candidate(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    label: int


class Layout(NamedTuple):
    """A layout: keys of [output], the outputs for random values, and how loops read them."""

    keys: dict[str, Any]
    make: Callable[[np.random.Generator, int], list[NDArray[Any]]]
    read: Callable[[list[NDArray[Any]], float], Iterator[Candidate]]


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def centred(row: Any, scale: float = 1.0) -> tuple[float, float, float, float]:
    cx, cy, w, h = (float(value) * scale for value in row[:4])
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def cornered(row: Any, scale: float = 1.0) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) * scale for value in row[:4])
    return x0, y0, x1, y1


def random_centres(random: np.random.Generator, rows: int, scale: float) -> NDArray[Any]:
    """Return boxes of which some are partly or wholly outside the input."""
    return np.concatenate(
        [random.uniform(-5, SIDE + 5, (rows, 2)), random.uniform(1, 40, (rows, 2))], axis=1
    ) * (scale / SIDE)


def random_corners(random: np.random.Generator, rows: int, scale: float) -> NDArray[Any]:
    boxes = random_centres(random, rows, scale)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def float32(*outputs: NDArray[Any]) -> list[NDArray[Any]]:
    return [each[np.newaxis].astype(np.float32) for each in outputs]


def numbered(random: np.random.Generator, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return scores and class numbers; a third of the rows are padding of either kind."""
    scores, labels = random.uniform(0, 1, rows), random.integers(0, CLASSES, rows)
    scores[::3] = 0.0
    labels[1::3] = -1
    return scores, labels


def make_end2end(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores, labels = numbered(random, rows)
    return float32(np.column_stack([random_corners(random, rows, SIDE), scores, labels]))


def read_end2end(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for row in outputs[0]:
        if row[4] > 0 and row[4] >= threshold and row[5] != -1:
            yield Candidate(*cornered(row), float(row[4]), int(row[5]))


def make_mit_nms(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores, labels = numbered(random, rows)
    return float32(np.column_stack([labels, random_corners(random, rows, SIDE), scores]))


def read_mit_nms(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for label, *box, score in outputs[0].tolist():
        if label >= 0 and score > 0 and score >= threshold:
            yield Candidate(*cornered(box), score, int(label))


def make_packed(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores, labels = numbered(random, rows)
    return float32(np.column_stack([random_centres(random, rows, 1.0), scores, labels]))


def read_packed(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for row in outputs[0]:
        if row[4] > 0 and row[4] >= threshold and row[5] != -1:
            yield Candidate(*centred(row, SIDE), float(row[4]), int(row[5]))


def make_packed_classes(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores = random.uniform(0, 1, (rows, CLASSES)) ** 2
    return float32(np.column_stack([random_centres(random, rows, 1.0), scores]))


def read_packed_classes(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for row in outputs[0]:
        for label in range(CLASSES):
            if row[4 + label] >= threshold:
                yield Candidate(*centred(row, SIDE), float(row[4 + label]), label)


def make_hugging_face(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    return float32(random_centres(random, rows, 1.0), random.normal(-1, 2, (rows, CLASSES)))


def read_hugging_face(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for box, logits in zip(*outputs, strict=True):
        for label in range(CLASSES):
            if logistic(logits[label]) >= threshold:
                yield Candidate(*centred(box, SIDE), logistic(logits[label]), label)


def make_boxes_labels_scores(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores, labels = numbered(random, rows)
    boxes = random_corners(random, rows, SIDE)
    return [*float32(boxes), labels[np.newaxis].astype(np.int64), *float32(scores)]


def read_boxes_labels_scores(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for box, label, score in zip(*outputs, strict=True):
        if label >= 0 and score > 0 and score >= threshold:
            yield Candidate(*cornered(box), float(score), int(label))


def make_boxes_and_logits(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    return float32(random_corners(random, rows, SIDE), random.normal(-1, 2, (rows, CLASSES)))


def read_boxes_and_logits(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for box, logits in zip(*outputs, strict=True):
        label = max(range(CLASSES), key=lambda each: logits[each])
        if logistic(logits[label]) >= threshold:
            yield Candidate(*cornered(box), logistic(logits[label]), label)


def make_anchor_free(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    scores = random.uniform(0, 1, (rows, CLASSES)) ** 2
    return float32(np.column_stack([random_centres(random, rows, SIDE), scores]).T)


def read_anchor_free(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for row in outputs[0].T:
        label = max(range(CLASSES), key=lambda each: row[4 + each])
        if row[4 + label] >= threshold:
            yield Candidate(*centred(row), float(row[4 + label]), label)


def make_objectness_logits(random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    logits = random.normal(1, 2, (rows, 1 + CLASSES))
    return float32(np.column_stack([random_centres(random, rows, SIDE), logits]))


def read_objectness_logits(outputs: list[NDArray[Any]], threshold: float) -> Iterator[Candidate]:
    for row in outputs[0]:
        label = max(range(CLASSES), key=lambda each: row[5 + each])
        score = logistic(row[4]) * logistic(row[5 + label])
        if score >= threshold:
            yield Candidate(*centred(row), score, label)


LAYOUTS = {
    "Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e": Layout(
        {"decoding": "end2end"}, make_end2end, read_end2end
    ),
    "MIT YOLO with its NMS": Layout(
        {"decoding": "end2end", "columns": "class-box-score"}, make_mit_nms, read_mit_nms
    ),
    "Sparrow rtdetr_topk": Layout({"decoding": "rtdetr-packed"}, make_packed, read_packed),
    "Ultralytics RT-DETR": Layout(
        {"decoding": "rtdetr-packed"}, make_packed_classes, read_packed_classes
    ),
    "Hugging Face RT-DETR": Layout(
        {"decoding": "rtdetr", "scores": "sigmoid"}, make_hugging_face, read_hugging_face
    ),
    "RT-DETR's exporter, torchvision": Layout(
        {"decoding": "boxes-labels-scores"}, make_boxes_labels_scores, read_boxes_labels_scores
    ),
    "MIT YOLO": Layout(
        {"decoding": "boxes-and-logits", **NMS}, make_boxes_and_logits, read_boxes_and_logits
    ),
    "Ultralytics": Layout(
        {"decoding": "yolo-anchor-free", **NMS}, make_anchor_free, read_anchor_free
    ),
    "YOLOv5 before its sigmoid": Layout(
        {"decoding": "yolo-objectness", "scores": "sigmoid", **NMS},
        make_objectness_logits,
        read_objectness_logits,
    ),
}
each_layout = pytest.mark.parametrize("name", LAYOUTS)


def overlap(one: Candidate, other: Candidate) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    common = max(width, 0.0) * max(height, 0.0)
    areas = [(each.x1 - each.x0) * (each.y1 - each.y0) for each in (one, other)]
    return common / (sum(areas) - common)


def letterboxed(height: int, width: int) -> tuple[float, float, float, float]:
    """Return x, y, width, height of a picture that is fitted to the centre of SIDE x SIDE."""
    ratio = SIDE / max(height, width)
    fitted = round(width * ratio), round(height * ratio)
    return (SIDE - fitted[0]) // 2, (SIDE - fitted[1]) // 2, *fitted


def decode_by_loops(
    layout: Layout, outputs: list[NDArray[Any]], size: tuple[int, int], threshold: float
) -> list[tuple[int, float, list[float]]]:
    """Return class, confidence and x, y, w, h of each box of one picture."""
    left, top, width, height = letterboxed(*size)
    candidates = []
    for each in layout.read([output[0] for output in outputs], threshold):
        x0, x1 = ((x - left) / width for x in (each.x0, each.x1))
        y0, y1 = ((y - top) / height for y in (each.y0, each.y1))
        inside = [min(max(value, 0.0), 1.0) for value in (x0, y0, x1, y1)]
        area = (inside[2] - inside[0]) * (inside[3] - inside[1])
        if area > 0 and area >= 0.5 * (x1 - x0) * (y1 - y0):
            xywh = [inside[0], inside[1], inside[2] - inside[0], inside[3] - inside[1]]
            candidates.append((each, xywh))
    candidates.sort(key=lambda pair: (-pair[0].score, pair[0].label))
    kept: list[tuple[Candidate, list[float]]] = []
    for candidate, xywh in candidates:
        rivals = [other for other, _ in kept if other.label == candidate.label]
        if "nms_iou" in layout.keys and any(overlap(candidate, each) > 0.5 for each in rivals):
            continue
        kept.append((candidate, xywh))
    return [(each.label, each.score, xywh) for each, xywh in kept]


def assert_boxes(found: Boxes, expected: list[tuple[int, float, list[float]]]) -> None:
    assert found.class_index.tolist() == [label for label, _, _ in expected]
    np.testing.assert_allclose(found.confidence, [score for _, score, _ in expected], atol=1e-5)
    xywh = np.reshape([box for _, _, box in expected], (-1, 4))
    np.testing.assert_allclose(found.xywh, xywh, atol=1e-4)


def decoded(
    outputs: list[NDArray[Any]],
    manifest: ModelManifest,
    sizes: list[tuple[int, int]],
    threshold: float,
) -> list[Boxes]:
    """Decode by numpy and by the kernels, which must agree."""
    found = decode_boxes(outputs, manifest, sizes, threshold)
    for some, others in zip(
        decode_on_device(outputs, manifest, sizes, threshold), found, strict=True
    ):
        assert some.class_index.tolist() == others.class_index.tolist()
        np.testing.assert_allclose(some.confidence, others.confidence, atol=1e-6)
        np.testing.assert_allclose(some.xywh, others.xywh, atol=1e-5)
    return found


def manifest_of(name: str, folder: Path) -> ModelManifest:
    return plain_manifest(folder, {}, LAYOUTS[name].keys)


@each_layout
@settings(max_examples=25, deadline=None)
@given(
    rows=st.sampled_from([0, 1, 2, 30, 300]),
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.25, 0.9]),
    size=st.sampled_from([(480, 640), (640, 480), (64, 64), (1080, 1920)]),
)
def test_a_layout_gives_the_boxes_of_the_loops(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    rows: int,
    seed: int,
    threshold: float,
    size: tuple[int, int],
) -> None:
    layout = LAYOUTS[name]
    outputs = layout.make(np.random.default_rng(seed), rows)
    manifest = manifest_of(name, tmp_path_factory.getbasetemp() / "layout")
    (found,) = decoded(outputs, manifest, [size], threshold)
    assert_boxes(found, decode_by_loops(layout, outputs, size, threshold))


@each_layout
def test_each_picture_of_a_batch_has_its_own_boxes(tmp_path: Path, name: str) -> None:
    layout, sizes = LAYOUTS[name], [(480, 640), (640, 480), (64, 64)]
    each = [layout.make(np.random.default_rng(seed), 40) for seed in range(3)]
    outputs = [np.concatenate(parts) for parts in zip(*each, strict=True)]
    found = decoded(outputs, manifest_of(name, tmp_path), sizes, 0.4)
    for boxes, of_picture, size in zip(found, each, sizes, strict=True):
        assert_boxes(boxes, decode_by_loops(layout, of_picture, size, 0.4))
    assert any(len(boxes) for boxes in found)


@each_layout
def test_float16_outputs_are_decoded(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    outputs = layout.make(np.random.default_rng(3), 50)
    half = [each.astype(np.float16) if each.dtype.kind == "f" else each for each in outputs]
    (found,) = decoded(half, manifest_of(name, tmp_path), [(480, 640)], 0.3)
    assert_boxes(found, decode_by_loops(layout, half, (480, 640), 0.3))
    assert len(found)


@each_layout
def test_more_candidates_than_the_kernels_hold_lose_no_box(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    outputs = layout.make(np.random.default_rng(4), 9000)
    (found,) = decoded(outputs, manifest_of(name, tmp_path), [(480, 640)], 0.05)
    expected = decode_by_loops(layout, outputs, (480, 640), 0.05)
    assert found.confidence[0] == pytest.approx(expected[0][1], abs=1e-5)
    assert len(found)


@each_layout
def test_boxes_of_equal_score_are_in_the_order_of_class_and_row(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    outputs = layout.make(np.random.default_rng(5), 60)
    outputs = [np.round(each * 4) / 4 if each.dtype.kind == "f" else each for each in outputs]
    (found,) = decoded(outputs, manifest_of(name, tmp_path), [(64, 64)], 0.25)
    assert_boxes(found, decode_by_loops(layout, outputs, (64, 64), 0.25))


def test_boxes_can_be_in_the_other_format_and_units(tmp_path: Path) -> None:
    corners = np.array([[[0.25, 0.25, 0.75, 0.5, 0.9, 1]]], np.float32)
    centre = np.array([[[32, 24, 32, 16, 0.9, 1]]], np.float32)
    keys = {"decoding": "end2end", "box_units": "fractions"}
    (found,) = decoded([corners], plain_manifest(tmp_path, {}, keys), [(64, 64)], 0.25)
    keys = {"decoding": "rtdetr-packed", "box_units": "pixels"}
    (other,) = decoded([centre], plain_manifest(tmp_path, {}, keys), [(64, 64)], 0.25)
    assert found.xywh.tolist() == other.xywh.tolist() == [[0.25, 0.25, 0.5, 0.25]]


@pytest.mark.parametrize(("columns", "expected"), [("score-class", [1]), ("class-scores", [0, 1])])
def test_two_classes_need_the_columns_of_a_packed_output(
    tmp_path: Path, columns: str, expected: list[int]
) -> None:
    row = np.array([[[0.5, 0.5, 0.25, 0.25, 0.9, 1.0]]], np.float32)
    keys = {"decoding": "rtdetr-packed"}
    with pytest.raises(ModelError, match='two classes need columns = "score-class"'):
        plain_manifest(tmp_path, {}, keys, ["animal", "person"])
    manifest = plain_manifest(tmp_path, {}, keys | {"columns": columns}, ["animal", "person"])
    (found,) = decoded([row], manifest, [(64, 64)], 0.25)
    assert sorted(found.class_index.tolist()) == expected


class Fault(NamedTuple):
    """An impossible value of one of the outputs of `make(random, 30)`, at [0, row, column]."""

    name: str
    output: int
    place: tuple[int, ...]
    value: float
    expected: str


NOT_FINITE = "gives a score that is not finite"
FAULTS = [
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 4), 2.69, "score of 2.69"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 4), -0.5, "score of -0.5"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 4), np.nan, NOT_FINITE),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 5), 3, "of class 3, the manif"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 5), 0.5, "of class 0.5"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 5), -2, "of class -2"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 5), np.nan, "of class nan"),
    Fault("Ultralytics nms=True, YOLOv10, Sparrow yolo_e2e", 0, (2, 0), np.inf, "gives a box that"),
    Fault("MIT YOLO with its NMS", 0, (2, 5), 88.0, "score of 88"),
    Fault("Sparrow rtdetr_topk", 0, (2, 5), 90, "of class 90"),
    Fault("Sparrow rtdetr_topk", 0, (2, 4), 1.5, "score of 1.5"),
    Fault("Ultralytics RT-DETR", 0, (7, 5), 4.0, "score of 4"),
    Fault("Ultralytics RT-DETR", 0, (7, 5), -4.0, "score of -4"),
    Fault("Hugging Face RT-DETR", 1, (7, 1), np.nan, NOT_FINITE),
    Fault("Hugging Face RT-DETR", 1, (7, 1), np.inf, NOT_FINITE),
    Fault("RT-DETR's exporter, torchvision", 1, (2,), 91, "of class 91"),
    Fault("RT-DETR's exporter, torchvision", 2, (2,), 1.01, "score of 1.01"),
    Fault("MIT YOLO", 1, (7, 1), -np.inf, NOT_FINITE),
    Fault("MIT YOLO", 1, (7, 1), np.nan, NOT_FINITE),
    Fault("Ultralytics", 0, (5, 7), 1.2, "score of 1.2"),
    Fault("Ultralytics", 0, (5, 7), np.nan, NOT_FINITE),
    Fault("YOLOv5 before its sigmoid", 0, (7, 4), np.nan, NOT_FINITE),
    Fault("YOLOv5 before its sigmoid", 0, (7, 6), np.inf, NOT_FINITE),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each.name} {each.value}")
@pytest.mark.parametrize("decode", [decode_boxes, decode_on_device])
def test_an_impossible_value_is_refused_in_one_line(
    tmp_path: Path, fault: Fault, decode: Callable[..., list[Boxes]]
) -> None:
    layout = LAYOUTS[fault.name]
    outputs = layout.make(np.random.default_rng(1), 30)
    row: tuple[Any, ...] = fault.place
    if layout.keys["decoding"] in ("end2end", "rtdetr-packed", "boxes-labels-scores"):
        # The row is a clear box.
        columns = {"class-box-score": (5, 0)}.get(layout.keys.get("columns", ""), (4, 5))
        if len(outputs) == 1:
            outputs[0][0, 2, list(columns)] = (0.9, 1)
        else:
            outputs[1][0, 2], outputs[2][0, 2] = 1, 0.9
    outputs[fault.output][(0, *row)] = fault.value
    with pytest.raises(ModelError) as caught:
        decode(outputs, manifest_of(fault.name, tmp_path), [(480, 640)], 0.25)
    message = str(caught.value)
    assert message.startswith("model plain: ")
    assert fault.expected in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["Hugging Face RT-DETR", "MIT YOLO", "YOLOv5 before its sigmoid"])
def test_logits_that_are_declared_as_probabilities_are_refused(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    manifest = plain_manifest(tmp_path, {}, layout.keys | {"scores": "probability"})
    outputs = layout.make(np.random.default_rng(1), 30)
    for decode in (decode_boxes, decode_on_device):
        with pytest.raises(ModelError, match=r'set output\.scores = "sigmoid" if the graph gives'):
            decode(outputs, manifest, [(480, 640)], 0.25)


def test_a_score_above_1_without_negative_ones_is_not_called_a_logit(tmp_path: Path) -> None:
    layout = LAYOUTS["Ultralytics RT-DETR"]
    outputs = layout.make(np.random.default_rng(1), 30)
    outputs[0][0, 7, 5] = 2.69
    for decode in (decode_boxes, decode_on_device):
        with pytest.raises(ModelError, match=r"score of 2\.69, .*; correct output\.decoding"):
            decode(outputs, manifest_of("Ultralytics RT-DETR", tmp_path), [(480, 640)], 0.25)


def test_logits_of_an_empty_picture_are_refused_too(tmp_path: Path) -> None:
    """All of them are negative, so that no box would show the mistake."""
    keys = {"decoding": "boxes-and-logits", "scores": "probability", **NMS}
    outputs = [np.ones((1, 9, 4), np.float32), np.full((1, 9, CLASSES), -7.0, np.float32)]
    with pytest.raises(ModelError, match="gives a score of -7, the manifest declares prob"):
        decode_boxes(outputs, plain_manifest(tmp_path, {}, keys), [(64, 64)], 0.25)


@pytest.mark.parametrize("score", [1.0005, 1.0009])
def test_a_rounded_score_is_limited_to_one(tmp_path: Path, score: float) -> None:
    output = np.array([[[8, 8, 24, 24, score, 0]]], np.float32)
    manifest = plain_manifest(tmp_path, {}, {"decoding": "end2end"})
    (found,) = decoded([output], manifest, [(64, 64)], 0.25)
    assert found.confidence.tolist() == [1.0]


def test_a_box_that_is_not_finite_is_ignored_below_the_threshold(tmp_path: Path) -> None:
    output = np.array([[[np.nan, 8, np.inf, 24, 0.1, 0], [8, 8, 24, 24, 0.9, 0]]], np.float32)
    manifest = plain_manifest(tmp_path, {}, {"decoding": "end2end"})
    (found,) = decoded([output], manifest, [(64, 64)], 0.25)
    assert len(found) == 1


def test_scores_and_labels_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    boxes, labels, scores = make_boxes_labels_scores(np.random.default_rng(1), 30)
    manifest = plain_manifest(tmp_path, {}, {"decoding": "boxes-labels-scores"})
    for decode in (decode_boxes, decode_on_device):
        with pytest.raises(ModelError, match='outputs = \\["boxes", "labels", "scores"\\]'):
            decode([boxes, scores, labels], manifest, [(64, 64)], 0.25)


@pytest.mark.parametrize(
    ("keys", "shapes"),
    [
        ({"decoding": "end2end"}, [(1, 300, 7)]),
        ({"decoding": "end2end"}, [(1, 6)]),
        ({"decoding": "rtdetr-packed"}, [(1, 300, 5)]),
        ({"decoding": "rtdetr"}, [(1, 300, 4), (1, 299, 3)]),
        ({"decoding": "rtdetr"}, [(1, 300, 3), (1, 300, 4)]),
        ({"decoding": "boxes-labels-scores"}, [(1, 300, 4), (1, 300), (1, 299)]),
        ({"decoding": "boxes-labels-scores"}, [(1, 300), (1, 300, 4), (1, 300)]),
        ({"decoding": "boxes-and-logits", **NMS}, [(1, 300, 4)]),
        ({"decoding": "boxes-and-logits", **NMS}, [(1, 300, 4), (1, 3, 300)]),
    ],
)
def test_outputs_of_another_layout_are_refused(
    tmp_path: Path, keys: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    for decode in (decode_boxes, decode_on_device):
        with pytest.raises(ModelError, match=r"class\(es\) needs .*; correct output\.decoding"):
            decode(outputs, plain_manifest(tmp_path, {}, keys), [(64, 64)], 0.25)
