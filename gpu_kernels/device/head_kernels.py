"""Kernels of a detector's outputs, in Warp: from raw rows to the boxes that are kept.

One source for CUDA and the CPU. Formulas and rules are those of `gpu_kernels.heads.box_decoding`, which
does the same with numpy and is what the tests compare with; who launches them is
`gpu_kernels.heads.gpu_box_decoding`. In turn: candidates that reach the threshold are gathered, put in
order, and each one that a stronger one of its class overlaps too much is left out.
"""

from typing import Any

import warp as wp

# Sums and products are rounded one by one, as numpy's are, so that both keep the same boxes.
wp.set_module_options({"fuse_fp": False})

# Columns of a candidate.
X0, Y0, X1, Y1, CONFIDENCE, CLASS, PLACE = range(7)
CANDIDATE_COLUMNS = 7
# Columns of a box that is kept: x, y, w, h as fractions of the picture, confidence, class.
KEPT_COLUMNS = 6
# Rows of `totals`.
FOUND, KEPT = 0, 1


@wp.func
def fraction(value: wp.float32, offset: wp.float32, size: wp.float32) -> wp.float32:
    """A place in the input as one of the picture, inside it."""
    return wp.clamp((value - offset) / size, 0.0, 1.0)


@wp.func
def in_picture(corners: wp.vec4, fitted: wp.vec4) -> wp.vec4:
    """x, y, w, h as fractions of the picture, of x0, y0, x1, y1 in input pixels.

    `fitted` is where the picture lies in the input: x, y, width, height.
    """
    left = fraction(corners[0], fitted[0], fitted[2])
    top = fraction(corners[1], fitted[1], fitted[3])
    wide = fraction(corners[2], fitted[0], fitted[2]) - left
    high = fraction(corners[3], fitted[1], fitted[3]) - top
    return wp.vec4(left, top, wide, high)


@wp.func
def collect_candidates(
    number: int,
    place: int,
    label: int,
    confidence: wp.float32,
    centre: wp.vec4,
    fitted: wp.vec4,
    totals: wp.array2d(dtype=wp.int32),
    found: wp.array3d(dtype=wp.float32),
) -> None:
    """Add a candidate (cx, cy, w, h in input pixels) that has numbers and an area."""
    corners = wp.vec4(
        centre[0] - centre[2] / 2.0,
        centre[1] - centre[3] / 2.0,
        centre[0] + centre[2] / 2.0,
        centre[1] + centre[3] / 2.0,
    )
    shown = in_picture(corners, fitted)
    finite = wp.isfinite(corners) and wp.isfinite(confidence)
    if finite and shown[2] > 0.0 and shown[3] > 0.0:
        row = wp.atomic_add(totals, FOUND, number, 1)
        if row < found.shape[1]:
            for side in range(4):
                found[number, row, side] = corners[side]
            found[number, row, CONFIDENCE] = confidence
            found[number, row, CLASS] = wp.float32(label)
            found[number, row, PLACE] = wp.float32(place)


@wp.kernel(enable_backward=False)
def candidates_of_yolo(
    rows: wp.array3d(dtype=Any),
    fitted: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    totals: wp.array2d(dtype=wp.int32),
    found: wp.array3d(dtype=wp.float32),
) -> None:
    """Rows [N, A, 5 + C] (cx, cy, w, h, objectness, scores) that reach the threshold, in any
    order. `totals` [2, N], row FOUND, may exceed the room in `found` [N, room, COLUMNS]. One
    thread a row."""
    number, place = wp.tid()
    objectness = wp.float32(rows[number, place, 4])
    if objectness >= threshold:
        best = wp.int32(0)  # a variable, not a constant, to Warp
        score = wp.float32(-1.0)
        for label in range(rows.shape[2] - 5):
            product = objectness * wp.float32(rows[number, place, 5 + label])
            if product > score:
                score = product
                best = label
        if score >= threshold:
            centre = wp.vec4(
                wp.float32(rows[number, place, 0]),
                wp.float32(rows[number, place, 1]),
                wp.float32(rows[number, place, 2]),
                wp.float32(rows[number, place, 3]),
            )
            collect_candidates(number, place, best, score, centre, fitted[number], totals, found)


@wp.kernel(enable_backward=False)
def candidates_of_ssd(
    offsets: wp.array3d(dtype=Any),
    logits: wp.array3d(dtype=Any),
    anchors: wp.array2d(dtype=wp.float32),
    size: wp.vec2,
    fitted: wp.array(dtype=wp.vec4),
    threshold: wp.float32,
    totals: wp.array2d(dtype=wp.int32),
    found: wp.array3d(dtype=wp.float32),
) -> None:
    """The same of SSD's heads [N, A, 4] and [N, A, C]. One thread an anchor; `size` is the input's
    width and height."""
    number, anchor = wp.tid()
    high = anchors[anchor, 2] - anchors[anchor, 0]
    wide = anchors[anchor, 3] - anchors[anchor, 1]
    across = (anchors[anchor, 1] + anchors[anchor, 3]) / 2.0
    down = (anchors[anchor, 0] + anchors[anchor, 2]) / 2.0
    centre = wp.vec4(
        (wp.float32(offsets[number, anchor, 1]) / 10.0 * wide + across) * size[0],
        (wp.float32(offsets[number, anchor, 0]) / 10.0 * high + down) * size[1],
        wp.exp(wp.float32(offsets[number, anchor, 3]) / 5.0) * wide * size[0],
        wp.exp(wp.float32(offsets[number, anchor, 2]) / 5.0) * high * size[1],
    )
    classes = logits.shape[2]
    for label in range(classes):
        score = 0.5 + 0.5 * wp.tanh(wp.float32(logits[number, anchor, label]) / 2.0)
        if score >= threshold:
            place = anchor * classes + label
            collect_candidates(number, place, label, score, centre, fitted[number], totals, found)


@wp.func
def goes_before(found: wp.array3d(dtype=wp.float32), number: int, one: int, other: int) -> bool:
    """By falling confidence, then by class, then in the order of the network's rows."""
    by_confidence = found[number, one, CONFIDENCE] - found[number, other, CONFIDENCE]
    by_class = found[number, other, CLASS] - found[number, one, CLASS]
    if by_confidence != 0.0:
        return by_confidence > 0.0
    if by_class != 0.0:
        return by_class > 0.0
    return found[number, one, PLACE] < found[number, other, PLACE]


@wp.kernel(enable_backward=False)
def put_in_order(
    totals: wp.array2d(dtype=wp.int32),
    found: wp.array3d(dtype=wp.float32),
    ordered: wp.array3d(dtype=wp.float32),
) -> None:
    """Candidates [N, room, COLUMNS] in order; none of a picture that has more than there is room
    for. One thread a candidate: its place is the number of those before it."""
    number, row = wp.tid()
    count = totals[FOUND, number]
    if row < count and count <= found.shape[1]:
        before = wp.int32(0)
        for other in range(count):
            if goes_before(found, number, other, row):
                before += 1
        for column in range(CANDIDATE_COLUMNS):
            ordered[number, before, column] = found[number, row, column]


@wp.func
def area(candidates: wp.array3d(dtype=wp.float32), number: int, row: int) -> wp.float32:
    wide = candidates[number, row, X1] - candidates[number, row, X0]
    high = candidates[number, row, Y1] - candidates[number, row, Y0]
    return wide * high


@wp.func
def overlap(
    candidates: wp.array3d(dtype=wp.float32), number: int, one: int, other: int
) -> wp.float32:
    """Intersection over union of two candidates of a picture."""
    right = wp.min(candidates[number, one, X1], candidates[number, other, X1])
    bottom = wp.min(candidates[number, one, Y1], candidates[number, other, Y1])
    wide = right - wp.max(candidates[number, one, X0], candidates[number, other, X0])
    high = bottom - wp.max(candidates[number, one, Y0], candidates[number, other, Y0])
    shared = wp.max(wide, 0.0) * wp.max(high, 0.0)
    total = area(candidates, number, one) + area(candidates, number, other) - shared
    return shared / wp.max(total, 1.17549435e-38)  # the least float32 that is not 0


@wp.kernel(enable_backward=False)
def keep_strongest(
    ordered: wp.array3d(dtype=wp.float32),
    fitted: wp.array(dtype=wp.vec4),
    most_overlap: wp.float32,
    totals: wp.array2d(dtype=wp.int32),
    chosen: wp.array2d(dtype=wp.int32),
    kept: wp.array3d(dtype=wp.float32),
) -> None:
    """Candidates that none stronger of their class overlaps by more than `most_overlap`.

    One thread a picture, since each choice rests on those before; it compares with what was kept,
    not with all. `kept` [room, N, KEPT_COLUMNS] has the strongest boxes of all pictures first, so
    that what comes back to the host is its beginning; `totals`, row KEPT, says how many.
    """
    number = wp.tid()
    count = totals[FOUND, number]
    if count > ordered.shape[1]:
        return
    some = wp.int32(0)
    for row in range(count):
        alone = wp.bool(True)  # a variable, not a constant
        for place in range(some):
            rival = chosen[number, place]
            same = ordered[number, rival, CLASS] == ordered[number, row, CLASS]
            if same and overlap(ordered, number, rival, row) > most_overlap:
                alone = False
                break
        if alone:
            chosen[number, some] = row
            corners = wp.vec4(
                ordered[number, row, X0],
                ordered[number, row, Y0],
                ordered[number, row, X1],
                ordered[number, row, Y1],
            )
            shown = in_picture(corners, fitted[number])
            for side in range(4):
                kept[some, number, side] = shown[side]
            kept[some, number, 4] = ordered[number, row, CONFIDENCE]
            kept[some, number, 5] = ordered[number, row, CLASS]
            some += 1
    totals[KEPT, number] = some


# What an engine may give; named here so that the cubins hold both.
for _dtype in (wp.float16, wp.float32):
    _rows = wp.array3d(dtype=_dtype)
    wp.overload(candidates_of_yolo, {"rows": _rows})
    wp.overload(candidates_of_ssd, {"offsets": _rows, "logits": _rows})
