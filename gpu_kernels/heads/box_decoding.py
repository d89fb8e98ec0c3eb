"""Decode the raw outputs of a detector into boxes of the picture.

The decodings are in `gpu_kernels.heads.candidates`. Some mark boxes in the padding around a
letterboxed picture; a box with less than half its area inside the picture is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.candidates import Candidates, find_candidates
from gpu_kernels.heads.nms import Floats, non_maximum_suppression
from gpu_kernels.heads.output_shapes import check_output_shapes
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import BoxesAndLogitsOutput, SsdOutput, YoloOutput
from gpu_kernels.preprocessing.letterbox import input_size, scale_boxes

# NMS compares boxes pairwise; a threshold near 0 must not make a picture take minutes.
MAX_CANDIDATES = 2000
# A box in the padding is no box of the picture: 11 of 70 boxes of MegaDetector v6 (MIT YOLOv9) on
# letterboxed pictures were, as its exporter's author reports.
MIN_SHARE_INSIDE = 0.5


@dataclass(frozen=True)
class Boxes:
    """The boxes of one picture, by falling confidence."""

    xywh: Floats  # [K, 4] x, y, w, h as fractions of the upright picture, inside it
    confidence: Floats  # [K] 0 to 1
    class_index: NDArray[np.int64]  # [K] position in the manifest's classes

    def __len__(self) -> int:
        return len(self.confidence)


def decode_boxes(
    outputs: Sequence[NDArray[Any]],
    manifest: ModelManifest,
    sizes: Sequence[tuple[int, int]],
    threshold: float,
) -> list[Boxes]:
    """Return the boxes of each picture of a batch.

    Args:
        outputs: the outputs of `Engine.run`.
        manifest: the detector.
        sizes: (height, width) in pixels of each picture before `fit`.
        threshold: minimum confidence, inclusive.

    Raises:
        ModelError: the shapes of the outputs do not match the manifest's decoding, or a value is
            impossible; see `candidates`.
    """
    if not sizes:
        return []
    check_output_shapes([tuple(output.shape) for output in outputs], manifest, len(sizes))
    boxes = []
    for number, (height, width) in enumerate(sizes):
        candidates = find_candidates(
            [output[number] for output in outputs],
            manifest,
            input_size(height, width, manifest.input),
            threshold,
        )
        boxes.append(select_boxes(candidates, manifest, height, width))
    return boxes


def nms_iou(manifest: ModelManifest) -> float | None:
    """Return the maximum IoU of a detector's boxes in NMS; None if its decoding needs none."""
    head = manifest.detector_output
    if isinstance(head, YoloOutput | BoxesAndLogitsOutput | SsdOutput):
        return head.nms_iou
    return None


def select_boxes(candidates: Candidates, manifest: ModelManifest, height: int, width: int) -> Boxes:
    """Return the boxes of a picture of `height` x `width` pixels.

    Drops candidates that are mostly outside the picture, limits their number to MAX_CANDIDATES and
    applies NMS.
    """
    xywh, share = scale_boxes(candidates.corners, height, width, manifest.input)
    valid = np.flatnonzero(share >= MIN_SHARE_INSIDE)
    # lexsort is stable: equal confidence and class stay in the order of the output.
    order = valid[np.lexsort((candidates.class_index[valid], -candidates.confidence[valid]))]
    order = order[:MAX_CANDIDATES]
    max_iou = nms_iou(manifest)
    if max_iou is not None:
        corners, class_index = candidates.corners[order], candidates.class_index[order]
        order = order[non_maximum_suppression(corners, class_index, max_iou)]
    return Boxes(
        np.ascontiguousarray(xywh[order], dtype=np.float32),
        candidates.confidence[order].astype(np.float32),
        candidates.class_index[order].astype(np.int64),
    )
