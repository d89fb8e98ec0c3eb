"""Detectors as ONNX graphs that find a bright rectangle, in the layouts of public exports.

The rectangle's class is its strongest channel: the first, second or third. So a test draws a red,
green or blue rectangle and knows the answer, wrong channels give another class, and a wrong size
another box. Each layout follows the exporter's published source: names, order and types of inputs
and outputs, padding, whether there is a batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SCORE = 0.9
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
}


class Options(NamedTuple):
    """Options of an export.

    Attributes:
        batch: of the input; None: free.
        size: height and width of the input; None: free.
        dtype: of the pictures.
        half: boxes and scores are float16.
        whole: a bright pixel's value, 255 or 1.
        layout: of the pictures, nchw or nhwc.
    """

    batch: int | None = None
    size: tuple[int, int] | None = (64, 64)
    dtype: str = "float32"
    half: bool = False
    whole: float = 1.0
    layout: str = "nchw"


class Graph:
    """A graph in construction."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def to(self, value: str, kind: str) -> str:
        return self.add("Cast", value, to=TYPES[kind])

    def axis(self, axis: int) -> str:
        return self.constant([axis], np.int64)

    def input(self, name: str, kind: str, shape: Sequence[Any]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[kind], shape))
        return name

    def output(self, name: str, value: str, kind: str = "") -> None:
        """Name a value as an output; it has the exported precision if `kind` is empty."""
        kind = kind or ("float16" if self.options.half else "float32")
        self.nodes.append(helper.make_node("Cast", [value], [name], to=TYPES[kind]))
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[kind], None))

    def serialized(self) -> bytes:
        graph = helper.make_graph(
            self.nodes, "rectangle", self.inputs, self.outputs, self.initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return bytes(model.SerializeToString())


class Found(NamedTuple):
    """Values of the graph that describe the rectangle."""

    corners: str  # [N, 1, 4] x0, y0, x1, y1 in pixels
    score: str  # [N, 1, 1] SCORE, or 0 if there is no rectangle
    label: str  # [N, 1, 1] float32
    size: str  # [1, 1, 4] width, height, width, height
    extent: str  # [4] the same


def find_rectangle(graph: Graph, name: str, batched: bool = True) -> Found:
    """Add the search for the rectangle."""
    batch = graph.options.batch or "N"
    size: Sequence[Any] = graph.options.size or ("H", "W")
    last = graph.options.layout == "nhwc"
    shape: list[Any] = [*size, 3] if last else [3, *size]
    pictures = graph.input(name, graph.options.dtype, [batch, *shape] if batched else shape)
    values = graph.to(pictures, "float32")
    if last:
        values = graph.add("Transpose", values, perm=[0, 3, 1, 2] if batched else [2, 0, 1])
    if not batched:
        values = graph.add("Unsqueeze", values, graph.axis(0))
    extents = graph.to(graph.add("Shape", values), "float32")
    height, width = (graph.add("Gather", extents, graph.axis(n)) for n in (2, 3))
    peak = graph.add("ReduceMax", values, graph.axis(1), keepdims=0)
    bright = graph.add("Greater", peak, graph.constant(0.7 * graph.options.whole))
    mask = graph.to(bright, "float32")  # [N, H, W]
    edges = {}
    for side, across, length in (("x", 1, width), ("y", 2, height)):
        profile = graph.add("ReduceMax", mask, graph.axis(across), keepdims=0)
        whole = graph.add("Squeeze", graph.to(length, "int64"), graph.axis(0))
        place = graph.to(
            graph.add("Range", graph.constant(0, np.int64), whole, graph.constant(1, np.int64)),
            "float32",
        )
        after = graph.add("Add", place, graph.constant(1.0))
        back = graph.add("Sub", length, place)
        last = graph.add("ReduceMax", graph.add("Mul", profile, after), graph.axis(1), keepdims=1)
        first = graph.add("ReduceMax", graph.add("Mul", profile, back), graph.axis(1), keepdims=1)
        edges[side] = graph.add("Sub", length, first), last
    corners = graph.add(
        "Concat", edges["x"][0], edges["y"][0], edges["x"][1], edges["y"][1], axis=1
    )
    present = graph.add("ReduceMax", mask, graph.constant([1, 2], np.int64), keepdims=0)
    score = graph.add("Mul", present, graph.constant(SCORE))
    lit = graph.add("Mul", values, graph.add("Unsqueeze", mask, graph.axis(1)))
    sums = graph.add("ReduceSum", lit, graph.constant([2, 3], np.int64), keepdims=0)
    label = graph.to(graph.add("ArgMax", sums, axis=1, keepdims=1), "float32")
    extent = graph.add("Concat", width, height, width, height, axis=0)
    return Found(
        graph.add("Unsqueeze", corners, graph.axis(1)),
        graph.add("Reshape", score, graph.constant([-1, 1, 1], np.int64)),
        graph.add("Unsqueeze", label, graph.axis(1)),
        graph.add("Reshape", extent, graph.constant([1, 1, 4], np.int64)),
        extent,
    )


def fractions(graph: Graph, found: Found) -> str:
    """Return the corners as fractions of the input."""
    return graph.add("Div", found.corners, found.size)


def centre(graph: Graph, corners: str) -> str:
    """Return corners as cx, cy, w, h."""
    turn = [[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]]
    return graph.add("MatMul", corners, graph.constant(turn))


def class_scores(graph: Graph, found: Found, classes: int = 3) -> str:
    """Return a score per class, [N, 1, classes]."""
    numbers = graph.constant(np.arange(classes).reshape(1, 1, -1))
    return graph.add(
        "Mul", graph.to(graph.add("Equal", found.label, numbers), "float32"), found.score
    )


def logits(graph: Graph, scores: str) -> str:
    """Return scores as logits, of 0 as -9.2."""
    inside = graph.add("Clip", scores, graph.constant(1e-4), graph.constant(0.9999))
    return graph.add("Log", graph.add("Div", inside, graph.add("Sub", graph.constant(1.0), inside)))


def end2end(options: Options, further: Sequence[float] = (5, 5, 9, 9, 0.8, -1)) -> bytes:
    """Ultralytics nms=True, YOLOv10: `images` -> `output0` [N, K, 6], here with three rows.

    The second one is `further`, as a rule padding of class -1, and the third one padding of zeros.
    """
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    row = graph.add("Concat", found.corners, found.score, found.label, axis=2)
    zeros = graph.add("Mul", row, graph.constant(0.0))
    second = graph.add("Add", zeros, graph.constant([[further]]))
    graph.output("output0", graph.add("Concat", row, second, zeros, axis=1))
    return graph.serialized()


def ghost(options: Options) -> bytes:
    """Return `end2end` with a box in the corner of its 64 x 64 pixels."""
    return end2end(options, (60, 60, 64, 64, 0.8, 0))


def anchor_free(options: Options) -> bytes:
    """Ultralytics: `images` -> `output0` [N, 4 + C, A]."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    rows = graph.add("Concat", centre(graph, found.corners), class_scores(graph, found), axis=2)
    twice = graph.add("Concat", rows, rows, axis=1)  # the second one is suppressed
    graph.output("output0", graph.add("Transpose", twice, perm=[0, 2, 1]))
    return graph.serialized()


def yolov5(options: Options) -> bytes:
    """YOLOv5, MegaDetector v5: `images` -> `output0` [N, A, 5 + C] and three raw heads."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    one = graph.add("Add", graph.add("Mul", found.score, graph.constant(0.0)), graph.constant(1.0))
    rows = graph.add(
        "Concat", centre(graph, found.corners), one, class_scores(graph, found), axis=2
    )
    graph.output("output0", rows)
    for number in range(3):
        graph.output(str(300 + number), rows)
    return graph.serialized()


def packed_rtdetr(options: Options) -> bytes:
    """Sparrow's rtdetr_topk: `images` -> [N, K, 6] cx, cy, w, h as fractions, score, class."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    columns = centre(graph, fractions(graph, found)), found.score, found.label
    graph.output("output", graph.add("Concat", *columns, axis=2))
    return graph.serialized()


def ultralytics_rtdetr(options: Options) -> bytes:
    """Ultralytics RT-DETR: `images` -> `output0` [N, K, 4 + C], fractions and probabilities."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    columns = centre(graph, fractions(graph, found)), class_scores(graph, found)
    graph.output("output0", graph.add("Concat", *columns, axis=2))
    return graph.serialized()


def rtdetr_exporter(options: Options) -> bytes:
    """RT-DETR's export_onnx.py: `images`, `orig_target_sizes` [N, 2] width, height ->
    `labels`, `boxes`, `scores`."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    sizes = graph.input("orig_target_sizes", "int64", [options.batch or "N", 2])
    twice = graph.to(graph.add("Concat", sizes, sizes, axis=1), "float32")
    scale = graph.add("Unsqueeze", twice, graph.axis(1))
    boxes = graph.add("Mul", fractions(graph, found), scale)
    flat = [graph.add("Squeeze", each, graph.axis(2)) for each in (found.label, found.score)]
    graph.output("labels", flat[0], "int64")
    graph.output("boxes", boxes)
    graph.output("scores", flat[1])
    return graph.serialized()


def hugging_face_rtdetr(options: Options) -> bytes:
    """transformers' RT-DETR by optimum: `pixel_values` -> `logits`, `pred_boxes`."""
    graph = Graph(options)
    found = find_rectangle(graph, "pixel_values")
    graph.output("logits", logits(graph, class_scores(graph, found)))
    graph.output("pred_boxes", centre(graph, fractions(graph, found)))
    graph.output("last_hidden_state", found.size)
    return graph.serialized()


def mit_yolo(options: Options) -> bytes:
    """MIT YOLO without NMS: `images` -> `cls_logits` [N, A, C], `boxes` [N, A, 4]."""
    graph = Graph(options)
    found = find_rectangle(graph, "images")
    scores = logits(graph, class_scores(graph, found))
    graph.output("cls_logits", graph.add("Concat", scores, scores, axis=1))
    graph.output("boxes", graph.add("Concat", found.corners, found.corners, axis=1))
    return graph.serialized()


def mit_yolo_nms(options: Options) -> bytes:
    """MIT YOLO with its NMS: `input` -> `output` [K, 6] class, box, score; K is 0 or 1."""
    graph = Graph(options)
    found = find_rectangle(graph, "input")
    row = graph.add("Concat", found.label, found.corners, found.score, axis=2)
    graph.output("output", _only_found(graph, found, row, 6))
    return graph.serialized()


def torchvision(options: Options) -> bytes:
    """torchvision's detection models: a picture [3, H, W] without a batch -> `boxes` [K, 4],
    `labels` [K] from 1, `scores` [K]; K is 0 or 1."""
    graph = Graph(options)
    found = find_rectangle(graph, "image", batched=False)
    graph.output("boxes", _only_found(graph, found, found.corners, 4))
    label = graph.add("Add", found.label, graph.constant(1.0))
    for name, value, kind in (("labels", label, "int64"), ("scores", found.score, "")):
        column = _only_found(graph, found, value, 1)
        graph.output(name, graph.add("Squeeze", column, graph.axis(1)), kind)
    return graph.serialized()


def _only_found(graph: Graph, found: Found, row: str, columns: int) -> str:
    """Return a row [1, 1, columns] as [K, columns], without it if there is no rectangle."""
    flat = graph.add("Reshape", row, graph.constant([-1, columns], np.int64))
    score = graph.add("Reshape", found.score, graph.constant([-1], np.int64))
    present = graph.add("Greater", score, graph.constant(0.0))
    return graph.add("Compress", flat, present, axis=0)


class Export(NamedTuple):
    """A layout of an exporter, and the keys of its manifest."""

    make: Callable[[Options], bytes]
    input: dict[str, Any]
    output: dict[str, Any]
    classes: tuple[str, ...] = ("animal", "person", "vehicle")
    # For one picture, of which the number of boxes depends: not every GPU engine runs it.
    varies: bool = False


NMS = {"nms_iou": 0.5}
EXPORTS = {
    "end2end": Export(end2end, {}, {"decoding": "end2end"}),
    "end2end with a ghost": Export(ghost, {}, {"decoding": "end2end"}),
    "anchor-free": Export(anchor_free, {}, {"decoding": "yolo-anchor-free", **NMS}),
    "yolov5": Export(yolov5, {}, {"decoding": "yolo-objectness", **NMS}),
    "rtdetr-packed": Export(packed_rtdetr, {}, {"decoding": "rtdetr-packed"}),
    "rtdetr-ultralytics": Export(ultralytics_rtdetr, {}, {"decoding": "rtdetr-packed"}),
    "rtdetr-exporter": Export(
        rtdetr_exporter,
        {"name": "images", "sizes_input": "orig_target_sizes"},
        {"decoding": "boxes-labels-scores", "outputs": ["boxes", "labels", "scores"]},
    ),
    "rtdetr-hugging-face": Export(
        hugging_face_rtdetr,
        {},
        {"decoding": "rtdetr", "outputs": ["pred_boxes", "logits"], "scores": "sigmoid"},
    ),
    "mit-yolo": Export(
        mit_yolo, {}, {"decoding": "boxes-and-logits", "outputs": ["boxes", "cls_logits"], **NMS}
    ),
    "mit-yolo-nms": Export(
        mit_yolo_nms, {}, {"decoding": "end2end", "columns": "class-box-score"}, varies=True
    ),
    "torchvision": Export(
        torchvision,
        {},
        {"decoding": "boxes-labels-scores"},
        ("background", "animal", "person", "vehicle"),
        varies=True,
    ),
}
