"""Kernels of pictures, in Warp: one source that runs on CUDA, and on the CPU, where it is tested.

What the kernels are given is made in `gpu_kernels.device.gpu_preprocessing`; the CPU's own path is
`preprocess` and `motion` with OpenCV and numpy, and these are what the tests compare with. Those of
a network's outputs are in `gpu_kernels.device.head_kernels`.

Sampling is that of cv2.resize with INTER_LINEAR: the centre of an output pixel maps to
(d + 0.5) * source / output - 0.5, the four pixels around it are weighed, edges repeat, and the
value is rounded to a whole number of 0 to 255, as it is in the uint8 picture of the CPU's path.
"""

from typing import Any

import warp as wp

# Forms of pictures
BGR = 0
NV12 = 1  # a plane of luma, and one of half size with Cb and Cr in turn


# Output rows of a thread of `fit_regions`: what belongs to a column is worked out once for them.
ROWS = 16


@wp.struct
class Axis:
    """The rows, or the columns, of a region: where they lie in memory, and where they go.

    Upright pixel i is row (or column) `first + turn * i` as it is stored. A pixel's place in the
    buffer is the sum of what its row and its column say. Made by `device`.
    """

    size: wp.int32  # pixels of the region
    first: wp.int32
    turn: wp.int32  # 1, or -1 where the picture is stored the other way round
    start: wp.int32  # bytes; where the picture, or its luma, begins is said by its columns alone
    step: wp.int32  # bytes from one to the next
    chroma_start: wp.int32
    chroma_step: wp.int32  # bytes from one pair of them to the next
    to: wp.int32  # the first pixel in what is made
    to_size: wp.int32
    scale: wp.float32  # size / to_size


@wp.struct
class Item:
    """A region of a picture, and how its colours become RGB."""

    form: wp.int32
    down: Axis
    across: Axis
    # Luma's zero and scale, and what Cr adds to red, Cb and Cr to green, Cb to blue.
    zero: wp.float32
    scale: wp.float32
    red_cr: wp.float32
    green_cb: wp.float32
    green_cr: wp.float32
    blue_cb: wp.float32


@wp.struct
class Between:
    """The two rows, or columns, that a sample lies between; places in bytes."""

    one: wp.uint32
    other: wp.uint32
    chroma_one: wp.uint32
    chroma_other: wp.uint32
    share: wp.float32  # of the other one


# Warp's own indexing looks whether an index counts from the end, and multiplies by a step that it
# knows only when it runs: eight instructions for each byte. These places are never negative, and
# the arrays have no gaps.


@wp.func_native("return (buffer.data + column + row)[further];")
def byte_of(
    buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32, further: wp.uint32
) -> wp.uint8: ...


@wp.func_native("images.data[place] = value;")
def put(images: wp.array4d(dtype=Any), place: wp.uint32, value: Any): ...


@wp.func
def byte_at(
    buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32, further: int
) -> wp.float32:
    return wp.float32(byte_of(buffer, column, row, wp.uint32(further)))


@wp.func
def whole(value: wp.float32) -> wp.float32:
    """The nearest whole number of one that is not negative."""
    return wp.floor(value + 0.5)


@wp.func
def rounded(value: wp.float32) -> wp.float32:
    return whole(wp.clamp(value, 0.0, 255.0))


@wp.func
def place_of(axis: Axis, index: int) -> wp.uint32:
    return wp.uint32(axis.start + (axis.first + axis.turn * index) * axis.step)


@wp.func
def chroma_place_of(axis: Axis, index: int) -> wp.uint32:
    return wp.uint32(axis.chroma_start + ((axis.first + axis.turn * index) >> 1) * axis.chroma_step)


@wp.func
def between(axis: Axis, index: int) -> Between:
    """Where a row, or column, of what is made lies in the region; one outside of it repeats the
    edge."""
    at = (wp.float32(index) + 0.5) * axis.scale - 0.5
    before = wp.floor(at)
    one = wp.clamp(int(before), 0, axis.size - 1)
    other = wp.clamp(int(before) + 1, 0, axis.size - 1)
    found = Between()
    found.one = place_of(axis, one)
    found.other = place_of(axis, other)
    found.chroma_one = chroma_place_of(axis, one)
    found.chroma_other = chroma_place_of(axis, other)
    found.share = at - before
    return found


@wp.func
def bgr_at(buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32) -> wp.vec3:
    """A pixel as red, green, blue."""
    return wp.vec3(
        byte_at(buffer, column, row, 2),
        byte_at(buffer, column, row, 1),
        byte_at(buffer, column, row, 0),
    )


@wp.func
def nv12_at(
    buffer: wp.array(dtype=wp.uint8),
    item: Item,
    column: wp.uint32,
    row: wp.uint32,
    chroma_column: wp.uint32,
    chroma_row: wp.uint32,
) -> wp.vec3:
    grey = (byte_at(buffer, column, row, 0) - item.zero) * item.scale
    cb = byte_at(buffer, chroma_column, chroma_row, 0) - 128.0
    cr = byte_at(buffer, chroma_column, chroma_row, 1) - 128.0
    return wp.vec3(
        rounded(grey + item.red_cr * cr),
        rounded(grey + item.green_cb * cb + item.green_cr * cr),
        rounded(grey + item.blue_cb * cb),
    )


@wp.func
def mixed(one: wp.vec3, other: wp.vec3, share: wp.float32) -> wp.vec3:
    return one * (1.0 - share) + other * share


@wp.func
def in_row(
    buffer: wp.array(dtype=wp.uint8),
    item: Item,
    columns: Between,
    row: wp.uint32,
    chroma_row: wp.uint32,
) -> wp.vec3:
    """A sample between two pixels of a row."""
    if item.form == BGR:
        one = bgr_at(buffer, columns.one, row)
        other = bgr_at(buffer, columns.other, row)
        return mixed(one, other, columns.share)
    return mixed(
        nv12_at(buffer, item, columns.one, row, columns.chroma_one, chroma_row),
        nv12_at(buffer, item, columns.other, row, columns.chroma_other, chroma_row),
        columns.share,
    )


@wp.func
def sampled(
    buffer: wp.array(dtype=wp.uint8), item: Item, rows: Between, columns: Between
) -> wp.vec3:
    """A pixel of what is made, as red, green, blue."""
    value = in_row(buffer, item, columns, rows.one, rows.chroma_one)
    # Right on a row the other one counts for nothing: so it is when 1080 rows become 360.
    if rows.share > 0.0:
        lower = in_row(buffer, item, columns, rows.other, rows.chroma_other)
        value = mixed(value, lower, rows.share)
    return wp.vec3(whole(value[0]), whole(value[1]), whole(value[2]))


@wp.kernel(enable_backward=False, grid_stride=False)
def fit_regions(
    buffer: wp.array(dtype=wp.uint8),
    items: wp.array(dtype=Item),
    multiply: wp.vec3,
    add: wp.vec3,
    pad: wp.float32,
    images: wp.array4d(dtype=Any),
) -> None:
    """Regions into a model's input, RGB [N, 3, H, W], `value * multiply + add`. One thread a
    column of ROWS rows; those beside each other read and write beside each other."""
    thread = wp.uint32(wp.tid())
    high = images.shape[2]
    wide = images.shape[3]
    strips = wp.uint32((high + ROWS - 1) / ROWS)
    strip = thread / wp.uint32(wide)
    number = strip / strips
    first = int(strip - number * strips) * ROWS
    x = int(thread - strip * wp.uint32(wide))
    item = items[int(number)]
    column = x - item.across.to
    within = column >= 0 and column < item.across.to_size
    columns = between(item.across, column)
    plane = wp.uint32(high * wide)
    place = number * wp.uint32(3) * plane + wp.uint32(first * wide + x)
    for y in range(first, wp.min(first + ROWS, high)):
        row = y - item.down.to
        value = wp.vec3(pad, pad, pad)
        if within and row >= 0 and row < item.down.to_size:
            value = sampled(buffer, item, between(item.down, row), columns)
        for channel in range(3):
            put(
                images,
                place + wp.uint32(channel) * plane,
                images.dtype(value[channel] * multiply[channel] + add[channel]),
            )
        place += wp.uint32(wide)


def fit_threads(count: int, height: int, width: int) -> int:
    """Threads of `fit_regions` for images [count, 3, height, width]."""
    return count * -(-height // ROWS) * width


@wp.kernel(enable_backward=False)
def cut_regions(
    buffer: wp.array(dtype=wp.uint8),
    items: wp.array(dtype=Item),
    offsets: wp.array(dtype=wp.int64),
    crops: wp.array(dtype=wp.uint8),
) -> None:
    """Regions as pictures, BGR, packed one after the other: those that go back to be kept. One
    thread a pixel of [N, highest, widest]."""
    number, y, x = wp.tid()
    item = items[number]
    if y < item.down.to_size and x < item.across.to_size:
        value = sampled(buffer, item, between(item.down, y), between(item.across, x))
        at = offsets[number] + wp.int64((y * item.across.to_size + x) * 3)
        for channel in range(3):
            crops[at + wp.int64(2 - channel)] = wp.uint8(value[channel])


@wp.func
def grey_at(buffer: wp.array(dtype=wp.uint8), item: Item, y: int, x: int) -> wp.float32:
    """Luma, as OpenCV weighs red, green and blue."""
    row = place_of(item.down, y)
    column = place_of(item.across, x)
    if item.form == NV12:
        luma = byte_at(buffer, column, row, 0)
        return wp.clamp((luma - item.zero) * item.scale, 0.0, 255.0)
    value = bgr_at(buffer, column, row)
    return 0.299 * value[0] + 0.587 * value[1] + 0.114 * value[2]


@wp.func
def covered(index: int, low: wp.float32, high: wp.float32) -> wp.float32:
    """How much of pixel `index` lies between two places."""
    return wp.min(wp.float32(index) + 1.0, high) - wp.max(wp.float32(index), low)


@wp.kernel(enable_backward=False)
def shrink_to_grey(
    buffer: wp.array(dtype=wp.uint8), items: wp.array(dtype=Item), grey: wp.array2d(dtype=wp.uint8)
) -> None:
    """A picture, the only item, as a small grey one: the mean over the area that a pixel covers, as
    INTER_AREA."""
    row, column = wp.tid()
    item = items[0]
    tall = wp.float32(item.down.size) / wp.float32(grey.shape[0])
    broad = wp.float32(item.across.size) / wp.float32(grey.shape[1])
    top = wp.float32(row) * tall
    left = wp.float32(column) * broad
    total = wp.float32(0.0)
    for y in range(int(top), wp.min(int(wp.ceil(top + tall)), item.down.size)):
        for x in range(int(left), wp.min(int(wp.ceil(left + broad)), item.across.size)):
            share = covered(y, top, top + tall) * covered(x, left, left + broad)
            total += share * grey_at(buffer, item, y, x)
    grey[row, column] = wp.uint8(rounded(total / (tall * broad)))


@wp.kernel(enable_backward=False)
def tile_change(
    one: wp.array2d(dtype=wp.uint8),
    other: wp.array2d(dtype=wp.uint8),
    change: wp.array2d(dtype=wp.float32),
) -> None:
    """Motion energy: the mean difference of two grey pictures over each tile, grey levels."""
    row, column = wp.tid()
    tall = wp.float32(one.shape[0]) / wp.float32(change.shape[0])
    broad = wp.float32(one.shape[1]) / wp.float32(change.shape[1])
    top = wp.float32(row) * tall
    left = wp.float32(column) * broad
    total = wp.float32(0.0)
    for y in range(int(top), wp.min(int(wp.ceil(top + tall)), one.shape[0])):
        for x in range(int(left), wp.min(int(wp.ceil(left + broad)), one.shape[1])):
            share = covered(y, top, top + tall) * covered(x, left, left + broad)
            total += share * wp.abs(wp.float32(one[y, x]) - wp.float32(other[y, x]))
    change[row, column] = total / (tall * broad)


# What an engine may take; named here so that the cubins hold both.
for _dtype in (wp.float16, wp.float32):
    wp.overload(fit_regions, {"images": wp.array4d(dtype=_dtype)})
