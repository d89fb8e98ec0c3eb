"""The tool that quantises a model, on a small network: TensorRT accepts the result."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from model_files import plain_manifest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from paths import ROOT

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, build_engine
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.preprocessing.letterbox import fit, to_input

TOOLS = ROOT / "tools"


def two_layers() -> bytes:
    """Return a network x [N, 3, 300, 300] -> a layer -> y, a head [N, 2, 38, 38]."""
    random = np.random.default_rng(1)
    network_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 300, 300])
    network_output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 38, 38])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["middle"], name="first", strides=[8, 8]),
        helper.make_node("Relu", ["middle"], ["features"], name="relu"),
        helper.make_node("Conv", ["features", "v"], ["y"], name="head"),
    ]
    weights = {"w": random.normal(0, 1, (4, 3, 1, 1)), "v": random.normal(0, 1, (2, 4, 1, 1))}
    initializers = [
        numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", [network_input], [network_output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def pictures() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(2)
    return [random.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(4)]


@pytest.mark.parametrize("keep_heads", [True, False])
def test_layers_become_symmetric_int8_and_heads_stay_float32_on_request(
    tmp_path: Path,
    pictures: list[NDArray[np.uint8]],
    keep_heads: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(TOOLS)
    import check_int8

    size = {"height": 300, "width": 300}
    manifest = plain_manifest(
        tmp_path / "model", size, {"decoding": "end2end"}, network=two_layers()
    )
    source = tmp_path / "model" / "plain.toml"
    check_int8.quantise(manifest, pictures, "minmax", keep_heads, tmp_path / "int8.onnx")
    saved = check_int8.save_model(str(source), tmp_path / "int8.onnx", tmp_path / "saved")
    quantised = load_manifest(str(saved))
    assert quantised.name == f"{manifest.name}-int8" and not quantised.fp16
    graph = onnx.load_model(str(quantised.path)).graph
    zeros = [numpy_helper.to_array(w) for w in graph.initializer if "zero_point" in w.name]
    assert zeros and all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    int8_weights = [w for w in graph.initializer if w.name.endswith("_quantized")]
    assert len(int8_weights) == (1 if keep_heads else 2)
    assert build_engine(quantised, find_tensorrt("tensorrt-rtx"), "sm_75", BatchSizes()).plan
    # Its outputs are close to the original ones.
    images = to_input([fit(each, manifest) for each in pictures], manifest)
    (one,), (other,) = (open_engine(m, "onnxruntime", 1).run(images) for m in (manifest, quantised))
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()
