"""The graph of a model as an engine of a GPU runs it: pictures [N, 3, H, W] in, batches out.

The kernels write pictures channels first, and read outputs whose first axis is the batch and whose
shapes depend on no value. What a graph has otherwise, `device_graph` changes in the graph itself:

- an input [N, H, W, 3] gets a Transpose, and one without a batch a Squeeze;
- an output without a batch gets an Unsqueeze, and the graph, which is for one picture, a batch of
  one;
- an output whose number of boxes depends on the picture, since non-maximum suppression is in the
  graph, is padded with rows of score 0 to MAX_ROWS.

A fixed batch stays: the engine always computes it, and only the answers of its pictures are read.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.engines.fp16 import fp16_graph, read_graph
from gpu_kernels.engines.graph_io import (
    GraphInput,
    MatchedInputs,
    input_sizes,
    match_inputs,
    match_outputs,
)
from gpu_kernels.engines.onnxruntime_engine import first_line, onnxruntime_errors, open_session
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

# Increased when the changes differ, so that engines of older graphs are not used.
DEVICE_GRAPH_VERSION = 1
# Boxes of a picture. Exports with non-maximum suppression give 300 at most, and decoding considers
# no more than this, see `heads.box_decoding`.
MAX_ROWS = 2000
# Operators whose number of results depends on values.
PICTURE_DEPENDENT_OPS = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
MAX_COLUMNS = 6
# Decodings in which a row of zeros is padding.
PADDED_DECODINGS = ("end2end", "boxes-labels-scores")
# Of ONNX' TensorProto.DataType.
TYPE_NAMES = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
FLOAT = 1
AXES_INPUT_OPSET = 13  # from which on Squeeze and Unsqueeze have their axes as an input


class DeviceGraph(NamedTuple):
    """A graph for a GPU.

    Attributes:
        onnx: the content of an ONNX file.
        inputs: of the graph, of which `pictures` is [N, 3, H, W].
        picture_dependent: operators whose number of results depends on the picture, sorted.
    """

    onnx: bytes
    inputs: MatchedInputs
    picture_dependent: list[str]


def device_graph(manifest: ModelManifest) -> DeviceGraph:
    """Return the graph that a GPU runs; the file's own bytes if nothing must change.

    Raises:
        ModelError: it cannot be read, or differs from the manifest.
    """
    import onnx

    content = fp16_graph(manifest) if manifest.fp16 else manifest.path.read_bytes()
    model = read_graph(manifest.path, content)
    found = match_inputs(manifest, [_graph_input(each, manifest) for each in _inputs(model.graph)])
    used = match_outputs(manifest, [each.name for each in model.graph.output])
    outputs = dict(zip(used, manifest.output.output_ranks, strict=True))
    # Shape inference is no part of what the engine is built from.
    changes = _Changes(manifest, onnx.load_model_from_string(content), model.graph, found)
    batch = 1 if any(changes.lacks_batch(*each) for each in outputs.items()) else found.batch
    pictures = changes.pictures(batch)
    for name, rank in outputs.items():
        changes.output(name, rank, batch)
    operators = {node.op_type for node in _all_nodes(model.graph)} & PICTURE_DEPENDENT_OPS
    found = found._replace(pictures=pictures, batched=True, batch=batch)
    return DeviceGraph(changes.serialized() or content, found, sorted(operators))


class DeviceGraphCpuEngine:
    """An `Engine` that runs the graph of a GPU on the CPU, slowly if it is in float16.

    Its results equal a GPU's, except for the order of sums. It takes pictures [N, 3, H, W], also
    for a model of layout nhwc.

    Attributes:
        graph_batch: of the graph; None: free.
        dtype: of the pictures.
    """

    device: str | None = None

    def __init__(self, manifest: ModelManifest, threads: int | None = None) -> None:
        """Args:
            threads: of onnxruntime; one per core if None.

        Raises:
            ModelError: see `device_graph`.
        """
        import onnxruntime

        graph = device_graph(manifest)
        self._session = open_session(manifest.path, threads or 0, graph.onnx)
        self._manifest, self._inputs = manifest, graph.inputs
        names = [each.name for each in self._session.get_outputs()]
        self._outputs = match_outputs(manifest, names)
        self.graph_batch = graph.inputs.batch  # None: free
        self.fixed_batch = self.graph_batch or 1
        self.dtype = np.dtype(graph.inputs.pictures.type)
        if manifest.fp16 and self.dtype == np.float32:
            self.dtype = np.dtype(np.float16)
        precision = "float16" if manifest.fp16 else "as exported"
        self.description = f"onnxruntime {onnxruntime.__version__}, {precision} on the CPU"

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """See Engine; a free batch is computed at once."""
        step = self.graph_batch or len(images)
        runs = [self._run_batch(images[at : at + step]) for at in range(0, len(images), step)]
        return [np.concatenate(each) for each in zip(*runs, strict=True)]

    def _run_batch(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        count = len(images)
        padding = (self.graph_batch or count) - count
        images = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
        feeds: dict[str, NDArray[Any]] = {self._inputs.pictures.name: images.astype(self.dtype)}
        if self._inputs.sizes is not None:
            values = input_sizes(len(images), (images.shape[2], images.shape[3]), self._manifest)
            feeds[self._inputs.sizes.name] = values.astype(self._inputs.sizes.type)
        try:
            outputs = self._session.run(self._outputs, feeds)
        except onnxruntime_errors() as error:
            raise ModelError(
                f"model {self._manifest.path}: onnxruntime cannot run its graph for a GPU: "
                f"{first_line(error)}"
            ) from None
        return [each[:count] for each in outputs]


class _Changes:
    """The changes of one graph."""

    def __init__(
        self, manifest: ModelManifest, model: Any, inferred: Any, found: MatchedInputs
    ) -> None:
        """Args:
        model: is changed.
        inferred: the same graph with inferred shapes.
        """
        self._manifest, self._model, self._graph, self._found = manifest, model, model.graph, found
        self._before: list[Any] = []  # nodes to insert before the graph's own
        self._after: list[Any] = []
        self._changed = False  # in what is declared
        known = [*inferred.value_info, *inferred.output]
        self._types = {each.name: each.type.tensor_type for each in known}
        self._opset = next(
            (each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1
        )

    def serialized(self) -> bytes | None:
        """Return the changed graph; None if nothing has changed."""
        if not (self._changed or self._before or self._after):
            return None
        nodes = [*self._before, *self._graph.node, *self._after]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        return bytes(self._model.SerializeToString())

    def lacks_batch(self, name: str, rank: int) -> bool:
        """Return whether an output is of one picture, without a batch.

        Args:
            rank: that the decoding needs, with the batch.
        """
        kind = self._types[name]
        one = self._found.batch in (1, None)
        return one and bool(kind.HasField("shape")) and len(kind.shape.dim) == rank - 1

    def pictures(self, batch: int | None) -> GraphInput:
        """Change the input of pictures to [N, 3, H, W]; return it.

        Args:
            batch: None: free.
        """
        pictures, batched = self._found.pictures, self._found.batched
        nhwc = self._manifest.input.layout == "nhwc"
        height, width = pictures.shape[-3:-1] if nhwc else pictures.shape[-2:]
        shape = (batch, 3, height, width)
        if nhwc or not batched:
            self._convert_pictures(pictures, batched, nhwc)
        if pictures.shape != shape:
            self._declare(pictures.name, shape)
        if self._found.sizes is not None and batch != self._found.batch:
            self._declare(self._found.sizes.name, (batch, 2))
        return pictures._replace(shape=shape)

    def _convert_pictures(self, pictures: GraphInput, batched: bool, nhwc: bool) -> None:
        """Convert pictures [N, 3, H, W] to what the graph has."""
        value, own = pictures.name, f"{pictures.name}/own"
        consumers = self._rename(self._graph.node, value, own)
        if pictures.type == "uint8" and consumers == {"Cast"}:
            # TensorRT has no other operator for uint8 than the cast.
            value = self._insert("Cast", value, "numbers", to=FLOAT)
        if not batched:
            value = self._insert_axes("Squeeze", value, "single", self._before)
        if nhwc:
            perm = [0, 2, 3, 1] if batched else [1, 2, 0]
            self._insert("Transpose", value, "last", perm=perm)
        self._before[-1].output[0] = own

    def _declare(self, name: str, shape: Sequence[int | None]) -> None:
        """Change the declared shape of an input or an output."""
        from onnx import helper

        self._changed = True
        for each in [*self._graph.input, *self._graph.output]:
            if each.name == name:
                kind = each.type.tensor_type.elem_type
                sizes = [
                    f"{name}/{axis}" if size is None else size for axis, size in enumerate(shape)
                ]
                each.CopyFrom(helper.make_tensor_value_info(name, kind, sizes))

    def output(self, name: str, rank: int, batch: int | None) -> None:
        """Give an output a batch and a fixed number of rows.

        Args:
            rank: that the decoding needs, with the batch.
            batch: None: free.
        """
        kind = self._types[name]
        shape = [dim.dim_value or None for dim in kind.shape.dim]
        lacks_batch = self.lacks_batch(name, rank)
        if lacks_batch:
            shape = [1, *shape]
        pads = len(shape) == rank and self._needs_padding(name, shape)
        if not (lacks_batch or (pads and batch)):
            return
        value = f"{name}/own"
        self._rename(self._graph.node, name, value)
        if lacks_batch:
            value = self._insert_axes("Unsqueeze", value, "batch", self._after)
        if pads and batch:
            fixed = [batch, MAX_ROWS, *(size for size in shape[2:] if size)]
            self._pad(value, fixed, kind.elem_type)
            shape = [*fixed]
        self._after[-1].output[0] = name
        self._declare(name, shape)

    def _needs_padding(self, name: str, shape: Sequence[int | None]) -> bool:
        """Return whether only the number of an output's rows is unknown, and a value decides it."""
        return (
            self._manifest.output.decoding in PADDED_DECODINGS
            and shape[1] is None
            and self._types[name].elem_type in TYPE_NAMES
            and all(size is not None and size <= MAX_COLUMNS for size in shape[2:])
            and not PICTURE_DEPENDENT_OPS.isdisjoint(_operators_of(self._graph, name))
        )

    def _pad(self, value: str, shape: Sequence[int], kind: int) -> None:
        """Append rows of zeros, and keep the first MAX_ROWS."""
        from onnx import helper, numpy_helper

        def constant(name: str, content: NDArray[Any]) -> str:
            name = f"{value}/{name}"
            self._graph.initializer.append(numpy_helper.from_array(content, name))
            return name

        zeros = constant("zeros", np.zeros(shape, TYPE_NAMES[kind]))
        bounds = [
            constant(name, np.array([number], np.int64))
            for name, number in (("start", 0), ("stop", MAX_ROWS), ("axis", 1))
        ]
        # Without it TensorRT takes the number of rows for unknown.
        fixed = constant("shape", np.array(shape, np.int64))
        longer, first = f"{value}/longer", f"{value}/first"
        self._after += [
            helper.make_node("Concat", [value, zeros], [longer], axis=1),
            helper.make_node("Slice", [longer, *bounds], [first]),
            helper.make_node("Reshape", [first, fixed], [f"{value}/padded"]),
        ]

    def _insert(self, operator: str, value: str, suffix: str, **attributes: Any) -> str:
        """Add a node before the graph's own; return its output."""
        from onnx import helper

        output = f"{value}/{suffix}"
        self._before.append(helper.make_node(operator, [value], [output], **attributes))
        return output

    def _insert_axes(self, operator: str, value: str, suffix: str, nodes: list[Any]) -> str:
        """Add a node that drops or adds the first axis; return its output."""
        from onnx import helper, numpy_helper

        output = f"{value}/{suffix}"
        if self._opset < AXES_INPUT_OPSET:
            nodes.append(helper.make_node(operator, [value], [output], axes=[0]))
            return output
        axes = f"{output}/axes"
        self._graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), axes))
        nodes.append(helper.make_node(operator, [value, axes], [output]))
        return output

    def _rename(self, nodes: Iterable[Any], old: str, new: str) -> set[str]:
        """Rename a value wherever nodes use or compute it; return the operators of these nodes."""
        operators = set()
        for node in nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new
                        operators.add(node.op_type)
            for graph in _subgraphs(node):
                operators |= self._rename(graph.node, old, new)
                for each in graph.output:  # a branch may pass a value of the graph around it
                    if each.name == old:
                        each.name = new
        return operators


def _inputs(graph: Any) -> list[Any]:
    """Return the inputs that must be fed; old files list their weights among them."""
    weights = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in weights]


def _graph_input(value: Any, manifest: ModelManifest) -> GraphInput:
    """Convert an input; the type of pictures is the exported one."""
    kind = value.type.tensor_type
    name = TYPE_NAMES.get(kind.elem_type, f"ONNX type {kind.elem_type}")
    if manifest.fp16 and name == "float16":  # the converted graph's, of a float32 graph
        name = manifest.input.dtype
    return GraphInput(value.name, name, tuple(dim.dim_value or None for dim in kind.shape.dim))


def _subgraphs(node: Any) -> Iterator[Any]:
    """Yield the branches and the bodies of loops of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, and of its branches and loops."""
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _all_nodes(inner)


def _operators_of(graph: Any, name: str) -> set[str]:
    """Return the operators that a value depends on."""
    needed, operators = {name}, set()
    for node in reversed(graph.node):  # ONNX lists nodes in topological order
        if needed.isdisjoint(node.output):
            continue
        operators.add(node.op_type)
        needed.update(node.input)
        for inner in _subgraphs(node):
            for each in _all_nodes(inner):
                operators.add(each.op_type)
                needed.update(each.input)
    return operators
