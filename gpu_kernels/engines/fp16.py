"""Convert a network to float16 (half precision), for GPUs with tensor cores.

TensorRT's networks are strongly typed: the types in the ONNX graph decide what is computed in
float16. `fp16_graph` converts a float32 graph (mixed precision):

- weights, the pictures, and all values upstream of a layer with weights (convolution, matrix
  product) become float16;
- values downstream of the last such layer stay float32: decoding of boxes (a float16 near 640 has
  a resolution of half a pixel), softmax, scores. They are cheap, and sensitive to rounding;
- scales and sizes of Resize stay float32, as ONNX requires.

Weights that the file stores in a smaller type and casts when it is loaded (float16, or int8 times
a scale) are folded first. A manifest says `fp16 = true` if `tools/check_fp16.py` has confirmed the
model's accuracy.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

# Increased when the conversion changes, so that engines of older graphs are not used.
FP16_GRAPH_VERSION = 1

WEIGHTED_OPS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
FP16_MAX = float(np.finfo(np.float16).max)


def fp16_graph(manifest: ModelManifest) -> bytes:
    """Return the model's network in float16, as the bytes of an ONNX file.

    Raises:
        ModelError: the file is not an ONNX graph, or cannot be converted.
    """
    import onnx

    model = read_graph(manifest.path)
    graph = model.graph
    if any(a.type == onnx.AttributeProto.GRAPH for node in graph.node for a in node.attribute):
        raise _conversion_error(manifest.path, "it has branches or loops")
    constants = _fold_constants(graph)
    _Fp16Conversion(manifest, graph, constants).run()
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def read_graph(path: Path, content: bytes = b"") -> Any:
    """Return a model with inferred shapes.

    Args:
        path: of the file.
        content: of the graph, if it is not the file's.

    Raises:
        ModelError: it is not an ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content) if content else onnx.load_model(str(path))
        return onnx.shape_inference.infer_shapes(model)
    except (DecodeError, OSError, ValueError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).splitlines() or ["not an ONNX file"])[0]
        raise ModelError(f"model {path}: cannot be read as ONNX: {reason}") from None


def _conversion_error(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"model {path}: cannot be converted to float16: {reason}; set fp16 = false in its manifest"
    )


def _fold_constants(graph: Any) -> dict[str, NDArray[Any]]:
    """Return initializers, constants and values computed from them only; remove them from the
    graph."""
    from onnx import helper, numpy_helper

    operations: dict[str, Callable[..., NDArray[Any]]] = {
        "Cast": lambda node, value: value.astype(
            helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
        ),
        "Mul": lambda node, one, other: one * other,
    }
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    remaining = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in operations and all(name in constants for name in node.input):
            values = [constants[name] for name in node.input]
            constants[node.output[0]] = operations[node.op_type](node, *values)
        else:
            remaining.append(node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(remaining)
    return constants


class _Fp16Conversion:
    """The conversion of one graph."""

    def __init__(
        self, manifest: ModelManifest, graph: Any, constants: dict[str, NDArray[Any]]
    ) -> None:
        import onnx

        self._path = manifest.path
        self._graph = graph
        self._constants = constants
        self._float32, self._float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
        known = [*graph.input, *graph.value_info, *graph.output]
        self._floats = {
            each.name for each in known if each.type.tensor_type.elem_type == self._float32
        }
        self._upstream = self._upstream_of_weights()
        self._pictures = manifest.input.name or graph.input[0].name
        self._float16_values = self._upstream | {self._pictures}
        for node in graph.node:
            if node.op_type in WEIGHTED_OPS:
                self._float16_values.update(node.output)
        self._nodes: list[Any] = []  # of the converted graph, in order
        self._cast_values: set[str] = set()

    def _upstream_of_weights(self) -> set[str]:
        """Return the names of the values from which a layer with weights is reached."""
        upstream: set[str] = set()
        for node in reversed(self._graph.node):  # ONNX lists nodes in topological order
            if node.op_type in WEIGHTED_OPS or upstream.intersection(node.output):
                upstream.update(node.input)
        return upstream

    def run(self) -> None:
        """Convert the graph in place."""
        for value in self._graph.input:
            if value.name == self._pictures and value.name in self._floats:
                value.type.tensor_type.elem_type = self._float16
        for node in self._graph.node:
            to_float16 = node.op_type in WEIGHTED_OPS or bool(
                self._upstream.intersection(node.output)
            )
            for position, name in enumerate(node.input):
                if name in self._constants:
                    keeps_float32 = node.op_type == "Resize" and position
                    node.input[position] = self._constant(name, to_float16 and not keeps_float32)
                elif not to_float16 and name in self._floats & self._float16_values:
                    node.input[position] = self._as_float32(name)
            if to_float16:
                self._convert_attributes(node)
            self._nodes.append(node)
        for value in self._graph.output:
            if value.name in self._floats & self._float16_values:
                self._cast_output(value.name)
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)

    def _constant(self, name: str, to_float16: bool) -> str:
        """Add a constant to the graph, and return its name there."""
        from onnx import numpy_helper

        value = self._constants[name]
        to_float16 = to_float16 and value.dtype == np.float32
        new_name = f"{name}.half" if to_float16 else name
        if new_name not in {each.name for each in self._graph.initializer}:
            if to_float16 and value.size and np.abs(value).max() > FP16_MAX:
                raise _conversion_error(self._path, f"{name} contains values above {FP16_MAX:g}")
            stored = value.astype(np.float16) if to_float16 else value
            self._graph.initializer.append(numpy_helper.from_array(stored, new_name))
        return new_name

    def _as_float32(self, name: str) -> str:
        """Return the name of a float16 value cast to float32."""
        from onnx import helper

        if name not in self._cast_values:
            self._cast_values.add(name)
            self._nodes.append(helper.make_node("Cast", [name], [f"{name}.wide"], to=self._float32))
        return f"{name}.wide"

    def _cast_output(self, name: str) -> None:
        """Cast an output to float32, under its own name."""
        from onnx import helper

        for names in self._names_in(self._nodes):
            for position, each in enumerate(names):
                if each == name:
                    names[position] = f"{name}.half"
        self._nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=self._float32))

    @staticmethod
    def _names_in(nodes: Iterable[Any]) -> Iterable[Any]:
        for node in nodes:
            yield node.input
            yield node.output

    def _convert_attributes(self, node: Any) -> None:
        """Change float32 tensors and casts in a node's attributes to float16."""
        from onnx import numpy_helper

        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == self._float32:
                attribute.i = self._float16
            elif attribute.HasField("t") and attribute.t.data_type == self._float32:
                value = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(value))
