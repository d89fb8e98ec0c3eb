"""The graph that a GPU runs, compared with the exported one on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exported_graphs import DETECTORS
from exported_graphs import manifest as exported_manifest
from model_files import plain_manifest
from onnx import TensorProto, helper, numpy_helper
from rectangle_graphs import EXPORTS, Options

from gpu_kernels.engines.device_graph import MAX_ROWS, DeviceGraphCpuEngine, device_graph
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from resources.errors import ModelError

SIDE = 64


# Rows of six: the first 100, or those of the first 2048 that have a value above 0.5.
HUNDRED_ROWS = [
    helper.make_node("Reshape", ["picture", "any"], ["flat"]),
    helper.make_node("Slice", ["flat", "zero", "hundred"], ["first"]),
    helper.make_node("Reshape", ["first", "six"], ["boxes"]),
]
BRIGHT_ROWS = [
    helper.make_node("Reshape", ["picture", "any"], ["flat"]),
    helper.make_node("Slice", ["flat", "zero", "many"], ["first"]),
    helper.make_node("Reshape", ["first", "six"], ["all"]),
    helper.make_node("ReduceMax", ["all"], ["most"], axes=[1], keepdims=0),
    helper.make_node("Greater", ["most", "half"], ["bright"]),
    helper.make_node("Compress", ["all", "bright"], ["boxes"], axis=0),
]
CONSTANTS = {
    "any": np.array([-1]),
    "six": np.array([-1, 6]),
    "zero": np.array([0]),
    "hundred": np.array([100 * 6]),
    "many": np.array([2048 * 6]),
    "half": np.array(0.5, np.float32),
}


def rows_graph(
    folder: Path, nodes: Sequence[Any], rows: Any, shape: Sequence[int], opset: int
) -> ModelManifest:
    """Return a detector whose boxes are values of the picture.

    Args:
        rows: their number, or the name of an unknown one.
        shape: of the picture.
    """
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [rows, 6])],
        [numpy_helper.from_array(content, name) for name, content in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.checker.check_model(model)
    return plain_manifest(
        folder, {}, {"decoding": "end2end"}, network=bytes(model.SerializeToString())
    )


@pytest.mark.parametrize("name", shipped_models())
def test_a_graph_with_a_free_batch_and_the_channels_first_is_unchanged(name: str) -> None:
    manifest = load_manifest(name).model_copy(update={"fp16": False})
    assert device_graph(manifest).onnx == manifest.path.read_bytes()


@pytest.mark.parametrize("opset", [11, 12, 13, 18])
def test_a_graph_of_one_picture_gets_a_batch_in_every_version_of_onnx(
    tmp_path: Path, opset: int
) -> None:
    """The axes of Squeeze and Unsqueeze are an attribute, and from opset 13 on an input."""
    manifest = rows_graph(tmp_path, HUNDRED_ROWS, 100, [3, SIDE, SIDE], opset)
    graph = device_graph(manifest)
    onnx.checker.check_model(onnx.load_model_from_string(graph.onnx), full_check=True)
    assert graph.inputs.pictures.shape == (1, 3, SIDE, SIDE)
    images = np.random.default_rng(1).random((3, 3, SIDE, SIDE), np.float32)
    (found,) = DeviceGraphCpuEngine(manifest, 1).run(images)
    assert found == pytest.approx(images.reshape(3, -1)[:, :600].reshape(3, 100, 6))


@pytest.mark.parametrize("bright", [0, 1, 7, MAX_ROWS, MAX_ROWS + 40])
def test_a_number_of_rows_that_depends_on_the_picture_is_padded_with_zeros(
    tmp_path: Path, bright: int
) -> None:
    manifest = rows_graph(tmp_path, BRIGHT_ROWS, "K", [1, 3, SIDE, SIDE], 13)
    images = np.full((1, 3 * SIDE * SIDE), 0.25, np.float32)
    images[0, : bright * 6] = 0.75
    (found,) = DeviceGraphCpuEngine(manifest, 1).run(images.reshape(1, 3, SIDE, SIDE))
    assert found.shape == (1, MAX_ROWS, 6)
    kept = min(bright, MAX_ROWS)
    assert (found[0, :kept] == 0.75).all() and not found[0, kept:].any()


def test_rows_whose_number_no_value_decides_are_not_padded() -> None:
    """Exporters write names in place of numbers that TensorRT computes."""
    for name in DETECTORS:
        graph = device_graph(exported_manifest(name))
        if not graph.picture_dependent:
            assert f"{MAX_ROWS}" not in str(onnx.load_model_from_string(graph.onnx).graph.output)


@pytest.mark.parametrize(
    ("options", "keys", "shape"),
    [
        (Options(layout="nhwc"), {}, (None, 3, 64, 64)),
        (Options(batch=4, layout="nhwc"), {}, (4, 3, 64, 64)),
        (Options(batch=2, size=None), {"long_side": 128, "stride": 32}, (2, 3, None, None)),
    ],
)
def test_the_input_keeps_what_is_free_and_what_is_fixed(
    tmp_path: Path, options: Options, keys: dict[str, Any], shape: tuple[int | None, ...]
) -> None:
    export = EXPORTS["end2end"]
    network = export.make(options)
    inputs = export.input | keys | {"layout": options.layout}
    manifest = plain_manifest(tmp_path, inputs, export.output, network=network)
    graph = device_graph(manifest)
    assert graph.inputs.pictures.shape == shape
    assert graph.inputs.batch == shape[0]
    (own,) = onnx.load_model_from_string(graph.onnx).graph.input
    declared = tuple(dim.dim_value or None for dim in own.type.tensor_type.shape.dim)
    assert declared == shape


def test_a_batch_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    export = EXPORTS["end2end"]
    network = export.make(Options(batch=2**40))
    manifest = plain_manifest(tmp_path, {}, export.output, network=network)
    with pytest.raises(ModelError, match=r"takes 1099511627776 pictures at once, at most 256"):
        device_graph(manifest)


def test_a_graph_that_differs_from_its_manifest_is_refused(tmp_path: Path) -> None:
    export = EXPORTS["end2end"]
    network = export.make(Options(layout="nhwc"))
    manifest = plain_manifest(tmp_path, {}, export.output, network=network)
    with pytest.raises(ModelError, match=r"images \[free, 64, 64, 3\].* the manifest says"):
        device_graph(manifest)
