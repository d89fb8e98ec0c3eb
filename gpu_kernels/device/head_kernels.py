"""Warp kernels for the outputs of a detector: from raw rows to boxes, with NMS.

One source for CUDA and the CPU. `gpu_kernels.heads.candidates` and `box_decoding` do the same with
numpy and are the reference of the tests; `gpu_kernels.heads.gpu_box_decoding` launches the kernels:
first collect the candidates that reach the threshold, then sort them, then apply non-maximum
suppression.

A value that the reference refuses is counted as a fault of its picture.
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
CANDIDATES, BOXES, FAULTS = 0, 1, 2
COUNT_ROWS = 3
# As in `box_decoding` and `score_checks`, whose numbers a kernel cannot import.
MIN_SHARE_INSIDE = wp.constant(wp.float32(0.5))
SCORE_TOLERANCE = wp.constant(wp.float32(1e-3))
TINY = wp.constant(wp.float32(1.17549435e-38))  # the smallest normal float32


@wp.struct
class RowLayout:
    """The layout of the rows of a detector's outputs, and the meaning of their columns.

    Boxes, scores and class numbers are columns of three arrays [N, rows, columns], which can be the
    same one. Columns are -1 if there are none.
    """

    transposed: wp.bool  # [N, columns, rows]
    boxes: wp.int32  # first of four columns
    corners: wp.bool  # x0, y0, x1, y1, instead of centre and size
    box_scale: wp.vec2  # from boxes to pixels of the input
    objectness: wp.int32
    scores: wp.int32  # first column
    classes: wp.int32  # number of score columns
    sigmoid: wp.bool  # scores are logits
    every_class: wp.bool  # each class that reaches the threshold, instead of the best one
    labels: wp.int32  # class numbers
    known_labels: wp.int32  # classes of the manifest


@wp.func
def to_fraction(value: wp.float32, offset: wp.float32, size: wp.float32) -> wp.float32:
    """Convert an input coordinate to a fraction of the picture."""
    return (value - offset) / size


@wp.func
def to_xywh(corners: wp.vec4, placement: wp.vec4) -> wp.vec4:
    """Convert x0, y0, x1, y1 in input pixels to x, y, w, h as fractions of the picture, clipped.

    `placement` is the picture's position in the input: x, y, width, height.
    """
    left = wp.clamp(to_fraction(corners[0], placement[0], placement[2]), 0.0, 1.0)
    top = wp.clamp(to_fraction(corners[1], placement[1], placement[3]), 0.0, 1.0)
    right = wp.clamp(to_fraction(corners[2], placement[0], placement[2]), 0.0, 1.0)
    bottom = wp.clamp(to_fraction(corners[3], placement[1], placement[3]), 0.0, 1.0)
    return wp.vec4(left, top, right - left, bottom - top)


@wp.func
def share_inside(corners: wp.vec4, placement: wp.vec4) -> wp.float32:
    """Return the share of a box's area that is inside the picture."""
    xywh = to_xywh(corners, placement)
    width = to_fraction(corners[2], placement[0], placement[2]) - to_fraction(
        corners[0], placement[0], placement[2]
    )
    height = to_fraction(corners[3], placement[1], placement[3]) - to_fraction(
        corners[1], placement[1], placement[3]
    )
    across = wp.max(xywh[2], 0.0) / wp.max(width, TINY)
    return across * (wp.max(xywh[3], 0.0) / wp.max(height, TINY))


@wp.func
def from_centre(box: wp.vec4) -> wp.vec4:
    """Convert cx, cy, w, h to x0, y0, x1, y1."""
    return wp.vec4(
        box[0] - box[2] / 2.0, box[1] - box[3] / 2.0, box[0] + box[2] / 2.0, box[1] + box[3] / 2.0
    )


@wp.func
def add_candidate(
    number: int,
    index: int,
    label: int,
    confidence: wp.float32,
    corners: wp.vec4,
    placement: wp.vec4,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Add a candidate (x0, y0, x1, y1 in input pixels) that is inside the picture.

    In any order. Row CANDIDATES of `counts` [COUNT_ROWS, N] may exceed the capacity of `candidates`
    [N, capacity, CANDIDATE_COLUMNS].
    """
    if not wp.isfinite(corners):
        counts[FAULTS, number] = 1
    elif share_inside(corners, placement) >= MIN_SHARE_INSIDE:
        row = wp.atomic_add(counts, CANDIDATES, number, 1)
        if row < candidates.shape[1]:
            for side in range(4):
                candidates[number, row, side] = corners[side]
            candidates[number, row, CONFIDENCE] = wp.min(confidence, 1.0)
            candidates[number, row, CLASS] = wp.float32(label)
            candidates[number, row, INDEX] = wp.float32(index)


@wp.func
def value_at(
    values: wp.array3d(dtype=Any), number: int, row: int, column: int, transposed: wp.bool
) -> wp.float32:
    if transposed:
        return wp.float32(values[number, column, row])
    return wp.float32(values[number, row, column])


@wp.func
def corners_at(boxes: wp.array3d(dtype=Any), number: int, row: int, layout: RowLayout) -> wp.vec4:
    """Return the box of a row as x0, y0, x1, y1 in input pixels."""
    box = wp.vec4(
        value_at(boxes, number, row, layout.boxes, layout.transposed) * layout.box_scale[0],
        value_at(boxes, number, row, layout.boxes + 1, layout.transposed) * layout.box_scale[1],
        value_at(boxes, number, row, layout.boxes + 2, layout.transposed) * layout.box_scale[0],
        value_at(boxes, number, row, layout.boxes + 3, layout.transposed) * layout.box_scale[1],
    )
    if layout.corners:
        return box
    return from_centre(box)


@wp.func
def probability(
    score: wp.float32, sigmoid: wp.bool, number: int, counts: wp.array2d(dtype=wp.int32)
) -> wp.float32:
    """Return a score as a probability."""
    if not wp.isfinite(score):
        counts[FAULTS, number] = 1
        return -1.0
    if sigmoid:
        return 0.5 + 0.5 * wp.tanh(score / 2.0)
    if score < -SCORE_TOLERANCE or score > 1.0 + SCORE_TOLERANCE:
        counts[FAULTS, number] = 1
    return score


@wp.kernel(enable_backward=False)
def dense_candidates(
    boxes: wp.array3d(dtype=Any),
    scores: wp.array3d(dtype=Any),
    layout: RowLayout,
    placements: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Collect the candidates of rows with a score per class. One thread per row."""
    number, row = wp.tid()
    factor = wp.float32(1.0)  # a variable, not a constant, to Warp
    if layout.objectness >= 0:
        raw = value_at(scores, number, row, layout.objectness, layout.transposed)
        factor = probability(raw, layout.sigmoid, number, counts)
    best = wp.int32(0)
    best_score = wp.float32(-1.0)
    for label in range(layout.classes):
        raw = value_at(scores, number, row, layout.scores + label, layout.transposed)
        score = factor * probability(raw, layout.sigmoid, number, counts)
        if layout.every_class:
            if score >= threshold:
                add_candidate(
                    number, row * layout.classes + label, label, score,
                    corners_at(boxes, number, row, layout), placements[number], counts, candidates,
                )  # fmt: skip
        elif score > best_score:
            best_score = score
            best = label
    if not layout.every_class and factor >= threshold and best_score >= threshold:
        add_candidate(
            number, row, best, best_score, corners_at(boxes, number, row, layout),
            placements[number], counts, candidates,
        )  # fmt: skip


@wp.kernel(enable_backward=False)
def numbered_candidates(
    boxes: wp.array3d(dtype=Any),
    scores: wp.array3d(dtype=Any),
    labels: wp.array3d(dtype=Any),
    layout: RowLayout,
    placements: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    counts: wp.array2d(dtype=wp.int32),
    candidates: wp.array3d(dtype=wp.float32),
) -> None:
    """Collect the candidates of rows with one score and a class number. One thread per row.

    Rows of score 0 or class -1 are padding.
    """
    number, row = wp.tid()
    raw = value_at(scores, number, row, layout.scores, layout.transposed)
    label = value_at(labels, number, row, layout.labels, layout.transposed)
    if label != -1.0 and raw != 0.0:
        score = probability(raw, layout.sigmoid, number, counts)
        if score >= threshold:
            known = label >= 0.0 and label < wp.float32(layout.known_labels)
            if not known or label != wp.floor(label):
                counts[FAULTS, number] = 1
            else:
                add_candidate(
                    number, row, wp.int32(label), score, corners_at(boxes, number, row, layout),
                    placements[number], counts, candidates,
                )  # fmt: skip


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
    """Collect the candidates of SSD's heads [N, A, 4] and [N, A, C].

    `size` is the input's width and height. One thread per anchor.
    """
    number, anchor = wp.tid()
    height = anchors[anchor, 2] - anchors[anchor, 0]
    width = anchors[anchor, 3] - anchors[anchor, 1]
    centre_x = (anchors[anchor, 1] + anchors[anchor, 3]) / 2.0
    centre_y = (anchors[anchor, 0] + anchors[anchor, 2]) / 2.0
    box = wp.vec4(
        (wp.float32(offsets[number, anchor, 1]) / 10.0 * width + centre_x) * size[0],
        (wp.float32(offsets[number, anchor, 0]) / 10.0 * height + centre_y) * size[1],
        wp.exp(wp.float32(offsets[number, anchor, 3]) / 5.0) * width * size[0],
        wp.exp(wp.float32(offsets[number, anchor, 2]) / 5.0) * height * size[1],
    )
    classes = logits.shape[2]
    for label in range(classes):
        score = probability(wp.float32(logits[number, anchor, label]), True, number, counts)
        if score >= threshold:
            add_candidate(
                number, anchor * classes + label, label, score, from_centre(box),
                placements[number], counts, candidates,
            )  # fmt: skip


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
    return intersection / wp.max(union, TINY)


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


# The output types of engines; instantiated here so that the cubins contain all of them.
FLOAT_TYPES = (wp.float16, wp.float32)
LABEL_TYPES = (wp.int32, wp.int64)
for _dtype in FLOAT_TYPES:
    _rows = wp.array3d(dtype=_dtype)
    wp.overload(dense_candidates, {"boxes": _rows, "scores": _rows})
    wp.overload(ssd_candidates, {"offsets": _rows, "logits": _rows})
    for _label in (_dtype, *LABEL_TYPES):
        wp.overload(
            numbered_candidates,
            {"boxes": _rows, "scores": _rows, "labels": wp.array3d(dtype=_label)},
        )
