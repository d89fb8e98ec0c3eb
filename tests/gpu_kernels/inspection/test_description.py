"""`munin models describe`: the manifest that it writes is right, and hostile files are refused."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exported_graphs as exported
import numpy as np
import onnx
import pytest
from constant_graphs import boxes, scores, write_graph
from onnx import TensorProto, helper
from rectangle_graphs import EXPORTS, Options

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.inspection.description import describe
from gpu_kernels.inspection.verification import verify_model
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.letterbox import fit, to_input
from odins_ravne_assets.demo.footage import read_sample
from resources.errors import ModelError

CAT = read_sample("cat", (1280, 960))
Arrays = dict[str, np.ndarray[Any, Any]]


def described(graph: Path, labels: Path | None = None) -> tuple[ModelManifest, str]:
    """Write the manifest beside a graph and load it."""
    text = describe(graph, CAT, labels).text
    path = graph.with_suffix(".toml")
    path.write_text(text, "utf-8")
    return load_manifest(str(path)), text


def copied(folder: Path, name: str) -> Path:
    """Copy an exported graph and its labels, without its manifest."""
    for path in exported.FOLDER.glob(f"{name}.*"):
        if path.suffix != ".toml":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder / f"{name}.onnx"


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_the_manifest_of_every_exporters_graph_finds_the_same_boxes(
    tmp_path: Path, name: str
) -> None:
    manifest, _ = described(copied(tmp_path, name))
    assert verify_model(manifest, CAT)
    by_hand = exported.manifest(name)
    for picture in [*exported.pictures(), CAT]:
        found = []
        for each in (manifest, by_hand):
            outputs = open_engine(each, "onnxruntime", 1).run(to_input([fit(picture, each)], each))
            found.append(decode_boxes(outputs, each, [picture.shape[:2]], exported.THRESHOLD)[0])
        assert len(found[0])
        assert exported.as_rows(found[0]) == pytest.approx(exported.as_rows(found[1]))
    assert [each.category for each in manifest.detector_output.classes] == [
        "animal", "person", "vehicle"
    ]  # fmt: skip


def test_a_classifiers_labels_are_found_beside_it(tmp_path: Path) -> None:
    manifest, _ = described(copied(tmp_path, exported.CLASSIFIER))
    by_hand = exported.manifest(exported.CLASSIFIER)
    assert manifest.output == by_hand.output
    assert manifest.input == by_hand.input
    assert manifest.crop == by_hand.crop
    assert verify_model(manifest, CAT).startswith("red fox")


@pytest.mark.parametrize("content", [b"x" * 200_000, b"\xff", b"\x00\r\x00"])
def test_another_text_beside_a_classifier_is_ignored(tmp_path: Path, content: bytes) -> None:
    graph = copied(tmp_path, exported.CLASSIFIER)
    (tmp_path / "a notes.txt").write_bytes(content)
    (tmp_path / "z.tsv").write_bytes(content)
    os.mkfifo(tmp_path / "pipe.txt")
    manifest, _ = described(graph)
    assert manifest.output == exported.manifest(exported.CLASSIFIER).output


def test_a_classifier_without_labels_needs_some(tmp_path: Path) -> None:
    graph = copied(tmp_path, exported.CLASSIFIER)
    labels = tmp_path / f"{exported.CLASSIFIER}.labels.txt"
    text = labels.read_text("utf-8")
    labels.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(ModelError, match="classifier of 7 classes; no file of labels with as many"):
        describe(graph, CAT)
    with pytest.raises(ModelError, match=r"has 6 rows, the output of .* 7; name the labels"):
        describe(graph, CAT, labels)
    elsewhere = tmp_path / "sub" / "labels.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text(text)
    with pytest.raises(ModelError, match="must be in the folder of"):
        describe(graph, CAT, elsewhere)


ROWS = 300
LAYOUTS: dict[str, tuple[Callable[[], Arrays], dict[str, Any]]] = {
    "YOLOv5": (
        lambda: {"output": np.concatenate([boxes(2000, 64, False), scores(2000, 4)], axis=2)},
        {"decoding": "yolo-objectness", "scores": "probability"},
    ),
    "YOLOv8 of one class": (
        lambda: {
            "output0": np.concatenate([boxes(2000, 64, False), scores(2000, 1)], axis=2).transpose(
                0, 2, 1
            )
        },
        {"decoding": "yolo-anchor-free"},
    ),
    "RT-DETR of two classes": (
        lambda: {"output0": np.concatenate([boxes(ROWS, 1, False), scores(ROWS, 2)], axis=2)},
        {"decoding": "rtdetr-packed", "columns": "class-scores", "box_units": "fractions"},
    ),
    "RT-DETR of four classes, two outputs": (
        lambda: {"logits": scores(ROWS, 4) * 9 - 7, "pred_boxes": boxes(ROWS, 1, False)},
        {"decoding": "rtdetr", "outputs": ("pred_boxes", "logits"), "scores": "sigmoid"},
    ),
    "RT-DETR with hidden states": (
        lambda: {
            "last_hidden_state": scores(ROWS, 16),
            "logits": scores(ROWS, 3) * 9 - 7,
            "pred_boxes": boxes(ROWS, 1, False),
            "intermediate": scores(ROWS, 4),
        },
        {"decoding": "rtdetr", "outputs": ("pred_boxes", "logits"), "scores": "sigmoid"},
    ),
    "end to end of one class": (
        lambda: {
            "dets": np.concatenate(
                [boxes(ROWS, 64, True), scores(ROWS, 1), np.ones((1, ROWS, 1), np.float32)], axis=2
            )
        },
        {"decoding": "end2end", "box_format": "xyxy", "box_units": "pixels"},
    ),
    "corners and probabilities": (
        lambda: {"boxes": boxes(2000, 64, True), "confs": scores(2000, 3)},
        {"decoding": "boxes-and-logits", "scores": "probability", "box_format": "xyxy"},
    ),
    "corners as fractions": (
        lambda: {"boxes": boxes(2000, 1, True), "confs": scores(2000, 3)},
        {"decoding": "boxes-and-logits", "box_units": "fractions", "box_format": "xyxy"},
    ),
    "labels as floats": (
        lambda: {
            "num": np.array([ROWS]),
            "boxes": boxes(ROWS, 64, True),
            "scores": scores(ROWS),
            "classes": np.floor(scores(ROWS) * 3).astype(np.float32),
        },
        {"decoding": "boxes-labels-scores", "outputs": ("boxes", "classes", "scores")},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_further_layouts_are_recognised(tmp_path: Path, layout: str) -> None:
    outputs, expected = LAYOUTS[layout]
    manifest, _ = described(write_graph(tmp_path / "model.onnx", outputs()))
    assert {key: getattr(manifest.output, key) for key in expected} == expected
    assert verify_model(manifest, CAT)


@pytest.mark.parametrize("size", [(64, 64), None], ids=["fixed size", "free size"])
@pytest.mark.parametrize("name", EXPORTS)
def test_graphs_with_few_rows_are_recognised(
    tmp_path: Path, name: str, size: tuple[int, int] | None
) -> None:
    export = EXPORTS[name]
    graph = tmp_path / "model.onnx"
    graph.write_bytes(export.make(Options(size=size)))
    manifest, _ = described(graph)
    expected: dict[str, Any] = {"scores": "probability"} | export.output
    if name == "mit-yolo":
        expected["scores"] = "sigmoid"
    if name == "torchvision":
        expected["outputs"] = ["boxes", "labels", "scores"]
    found = manifest.output.model_dump(mode="json")
    assert {key: found[key] for key in expected} == expected
    assert [each.name for each in manifest.detector_output.classes] == list(export.classes)
    assert verify_model(manifest, CAT).endswith("in the sample picture: animal 0.90") or (
        "ghost" in name
    )


def rows_of(count: int = 2000, classes: int = 3) -> Arrays:
    rows = np.concatenate([boxes(count, 64, False), scores(count, classes)], axis=2)
    return {"output0": rows.transpose(0, 2, 1)}


def test_metadata_of_ultralytics_are_used(tmp_path: Path) -> None:
    metadata = {
        "names": "{0: 'deer', 1: 'Person', 2: 'car'}",
        "imgsz": "[960, 1280]",
        "stride": "64",
        "license": "AGPL-3.0",
    }
    graph = write_graph(tmp_path / "m.onnx", rows_of(), (1, 3, "height", "width"), "float32",
                        metadata)  # fmt: skip
    manifest, text = described(graph)
    assert (manifest.input.long_side, manifest.input.stride) == (1280, 64)
    assert manifest.licence == "AGPL-3.0"
    classes = manifest.detector_output.classes
    assert [(each.name, each.category) for each in classes] == [
        ("deer", "animal"), ("Person", "person"), ("car", "vehicle")
    ]  # fmt: skip
    assert "long_side = 1280\n" in text and "check the categories" in text


def test_what_the_file_does_not_show_has_a_comment(tmp_path: Path) -> None:
    _, text = described(write_graph(tmp_path / "m.onnx", rows_of(), ("n", 3, "h", "w")))
    uncertain = {line.split(" =")[0] for line in text.splitlines() if "  # " in line}
    assert uncertain >= {
        "licence", "source", "home", "long_side", "stride", "colour", "multiply", "fit",
        "threshold", "nms_iou", "classes",
    }  # fmt: skip
    assert "layout" not in uncertain and "decoding" not in uncertain


@pytest.mark.parametrize("kind", ["float16", "uint8"])
def test_the_type_and_the_channels_of_the_input_are_read(tmp_path: Path, kind: str) -> None:
    graph = write_graph(tmp_path / "m.onnx", rows_of(), (1, 64, 96, 3), kind)
    manifest, _ = described(graph)
    assert (manifest.input.dtype, manifest.input.layout) == (kind, "nhwc")
    assert manifest.input.fixed_size == (64, 96)
    assert (manifest.input.multiply[0] == 1.0) == (kind == "uint8")
    assert verify_model(manifest, CAT)


def test_torchvisions_classes_begin_at_one(tmp_path: Path) -> None:
    numbers = 1 + np.floor(scores(ROWS)[0] * 3).astype(np.int64)
    outputs = {"boxes": boxes(ROWS, 64, True)[0], "labels": numbers, "scores": scores(ROWS)[0]}
    manifest, text = described(write_graph(tmp_path / "m.onnx", outputs))
    names = [each.name for each in manifest.detector_output.classes]
    assert names == ["background", "animal", "person", "vehicle"]
    assert "from number 1" in text
    assert verify_model(manifest, CAT)


def test_a_graph_that_finds_nothing_is_described_as_uncertain(tmp_path: Path) -> None:
    _, text = described(write_graph(tmp_path / "m.onnx", {"output0": np.zeros((1, 300, 6), "f4")}))
    assert "# Not certain: the output has six columns and no box in the pictures tried." in text


def test_names_cannot_leave_their_string(tmp_path: Path) -> None:
    evil = '"]\n[input]\nheight = 1 # \x1b[31m \x7f'
    graph = write_graph(
        tmp_path / "m.onnx", rows_of(), metadata={"names": repr([evil, "a", "b"]), "license": evil}
    )
    manifest, text = described(graph)
    assert manifest.detector_output.classes[0].name == '"] [input] height = 1 # [31m'
    assert "\x1b" not in text
    assert tomllib.loads(text)["input"]["height"] == 64


@pytest.mark.parametrize(
    "names",
    [
        "__import__('os').system('touch /tmp/owned')",
        "[" * 5000,
        "{0: 'a', 2: 'b', 5: 'c'}",
        "-" * 60_000 + "1",
        "['a', 'b']",
        "x" * 100_000,
    ],
    ids=["a call", "nested", "gaps", "signs", "too few", "long"],
)
def test_metadata_that_are_no_names_are_ignored(tmp_path: Path, names: str) -> None:
    manifest, _ = described(write_graph(tmp_path / "m.onnx", rows_of(), metadata={"names": names}))
    assert [each.name for each in manifest.detector_output.classes] == [
        "animal", "person", "vehicle"
    ]  # fmt: skip


SHAPES = {
    "no colours": ((1, 1, 64, 64), "float32", r"its inputs are images \[1, 1, 64, 64\]"),
    "a series": ((1, 3, 64), "int64", "its inputs are images"),
    "a huge input": ((1, 3, 100_000, 100_000), "float32", "sides of 1 to 8192"),
    "a huge batch": ((5000, 3, 64, 64), "float32", "takes 5000 pictures at once"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_inputs_that_cannot_be_fed_are_refused(tmp_path: Path, case: str) -> None:
    shape, kind, message = SHAPES[case]
    graph = write_graph(tmp_path / "m.onnx", rows_of(), shape, kind)
    with pytest.raises(ModelError, match=message):
        describe(graph, CAT)


def test_a_further_input_is_refused_by_name(tmp_path: Path) -> None:
    inputs = {"mask": ("float32", (1, 300))}
    graph = write_graph(tmp_path / "m.onnx", rows_of(), further_inputs=inputs)
    with pytest.raises(ModelError, match=r"mask \[1, 300\] of float32; one for pictures"):
        describe(graph, CAT)


@pytest.mark.parametrize(
    "outputs",
    [
        {"mask": np.zeros((1, 3, 32, 32), np.float32)},
        {"anchors": np.random.default_rng(1).normal(0, 1, (1, 1917, 4)).astype(np.float32),
         "logits": np.random.default_rng(2).normal(0, 1, (1, 1917, 91)).astype(np.float32)},
        {"one": np.zeros((1, 1), np.float32)},
    ],
    ids=["a mask", "SSD's offsets", "one number"],
)  # fmt: skip
def test_outputs_of_no_known_layout_are_refused(tmp_path: Path, outputs: Arrays) -> None:
    graph = write_graph(tmp_path / "m.onnx", outputs)
    with pytest.raises(ModelError, match=r"are of no known layout; docs/models\.md lists"):
        describe(graph, CAT)


def test_files_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        describe(tmp_path / "none.onnx", CAT)
    with pytest.raises(ModelError, match="is not a file"):
        describe(tmp_path, CAT)
    whole = copied(tmp_path, "yolo-rows").read_bytes()
    contents = {
        b"": "is empty",
        b"<html>not found</html>": "is a web page",
        whole[:-5000]: "is incomplete or not an ONNX file; copy or download it again",
        whole[:2]: "is incomplete or not an ONNX file; copy or download it again",
    }
    for number, (content, message) in enumerate(contents.items()):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            describe(path, CAT)
        assert "\n" not in str(caught.value)
    large = tmp_path / "large.onnx"
    large.touch()
    os.truncate(large, 3 * 2**30)  # no space is used
    with pytest.raises(ModelError, match="at most 2 GiB"):
        describe(large, CAT)


@pytest.mark.parametrize("location", ["../weights.bin", "{folder}/weights.bin", "link.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(np.ones(3, np.float32).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 1, 1])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location.format(folder=tmp_path))
    shape = (TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", *shape)],
        [helper.make_tensor_value_info("y", *shape)],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = folder / "model.onnx"
    onnx.save_model(model, str(path))
    with pytest.raises(ModelError, match=r"cannot load it: .*[Ee]xternal data"):
        describe(path, CAT)


def test_a_network_of_values_up_to_255_is_recognised(tmp_path: Path) -> None:
    """MegadetectorLite finds nothing in pictures of 0 to 1."""
    shipped = load_manifest("megadetector-lite")
    graph = tmp_path / "m.onnx"
    graph.write_bytes(shipped.path.read_bytes())
    manifest, text = described(graph)
    assert manifest.input.multiply == shipped.input.multiply == (1.0, 1.0, 1.0)
    assert manifest.output.decoding == shipped.output.decoding
    assert "with values of 0 to 255" in text
    per_byte = "[0.00392156862745098, 0.00392156862745098, 0.00392156862745098]"
    graph.with_suffix(".toml").write_text(text.replace("[1.0, 1.0, 1.0]", per_byte), "utf-8")
    finding = verify_model(load_manifest(str(graph.with_suffix(".toml"))), CAT)
    assert finding.startswith("no box from 0.2 in the sample picture (check input.multiply: ")
