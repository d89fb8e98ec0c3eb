"""Warp kernels for the outputs of a detector: from raw rows to boxes, with NMS.

One source for CUDA and the CPU. `gpu_kernels.heads.box_decoding` does the same with numpy and is
the reference of the tests; `gpu_kernels.heads.gpu_box_decoding` launches the kernels: first
collect the candidates that reach the threshold, then sort them, then apply non-maximum
suppression.
"""

from typing import Any

import warp as wp

# Round sums and products separately, as numpy does, so that both select the same boxes.
wp.set_module_options({"fuse_fp": False})

# Columns of a candidate.
X0, Y0, X1, Y1, CONFIDENCE, CLASS, INDEX = range(7)
CANDIDATE_COLUMNS = 7
# Columns of a box: x, y, w, h as fractions of the picture, confidence, class.
BOX_COLUMNS = 6
# Rows of `counts`.
CANDIDATES, BOXES = 0, 1


@wp.func
def to_fraction(value: wp.float32, offset: wp.float32, size: wp.float32) -> wp.float32:
    """Convert an input coordinate to a fraction of the picture, clipped to it."""
    return wp.clamp((value - offset) / size, 0.0, 1.0)


@wp.func
def to_xywh(corners: wp.vec4, placement: wp.vec4) -> wp.vec4:
    """Convert x0, y0, x1, y1 in input pixels to x, y, w, h as fractions of the picture.

    `placement` is the picture's position in the input: x, y, width, height.
    """
    left = to_fraction(corners[0], placement[0], placement[2])
    top = to_fraction(corners[1], placement[1], placement[3])
    width = to_fraction(corners[2], placement[0], placement[2]) - left
    height = to_fraction(corners[3], placement[1], placement[3]) - top
    return wp.vec4(left, top, width, height)


@wp.func
def add_candidate(
    number: int,
    index: int,
    label: int,
    confidence: wp.float32,
    centre: wp.vec4,
    placement: wp.vec4,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Add a candidate (cx, cy, w, h in input pixels) if it is finite and has an area."""
    corners = wp.vec4(
        centre[0] - centre[2] / 2.0,
        centre[1] - centre[3] / 2.0,
        centre[0] + centre[2] / 2.0,
        centre[1] + centre[3] / 2.0,
    )
    xywh = to_xywh(corners, placement)
    finite = wp.isfinite(corners) and wp.isfinite(confidence)
    if finite and xywh[2] > 0.0 and xywh[3] > 0.0:
        row = wp.atomic_add(counts, CANDIDATES, number, 1)
        if row < candidates.shape[1]:
            for side in range(4):
                candidates[number, row, side] = corners[side]
            candidates[number, row, CONFIDENCE] = confidence
            candidates[number, row, CLASS] = wp.float32(label)
            candidates[number, row, INDEX] = wp.float32(index)


@wp.kernel(enable_backward=False)
def yolo_candidates(
    rows: wp.array3d(dtype=Any),
    placements: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Collect the rows [N, A, 5 + C] (cx, cy, w, h, objectness, scores) that reach the threshold.

    In any order. Row CANDIDATES of `counts` [2, N] may exceed the capacity of `candidates`
    [N, capacity, CANDIDATE_COLUMNS]. One thread per row.
    """
    number, index = wp.tid()
    objectness = wp.float32(rows[number, index, 4])
    if objectness >= threshold:
        best = wp.int32(0)  # a variable, not a constant, to Warp
        score = wp.float32(-1.0)
        for label in range(rows.shape[2] - 5):
            product = objectness * wp.float32(rows[number, index, 5 + label])
            if product > score:
                score = product
                best = label
        if score >= threshold:
            centre = wp.vec4(
                wp.float32(rows[number, index, 0]),
                wp.float32(rows[number, index, 1]),
                wp.float32(rows[number, index, 2]),
                wp.float32(rows[number, index, 3]),
            )
            add_candidate(
                number, index, best, score, centre, placements[number], counts, candidates
            )


@wp.kernel(enable_backward=False)
def ssd_candidates(
    offsets: wp.array3d(dtype=Any),
    logits: wp.array3d(dtype=Any),
    anchors: wp.array2d(dtype=wp.float32),
    size: wp.vec2,
    placements: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Collect the candidates of SSD's heads [N, A, 4] and [N, A, C], as `yolo_candidates` does.

    `size` is the input's width and height. One thread per anchor.
    """
    number, anchor = wp.tid()
    height = anchors[anchor, 2] - anchors[anchor, 0]
    width = anchors[anchor, 3] - anchors[anchor, 1]
    centre_x = (anchors[anchor, 1] + anchors[anchor, 3]) / 2.0
    centre_y = (anchors[anchor, 0] + anchors[anchor, 2]) / 2.0
    centre = wp.vec4(
        (wp.float32(offsets[number, anchor, 1]) / 10.0 * width + centre_x) * size[0],
        (wp.float32(offsets[number, anchor, 0]) / 10.0 * height + centre_y) * size[1],
        wp.exp(wp.float32(offsets[number, anchor, 3]) / 5.0) * width * size[0],
        wp.exp(wp.float32(offsets[number, anchor, 2]) / 5.0) * height * size[1],
    )
    classes = logits.shape[2]
    for label in range(classes):
        score = 0.5 + 0.5 * wp.tanh(wp.float32(logits[number, anchor, label]) / 2.0)
        if score >= threshold:
            index = anchor * classes + label
            add_candidate(
                number, index, label, score, centre, placements[number], counts, candidates
            )


@wp.func
def precedes(candidates: wp.array3d(dtype=wp.float32), number: int, one: int, other: int) -> bool:
    """Compare two candidates: falling confidence, then class, then the order of the output."""
    by_confidence = candidates[number, one, CONFIDENCE] - candidates[number, other, CONFIDENCE]
    by_class = candidates[number, other, CLASS] - candidates[number, one, CLASS]
    if by_confidence != 0.0:
        return by_confidence > 0.0
    if by_class != 0.0:
        return by_class > 0.0
    return candidates[number, one, INDEX] < candidates[number, other, INDEX]


@wp.kernel(enable_backward=False)
def sort_candidates(
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
    ranked: wp.array3d(dtype=wp.float32),
) -> None:
    """Sort candidates [N, capacity, CANDIDATE_COLUMNS]; skip pictures that exceed the capacity.

    One thread per candidate: its rank is the number of candidates that precede it.
    """
    number, row = wp.tid()
    count = counts[CANDIDATES, number]
    if row < count and count <= candidates.shape[1]:
        rank = wp.int32(0)
        for other in range(count):
            if precedes(candidates, number, other, row):
                rank += 1
        for column in range(CANDIDATE_COLUMNS):
            ranked[number, rank, column] = candidates[number, row, column]


@wp.func
def area(candidates: wp.array3d(dtype=wp.float32), number: int, row: int) -> wp.float32:
    width = candidates[number, row, X1] - candidates[number, row, X0]
    height = candidates[number, row, Y1] - candidates[number, row, Y0]
    return width * height


@wp.func
def iou(candidates: wp.array3d(dtype=wp.float32), number: int, one: int, other: int) -> wp.float32:
    """Return the intersection over union of two candidates of a picture."""
    right = wp.min(candidates[number, one, X1], candidates[number, other, X1])
    bottom = wp.min(candidates[number, one, Y1], candidates[number, other, Y1])
    width = right - wp.max(candidates[number, one, X0], candidates[number, other, X0])
    height = bottom - wp.max(candidates[number, one, Y0], candidates[number, other, Y0])
    intersection = wp.max(width, 0.0) * wp.max(height, 0.0)
    union = area(candidates, number, one) + area(candidates, number, other) - intersection
    return intersection / wp.max(union, 1.17549435e-38)  # the smallest normal float32


@wp.kernel(enable_backward=False)
def non_maximum_suppression(
    ranked: wp.array3d(dtype=wp.float32),
    placements: wp.array(dtype=wp.vec4),
    max_iou: wp.float32,
    counts: wp.array2d(dtype=wp.int32),
    selected: wp.array2d(dtype=wp.int32),
    boxes: wp.array3d(dtype=wp.float32),
) -> None:
    """Select the candidates whose IoU with each stronger one of their class is within `max_iou`.

    One thread per picture, since each selection depends on the earlier ones; a candidate is
    compared with the selected ones only. `boxes` [capacity, N, BOX_COLUMNS] begins with the
    strongest boxes of all pictures, so that only its beginning is copied to the host; row BOXES of
    `counts` is their number.
    """
    number = wp.tid()
    count = counts[CANDIDATES, number]
    if count > ranked.shape[1]:
        return
    total = wp.int32(0)
    for row in range(count):
        keep = wp.bool(True)  # a variable, not a constant
        for place in range(total):
            stronger = selected[number, place]
            same_class = ranked[number, stronger, CLASS] == ranked[number, row, CLASS]
            if same_class and iou(ranked, number, stronger, row) > max_iou:
                keep = False
                break
        if keep:
            selected[number, total] = row
            corners = wp.vec4(
                ranked[number, row, X0],
                ranked[number, row, Y0],
                ranked[number, row, X1],
                ranked[number, row, Y1],
            )
            xywh = to_xywh(corners, placements[number])
            for side in range(4):
                boxes[total, number, side] = xywh[side]
            boxes[total, number, 4] = ranked[number, row, CONFIDENCE]
            boxes[total, number, 5] = ranked[number, row, CLASS]
            total += 1
    counts[BOXES, number] = total


# The output types of engines; instantiated here so that the cubins contain both.
for _dtype in (wp.float16, wp.float32):
    _rows = wp.array3d(dtype=_dtype)
    wp.overload(yolo_candidates, {"rows": _rows})
    wp.overload(ssd_candidates, {"offsets": _rows, "logits": _rows})
