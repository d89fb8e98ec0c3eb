"""Conversion of networks to float16, and the same results on real pictures."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gpu_kernels.engines.device_graph import DeviceGraphCpuEngine
from gpu_kernels.engines.engine import open_engine
from gpu_kernels.engines.fp16 import fp16_graph
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.engine_agreement import Agreement, compare_boxes, compare_labels
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest, model_hash
from gpu_kernels.preprocessing.letterbox import fit, to_input
from resources.errors import ModelError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def network_manifest(
    folder: Path, nodes: list[Any], constants: dict[str, NDArray[Any]], outputs: tuple[str, ...]
) -> ModelManifest:
    """Return the manifest of a network x [N, 3, 8, 8] -> float32 outputs."""
    network_input = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])
    values = [helper.make_tensor_value_info(name, FLOAT, [None] * 4) for name in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [network_input], values, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return load_manifest(
        str(copy_model(folder, CATEGORY_DETECTOR, network=model.SerializeToString()))
    )


def converted(manifest: ModelManifest) -> tuple[Any, Any]:
    """Return the converted graph, and a session that runs it."""
    graph = fp16_graph(manifest)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return onnx.load_from_string(graph).graph, session


def types_of(graph: Any) -> dict[str, int]:
    """Return the stored types of weights."""
    return {each.name: each.data_type for each in graph.initializer}


ONES = np.ones((4, 3, 1, 1), np.float32)


def test_values_upstream_of_weights_are_float16_and_those_after_the_last_are_not(
    tmp_path: Path,
) -> None:
    nodes = [
        helper.make_node("Add", ["x", "shift"], ["shifted"]),
        helper.make_node("Conv", ["shifted", "w"], ["features"]),
        helper.make_node("Mul", ["features", "stride"], ["y"]),
    ]
    constants = {"shift": np.float32([1.0]), "w": ONES, "stride": np.float32([0.1])}
    graph, session = converted(network_manifest(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"shift.half": HALF, "w.half": HALF, "stride": FLOAT}
    assert session.get_inputs()[0].type == "tensor(float16)"
    (output,) = session.run(None, {"x": np.full((2, 3, 8, 8), 211, np.float16)})
    assert output.dtype == np.float32
    # 3 * 212 is exact in float16; a tenth of it is exact enough in float32 only.
    np.testing.assert_allclose(output, 63.6, atol=1e-5)


def test_a_constant_used_by_both_is_stored_in_both_precisions(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["features"]),
        helper.make_node("Mul", ["features", "scale"], ["y"]),
    ]
    constants = {"scale": np.float32([0.5]), "w": ONES}
    graph, _ = converted(network_manifest(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"scale.half": HALF, "scale": FLOAT, "w.half": HALF}


def test_weights_stored_in_a_smaller_type_are_folded_first(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["small"], ["wide"], to=FLOAT),
        helper.make_node("Mul", ["wide", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    small = np.full((4, 3, 1, 1), -3, np.int8)
    constants = {"small": small, "scale": np.float32([0.25])}
    graph, session = converted(network_manifest(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"w.half": HALF}
    (output,) = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert output.dtype == np.float32 and (output == -2.25).all()


def test_an_output_that_is_also_an_intermediate_value_is_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["middle"]),
        helper.make_node("Conv", ["middle", "v"], ["y"]),
    ]
    constants = {"w": ONES, "v": np.ones((2, 4, 1, 1), np.float32)}
    _, session = converted(network_manifest(tmp_path, nodes, constants, ("middle", "y")))
    middle, last = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert middle.dtype == last.dtype == np.float32
    assert (middle == 3).all() and (last == 12).all()


def test_scales_of_a_resize_stay_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Conv", ["large", "w"], ["y"]),
    ]
    constants = {"scales": np.float32([1, 1, 2, 2]), "w": ONES}
    graph, session = converted(network_manifest(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"scales": FLOAT, "w.half": HALF}
    (output,) = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert output.shape == (1, 4, 16, 16)


def test_weights_beyond_the_range_of_float16_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    manifest = network_manifest(tmp_path, nodes, {"w": ONES * 70_000}, ("y",))
    with pytest.raises(ModelError, match=r"w contains values above 65504; set fp16 = false"):
        fp16_graph(manifest)


def test_a_network_with_branches_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("z", FLOAT, [None] * 4)
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [value])
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    manifest = network_manifest(tmp_path, nodes, {"yes": np.array(True)}, ("y",))
    with pytest.raises(ModelError, match=r"it has branches or loops; set fp16 = false"):
        fp16_graph(manifest)


def test_fp16_does_not_change_the_model_hash(tmp_path: Path) -> None:
    shipped = load_manifest(CATEGORY_DETECTOR)
    path = copy_model(tmp_path, CATEGORY_DETECTOR, ("fp16 = true", "fp16 = false"))
    float32 = load_manifest(str(path))
    assert shipped.fp16 and not float32.fp16
    assert model_hash(float32) == model_hash(shipped)


@pytest.fixture(scope="module")
def stills(footage: Path) -> list[NDArray[np.uint8]]:
    """Read eight labelled stills of all kinds, at a quarter of their size."""
    paths = sorted(p for p in footage.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    selected = [path for path in paths if path.stat().st_size][::4][:8]
    return [
        np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_COLOR_4), np.uint8)
        for path in selected
    ]


def agreement(manifest: ModelManifest, one: Any, other: Any, sizes: Any) -> Agreement:
    total = Agreement()
    if manifest.task == "classifier":
        for some, others in zip(
            rank_labels(one[0], manifest), rank_labels(other[0], manifest), strict=True
        ):
            total += compare_labels(some, others)
        return total
    threshold = manifest.detector_output.threshold
    found = [decode_boxes(outputs, manifest, sizes, threshold) for outputs in (one, other)]
    for some_boxes, other_boxes in zip(*found, strict=True):
        total += compare_boxes(some_boxes, other_boxes, threshold)
    return total


@pytest.mark.footage
@pytest.mark.parametrize("name", [DETECTOR, CATEGORY_DETECTOR, CLASSIFIER])
def test_float16_has_the_same_results_alone_and_in_batches(
    stills: list[NDArray[np.uint8]], name: str
) -> None:
    """Compare float32 on the CPU, one picture at a time, with float16 in batches of 32, 8 and 1."""
    manifest = load_manifest(name)
    images = to_input([fit(picture, manifest) for picture in stills], manifest)
    sizes = [(picture.shape[0], picture.shape[1]) for picture in stills]
    float16 = DeviceGraphCpuEngine(manifest)
    outputs = open_engine(manifest, "onnxruntime", 2).run(images)
    for batch in (32, 8, 1):
        times = max(1, batch // len(images))
        batch_images = np.concatenate([images] * times)[:batch]
        expected = [np.concatenate([output] * times)[:batch] for output in outputs]
        found = agreement(manifest, expected, float16.run(batch_images), (sizes * times)[:batch])
        assert found.within_tolerance, f"batches of {batch}: {found}"
        assert found.compared > 0
