"""Whether a model holds its accuracy in half precision: what GPUs would answer against the CPU.

    python tools/check_fp16.py megadetector-lite --pictures FOLDER [--write half.onnx]

The half precision graph that GPUs compute (`gpu_kernels.engines.fp16`) runs here on the CPU beside
the original, on real pictures. Agreement is of what the pipeline uses: boxes after suppression, and
labels. A model that agrees may say `half = true` in its manifest; the exit code is 1 if it does
not. `--write` keeps the graph, for other tools.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.engines.fp16 import Fp16CpuEngine, fp16_graph
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


def pictures(folder: Path) -> Iterator[Picture]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.stat().st_size:
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                yield np.asarray(picture, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model's name, or a manifest")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of real pictures")
    parser.add_argument("--write", type=Path, help="keep the half precision graph here")
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.model)
    if arguments.write:
        arguments.write.write_bytes(fp16_graph(manifest))
    full, half = open_engine(manifest, "onnxruntime"), Fp16CpuEngine(manifest)
    total = Agreement()
    for picture in pictures(arguments.pictures):
        images = to_input([fit(picture, manifest)], manifest)
        answers = [full.run(images), half.run(images)]
        if manifest.task == "classifier":
            one, other = (rank_labels(outputs[0], manifest)[0] for outputs in answers)
            total += compare_labels(one, other)
        else:
            size = [picture.shape[:2]]
            threshold = manifest.detector_output.threshold
            one, other = (decode_boxes(o, manifest, size, threshold)[0] for o in answers)
            total += compare_boxes(one, other, threshold)
    print(f"{manifest.name} in half precision: {total}")
    print(
        f"allowed: every clear one has a partner, confidences {SCORE_TOLERANCE}, edges {EDGE_TOLERANCE}"
    )
    sys.exit(0 if total.holds else 1)


if __name__ == "__main__":
    main()
