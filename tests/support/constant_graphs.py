"""ONNX graphs that return the same outputs for every picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from rectangle_graphs import Graph, Options


def write_graph(
    path: Path,
    outputs: Mapping[str, NDArray[Any]],
    shape: Sequence[Any] = (1, 3, 64, 64),
    kind: str = "float32",
    metadata: Mapping[str, str] | None = None,
    further_inputs: Mapping[str, tuple[str, Sequence[Any]]] | None = None,
) -> Path:
    """Write a graph.

    Args:
        outputs: by name, with the batch.
        shape: of the input `images`; a name is a free size.
        kind: type of the input.
        further_inputs: type and shape by name; they change nothing.
    """
    graph = Graph(Options())
    pictures = graph.to(graph.input("images", kind, shape), "float32")
    zero = graph.add("Mul", graph.add("ReduceMean", pictures, keepdims=0), graph.constant(0.0))
    for name, (input_kind, input_shape) in (further_inputs or {}).items():
        graph.input(name, input_kind, input_shape)
    for name, values in outputs.items():
        whole = values.dtype.kind in "iu"
        value = graph.add("Add", graph.constant(values), zero)
        graph.output(name, value, "int64" if whole else "float32")
    model = onnx.load_from_string(graph.serialized())
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    path.write_bytes(model.SerializeToString())
    return path


def boxes(count: int, side: float, corners: bool, seed: int = 1) -> NDArray[np.float32]:
    """Return boxes [1, count, 4] inside a square: corners, or centre and size."""
    random = np.random.default_rng(seed)
    start = random.uniform(0, 0.7, (count, 2))
    size = random.uniform(0.05, 0.3, (count, 2))
    found = [start, start + size] if corners else [start + size / 2, size]
    return (np.concatenate(found, axis=1) * side).astype(np.float32)[None]


def scores(*shape: int, seed: int = 2) -> NDArray[np.float32]:
    """Return probabilities [1, ...]."""
    return np.random.default_rng(seed).uniform(0.01, 0.99, (1, *shape)).astype(np.float32)
