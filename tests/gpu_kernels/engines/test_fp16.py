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

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.engines.fp16 import Fp16CpuEngine, fp16_graph
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.engine_agreement import Agreement, compare_boxes, compare_labels
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest, model_hash
from gpu_kernels.preprocessing.letterbox import fit, to_input
from resources.errors import ModelError


FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def a_network(
    folder: Path, nodes: list[Any], constants: dict[str, NDArray[Any]], outputs: tuple[str, ...]
) -> ModelManifest:
    """A manifest of a network x [N, 3, 8, 8] -> float32 outputs."""
    given = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])
    told = [helper.make_tensor_value_info(name, FLOAT, [None] * 4) for name in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [given], told, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return load_manifest(str(own_model(folder, network=model.SerializeToString())))


def halved(manifest: ModelManifest) -> tuple[Any, Any]:
    """The rewritten graph, and a session that runs it."""
    graph = fp16_graph(manifest)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return onnx.load_from_string(graph).graph, session


def types_of(graph: Any) -> dict[str, int]:
    """What weights are stored as."""
    return {each.name: each.data_type for each in graph.initializer}


ONES = np.ones((4, 3, 1, 1), np.float32)


def test_what_leads_to_weights_is_half_and_what_follows_the_last_is_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "shift"], ["shifted"]),
        helper.make_node("Conv", ["shifted", "w"], ["seen"]),
        helper.make_node("Mul", ["seen", "stride"], ["y"]),
    ]
    constants = {"shift": np.float32([1.0]), "w": ONES, "stride": np.float32([0.1])}
    graph, session = halved(a_network(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"shift.half": HALF, "w.half": HALF, "stride": FLOAT}
    assert session.get_inputs()[0].type == "tensor(float16)"
    (answer,) = session.run(None, {"x": np.full((2, 3, 8, 8), 211, np.float16)})
    assert answer.dtype == np.float32
    # 3 * 212 is a float16, and a tenth of it in float32 is none.
    np.testing.assert_allclose(answer, 63.6, atol=1e-5)


def test_a_constant_that_both_use_is_kept_in_both_precisions(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["seen"]),
        helper.make_node("Mul", ["seen", "scale"], ["y"]),
    ]
    constants = {"scale": np.float32([0.5]), "w": ONES}
    graph, _ = halved(a_network(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"scale.half": HALF, "scale": FLOAT, "w.half": HALF}


def test_weights_that_are_stored_small_are_widened_before(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["small"], ["wide"], to=FLOAT),
        helper.make_node("Mul", ["wide", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    small = np.full((4, 3, 1, 1), -3, np.int8)
    constants = {"small": small, "scale": np.float32([0.25])}
    graph, session = halved(a_network(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"w.half": HALF}
    (answer,) = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert answer.dtype == np.float32 and (answer == -2.25).all()


def test_an_output_that_is_used_on_the_way_is_float32_outside(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["middle"]),
        helper.make_node("Conv", ["middle", "v"], ["y"]),
    ]
    constants = {"w": ONES, "v": np.ones((2, 4, 1, 1), np.float32)}
    _, session = halved(a_network(tmp_path, nodes, constants, ("middle", "y")))
    middle, last = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert middle.dtype == last.dtype == np.float32
    assert (middle == 3).all() and (last == 12).all()


def test_scales_of_a_resize_stay_what_onnx_wants(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Conv", ["large", "w"], ["y"]),
    ]
    constants = {"scales": np.float32([1, 1, 2, 2]), "w": ONES}
    graph, session = halved(a_network(tmp_path, nodes, constants, ("y",)))
    assert types_of(graph) == {"scales": FLOAT, "w.half": HALF}
    (answer,) = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float16)})
    assert answer.shape == (1, 4, 16, 16)


def test_weights_that_a_half_cannot_hold_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    manifest = a_network(tmp_path, nodes, {"w": ONES * 70_000}, ("y",))
    with pytest.raises(ModelError, match=r"w holds more than 65504; set half = false"):
        fp16_graph(manifest)


def test_a_network_that_branches_is_refused(tmp_path: Path) -> None:
    told = helper.make_tensor_value_info("z", FLOAT, [None] * 4)
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [told])
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    manifest = a_network(tmp_path, nodes, {"yes": np.array(True)}, ("y",))
    with pytest.raises(ModelError, match=r"it branches or loops; set half = false"):
        fp16_graph(manifest)


def test_half_does_not_change_the_model_hash(tmp_path: Path) -> None:
    shipped = load_manifest("ssd-mobilenet-v2-cam16")
    whole = load_manifest(str(own_model(tmp_path, ("half = true", "half = false"))))
    assert shipped.half and not whole.half
    assert model_hash(whole) == model_hash(shipped)


@pytest.fixture(scope="module")
def stills(footage: Path) -> list[NDArray[np.uint8]]:
    """Eight labelled stills of all kinds, at a quarter of their size."""
    paths = sorted(p for p in footage.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    kept = [path for path in paths if path.stat().st_size][::4][:8]
    return [
        np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_COLOR_4), np.uint8)
        for path in kept
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
@pytest.mark.parametrize(
    "name", ["megadetector-lite", "ssd-mobilenet-v2-cam16", "efficientnet-lite3"]
)
def test_half_precision_gives_the_same_answers_alone_and_in_batches(
    stills: list[NDArray[np.uint8]], name: str
) -> None:
    """Float32 on the CPU, a picture at a time, against float16 in batches of 32, 8 and 1."""
    manifest = load_manifest(name)
    images = to_input([fit(picture, manifest) for picture in stills], manifest)
    sizes = [(picture.shape[0], picture.shape[1]) for picture in stills]
    full, half = open_engine(manifest, "onnxruntime", 2), Fp16CpuEngine(manifest)
    plain = full.run(images)
    for batch in (32, 8, 1):
        times = max(1, batch // len(images))
        given = np.concatenate([images] * times)[:batch]
        expected = [np.concatenate([output] * times)[:batch] for output in plain]
        found = agreement(manifest, expected, half.run(given), (sizes * times)[:batch])
        assert found.holds, f"batches of {batch}: {found}"
        assert found.compared > 0
