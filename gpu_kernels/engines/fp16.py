"""A network in half precision: the graph that runs on GPUs with tensor cores.

TensorRT's networks are strongly typed: what is computed in float16 is what the ONNX graph says is
float16. `half_graph` rewrites a float32 graph so:

- weights, and all that leads to a layer with weights (convolution, matrix product), are float16,
  the pictures that go in too;
- what follows the last of these layers stays float32: decoding of boxes (a float16 near 640 knows
  half pixels only), softmax, scores. It is cheap, and it is where rounding shows;
- scales and sizes of Resize stay float32, as ONNX wants them.

Weights that the file stores in a smaller type and widens when it is loaded (float16, or int8 times
a scale) are computed first. A manifest says `half = true` when its model was seen to hold its
accuracy so; `tools/check_fp16.py` measures it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

# Raised when the rewriting changes, so that engines of the older graphs are not used.
FP16_GRAPH_VERSION = 1

WEIGHTED_OPS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
FP16_MAX = float(np.finfo(np.float16).max)


def fp16_graph(manifest: ModelManifest) -> bytes:
    """The model's network in half precision, as the bytes of an ONNX file.

    Raises:
        ModelError: the file is no ONNX graph, or one that cannot be rewritten.
    """
    import onnx

    model = _read(manifest.path)
    graph = model.graph
    if any(a.type == onnx.AttributeProto.GRAPH for node in graph.node for a in node.attribute):
        raise _conversion_error(manifest.path, "it branches or loops")
    constants = _fold_constants(graph)
    _Fp16Conversion(manifest.path, graph, constants).run()
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Fp16CpuEngine:
    """An `Engine` that computes the half precision graph on the CPU, slowly.

    What GPUs would answer, but for the order of their sums.
    """

    device: str | None = None

    def __init__(self, manifest: ModelManifest) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            fp16_graph(manifest), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.description = f"onnxruntime {onnxruntime.__version__}, float16 on the CPU"

    def run(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """See Engine; the batch is computed as one."""
        outputs: list[NDArray[Any]] = self._session.run(
            None, {self._input: images.astype(np.float16)}
        )
        return outputs


def _read(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.shape_inference.infer_shapes(onnx.load_model(str(path)))
    except (DecodeError, OSError, ValueError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).splitlines() or ["not an ONNX file"])[0]
        raise ModelError(f"model {path}: cannot be read as ONNX: {reason}") from None


def _conversion_error(path: Path, why: str) -> ModelError:
    return ModelError(
        f"model {path}: cannot be made half precision: {why}; set half = false in its manifest"
    )


def _fold_constants(graph: Any) -> dict[str, NDArray[Any]]:
    """Initializers, constants, and what is made of them alone; all are taken out of the graph."""
    from onnx import helper, numpy_helper

    made_by: dict[str, Callable[..., NDArray[Any]]] = {
        "Cast": lambda node, value: value.astype(
            helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
        ),
        "Mul": lambda node, one, other: one * other,
    }
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in made_by and all(name in constants for name in node.input):
            values = [constants[name] for name in node.input]
            constants[node.output[0]] = made_by[node.op_type](node, *values)
        else:
            kept.append(node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    return constants


class _Fp16Conversion:
    """Rewrites one graph."""

    def __init__(self, path: Path, graph: Any, constants: dict[str, NDArray[Any]]) -> None:
        import onnx

        self._path = path
        self._graph = graph
        self._constants = constants
        self._float, self._half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
        known = [*graph.input, *graph.value_info, *graph.output]
        self._floats = {
            each.name for each in known if each.type.tensor_type.elem_type == self._float
        }
        self._early = self._leading_to_weights()
        self._halves = self._early | {each.name for each in graph.input}
        for node in graph.node:
            if node.op_type in WEIGHTED_OPS:
                self._halves.update(node.output)
        self._added: list[Any] = []  # nodes, in order
        self._widened: set[str] = set()

    def _leading_to_weights(self) -> set[str]:
        """Names of the values from which a layer with weights is reached."""
        early: set[str] = set()
        for node in reversed(self._graph.node):  # ONNX lists nodes in the order of computing
            if node.op_type in WEIGHTED_OPS or early.intersection(node.output):
                early.update(node.input)
        return early

    def run(self) -> None:
        for given in self._graph.input:
            if given.name in self._floats:
                given.type.tensor_type.elem_type = self._half
        for node in self._graph.node:
            early = node.op_type in WEIGHTED_OPS or bool(self._early.intersection(node.output))
            for place, name in enumerate(node.input):
                if name in self._constants:
                    narrow = early and not (node.op_type == "Resize" and place)
                    node.input[place] = self._constant(name, narrow)
                elif not early and name in self._floats & self._halves:
                    node.input[place] = self._wide(name)
            if early:
                self._narrow_attributes(node)
            self._added.append(node)
        for given in self._graph.output:
            if given.name in self._floats & self._halves:
                self._widen_output(given.name)
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._added)

    def _constant(self, name: str, narrow: bool) -> str:
        from onnx import numpy_helper

        value = self._constants[name]
        narrow = narrow and value.dtype == np.float32
        new = f"{name}.half" if narrow else name
        if new not in {each.name for each in self._graph.initializer}:
            if narrow and value.size and np.abs(value).max() > FP16_MAX:
                raise _conversion_error(self._path, f"{name} holds more than {FP16_MAX:g}")
            kept = value.astype(np.float16) if narrow else value
            self._graph.initializer.append(numpy_helper.from_array(kept, new))
        return new

    def _wide(self, name: str) -> str:
        """The name of a float16 value as float32."""
        from onnx import helper

        if name not in self._widened:
            self._widened.add(name)
            self._added.append(helper.make_node("Cast", [name], [f"{name}.wide"], to=self._float))
        return f"{name}.wide"

    def _widen_output(self, name: str) -> None:
        """An output keeps its name and its type."""
        from onnx import helper

        for names in self._names_in(self._added):
            for place, each in enumerate(names):
                if each == name:
                    names[place] = f"{name}.half"
        self._added.append(helper.make_node("Cast", [f"{name}.half"], [name], to=self._float))

    @staticmethod
    def _names_in(nodes: Iterable[Any]) -> Iterable[Any]:
        for node in nodes:
            yield node.input
            yield node.output

    def _narrow_attributes(self, node: Any) -> None:
        """What a node makes of itself, or casts to, in float32 becomes float16."""
        from onnx import numpy_helper

        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == self._float:
                attribute.i = self._half
            elif attribute.HasField("t") and attribute.t.data_type == self._float:
                value = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(value))
