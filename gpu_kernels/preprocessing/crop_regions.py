"""Regions of pictures: the crop around a box, in fractions or in pixels."""

from typing import Literal

from gpu_kernels.preprocessing.letterbox import Picture

Region = tuple[float, float, float, float]  # x, y, w, h as fractions of the picture
PixelRegion = tuple[int, int, int, int]  # left, top, right, bottom


def crop_region(
    box: Region, shape: Literal["square", "box"], margin: float, width: int, height: int
) -> Region:
    """Return the region to crop around a box, inside the picture.

    Args:
        box: x, y, w, h as fractions of the picture.
        shape: `box` preserves the box's aspect ratio; `square` is a square in pixels around its
            centre, moved to stay inside the picture. A side longer than the picture's is clipped
            at the edges instead, as `box` always is.
        margin: added on each side, as a share of the box (of its longest side for `square`).
        width, height: of the picture, in pixels.
    """
    x, y, w, h = box
    box_width, box_height = w * width, h * height
    if shape == "square":
        box_width = box_height = max(box_width, box_height)
    box_width, box_height = box_width * (1 + 2 * margin), box_height * (1 + 2 * margin)
    shift = shape == "square"
    left, span_x = _clamp_span((x + w / 2) * width, box_width, width, shift)
    top, span_y = _clamp_span((y + h / 2) * height, box_height, height, shift)
    return left / width, top / height, span_x / width, span_y / height


def _clamp_span(centre: float, size: float, limit: int, shift: bool) -> tuple[float, float]:
    """Return start and length of a span around a centre, within 0..limit."""
    start, end = centre - size / 2, centre + size / 2
    if shift and size <= limit:
        start = min(max(start, 0.0), limit - size)
        return start, size
    start, end = max(start, 0.0), min(end, float(limit))
    return start, max(end - start, 0.0)


def to_pixels(region: Region, width: int, height: int) -> PixelRegion:
    """Convert a region to pixels: left, top, right, bottom; at least one pixel."""
    x, y, w, h = region
    left, top = min(round(x * width), width - 1), min(round(y * height), height - 1)
    right = min(max(left + 1, round((x + w) * width)), width)
    bottom = min(max(top + 1, round((y + h) * height)), height)
    return left, top, right, bottom


def crop_picture(picture: Picture, region: Region) -> Picture:
    """Return the pixels of a region, at least one; a view, not a copy."""
    return crop_pixels(picture, to_pixels(region, picture.shape[1], picture.shape[0]))


def crop_pixels(picture: Picture, region: PixelRegion) -> Picture:
    """Return the pixels of a region; a view, not a copy."""
    left, top, right, bottom = region
    return picture[top:bottom, left:right]
