"""A model whose outputs do not mean what its manifest says ends the step with one line."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import Munin, make_demo_footage
from in_process import MuninInProcess
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model
from onnx import helper, numpy_helper

from gpu_kernels.models.manifest import load_manifest

# By setting: the model, a factor of its outputs, and the beginning of the error.
LOGITS = "declares probabilities, 0 to 1; "
DAMAGED = "its graph overflows or is damaged"
CASES = [
    ("detector", DETECTOR, 3.0, LOGITS),
    ("detector", DETECTOR, np.nan, DAMAGED),
    ("category_detector", CATEGORY_DETECTOR, np.inf, DAMAGED),
    ("classifier", CLASSIFIER, 100.0, LOGITS),
    ("classifier", CLASSIFIER, np.nan, DAMAGED),
]


def multiplied(name: str, factor: float) -> bytes:
    """Return the network of a shipped model with all outputs multiplied."""
    model = onnx.load_model(str(load_manifest(name).path))
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(factor), "factor"))
    for output in graph.output:
        for node in graph.node:
            for names in (node.input, node.output):
                for place, each in enumerate(names):
                    if each == output.name:
                        names[place] = f"{each}.unscaled"
        graph.node.append(
            helper.make_node("Mul", [f"{output.name}.unscaled", "factor"], [output.name])
        )
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    return MuninInProcess(tmp_path_factory.mktemp("munin"))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_footage(tmp_path_factory.mktemp("footage"))


@pytest.mark.parametrize(("setting", "name", "factor", "expected"), CASES)
def test_scores_that_are_none_end_the_run_with_one_line(
    munin: Munin, tmp_path: Path, card: Path, setting: str, name: str, factor: float, expected: str
) -> None:
    manifest = copy_model(tmp_path / "model", name, network=multiplied(name, factor))
    profile = tmp_path / "mine.yaml"
    profile.write_text(f"models: {{{setting}: {manifest}}}")
    output = tmp_path / "out"
    ended = dataclasses.replace(munin, profile=str(profile))("batch", card, output)
    assert ended.code == 1
    (error,) = ended.errors
    assert f": model {name}: gives a score " in error
    assert expected in error
    assert not (output / "stage3").exists()
