"""Run a graph on pictures to find what its file does not show."""

from collections.abc import Sequence

import numpy as np

from gpu_kernels.inspection.graph_file import GraphFile, GraphOutput
from gpu_kernels.inspection.input_layout import InputLayout, run_picture
from gpu_kernels.inspection.output_layout import Layout, guess_layout
from gpu_kernels.preprocessing.letterbox import Picture

# A trained detector scores less than the first for all boxes of a photograph of a cat only if it is
# fed wrongly, and more than the second if it sees one. MegadetectorLite: 0.001 with values of 0 to
# 1, 0.32 with 0 to 255, for which it was trained.
NOTHING, SOMETHING = 0.05, 0.2


def look_at_outputs(graph: GraphFile, taken: InputLayout, picture: Picture) -> Layout | None:
    """Return the layout of a graph's outputs, by a run on a picture and one on noise.

    Noise is added because a graph with suppression inside may find nothing in the picture.
    """
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, picture.shape).astype(np.uint8)
    best: Layout | None = None
    for tried in (picture, noise):
        outputs = _run(graph, taken, tried)
        layout = guess_layout(_with_declared_columns(graph, outputs), _batch(taken))
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


def find_sizes_order(
    graph: GraphFile, taken: InputLayout, layout: Layout, picture: Picture
) -> None:
    """Set `sizes_order` by a run with a wide size: which coordinates become larger."""
    found = guess_layout(_run(graph, taken, picture, (4000, 1000)), _batch(taken))
    if found is None or found.boxes is None or not len(found.boxes):
        taken.doubts["sizes_order"] = "not in the file"
        return
    boxes = np.abs(found.boxes.astype(np.float64))
    wide = np.median(boxes[:, [0, 2]]) >= np.median(boxes[:, [1, 3]])
    taken.section["sizes_order"] = "wh" if wide else "hw"
    layout.reasons.append(
        f"{taken.section['sizes_input']} takes {'width, height' if wide else 'height, width'}"
    )


def find_scale(graph: GraphFile, taken: InputLayout, layout: Layout, picture: Picture) -> None:
    """Set `multiply` to 1 if a detector finds something only with values of 0 to 255."""
    if layout.best >= NOTHING or taken.section["multiply"][0] == 1.0:
        return
    usual = taken.section["multiply"]
    taken.section["multiply"] = [1.0] * 3
    found = guess_layout(_run(graph, taken, picture), _batch(taken))
    if found is None or found.best < SOMETHING or found.section != layout.section:
        taken.section["multiply"] = usual
        return
    taken.doubts["multiply"] = (
        f"the highest score for the sample picture is {found.best:.2f} with values of 0 to 255, "
        f"{layout.best:.2g} with 0 to 1"
    )


def _batch(taken: InputLayout) -> int | None:
    return taken.batch if taken.batched else None


def _run(
    graph: GraphFile,
    taken: InputLayout,
    picture: Picture,
    sizes: tuple[int, int] | None = None,
) -> list[GraphOutput]:
    spec = taken.spec("letterbox-centre" if taken.has_free_size else "stretch")
    return run_picture(graph, taken, spec, picture, sizes)
