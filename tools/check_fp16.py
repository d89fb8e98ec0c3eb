"""Check the accuracy of a model in float16: compare its results with float32 on the CPU.

    python tools/check_fp16.py megadetector-lite --pictures FOLDER [--write fp16.onnx]

Runs the float16 graph of the GPU engine (`gpu_kernels.engines.fp16`) and the original on real
pictures, and compares what the pipeline uses: boxes after NMS, and labels. If they agree, the
model's manifest may say `fp16 = true`; otherwise the exit code is 1. `--write` saves the graph.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from gpu_kernels.engines.device_graph import DeviceGraphCpuEngine
from gpu_kernels.engines.engine import open_engine
from gpu_kernels.engines.fp16 import fp16_graph
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.engine_agreement import (
    EDGE_TOLERANCE,
    SCORE_TOLERANCE,
    Agreement,
    compare_boxes,
    compare_labels,
)
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
TOLERANCE = (
    f"tolerance: each clear result has a match, confidences {SCORE_TOLERANCE}, edges "
    f"{EDGE_TOLERANCE}"
)


def read_pictures(folder: Path) -> Iterator[Picture]:
    """Yield the pictures below a folder that can be decoded."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.stat().st_size:
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                yield np.asarray(picture, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name of a shipped model, or path of a manifest")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of real pictures")
    parser.add_argument("--write", type=Path, help="file to save the float16 graph to")
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.model)
    if arguments.write:
        arguments.write.write_bytes(fp16_graph(manifest))
    reference = open_engine(manifest, "onnxruntime")
    half = DeviceGraphCpuEngine(manifest.model_copy(update={"fp16": True}))
    total = Agreement()
    for picture in read_pictures(arguments.pictures):
        images = to_input([fit(picture, manifest)], manifest)
        channels_first = images
        if manifest.input.layout == "nhwc":
            channels_first = images.transpose(0, 3, 1, 2)
        outputs = reference.run(images), half.run(channels_first)
        if manifest.task == "classifier":
            one, other = (rank_labels(each[0], manifest)[0] for each in outputs)
            total += compare_labels(one, other)
        else:
            size = [picture.shape[:2]]
            threshold = manifest.detector_output.threshold
            one, other = (decode_boxes(each, manifest, size, threshold)[0] for each in outputs)
            total += compare_boxes(one, other, threshold)
    print(f"{manifest.name} in float16: {total}")
    print(TOLERANCE)
    sys.exit(0 if total.within_tolerance else 1)


if __name__ == "__main__":
    main()
