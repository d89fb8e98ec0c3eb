"""Whether a model holds its accuracy in int8: what GPUs would answer against the CPU.

    python tools/check_int8.py megadetector-lite --pictures FOLDER [--keep-heads] [--write FOLDER]

The network is quantised as TensorRT wants it: layers between quantise and dequantise nodes (Q/DQ),
int8 around 0, weights by channel, ranges of activations measured on half of the pictures. It runs
here on the CPU beside the original, on the other half. Agreement is of what the pipeline uses:
boxes after suppression, and labels, within the tolerance of half precision. The exit code is 1 if
they do not agree. `--write` keeps the network as a model with a manifest, for other checks
(`benchmarks/stage1_recall.py --detector`) and as a model to use.
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
from check_fp16 import pictures
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
    EDGE_TOLERANCE,
    SCORE_TOLERANCE,
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
# Longest side of a picture that is kept in memory, in pixels; models see less.
LONGEST = 1280


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Pictures, one at a time, as the model takes them."""

    def __init__(self, shown: Sequence[Picture], manifest: ModelManifest, name: str) -> None:
        self._inputs = ({name: to_input([fit(each, manifest)], manifest)} for each in shown)

    def get_next(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] | None:
        """See CalibrationDataReader."""
        return next(self._inputs, None)


def small(shown: Iterator[Picture]) -> Iterator[Picture]:
    for picture in shown:
        scale = LONGEST / max(picture.shape[:2])
        if scale < 1:
            resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.asarray(resized, np.uint8)
        else:
            yield picture


def last_weighted(path: Path) -> list[str]:
    """Names of the layers with weights that no other one follows: where boxes and scores are made,
    and where rounding shows."""
    nodes = onnx.load_model(str(path)).graph.node
    leading: set[str] = set()
    last = []
    for node in reversed(nodes):
        weighted = node.op_type in WEIGHTED
        follows = bool(leading.intersection(node.output))
        if weighted and not follows:
            last.append(node.name)
        if weighted or follows:
            leading.update(node.input)
    return last


def quantise(
    manifest: ModelManifest, shown: Sequence[Picture], method: str, keep_heads: bool, target: Path
) -> None:
    """Write the network in int8, with ranges measured on pictures."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        # Weights that are stored small are widened, and layers fused, before ranges are measured.
        quant_pre_process(str(manifest.path), str(plain), skip_symbolic_shape=True)
        name = onnx.load_model(str(plain)).graph.input[0].name
        quantize_static(
            str(plain),
            str(target),
            Calibration(shown, manifest, name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=WEIGHTED,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            nodes_to_exclude=last_weighted(plain) if keep_heads else [],
            # TensorRT takes biases as float only, and zero points of 0.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )


def keep_model(name_or_path: str, network: Path, folder: Path) -> Path:
    """The network as a model in a folder, beside a manifest that differs from the model's own in
    its name and file alone. Returns the manifest."""
    manifest = load_manifest(name_or_path)
    own = Path(name_or_path)
    described = own if own.suffix == ".toml" else SHIPPED_MODELS / f"{name_or_path}.toml"
    folder.mkdir(parents=True, exist_ok=True)
    for path in manifest.files:
        if path != manifest.path:
            shutil.copy(path, folder)
    target = folder / f"{manifest.name}-int8.onnx"
    shutil.copy(network, target)
    text = described.read_text("utf-8")
    text = text.replace(manifest.file, target.name).replace(
        f'"{manifest.name}"', f'"{target.stem}"'
    )
    text = text.replace(manifest.sha256, hashlib.sha256(target.read_bytes()).hexdigest())
    text = re.sub(r"^half = true$", "half = false", text, flags=re.MULTILINE)
    kept = folder / f"{target.stem}.toml"
    kept.write_text(text, encoding="utf-8")
    return kept


def compared(
    manifest: ModelManifest, engines: tuple[Engine, Engine], shown: Sequence[Picture]
) -> tuple[Agreement, str]:
    """How far two engines of a model agree on pictures, and what that means in them."""
    total, same, alike = Agreement(), [0, 0], 0
    for picture in shown:
        images = to_input([fit(picture, manifest)], manifest)
        answers = [engine.run(images) for engine in engines]
        if manifest.task == "classifier":
            one, other = (rank_labels(outputs[0], manifest)[0] for outputs in answers)
            total += compare_labels(one, other)
            alike += one[0].label == other[0].label
        else:
            threshold = manifest.detector_output.threshold
            size = [(picture.shape[0], picture.shape[1])]
            some, others = (decode_boxes(each, manifest, size, threshold)[0] for each in answers)
            total += compare_boxes(some, others, threshold)
            same = [same[0] + bool(len(some)), same[1] + bool(len(others))]
    if manifest.task == "classifier":
        return total, f"best label the same in {alike} of {len(shown)}"
    return total, f"pictures with a box: {same[0]} before, {same[1]} in int8, of {len(shown)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model's name, or a manifest")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of real pictures")
    parser.add_argument("--method", choices=METHODS, default="minmax", help="of finding ranges")
    parser.add_argument("--keep-heads", action="store_true", help="leave the last layers as float")
    parser.add_argument("--write", type=Path, help="keep the network and a manifest in this folder")
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.model)
    shown = list(small(pictures(arguments.pictures)))
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "int8.onnx"
        quantise(manifest, shown[::2], arguments.method, arguments.keep_heads, network)
        kept = keep_model(arguments.model, network, arguments.write or Path(folder) / "model")
        engines = (
            open_engine(manifest, "onnxruntime"),
            open_engine(load_manifest(str(kept)), "onnxruntime"),
        )
        total, meaning = compared(manifest, engines, shown[1::2])
    print(f"{manifest.name} in int8, ranges by {arguments.method}: {total}")
    print(meaning)
    print(
        f"allowed: every clear one has a partner, confidences {SCORE_TOLERANCE}, edges {EDGE_TOLERANCE}"
    )
    sys.exit(0 if total.holds else 1)


if __name__ == "__main__":
    main()
