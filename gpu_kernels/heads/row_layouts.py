"""The rows of a detector's outputs on a device, as the kernels read them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpu_kernels.device.head_kernels import RowLayout
from gpu_kernels.heads.output_shapes import has_class_numbers
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import EndToEndOutput, PlainBoxes


class Rows(NamedTuple):
    """The arguments of a kernel.

    Attributes:
        arrays: boxes and scores for `dense_candidates`; boxes, scores and class numbers for
            `numbered_candidates`.
        rows: of a picture.
    """

    arrays: tuple[Any, ...]
    rows: int
    layout: Any


def rows_of(outputs: Sequence[Any], manifest: ModelManifest, size: tuple[int, int]) -> Rows:
    """Describe the outputs of a detector of any decoding but ssd.

    Args:
        outputs: Warp arrays, in the order that the decoding needs.
        size: height and width of the model's input, in pixels.
    """
    head = manifest.detector_output
    assert isinstance(head, PlainBoxes)
    first, classes = outputs[0], len(head.classes)
    layout = RowLayout()
    layout.corners = head.box_format == "xyxy"
    layout.box_scale = (1.0, 1.0)
    if head.box_units == "fractions":
        layout.box_scale = (float(size[1]), float(size[0]))
    layout.sigmoid = head.scores == "sigmoid"
    layout.objectness, layout.classes, layout.known_labels = -1, classes, classes
    if head.decoding == "yolo-objectness":
        layout.objectness, layout.scores = 4, 5
        return Rows((first, first), first.shape[1], layout)
    if head.decoding == "yolo-anchor-free":
        layout.transposed, layout.scores = True, 4
        return Rows((first, first), first.shape[2], layout)
    if head.decoding in ("boxes-and-logits", "rtdetr"):
        layout.every_class = head.decoding == "rtdetr"
        return Rows((first, outputs[1]), first.shape[1], layout)
    if head.decoding == "boxes-labels-scores":
        labels, scores = (each.reshape((*each.shape, 1)) for each in outputs[1:3])
        return Rows((first, scores, labels), first.shape[1], layout)
    if head.decoding == "rtdetr-packed" and not has_class_numbers(manifest, first.shape[2]):
        layout.scores, layout.every_class = 4, True
        return Rows((first, first), first.shape[1], layout)
    layout.scores, layout.labels = 4, 5
    if isinstance(head, EndToEndOutput) and head.columns == "class-box-score":
        layout.labels, layout.boxes, layout.scores = 0, 1, 5
    return Rows((first, first, first), first.shape[1], layout)
