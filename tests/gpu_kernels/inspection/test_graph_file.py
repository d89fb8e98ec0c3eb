"""Reading and running a graph of unknown origin."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_graphs import write_graph
from onnx import TensorProto, helper, numpy_helper

from gpu_kernels.inspection.graph_file import GraphFile, printable
from resources.errors import ModelError


def endless(path: Path) -> Path:
    """Write a graph whose loop has 2**62 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still_on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("still_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "go", "x"], ["y"], body=body)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [
            numpy_helper.from_array(np.array(2**62, np.int64), "rounds"),
            numpy_helper.from_array(np.array(True), "go"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    graph = replace(GraphFile.read(endless(tmp_path / "m.onnx")), max_seconds=0.5)
    with pytest.raises(ModelError, match=r"takes more than 0.5 s for a picture$"):
        graph.run({"x": np.ones(1, np.float32)})


def test_inputs_outputs_and_metadata_are_read(tmp_path: Path) -> None:
    outputs = {"a": np.zeros((1, 300, 6), np.float32), "n": np.array([3])}
    metadata = {"names": "['x', 'y']", "stride": "32", "author": "A\nB"}
    path = write_graph(tmp_path / "m.onnx", outputs, ("n", 3, 64, "w"), metadata=metadata)
    graph = GraphFile.read(path)
    assert [str(each) for each in graph.inputs] == ["images [free, 3, 64, free] of float32"]
    assert [each.name for each in graph.outputs] == ["a", "n"]
    assert graph.class_names() == ["x", "y"]
    assert (graph.literal("stride"), graph.literal("none")) == (32, None)
    assert graph.text("author") == "A B"
    found = graph.run({"images": np.zeros((1, 3, 64, 64), np.float32)})
    assert [(each.name, each.values.shape) for each in found] == [("a", (1, 300, 6)), ("n", (1,))]


def test_text_becomes_one_printable_line() -> None:
    assert printable("a\x1b[2J\tb\r\nc\u202e") == "a [2J b c"
    assert len(printable("x" * 1000)) == 200
