"""Compare rebuilt models with the shipped ones: the same pictures must give the same numbers.

The files may differ: names in an ONNX file depend on the version of the exporter.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np
from numeric_checks import at_most, max_difference, pictures, run_onnx, to_planes

# File, side of its input, multiply and add of its values.
NETWORKS = [
    ("megadetector_lite_yolox_tiny_640.onnx", 640, 1.0, 0.0),
    ("ssd_mnv2_cam16_h.onnx", 300, 2 / 255, -1.0),
    ("efflite3_w8mul.onnx", 280, 1 / 128, -127 / 128),
]
ANCHORS = "ssd_anchors.npy"
LABELS = "efficientnet_lite3_labels.tsv"
# Labels with another name today than in ImageNet.
RENAMED = {"rooster", "cross orbweaver", "duck", "bullmastiff", "Leonberger", "anemonefish"}


def compare_labels(source: Path, shipped: Path) -> None:
    """Check that each row of the shipped table has the class of the same line in the source."""
    names = source.read_text(encoding="utf-8").splitlines()
    with shipped.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if len(rows) != len(names):
        sys.exit(f"error: {shipped} has {len(rows)} labels, {source} has {len(names)}")
    for row, name in zip(rows, names, strict=True):
        if not words(row["label"]) & words(name) and row["label"] not in RENAMED:
            sys.exit(f"error: {shipped}: {row['index']} is {row['label']}, the source says {name}")
    print(f"  {LABELS}: {len(rows)} labels in the order of the source")


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rebuilt", type=Path, help="folder of the rebuilt files")
    arguments.add_argument("shipped", type=Path, help="gpu_kernels/models/shipped")
    arguments.add_argument("labels", type=Path, help="labels of the source")
    arguments.add_argument("--pictures", type=Path)
    options = arguments.parse_args()
    print("rebuilt against shipped")
    for file, side, multiply, add in NETWORKS:
        images = to_planes(pictures(side, options.pictures), multiply, add)
        rebuilt = run_onnx(options.rebuilt / file, images)
        shipped = run_onnx(options.shipped / file, images)
        for number, pair in enumerate(zip(rebuilt, shipped, strict=True)):
            at_most(f"{file}, output {number}, rebuilt - shipped", max_difference(*pair), 1e-3)
    anchors = [np.load(folder / ANCHORS) for folder in (options.rebuilt, options.shipped)]
    at_most(f"{ANCHORS}, rebuilt - shipped", max_difference(*anchors), 1e-6)
    compare_labels(options.labels, options.shipped / LABELS)


if __name__ == "__main__":
    main()
