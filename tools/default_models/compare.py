"""The remade models against those that ship: the same pictures must get the same numbers.

Bytes may differ: names in an ONNX file depend on the version of what wrote it.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np
from numeric_checks import at_most, largest, pictures, planes, run_onnx

# File, side of its input, multiply and add of its values.
NETWORKS = [
    ("megadetector_lite_yolox_tiny_640.onnx", 640, 1.0, 0.0),
    ("ssd_mnv2_cam16_h.onnx", 300, 2 / 255, -1.0),
    ("efflite3_w8mul.onnx", 280, 1 / 128, -127 / 128),
]
ANCHORS = "ssd_anchors.npy"
LABELS = "efficientnet_lite3_labels.tsv"
# Labels that go by another name today than the one ImageNet gave them.
RENAMED = {"rooster", "cross orbweaver", "duck", "bullmastiff", "Leonberger", "anemonefish"}


def compare_labels(source: Path, shipped: Path) -> None:
    """Each row of the shipped table must be about the class of the same line in the source."""
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
    arguments.add_argument("remade", type=Path, help="folder of the files just made")
    arguments.add_argument("shipped", type=Path, help="gpu_kernels/models")
    arguments.add_argument("labels", type=Path, help="the source's list of labels")
    arguments.add_argument("--pictures", type=Path)
    options = arguments.parse_args()
    print("remade against shipped")
    for file, side, multiply, add in NETWORKS:
        images = planes(pictures(side, options.pictures), multiply, add)
        some = run_onnx(options.remade / file, images)
        other = run_onnx(options.shipped / file, images)
        for number, (one, two) in enumerate(zip(some, other, strict=True)):
            at_most(f"{file}, output {number}, remade - shipped", largest(one, two), 1e-3)
    anchors = [np.load(folder / ANCHORS) for folder in (options.remade, options.shipped)]
    at_most(f"{ANCHORS}, remade - shipped", largest(*anchors), 1e-6)
    compare_labels(options.labels, options.shipped / LABELS)


if __name__ == "__main__":
    main()
