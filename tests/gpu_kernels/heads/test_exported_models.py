"""Graphs of public exporters: our boxes are those that the exporter's own code finds."""

import exported_graphs as exported
import numpy as np
import pytest
from finished_slot import decode_on_device

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.preprocessing.letterbox import fit, to_input

SIZE = (exported.SIDE, exported.SIDE)


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_a_detectors_boxes_are_those_of_its_exporter(name: str) -> None:
    manifest = exported.manifest(name)
    engine = open_engine(manifest, "onnxruntime", 1)
    for number, picture in enumerate(exported.pictures()):
        outputs = engine.run(to_input([fit(picture, manifest)], manifest))
        (boxes,) = decode_boxes(outputs, manifest, [SIZE], exported.THRESHOLD)
        expected = exported.exporters_boxes(name, number)
        assert len(expected) >= 5
        assert exported.as_rows(boxes) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_kernels_find_the_same_boxes(name: str) -> None:
    """On the device `cpu`, as on a GPU."""
    manifest = exported.manifest(name)
    engine = open_engine(manifest, "onnxruntime", 1)
    for number, picture in enumerate(exported.pictures()):
        outputs = engine.run(to_input([fit(picture, manifest)], manifest))
        (boxes,) = decode_on_device(outputs, manifest, [SIZE], exported.THRESHOLD)
        expected = exported.exporters_boxes(name, number)
        assert exported.as_rows(boxes) == pytest.approx(expected, abs=1e-4)


def test_all_public_layouts_have_a_graph() -> None:
    decodings = {exported.manifest(name).output.decoding for name in exported.DETECTORS}
    assert decodings >= {
        "boxes-and-logits",
        "boxes-labels-scores",
        "end2end",
        "rtdetr",
        "rtdetr-packed",
        "yolo-anchor-free",
    }


def test_the_classifiers_logits_are_those_of_pytorch() -> None:
    manifest = exported.manifest(exported.CLASSIFIER)
    engine = open_engine(manifest, "onnxruntime", 1)
    for number, picture in enumerate(exported.pictures()):
        (logits,) = engine.run(to_input([fit(picture, manifest)], manifest))
        assert logits[0] == pytest.approx(exported.exporters_logits(number), abs=1e-4)
    assert np.ptp(logits) > 0.1
