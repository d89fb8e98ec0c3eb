"""Graphs whose outputs show no layout for certain: `describe` refuses them or says so, and `verify`
refuses manifests that do not match."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from constant_graphs import boxes, scores, write_graph
from numpy.typing import NDArray
from rectangle_graphs import Graph, Options

from gpu_kernels.inspection.description import describe
from gpu_kernels.inspection.verification import verify_model
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from odins_ravne_assets.demo.footage import read_sample
from resources.errors import ModelError

CAT = read_sample("cat", (1280, 960))
ROWS, MANY = 300, 2000
Array = NDArray[Any]
NAMES = {"names": "{0: 'animal', 1: 'person', 2: 'vehicle'}"}


def numbers(count: int = ROWS, first: int = 0) -> Array:
    return (first + np.arange(count) % 3).astype(np.float32).reshape(1, -1, 1)


def join(*columns: Array) -> Array:
    return np.concatenate(columns, axis=2).astype(np.float32)


def end2end(score: Array | None = None, number: Array | None = None) -> Array:
    score = scores(ROWS, 1) if score is None else score
    return join(boxes(ROWS, 64, True), score, numbers() if number is None else number)


def with_one(values: Array, value: float) -> Array:
    changed = values.copy()
    changed[0, 3, 0] = value
    return changed


def normal(*shape: int) -> Array:
    return np.random.default_rng(3).normal(0, 1, (1, *shape)).astype(np.float32)


def columns(*parts: Array) -> Array:
    return join(boxes(MANY, 64, False), scores(MANY, 3), *parts).transpose(0, 2, 1)


def described(path: Path) -> tuple[ModelManifest, str]:
    text = describe(path, CAT).text
    manifest = path.with_suffix(".toml")
    manifest.write_text(text, "utf-8")
    return load_manifest(str(manifest)), text


LADDER = np.linspace(2.69, 0.01, ROWS).reshape(1, -1, 1)
BATCH_ROWS = join(
    np.zeros((1, 50, 1)), boxes(50, 64, True), numbers(50), scores(50, 1)
)  # YOLOv7's export with suppression
REFUSED: dict[str, tuple[dict[str, Array], dict[str, str] | None, str]] = {
    "scores above 1": ({"o": end2end(LADDER)}, None, "neither probabilities, 0 to 1, nor logits"),
    "one score above 1": ({"o": end2end(with_one(scores(ROWS, 1), 2.69))}, None, "to 2.69, 0% of"),
    "class scores above 1": (
        {"boxes": boxes(ROWS, 1, False), "logits": scores(ROWS, 3) * 3}, None, "its scores are from"
    ),
    "objectness above 1": (
        {"o": join(boxes(MANY, 64, False), scores(MANY, 1) + 0.5, scores(MANY, 3))},
        None,
        "its scores are from",
    ),
    "scores above 1 of three outputs": (
        {"boxes": boxes(ROWS, 64, True), "labels": numbers()[..., 0], "scores": LADDER[..., 0]},
        None,
        "its scores are from 0.01 to 2.69",
    ),
    "class numbers with a rounding error": (
        {"o": end2end(number=numbers() + 0.0001)}, None, r"but [012]\.0001 is no class"
    ),
    "one class number with a fraction": (
        {"o": end2end(number=with_one(numbers(), 3.0001))}, None, "but 3.0001 is no class"
    ),
    "only class 0, with a rounding error": (
        {"o": end2end(number=numbers() * 0 + 0.0001)}, None, "but 0.0001 is no class"
    ),
    "YOLOv7 with suppression": ({"o": BATCH_ROWS[0]}, None, "rows of a picture's number"),
    "YOLOv7 with suppression, one box": ({"o": BATCH_ROWS[0, :1]}, None, "rows of a picture's num"),
    "YOLOv7 with suppression, six boxes": (
        {"o": BATCH_ROWS[0, :6]}, None, "rows of a picture's number"
    ),
    "masks": (
        {"output0": columns(normal(MANY, 32)), "output1": normal(32, 8, 8)}, NAMES, "35 values"
    ),
    "masks, without names": ({"output0": columns(normal(MANY, 32))}, None, "its scores are from"),
    "keypoints": ({"o": columns(scores(MANY, 51) * 64)}, NAMES, "54 values after each box"),
    "an angle": ({"o": columns(normal(MANY, 1))}, NAMES, "4 values after each box"),
    "masks, with suppression": (
        {"o": join(end2end(), normal(ROWS, 32))}, None, "its scores are from"
    ),
    "another task": ({"o": columns()}, {"task": "pose"}, "its file says that it is for pose"),
    "rows without suppression": (
        {"o": join(boxes(MANY, 64, False), scores(MANY, 3))}, NAMES, "2000 rows of a box and 3 sco"
    ),
    "rows as fractions without suppression": (
        {"o": join(boxes(MANY, 1, False), scores(MANY, 3))}, NAMES, "2000 rows of a box and 3 sco"
    ),
    "rows of one score without suppression": (
        {"o": join(boxes(MANY, 1, False), scores(MANY, 1))}, None, "no decoding applies suppress"
    ),
    "TensorFlow": (
        {
            "detection_boxes": boxes(100, 1, True)[..., [1, 0, 3, 2]],
            "detection_classes": numbers(100, 1)[..., 0],
            "detection_scores": scores(100),
        },
        None,
        "detection_boxes is that of TensorFlow's object detection",
    ),
    "TensorFlow with raw boxes": (
        {"raw_detection_boxes": boxes(MANY, 1, True), "raw_detection_scores": scores(MANY, 3)},
        None,
        "raw_detection_boxes is that of TensorFlow",
    ),
    "seven columns and no row": ({"o": np.zeros((0, 7), np.float32)}, None, "no known layout"),
    "seven columns of zeros": ({"o": np.zeros((1, 9, 7), np.float32)}, None, "no known layout"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_outputs_that_no_decoding_reads_are_refused_with_the_reason(
    tmp_path: Path, case: str
) -> None:
    outputs, metadata, message = REFUSED[case]
    graph = write_graph(tmp_path / "m.onnx", outputs, metadata=metadata)
    with pytest.raises(ModelError, match=message) as caught:
        describe(graph, CAT)
    assert "\n" not in str(caught.value)


OBJECTNESS = join(boxes(MANY, 64, False), scores(MANY, 4))
ROW_FIVE = np.arange(ROWS).reshape(1, -1, 1) == 5
# Outputs, metadata, keys of [output], the number of classes, and what is not certain.
Case = tuple[dict[str, Array], dict[str, str] | None, dict[str, Any], int, str | None]
FOUND: dict[str, Case] = {
    "objectness, three names": (
        {"o": OBJECTNESS}, NAMES, {"decoding": "yolo-objectness"}, 3, None
    ),
    "objectness, without names": (
        {"o": OBJECTNESS}, None, {"decoding": "yolo-objectness"}, 3, "column is objectness"
    ),
    "objectness as fractions": (
        {"o": join(boxes(MANY, 1, False), scores(MANY, 4))},
        NAMES,
        {"decoding": "yolo-objectness", "box_units": "fractions"},
        3,
        None,
    ),
    "one class whose score is always 1": (
        {"o": join(boxes(MANY, 64, False), scores(MANY, 1), np.ones((1, MANY, 1)))},
        {"names": "['animal']"},
        {"decoding": "yolo-objectness"},
        1,
        None,
    ),
    "many numbered boxes": (
        {"o": join(boxes(MANY, 64, True), scores(MANY, 1), numbers(MANY))},
        None,
        {"decoding": "end2end"},
        3,
        "2000 boxes, more than a graph with suppression inside returns",
    ),
    "one box far outside": (
        {
            "logits": scores(ROWS, 3) * 9 - 7,
            "pred_boxes": np.where(ROW_FIVE, 2.5, boxes(ROWS, 1, False)),
        },
        None,
        {"decoding": "rtdetr", "box_units": "fractions", "scores": "sigmoid"},
        3,
        None,
    ),
    "one damaged corner": (
        {"o": np.where(ROW_FIVE, np.float32([9, 9, 1, 1, 0.1, 0]),
                       end2end())},
        None,
        {"decoding": "end2end", "box_format": "xyxy"},
        3,
        None,
    ),
    "logits": (
        {"o": end2end(np.linspace(2.69, -8, ROWS).reshape(1, -1, 1))},
        None,
        {"decoding": "end2end", "scores": "sigmoid"},
        3,
        None,
    ),
    "few logits before padding": (
        {
            "boxes": boxes(ROWS, 64, True),
            "labels": numbers()[..., 0],
            "scores": np.where(np.arange(ROWS) < 20, np.linspace(2, -8, ROWS), 0)
            .astype(np.float32)[None] - np.where(np.arange(ROWS) < 10, 4, 0).astype(np.float32),
        },
        None,
        {"decoding": "boxes-labels-scores", "scores": "sigmoid"},
        3,
        None,
    ),
    "'no object'": (
        {
            "logits": join(scores(ROWS, 3) * 9 - 7, np.full((1, ROWS, 1), 6)),
            "pred_boxes": boxes(ROWS, 1, False),
        },
        None,
        {"decoding": "rtdetr", "scores": "sigmoid"},
        4,
        "class 3 has high scores for most boxes: it may be 'no object'",
    ),
    "few rows of 20 that are fewer than their columns": (
        {"o": join(boxes(20, 64, False), scores(20, 81))},
        {"names": str([f"c{number}" for number in range(80)])},
        {"decoding": "yolo-objectness"},
        80,
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_layouts_that_look_like_others_are_recognised_or_said_to_be_uncertain(
    tmp_path: Path, case: str
) -> None:
    outputs, metadata, expected, classes, doubt = FOUND[case]
    graph = write_graph(tmp_path / "m.onnx", outputs, metadata=metadata)
    manifest, text = described(graph)
    assert {key: getattr(manifest.output, key) for key in expected} == expected
    assert len(manifest.detector_output.classes) == classes
    assert ("# Not certain: " in text) == (doubt is not None)
    assert (doubt or "") in text


def test_a_row_of_six_values_is_a_classifiers_if_the_graph_declares_one_row(tmp_path: Path) -> None:
    logits = np.array([[3.0, 9.0, 200.0, 210.0, 0.5, 1.0]], np.float32)
    rows = "".join(f"{number}\tlabel {number}\t\t1\n" for number in range(6))
    (tmp_path / "labels.txt").write_text(f"index\tlabel\tscientific_name\tis_animal\n{rows}")
    graph = write_graph(tmp_path / "m.onnx", {"o": logits})
    model = onnx.load(graph)
    shape = model.graph.output[0].type.tensor_type.shape
    shape.ClearField("dim")
    for size in (1, 6):
        shape.dim.add(dim_value=size)
    onnx.save_model(model, graph)
    manifest, _ = described(graph)
    assert manifest.output.decoding == "logits"


def test_values_that_may_be_independent_probabilities_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(
        "index\tlabel\tscientific_name\tis_animal\n0\ta\t\t1\n1\tb\t\t1\n2\tc\t\t1\n"
    )
    values = np.array([[0.9, 0.8, 0.1]], np.float32)
    _, text = described(write_graph(tmp_path / "m.onnx", {"o": values}))
    assert "# Not certain: all values are from 0 to 1" in text


WRONG: dict[str, tuple[Array, tuple[str, str], str]] = {
    "logits of which none is negative": (
        end2end(LADDER), ("threshold", 'scores = "sigmoid"\nthreshold'), "so they are no logits"
    ),
    "one score above 1": (
        end2end(with_one(scores(ROWS, 1), 2.69)),
        ("threshold", 'scores = "sigmoid"\nthreshold'),
        "so they are no logits",
    ),
    "a score above 1 declared a probability": (
        end2end(LADDER), ("threshold", "threshold"), "gives a score of 2.69, .* 0 to 1; correct out"
    ),
    "zeros without padding": (
        np.zeros((1, ROWS, 6), np.float32),
        ('decoding = "end2end"', 'decoding = "rtdetr-packed"'),
        "all its 300 boxes are 0, as padding is, but rtdetr-packed has none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_verify_refuses_what_describe_would_not_write(tmp_path: Path, case: str) -> None:
    output, (old, new), message = WRONG[case]
    right = write_graph(tmp_path / "right.onnx", {"o": end2end()})
    _, text = described(right)
    wrong = write_graph(tmp_path / "wrong.onnx", {"o": output})
    sums = [sha256_of(each) for each in (right, wrong)]
    path = tmp_path / "wrong.toml"
    text = text.replace("right.onnx", "wrong.onnx").replace(*sums)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=message):
        verify_model(load_manifest(str(path)), CAT)


def test_the_advice_for_outputs_of_an_uncertain_layout_says_so(tmp_path: Path) -> None:
    _, text = described(write_graph(tmp_path / "m.onnx", {"o": OBJECTNESS}))
    path = tmp_path / "m.toml"
    path.write_text(text.replace('"yolo-objectness"', '"yolo-anchor-free"'))
    with pytest.raises(ModelError, match=r'its outputs may be decoding = "yolo-objectness"'):
        verify_model(load_manifest(str(path)), CAT)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_verify_says_that_zeros_show_nothing(tmp_path: Path) -> None:
    manifest, _ = described(
        write_graph(tmp_path / "m.onnx", {"o": np.zeros((1, ROWS, 6), np.float32)})
    )
    assert verify_model(manifest, CAT).endswith("matches the graph could not be checked")


def sized_graph(path: Path, order: str, size: tuple[int, int], used: bool = True) -> Path:
    """Write a graph of three outputs whose boxes are fractions times a second input."""
    graph = Graph(Options())
    pictures = graph.input("images", "float32", (1, 3, *size))
    zero = graph.add("Mul", graph.add("ReduceMean", pictures, keepdims=0), graph.constant(0.0))
    given = graph.to(graph.input("orig_target_sizes", "int64", (1, 2)), "float32")
    index = graph.constant([0, 1, 0, 1] if order == "wh" else [1, 0, 1, 0], np.int64)
    scale = graph.add("Gather", given, index, axis=1) if used else graph.constant([[64.0] * 4])
    fractions = graph.add("Add", graph.constant(boxes(ROWS, 1, True)), zero)
    graph.output("labels", graph.add("Add", graph.constant(numbers()[..., 0]), zero), "int64")
    graph.output("boxes", graph.add("Mul", fractions, scale))
    graph.output("scores", graph.add("Add", graph.constant(scores(ROWS)), zero))
    path.write_bytes(graph.serialized())
    return path


@pytest.mark.parametrize(("order", "other"), [("wh", "hw"), ("hw", "wh")])
def test_verify_refuses_the_other_order_of_sizes(tmp_path: Path, order: str, other: str) -> None:
    manifest, text = described(sized_graph(tmp_path / "m.onnx", order, (48, 96)))
    assert manifest.input.sizes_order == order
    assert verify_model(manifest, CAT)
    path = tmp_path / "m.toml"
    path.write_text(text.replace(f'sizes_order = "{order}"', f'sizes_order = "{other}"'))
    with pytest.raises(ModelError, match=f'set input.sizes_order = "{order}"'):
        verify_model(load_manifest(str(path)), CAT)


def test_sizes_that_change_nothing_show_no_order(tmp_path: Path) -> None:
    _, text = described(sized_graph(tmp_path / "m.onnx", "wh", (48, 96), used=False))
    assert 'sizes_order = "wh"  # not in the file, and boxes do not depend on it' in text
