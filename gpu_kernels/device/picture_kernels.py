"""Warp kernels for pictures: resize into a model's input, crop, downscale, compare.

One source for CUDA and the CPU, where it is tested. `gpu_kernels.device.gpu_preprocessing` builds
the arguments. The reference of the tests is the CPU path with OpenCV and numpy. The kernels for a
detector's outputs are in `gpu_kernels.device.head_kernels`.

Sampling is bilinear, as cv2.resize with INTER_LINEAR: the centre of an output pixel maps to
(d + 0.5) * source / output - 0.5, the four pixels around it are weighted, edges repeat, and the
value is rounded to an integer of 0 to 255, as in the uint8 picture of the CPU path.
"""

from typing import Any

import warp as wp

# Pixel formats
BGR = 0
NV12 = 1  # a plane of luma, then one of half size with interleaved Cb and Cr


# Output rows per thread of `fit_regions`, which share the computations for a column.
ROWS = 16


@wp.struct
class Axis:
    """The rows, or the columns, of a region: their position in memory and in the output.

    Upright pixel i is stored as row (or column) `first + direction * i`. The offset of a pixel in
    the buffer is the sum of the offsets of its row and of its column.
    """

    size: wp.int32  # pixels of the region
    first: wp.int32
    direction: wp.int32  # 1, or -1 if the picture is stored flipped
    start: wp.int32  # bytes; the start of the picture, or of its luma, is in the columns only
    stride: wp.int32  # bytes
    chroma_start: wp.int32
    chroma_stride: wp.int32  # bytes from one chroma sample to the next
    target: wp.int32  # the first pixel in the output
    target_size: wp.int32
    scale: wp.float32  # size / target_size


@wp.struct
class RegionDescriptor:
    """A region of a picture, and its conversion to RGB."""

    format: wp.int32
    rows: Axis
    columns: Axis
    # Luma's zero and scale, and the weights of Cr in red, Cb and Cr in green, Cb in blue.
    zero: wp.float32
    scale: wp.float32
    red_cr: wp.float32
    green_cb: wp.float32
    green_cr: wp.float32
    blue_cb: wp.float32


@wp.struct
class Neighbours:
    """The two rows, or columns, between which a sample is interpolated; offsets in bytes."""

    low: wp.uint32
    high: wp.uint32
    chroma_low: wp.uint32
    chroma_high: wp.uint32
    weight: wp.float32  # of `high`


# Warp's own indexing supports negative indices and strides known only at run time: eight
# instructions per byte. These offsets are never negative, and the arrays are contiguous.


@wp.func_native("return (buffer.data + column + row)[extra];")
def load_byte(
    buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32, extra: wp.uint32
) -> wp.uint8: ...


@wp.func_native("images.data[offset] = value;")
def store_value(images: wp.array4d(dtype=Any), offset: wp.uint32, value: Any): ...


@wp.func
def byte_at(
    buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32, extra: int
) -> wp.float32:
    return wp.float32(load_byte(buffer, column, row, wp.uint32(extra)))


@wp.func
def round_half_up(value: wp.float32) -> wp.float32:
    """Return the nearest integer of a value that is not negative."""
    return wp.floor(value + 0.5)


@wp.func
def round_to_byte(value: wp.float32) -> wp.float32:
    return round_half_up(wp.clamp(value, 0.0, 255.0))


@wp.func
def offset_of(axis: Axis, index: int) -> wp.uint32:
    return wp.uint32(axis.start + (axis.first + axis.direction * index) * axis.stride)


@wp.func
def chroma_offset_of(axis: Axis, index: int) -> wp.uint32:
    return wp.uint32(
        axis.chroma_start + ((axis.first + axis.direction * index) >> 1) * axis.chroma_stride
    )


@wp.func
def neighbours_of(axis: Axis, index: int) -> Neighbours:
    """Return the neighbours of an output row, or column, in the region; edges repeat."""
    position = (wp.float32(index) + 0.5) * axis.scale - 0.5
    before = wp.floor(position)
    low = wp.clamp(int(before), 0, axis.size - 1)
    high = wp.clamp(int(before) + 1, 0, axis.size - 1)
    found = Neighbours()
    found.low = offset_of(axis, low)
    found.high = offset_of(axis, high)
    found.chroma_low = chroma_offset_of(axis, low)
    found.chroma_high = chroma_offset_of(axis, high)
    found.weight = position - before
    return found


@wp.func
def bgr_at(buffer: wp.array(dtype=wp.uint8), column: wp.uint32, row: wp.uint32) -> wp.vec3:
    """Return a pixel as red, green, blue."""
    return wp.vec3(
        byte_at(buffer, column, row, 2),
        byte_at(buffer, column, row, 1),
        byte_at(buffer, column, row, 0),
    )


@wp.func
def nv12_at(
    buffer: wp.array(dtype=wp.uint8),
    region: RegionDescriptor,
    column: wp.uint32,
    row: wp.uint32,
    chroma_column: wp.uint32,
    chroma_row: wp.uint32,
) -> wp.vec3:
    grey = (byte_at(buffer, column, row, 0) - region.zero) * region.scale
    cb = byte_at(buffer, chroma_column, chroma_row, 0) - 128.0
    cr = byte_at(buffer, chroma_column, chroma_row, 1) - 128.0
    return wp.vec3(
        round_to_byte(grey + region.red_cr * cr),
        round_to_byte(grey + region.green_cb * cb + region.green_cr * cr),
        round_to_byte(grey + region.blue_cb * cb),
    )


@wp.func
def interpolate(low: wp.vec3, high: wp.vec3, weight: wp.float32) -> wp.vec3:
    return low * (1.0 - weight) + high * weight


@wp.func
def sample_row(
    buffer: wp.array(dtype=wp.uint8),
    region: RegionDescriptor,
    columns: Neighbours,
    row: wp.uint32,
    chroma_row: wp.uint32,
) -> wp.vec3:
    """Interpolate between two pixels of a row."""
    if region.format == BGR:
        low = bgr_at(buffer, columns.low, row)
        high = bgr_at(buffer, columns.high, row)
        return interpolate(low, high, columns.weight)
    return interpolate(
        nv12_at(buffer, region, columns.low, row, columns.chroma_low, chroma_row),
        nv12_at(buffer, region, columns.high, row, columns.chroma_high, chroma_row),
        columns.weight,
    )


@wp.func
def sample(
    buffer: wp.array(dtype=wp.uint8),
    region: RegionDescriptor,
    rows: Neighbours,
    columns: Neighbours,
) -> wp.vec3:
    """Return an output pixel as red, green, blue."""
    value = sample_row(buffer, region, columns, rows.low, rows.chroma_low)
    # Exactly on a row the other one has no weight: always so when 1080 rows become 360.
    if rows.weight > 0.0:
        below = sample_row(buffer, region, columns, rows.high, rows.chroma_high)
        value = interpolate(value, below, rows.weight)
    return wp.vec3(round_half_up(value[0]), round_half_up(value[1]), round_half_up(value[2]))


@wp.kernel(enable_backward=False, grid_stride=False)
def fit_regions(
    buffer: wp.array(dtype=wp.uint8),
    regions: wp.array(dtype=RegionDescriptor),
    multiply: wp.vec3,
    add: wp.vec3,
    pad: wp.float32,
    bgr: wp.bool,
    images: wp.array4d(dtype=Any),
) -> None:
    """Resize regions into a model's input, RGB or BGR [N, 3, H, W], `value * multiply + add`.

    One thread per column of ROWS rows; adjacent threads read and write adjacent memory.
    """
    thread = wp.uint32(wp.tid())
    height = images.shape[2]
    width = images.shape[3]
    strips = wp.uint32((height + ROWS - 1) / ROWS)
    strip = thread / wp.uint32(width)
    number = strip / strips
    first = int(strip - number * strips) * ROWS
    x = int(thread - strip * wp.uint32(width))
    region = regions[int(number)]
    column = x - region.columns.target
    within = column >= 0 and column < region.columns.target_size
    columns = neighbours_of(region.columns, column)
    plane = wp.uint32(height * width)
    offset = number * wp.uint32(3) * plane + wp.uint32(first * width + x)
    for y in range(first, wp.min(first + ROWS, height)):
        row = y - region.rows.target
        value = wp.vec3(pad, pad, pad)
        if within and row >= 0 and row < region.rows.target_size:
            value = sample(buffer, region, neighbours_of(region.rows, row), columns)
            if bgr:
                value = wp.vec3(value[2], value[1], value[0])
        for channel in range(3):
            store_value(
                images,
                offset + wp.uint32(channel) * plane,
                images.dtype(value[channel] * multiply[channel] + add[channel]),
            )
        offset += wp.uint32(width)


def fit_threads(count: int, height: int, width: int) -> int:
    """Return the threads of `fit_regions` for images [count, 3, height, width]."""
    return count * -(-height // ROWS) * width


@wp.kernel(enable_backward=False)
def crop_regions(
    buffer: wp.array(dtype=wp.uint8),
    regions: wp.array(dtype=RegionDescriptor),
    offsets: wp.array(dtype=wp.int64),
    crops: wp.array(dtype=wp.uint8),
) -> None:
    """Write regions as BGR pictures, packed one after the other.

    One thread per pixel of [N, maximum height, maximum width].
    """
    number, y, x = wp.tid()
    region = regions[number]
    if y < region.rows.target_size and x < region.columns.target_size:
        value = sample(
            buffer, region, neighbours_of(region.rows, y), neighbours_of(region.columns, x)
        )
        start = offsets[number] + wp.int64((y * region.columns.target_size + x) * 3)
        for channel in range(3):
            crops[start + wp.int64(2 - channel)] = wp.uint8(value[channel])


@wp.func
def grey_at(
    buffer: wp.array(dtype=wp.uint8), region: RegionDescriptor, y: int, x: int
) -> wp.float32:
    """Return the luma, with OpenCV's weights of red, green and blue."""
    row = offset_of(region.rows, y)
    column = offset_of(region.columns, x)
    if region.format == NV12:
        luma = byte_at(buffer, column, row, 0)
        return wp.clamp((luma - region.zero) * region.scale, 0.0, 255.0)
    value = bgr_at(buffer, column, row)
    return 0.299 * value[0] + 0.587 * value[1] + 0.114 * value[2]


@wp.func
def coverage(index: int, low: wp.float32, high: wp.float32) -> wp.float32:
    """Return the share of pixel `index` between two positions."""
    return wp.min(wp.float32(index) + 1.0, high) - wp.max(wp.float32(index), low)


@wp.kernel(enable_backward=False)
def downscale_to_grey(
    buffer: wp.array(dtype=wp.uint8),
    regions: wp.array(dtype=RegionDescriptor),
    grey: wp.array2d(dtype=wp.uint8),
) -> None:
    """Downscale a picture, the only region, to grey: the mean over each area, as INTER_AREA."""
    row, column = wp.tid()
    region = regions[0]
    height = wp.float32(region.rows.size) / wp.float32(grey.shape[0])
    width = wp.float32(region.columns.size) / wp.float32(grey.shape[1])
    top = wp.float32(row) * height
    left = wp.float32(column) * width
    total = wp.float32(0.0)
    for y in range(int(top), wp.min(int(wp.ceil(top + height)), region.rows.size)):
        for x in range(int(left), wp.min(int(wp.ceil(left + width)), region.columns.size)):
            weight = coverage(y, top, top + height) * coverage(x, left, left + width)
            total += weight * grey_at(buffer, region, y, x)
    grey[row, column] = wp.uint8(round_to_byte(total / (height * width)))


@wp.kernel(enable_backward=False)
def tile_differences(
    one: wp.array2d(dtype=wp.uint8),
    other: wp.array2d(dtype=wp.uint8),
    differences: wp.array2d(dtype=wp.float32),
) -> None:
    """Compute the motion energy: the mean difference of two grey pictures in each tile."""
    row, column = wp.tid()
    height = wp.float32(one.shape[0]) / wp.float32(differences.shape[0])
    width = wp.float32(one.shape[1]) / wp.float32(differences.shape[1])
    top = wp.float32(row) * height
    left = wp.float32(column) * width
    total = wp.float32(0.0)
    for y in range(int(top), wp.min(int(wp.ceil(top + height)), one.shape[0])):
        for x in range(int(left), wp.min(int(wp.ceil(left + width)), one.shape[1])):
            weight = coverage(y, top, top + height) * coverage(x, left, left + width)
            total += weight * wp.abs(wp.float32(one[y, x]) - wp.float32(other[y, x]))
    differences[row, column] = total / (height * width)


# The input types of engines; instantiated here so that the cubins contain all of them.
for _dtype in (wp.float16, wp.float32, wp.uint8):
    wp.overload(fit_regions, {"images": wp.array4d(dtype=_dtype)})
