"""Compare the shapes of a detector's outputs with its decoding."""

from collections.abc import Sequence

from gpu_kernels.heads.ssd_anchors import load_anchors
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import PackedRtDetrOutput, SsdOutput
from resources.errors import ModelError

Shape = tuple[int, ...]
# A size of an expected shape; a letter is any size, the same in all outputs.
Pattern = tuple[str | int, ...]


def expected_shapes(manifest: ModelManifest) -> list[list[Pattern]]:
    """Return the shapes that a detector's decoding can have, without the batch: for each, the
    pattern of every output."""
    head = manifest.detector_output
    classes = len(head.classes)
    if isinstance(head, SsdOutput):
        anchors = len(load_anchors(manifest))
        return [[(anchors, 4), (anchors, classes)]]
    if isinstance(head, PackedRtDetrOutput):
        both: dict[bool, list[Pattern]] = {True: [("K", 6)], False: [("K", 4 + classes)]}
        known = head.has_class_numbers
        return [both[True], both[False]] if known is None else [both[known]]
    by_decoding: dict[str, list[Pattern]] = {
        "yolo-objectness": [("A", 5 + classes)],
        "yolo-anchor-free": [(4 + classes, "A")],
        "rtdetr": [("Q", 4), ("Q", classes)],
        "end2end": [("K", 6)],
        "boxes-labels-scores": [("K", 4), ("K",), ("K",)],
        "boxes-and-logits": [("A", 4), ("A", classes)],
    }
    return [by_decoding[head.decoding]]


def check_output_shapes(shapes: Sequence[Shape], manifest: ModelManifest, count: int) -> None:
    """Check the shapes of a detector's outputs for `count` pictures.

    Raises:
        ModelError: they do not match the manifest's decoding.
    """
    alternatives = expected_shapes(manifest)
    if any(_matches(shapes, patterns, count) for patterns in alternatives):
        return
    head = manifest.detector_output
    needed = " or ".join(str([(count, *each) for each in patterns]) for patterns in alternatives)
    raise ModelError(
        f"model {manifest.name}: outputs {list(shapes)}, but {head.decoding} with "
        f"{len(head.classes)} class(es) needs {needed}; correct output.decoding, output.outputs or "
        "output.classes of the manifest"
    )


def _matches(shapes: Sequence[Shape], patterns: Sequence[Pattern], count: int) -> bool:
    letters: dict[str, int] = {}
    if len(shapes) < len(patterns):
        return False
    for shape, pattern in zip(shapes, patterns, strict=False):
        if len(shape) != len(pattern) + 1 or shape[0] != count:
            return False
        for size, wanted in zip(shape[1:], pattern, strict=True):
            if size != (letters.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
                return False
    return True


def has_class_numbers(manifest: ModelManifest, columns: int) -> bool:
    """Return whether rows of `rtdetr-packed` have one score and a class number, or a score per
    class."""
    head = manifest.detector_output
    assert isinstance(head, PackedRtDetrOutput)
    known = head.has_class_numbers
    return columns != 4 + len(head.classes) if known is None else known
