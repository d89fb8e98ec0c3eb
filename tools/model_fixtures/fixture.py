"""What every fixture is: a graph, pictures, and the boxes that its exporter's own code finds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

SIDE = 64  # pixels of the pictures, and of the models' inputs
CLASSES = ("animal", "person", "vehicle")
THRESHOLD = 0.5


@dataclass
class Fixture:
    """One exported graph.

    Attributes:
        network: the module to export; takes `inputs`.
        inputs: example inputs; the first one is the pictures.
        boxes: for each picture the boxes of the exporter's own post-processing from THRESHOLD,
            rows of x0, y0, x1, y1 in pixels, score, class.
        free_batch: whether the graph takes any number of pictures.
        metadata: entries of the file's metadata_props.
    """

    name: str
    network: nn.Module
    inputs: tuple[Tensor, ...]
    input_names: Sequence[str]
    output_names: Sequence[str]
    boxes: list[Tensor]
    free_batch: bool = True
    dynamo: bool = False
    metadata: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Export the graph; return its file."""
        path = folder / f"{self.name}.onnx"
        names = [*self.input_names, *self.output_names]
        axes = {name: {0: "batch"} for name in names} if self.free_batch else None
        torch.onnx.export(
            self.network.eval(),
            self.inputs if self.free_batch else tuple(each[:1] for each in self.inputs),
            str(path),
            input_names=list(self.input_names),
            output_names=list(self.output_names),
            opset_version=18 if self.dynamo else 17,
            dynamo=self.dynamo,
            **(self._dynamo_options() if self.dynamo else {"dynamic_axes": axes}),
        )
        model = onnx.load(path)
        del model.metadata_props[:]
        shorten(model.graph, {each.name for each in [*model.graph.input, *model.graph.output]})
        for key, value in self.metadata.items():
            model.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        self._compare(path)
        return path

    def _dynamo_options(self) -> dict[str, Any]:
        shapes = [{0: torch.export.Dim("batch")} for _ in self.inputs] if self.free_batch else None
        return {"external_data": False, "dynamic_shapes": shapes}

    def _compare(self, path: Path) -> None:
        """Check that onnxruntime computes the first picture's outputs as PyTorch does."""
        one = tuple(each[:1] for each in self.inputs)
        with torch.no_grad():
            expected = self.network(*one)
        expected = expected if isinstance(expected, tuple) else (expected,)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feed = {name: each.numpy() for name, each in zip(self.input_names, one, strict=True)}
        for name, have, want in zip(
            self.output_names, session.run(None, feed), expected, strict=True
        ):
            assert have.shape == tuple(want.shape), (self.name, name, have.shape, want.shape)
            difference = np.abs(have - want.numpy()).max()
            assert difference < 1e-3, f"{self.name}: {name} differs by {difference}"


def shorten(graph: onnx.GraphProto, public: set[str]) -> None:
    """Give values short names and remove what describes nodes: it is half of a small file.

    Also removes the stack traces, with file names of the machine, that an exporter adds.

    Args:
        public: names of the graph's inputs and outputs, which remain.
    """
    short: dict[str, str] = {"": ""} | {name: name for name in public}

    def rename(names: Iterable[str]) -> list[str]:
        return [short.setdefault(name, f"v{len(short)}") for name in names]

    def visit(part: onnx.GraphProto) -> None:
        del part.value_info[:], part.metadata_props[:]
        part.name, part.doc_string = "graph", ""
        for value in [*part.initializer, *part.input, *part.output]:
            (value.name,) = rename([value.name])
            value.doc_string = ""
            del value.metadata_props[:]
        for node in part.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
            node.input[:], node.output[:] = rename(node.input), rename(node.output)
            for attribute in node.attribute:
                for inner in [attribute.g] if attribute.HasField("g") else []:
                    visit(inner)

    visit(graph)


def pictures(count: int = 2) -> np.ndarray:
    """Return noisy pictures with blocks of colour, uint8 BGR [count, SIDE, SIDE, 3]."""
    random = np.random.default_rng(7)
    found = random.integers(0, 256, (count, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    noise = random.integers(-20, 21, found.shape)
    return np.clip(found + noise, 0, 255).astype(np.uint8)


def as_input() -> Tensor:
    """Return the pictures as the input of a network: RGB, 0 to 1, [N, 3, SIDE, SIDE]."""
    rgb = np.ascontiguousarray(pictures()[..., ::-1]).transpose(0, 3, 1, 2)
    return torch.from_numpy(rgb.astype(np.float32) / np.float32(255))


@torch.no_grad()
def settle(network: nn.Module) -> None:
    """Set the statistics of batch normalisation by the pictures, so that values do not vanish."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    for _ in range(20):
        network(as_input())
    network.eval()


def rows(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Return x0, y0, x1, y1, score, class as rows, by falling score."""
    found = torch.cat([boxes.float(), scores[:, None].float(), labels[:, None].float()], dim=1)
    return found[torch.argsort(found[:, 4], descending=True, stable=True)]
