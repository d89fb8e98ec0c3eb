"""Kernels of pictures, in Warp: one source that runs on CUDA, and on the CPU, where it is tested.

What the kernels are given is made in `gpu_kernels.device`; the CPU's own path is `preprocess` and
`motion` with OpenCV and numpy, and these are what the tests compare with. Those of a network's
outputs are in `gpu_kernels.head_kernels`.

Sampling is that of cv2.resize with INTER_LINEAR: the centre of an output pixel maps to
(d + 0.5) * source / output - 0.5, the four pixels around it are weighed, edges repeat, and the
value is rounded to a whole number of 0 to 255, as it is in the uint8 picture of the CPU's path.
"""

from typing import Any

import warp as wp

# Forms of pictures
BGR = 0
NV12 = 1  # a plane of luma, and one of half size with Cb and Cr in turn


@wp.struct
class Item:
    """A region of a picture, and where it goes in the input. Numbers of `Picture` in `device`."""

    luma: wp.int64  # where it begins in the buffer, bytes; of BGR, the picture itself
    chroma: wp.int64
    pitch: wp.int32  # bytes from row to row
    chroma_pitch: wp.int32
    form: wp.int32
    turns: wp.int32  # quarter turns, counterclockwise, that make it upright
    height: wp.int32  # of the upright picture, pixels
    width: wp.int32
    top: wp.int32  # of the region, in the upright picture
    left: wp.int32
    high: wp.int32
    wide: wp.int32
    to_top: wp.int32  # where it goes
    to_left: wp.int32
    to_high: wp.int32
    to_wide: wp.int32
    # Luma's zero and scale, and what Cr adds to red, Cb and Cr to green, Cb to blue.
    zero: wp.float32
    scale: wp.float32
    red_cr: wp.float32
    green_cb: wp.float32
    green_cr: wp.float32
    blue_cb: wp.float32


@wp.func
def rounded(value: wp.float32) -> wp.float32:
    return wp.floor(wp.clamp(value, 0.0, 255.0) + 0.5)


@wp.func
def stored_at(item: Item, y: int, x: int) -> wp.vec2i:
    """Row and column in memory of an upright pixel."""
    row = y
    column = x
    if item.turns == 1:
        row = x
        column = item.height - 1 - y
    elif item.turns == 2:
        row = item.height - 1 - y
        column = item.width - 1 - x
    elif item.turns == 3:
        row = item.width - 1 - x
        column = y
    return wp.vec2i(row, column)


@wp.func
def byte_at(buffer: wp.array(dtype=wp.uint8), start: wp.int64, pitch: int, row: int, column: int):
    return wp.float32(buffer[start + wp.int64(row) * wp.int64(pitch) + wp.int64(column)])


@wp.func
def pixel(buffer: wp.array(dtype=wp.uint8), item: Item, y: int, x: int) -> wp.vec3:
    """An upright pixel as red, green, blue."""
    at = stored_at(item, y, x)
    if item.form == BGR:
        blue = byte_at(buffer, item.luma, item.pitch, at[0], at[1] * 3)
        green = byte_at(buffer, item.luma, item.pitch, at[0], at[1] * 3 + 1)
        red = byte_at(buffer, item.luma, item.pitch, at[0], at[1] * 3 + 2)
        return wp.vec3(red, green, blue)
    luma = byte_at(buffer, item.luma, item.pitch, at[0], at[1])
    pair = (at[1] / 2) * 2
    cb = byte_at(buffer, item.chroma, item.chroma_pitch, at[0] / 2, pair) - 128.0
    cr = byte_at(buffer, item.chroma, item.chroma_pitch, at[0] / 2, pair + 1) - 128.0
    grey = (luma - item.zero) * item.scale
    return wp.vec3(
        rounded(grey + item.red_cr * cr),
        rounded(grey + item.green_cb * cb + item.green_cr * cr),
        rounded(grey + item.blue_cb * cb),
    )


@wp.func
def sampled(buffer: wp.array(dtype=wp.uint8), item: Item, row: int, column: int) -> wp.vec3:
    """A pixel of the region, scaled to `to_high` x `to_wide`."""
    y = (wp.float32(row) + 0.5) * (wp.float32(item.high) / wp.float32(item.to_high)) - 0.5
    x = (wp.float32(column) + 0.5) * (wp.float32(item.wide) / wp.float32(item.to_wide)) - 0.5
    over = wp.floor(y)
    before = wp.floor(x)
    down = y - over
    right = x - before
    y0 = item.top + wp.clamp(int(over), 0, item.high - 1)
    y1 = item.top + wp.clamp(int(over) + 1, 0, item.high - 1)
    x0 = item.left + wp.clamp(int(before), 0, item.wide - 1)
    x1 = item.left + wp.clamp(int(before) + 1, 0, item.wide - 1)
    upper = pixel(buffer, item, y0, x0) * (1.0 - right) + pixel(buffer, item, y0, x1) * right
    lower = pixel(buffer, item, y1, x0) * (1.0 - right) + pixel(buffer, item, y1, x1) * right
    value = upper * (1.0 - down) + lower * down
    return wp.vec3(rounded(value[0]), rounded(value[1]), rounded(value[2]))


@wp.kernel(enable_backward=False)
def fit_regions(
    buffer: wp.array(dtype=wp.uint8),
    items: wp.array(dtype=Item),
    multiply: wp.vec3,
    add: wp.vec3,
    pad: wp.float32,
    images: wp.array4d(dtype=Any),
) -> None:
    """Regions into a model's input, RGB [N, 3, H, W], `value * multiply + add`. One thread a pixel
    of [N, H, W]."""
    number, y, x = wp.tid()
    item = items[number]
    row = y - item.to_top
    column = x - item.to_left
    value = wp.vec3(pad, pad, pad)
    if row >= 0 and column >= 0 and row < item.to_high and column < item.to_wide:
        value = sampled(buffer, item, row, column)
    for channel in range(3):
        images[number, channel, y, x] = images.dtype(
            value[channel] * multiply[channel] + add[channel]
        )


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
    if y < item.to_high and x < item.to_wide:
        value = sampled(buffer, item, y, x)
        at = offsets[number] + wp.int64((y * item.to_wide + x) * 3)
        for channel in range(3):
            crops[at + wp.int64(2 - channel)] = wp.uint8(value[channel])


@wp.func
def grey_at(buffer: wp.array(dtype=wp.uint8), item: Item, y: int, x: int) -> wp.float32:
    """Luma, as OpenCV weighs red, green and blue."""
    if item.form == NV12:
        at = stored_at(item, y, x)
        luma = byte_at(buffer, item.luma, item.pitch, at[0], at[1])
        return wp.clamp((luma - item.zero) * item.scale, 0.0, 255.0)
    value = pixel(buffer, item, y, x)
    return 0.299 * value[0] + 0.587 * value[1] + 0.114 * value[2]


@wp.func
def covered(index: int, low: wp.float32, high: wp.float32) -> wp.float32:
    """How much of pixel `index` lies between two places."""
    return wp.min(wp.float32(index) + 1.0, high) - wp.max(wp.float32(index), low)


@wp.kernel(enable_backward=False)
def shrink_to_grey(
    buffer: wp.array(dtype=wp.uint8), item: Item, grey: wp.array2d(dtype=wp.uint8)
) -> None:
    """A picture as a small grey one: the mean over the area that a pixel covers, as INTER_AREA."""
    row, column = wp.tid()
    tall = wp.float32(item.height) / wp.float32(grey.shape[0])
    broad = wp.float32(item.width) / wp.float32(grey.shape[1])
    top = wp.float32(row) * tall
    left = wp.float32(column) * broad
    total = wp.float32(0.0)
    for y in range(int(top), wp.min(int(wp.ceil(top + tall)), item.height)):
        for x in range(int(left), wp.min(int(wp.ceil(left + broad)), item.width)):
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
