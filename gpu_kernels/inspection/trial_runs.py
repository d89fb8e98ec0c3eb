"""Run a graph on pictures to find what its file does not show."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gpu_kernels.inspection.graph_file import GraphFile, GraphOutput
from gpu_kernels.inspection.input_layout import InputLayout, run_picture
from gpu_kernels.inspection.layout import Layout
from gpu_kernels.inspection.output_layout import guess_layout
from gpu_kernels.preprocessing.letterbox import Picture

# A trained detector scores less than the first for all boxes of a photograph of a cat only if it is
# fed wrongly, and more than the second if it sees one. MegadetectorLite: 0.001 with values of 0 to
# 1, 0.32 with 0 to 255, for which it was trained.
NOTHING, SOMETHING = 0.05, 0.2
# Of Ultralytics' metadata entry `task`: rows with masks, keypoints or an angle.
OTHER_TASKS = {"segment", "pose", "obb"}
# Two sizes, width and height, for which the coordinates of boxes differ by RATIO.
WIDE, HIGH, RATIO = (4000, 1000), (1000, 4000), 4.0


def look_at_outputs(graph: GraphFile, taken: InputLayout, picture: Picture) -> Layout | None:
    """Return the layout of a graph's outputs, by a run on a picture and one on noise.

    Noise is added because a graph with suppression inside may find nothing in the picture.
    """
    if (task := graph.text("task").lower()) in OTHER_TASKS:
        problem = f"its file says that it is for {task}, not for boxes; export a network for those"
        return Layout({"decoding": "unknown"}, problem=problem)
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, picture.shape).astype(np.uint8)
    best: Layout | None = None
    for tried in (picture, noise):
        outputs = _run(graph, taken, tried)
        layout = _guess(graph, taken, _with_declared_columns(graph, outputs))
        if layout is not None and layout.problem is not None:
            return layout
        if layout is not None and (best is None or (best.doubts and not layout.doubts)):
            best = layout
        if best is not None and not best.doubts:
            break
    return best


def _with_declared_columns(
    graph: GraphFile, outputs: Sequence[GraphOutput]
) -> Sequence[GraphOutput]:
    """Return the outputs without tensors that no decoding reads, as masks and feature maps."""
    declared = {each.name: len(each.shape) for each in graph.outputs}
    flat = [each for each in outputs if declared[each.name] <= 3 and each.values.ndim <= 3]
    return flat or outputs


def sizes_order(
    graph: GraphFile, taken: InputLayout, picture: Picture
) -> Literal["wh", "hw"] | None:
    """Return the order of the input for sizes, by runs with a wide and a high size: which
    coordinates of the boxes become larger. None: neither."""
    medians = []
    for sizes in (WIDE, HIGH):
        found = _guess(graph, taken, _run(graph, taken, picture, sizes))
        if found is None or found.boxes is None or not len(found.boxes):
            return None
        medians.append(np.median(np.abs(found.boxes.astype(np.float64)), axis=0))
    wide, high = (each[:2] + each[2:] for each in medians)
    if (wide == 0).any() or (high == 0).any():
        return None
    x, y = wide / high
    if x > RATIO / 2 and y < 2 / RATIO:
        return "wh"
    return "hw" if y > RATIO / 2 and x < 2 / RATIO else None


def find_sizes_order(
    graph: GraphFile, taken: InputLayout, layout: Layout, picture: Picture
) -> None:
    """Set `sizes_order`."""
    order = sizes_order(graph, taken, picture)
    if order is None:
        taken.doubts["sizes_order"] = "not in the file, and boxes do not depend on it as expected"
        return
    taken.section["sizes_order"] = order
    layout.reasons.append(
        f"{taken.section['sizes_input']} takes "
        f"{'width, height' if order == 'wh' else 'height, width'}"
    )


def find_scale(graph: GraphFile, taken: InputLayout, layout: Layout, picture: Picture) -> None:
    """Set `multiply` to 1 if a detector finds something only with values of 0 to 255."""
    if layout.best >= NOTHING or taken.section["multiply"][0] == 1.0:
        return
    usual = taken.section["multiply"]
    taken.section["multiply"] = [1.0] * 3
    found = _guess(graph, taken, _run(graph, taken, picture))
    if found is None or found.problem or found.best < SOMETHING or found.section != layout.section:
        taken.section["multiply"] = usual
        return
    taken.doubts["multiply"] = (
        f"the highest score for the sample picture is {found.best:.2f} with values of 0 to 255, "
        f"{layout.best:.2g} with 0 to 1"
    )


def _guess(graph: GraphFile, taken: InputLayout, outputs: Sequence[GraphOutput]) -> Layout | None:
    names = graph.class_names()
    return guess_layout(
        outputs, taken.batch if taken.batched else None, None if names is None else len(names)
    )


def _run(
    graph: GraphFile,
    taken: InputLayout,
    picture: Picture,
    sizes: tuple[int, int] | None = None,
) -> list[GraphOutput]:
    spec = taken.spec("letterbox-centre" if taken.has_free_size else "stretch")
    return run_picture(graph, taken, spec, picture, sizes)
