"""Guess how a graph's input is fed, and run the graph on a picture."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpu_kernels.engines.graph_io import (
    MAX_BATCH,
    SIZES_TYPES,
    GraphInput,
    height_and_width,
    input_sizes,
)
from gpu_kernels.inspection.graph_file import GraphFile, GraphOutput
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import InputSpec
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input
from resources.errors import ModelError

MAX_SIDE = 8192
# For graphs of a free size that do not name one; MegaDetector v5 has 1280 and 64.
USUAL_SIDE, USUAL_STRIDE = 640, 32
MAX_STRIDE = 512
# Grey of the padding in all published YOLO code.
PAD = 114
# Pictures are divided by 255.
PER_BYTE = 0.00392156862745098
DTYPES = ("float32", "float16", "uint8")


@dataclass
class InputLayout:
    """A guess.

    Attributes:
        section: keys of [input] but fit and pad.
        batch: the number of pictures of a run.
        batched: whether the input has a batch.
        doubts: what is only assumed, by key of the section.
    """

    section: dict[str, Any]
    pictures: GraphInput
    sizes: GraphInput | None
    batch: int
    batched: bool
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def has_free_size(self) -> bool:
        return "long_side" in self.section

    def spec(self, fit_rule: str) -> InputSpec:
        """Return the section with a rule of `fit`."""
        pad = None if fit_rule == "stretch" else PAD
        return InputSpec(**self.section, fit=fit_rule, pad=pad)


def guess_input(graph: GraphFile) -> InputLayout:
    """Return how a graph is fed, by the types and shapes of its inputs.

    Raises:
        ModelError: it takes no pictures, or pictures of an unsupported type or size.
    """
    pictures, sizes = _find_inputs(graph)
    batched = len(pictures.shape) == 4
    channels_last = pictures.shape[-1] == 3 and pictures.shape[-3] != 3
    section: dict[str, Any] = {}
    doubts: dict[str, str] = {}
    height, width = pictures.shape[-3:-1] if channels_last else pictures.shape[-2:]
    section |= _size(graph, height, width, doubts)
    section |= {"layout": "nhwc" if channels_last else "nchw", "colour": "rgb"}
    doubts["colour"] = "not in the file: bgr for networks trained on pictures of OpenCV"
    if pictures.type != "float32":
        section["dtype"] = pictures.type
    section |= _scale(pictures.type, doubts)
    if len(graph.inputs) > 1:
        section["name"] = pictures.name
    if sizes is not None:
        section |= {"sizes_input": sizes.name, "sizes_order": "wh"}
    batch = (pictures.shape[0] or 1) if batched else 1
    if not 1 <= batch <= MAX_BATCH:
        raise ModelError(
            f"model {graph.path}: takes {batch} pictures at once, at most {MAX_BATCH} can be"
        )
    return InputLayout(section, pictures, sizes, batch, batched, doubts)


def _find_inputs(graph: GraphFile) -> tuple[GraphInput, GraphInput | None]:
    """Return the input for pictures, and the one for their size."""
    pictures = [each for each in graph.inputs if len(each.shape) in (3, 4)]
    pictures = [each for each in pictures if each.type in DTYPES and _has_channels(each)]
    sizes = [
        each
        for each in graph.inputs
        if len(each.shape) == 2 and each.shape[1] in (2, None) and each.type in SIZES_TYPES
    ]
    if len(pictures) == 1 and len(graph.inputs) == 1 + len(sizes) and len(sizes) < 2:
        return pictures[0], sizes[0] if sizes else None
    listed = ", ".join(map(str, graph.inputs)) or "none"
    raise ModelError(
        f"model {graph.path}: its inputs are {listed}; one for pictures [N, 3, H, W] or "
        f"[N, H, W, 3] of {', '.join(DTYPES)} is needed, and at most one further for their size "
        "[N, 2]; export the model again"
    )


def _has_channels(each: GraphInput) -> bool:
    # A free size could be the colours; all other sizes are not 3.
    return each.shape[-3] in (3, None) or each.shape[-1] in (3, None)


def _size(
    graph: GraphFile, height: int | None, width: int | None, doubts: dict[str, str]
) -> dict[str, int]:
    if height is None and width is None:
        side, stride = _metadata_size(graph), graph.literal("stride")
        if side is None:
            doubts["long_side"] = "not in the file: the size that the network was trained with"
        if not isinstance(stride, int) or not 1 <= stride <= MAX_STRIDE:
            doubts["stride"] = "not in the file: 64 for MegaDetector v5, else 32"
            stride = USUAL_STRIDE
        return {"long_side": side or USUAL_SIDE, "stride": stride}
    fixed = {"height": height or width or 0, "width": width or height or 0}
    if not all(1 <= side <= MAX_SIDE for side in fixed.values()):
        raise ModelError(
            f"model {graph.path}: its input is {fixed['height']} x {fixed['width']} pixels, sides "
            f"of 1 to {MAX_SIDE} can be; export it with another size"
        )
    return fixed


def _metadata_size(graph: GraphFile) -> int | None:
    """Return the longer side by the metadata entry `imgsz`, a number or [height, width]."""
    size = graph.literal("imgsz")
    sides: list[Any] = list(size) if isinstance(size, list | tuple) else [size]
    if not sides or not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in sides):
        return None
    return int(max(sides))


def _scale(kind: str, doubts: dict[str, str]) -> dict[str, list[float]]:
    if kind == "uint8":
        return {"multiply": [1.0] * 3, "add": [0.0] * 3}
    doubts["multiply"] = (
        "not in the file: 0 to 1 is usual; for a network with ImageNet's mean m and deviation s, "
        "multiply = 1 / (255 s), add = -m / s"
    )
    return {"multiply": [PER_BYTE] * 3, "add": [0.0] * 3}


def run_picture(
    graph: GraphFile,
    layout: InputLayout,
    spec: InputSpec,
    picture: Picture,
    sizes: tuple[int, int] | None = None,
) -> list[GraphOutput]:
    """Run a graph on a picture.

    Args:
        picture: uint8 BGR [h, w, 3].
        sizes: what the second input receives; the size of the model's input if None.

    Raises:
        ModelError: onnxruntime cannot run it.
    """
    known: dict[str, Any] = {"input": spec}  # all that fitting reads
    manifest = ModelManifest.model_construct(**known)
    images = to_input([fit(picture, manifest)] * layout.batch, manifest)
    feeds: dict[str, Any] = {layout.pictures.name: images if layout.batched else images[0]}
    if layout.sizes is not None:
        values = input_sizes(len(images), height_and_width(images, manifest), manifest)
        if sizes is not None:
            values = np.array([sizes] * layout.batch)
        feeds[layout.sizes.name] = values.astype(layout.sizes.type)
    return graph.run(feeds)
