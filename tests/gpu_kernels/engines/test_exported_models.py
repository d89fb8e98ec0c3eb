"""Graphs of public exporters as a GPU gets them, and through TensorRT-RTX's compiler."""

import exported_graphs as exported
import onnx
import pytest

from gpu_kernels.engines.device_graph import MAX_ROWS, DeviceGraphCpuEngine, device_graph
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, build_engine
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.preprocessing.letterbox import fit, to_input
from resources.errors import EngineError

# Operators whose number of results depends on the picture, which TensorRT-RTX has not.
NOT_BUILT = {
    "fcos-torchvision": "it has NonMaxSuppression, NonZero, whose results",
    "yolo-nms-inside": "it has NonMaxSuppression, whose results",
    "yolov9-mit-nms": "it has NonMaxSuppression, NonZero, whose results",
}
BUILT = sorted({exported.CLASSIFIER, *exported.DETECTORS} - set(NOT_BUILT))


@pytest.mark.parametrize("name", BUILT)
def test_a_graph_of_each_layout_compiles(name: str) -> None:
    """Also one for a single picture with the channels last, as SpeciesNet's."""
    built = build_engine(
        exported.manifest(name), find_tensorrt("tensorrt-rtx"), "sm_86", BatchSizes()
    )
    assert len(built.plan) > 500_000


@pytest.mark.parametrize("name", NOT_BUILT)
def test_a_graph_that_tensorrt_rtx_cannot_build_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(EngineError, match=NOT_BUILT[name]):
        build_engine(exported.manifest(name), find_tensorrt("tensorrt-rtx"), "sm_86", BatchSizes())


@pytest.mark.parametrize("name", NOT_BUILT)
def test_tensorrt_gets_such_a_graph_with_a_fixed_number_of_boxes(name: str) -> None:
    """The shapes are those that TensorRT's own parser finds, if it has all operators."""
    graph = device_graph(exported.manifest(name))
    assert graph.inputs.batch == 1
    outputs = onnx.load_model_from_string(graph.onnx).graph.output
    shapes = [[dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in outputs]
    assert all(shape[:2] == [1, MAX_ROWS] for shape in shapes)


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_the_graph_for_a_gpu_gives_the_boxes_of_the_exporter(name: str) -> None:
    manifest = exported.manifest(name)
    engine = DeviceGraphCpuEngine(manifest, 1)
    pictures = exported.pictures()
    outputs = engine.run(to_input([fit(each, manifest) for each in pictures], manifest))
    size = (exported.SIDE, exported.SIDE)
    found = decode_boxes(outputs, manifest, [size] * len(pictures), exported.THRESHOLD)
    for number, boxes in enumerate(found):
        expected = exported.exporters_boxes(name, number)
        assert exported.as_rows(boxes) == pytest.approx(expected, abs=1e-4)


def test_the_graph_for_a_gpu_takes_the_pictures_of_speciesnet_with_the_channels_first() -> None:
    manifest = exported.manifest(exported.CLASSIFIER)
    fitted = [fit(each, manifest) for each in exported.pictures()]
    images = to_input(fitted, manifest).transpose(0, 3, 1, 2)
    (logits,) = DeviceGraphCpuEngine(manifest, 1).run(images)
    for number, found in enumerate(logits):
        assert found == pytest.approx(exported.exporters_logits(number), abs=1e-4)
