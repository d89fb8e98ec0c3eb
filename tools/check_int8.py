"""Check the accuracy of a model in int8: compare its results with the original on the CPU.

    python tools/check_int8.py megadetector-lite --pictures FOLDER [--keep-heads] [--write FOLDER]

Quantises the network in the form that TensorRT requires: quantise and dequantise nodes (Q/DQ)
around layers, symmetric int8, weights per channel, ranges of activations calibrated on half of the
pictures. Runs it and the original on the other half, and compares what the pipeline uses, boxes
after NMS and labels, within the tolerance of float16. The exit code is 1 if they do not agree.
`--write` saves the network as a model with a manifest, to use it or to check it further
(`benchmarks/stage1_recall.py --detector`).
"""

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from check_fp16 import TOLERANCE, read_pictures
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.engine_agreement import (
    Agreement,
    compare_boxes,
    compare_labels,
)
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import SHIPPED_MODELS, ModelManifest, load_manifest
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input

WEIGHTED = ["Conv", "Gemm", "MatMul"]
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}
# Longest side of a picture in memory, in pixels; the inputs of models are smaller.
MAX_SIDE = 1280


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Inputs for calibration, one picture at a time."""

    def __init__(self, pictures: Sequence[Picture], manifest: ModelManifest, name: str) -> None:
        self._inputs = ({name: to_input([fit(each, manifest)], manifest)} for each in pictures)

    def get_next(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] | None:
        """See CalibrationDataReader."""
        return next(self._inputs, None)


def limit_size(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Yield the pictures, downscaled to MAX_SIDE."""
    for picture in pictures:
        scale = MAX_SIDE / max(picture.shape[:2])
        if scale < 1:
            resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.asarray(resized, np.uint8)
        else:
            yield picture


def last_weighted_layers(path: Path) -> list[str]:
    """Return the names of layers with weights that no other such layer follows.

    They compute boxes and scores, and are sensitive to rounding.
    """
    nodes = onnx.load_model(str(path)).graph.node
    upstream: set[str] = set()
    last_layers = []
    for node in reversed(nodes):
        weighted = node.op_type in WEIGHTED
        follows = bool(upstream.intersection(node.output))
        if weighted and not follows:
            last_layers.append(node.name)
        if weighted or follows:
            upstream.update(node.input)
    return last_layers


def quantise(
    manifest: ModelManifest,
    pictures: Sequence[Picture],
    method: str,
    keep_heads: bool,
    target: Path,
) -> None:
    """Write the network in int8, calibrated on pictures."""
    with tempfile.TemporaryDirectory() as folder:
        float_network = Path(folder) / "float.onnx"
        # Casts weights stored in smaller types, and fuses layers, before the calibration.
        quant_pre_process(str(manifest.path), str(float_network), skip_symbolic_shape=True)
        name = onnx.load_model(str(float_network)).graph.input[0].name
        quantize_static(
            str(float_network),
            str(target),
            Calibration(pictures, manifest, name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=WEIGHTED,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            nodes_to_exclude=last_weighted_layers(float_network) if keep_heads else [],
            # TensorRT requires float biases, and zero points of 0.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )


def save_model(name_or_path: str, network: Path, folder: Path) -> Path:
    """Save the network as a model in a folder, and return its manifest.

    The manifest differs from the original one only in the name and the file.
    """
    manifest = load_manifest(name_or_path)
    source = Path(name_or_path)
    if source.suffix != ".toml":
        source = SHIPPED_MODELS / f"{name_or_path}.toml"
    folder.mkdir(parents=True, exist_ok=True)
    for path in manifest.files:
        if path != manifest.path:
            shutil.copy(path, folder)
    target = folder / f"{manifest.name}-int8.onnx"
    shutil.copy(network, target)
    text = source.read_text("utf-8")
    text = text.replace(manifest.file, target.name).replace(
        f'"{manifest.name}"', f'"{target.stem}"'
    )
    text = text.replace(manifest.sha256, hashlib.sha256(target.read_bytes()).hexdigest())
    text = re.sub(r"^(fp16|half) = true$", r"\1 = false", text, flags=re.MULTILINE)
    path = folder / f"{target.stem}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def compare_engines(
    manifest: ModelManifest, engines: tuple[Engine, Engine], pictures: Sequence[Picture]
) -> tuple[Agreement, str]:
    """Return the agreement of two engines on pictures, and a summary for the reader."""
    total, with_box, same_label = Agreement(), [0, 0], 0
    for picture in pictures:
        images = to_input([fit(picture, manifest)], manifest)
        outputs = [engine.run(images) for engine in engines]
        if manifest.task == "classifier":
            one, other = (rank_labels(each[0], manifest)[0] for each in outputs)
            total += compare_labels(one, other)
            same_label += one[0].label == other[0].label
        else:
            threshold = manifest.detector_output.threshold
            size = [(picture.shape[0], picture.shape[1])]
            some, others = (decode_boxes(each, manifest, size, threshold)[0] for each in outputs)
            total += compare_boxes(some, others, threshold)
            with_box = [with_box[0] + bool(len(some)), with_box[1] + bool(len(others))]
    if manifest.task == "classifier":
        return total, f"same best label in {same_label} of {len(pictures)}"
    return total, (
        f"pictures with a box: {with_box[0]} before, {with_box[1]} in int8, of {len(pictures)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name of a shipped model, or path of a manifest")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of real pictures")
    parser.add_argument("--method", choices=METHODS, default="minmax", help="of calibration")
    parser.add_argument(
        "--keep-heads", action="store_true", help="leave the last layers in float32"
    )
    parser.add_argument("--write", type=Path, help="folder to save the model to")
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.model)
    pictures = list(limit_size(read_pictures(arguments.pictures)))
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "int8.onnx"
        quantise(manifest, pictures[::2], arguments.method, arguments.keep_heads, network)
        saved = save_model(arguments.model, network, arguments.write or Path(folder) / "model")
        engines = (
            open_engine(manifest, "onnxruntime"),
            open_engine(load_manifest(str(saved)), "onnxruntime"),
        )
        total, summary = compare_engines(manifest, engines, pictures[1::2])
    print(f"{manifest.name} in int8, calibrated by {arguments.method}: {total}")
    print(summary)
    print(TOLERANCE)
    sys.exit(0 if total.within_tolerance else 1)


if __name__ == "__main__":
    main()
