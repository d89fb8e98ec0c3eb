"""Uniform strips at the edges of a picture, as cameras print them: logo, time, temperature.

A strip has one grey level, except for its letters, and ends in a straight line. One picture does
not prove it, as a dark sky or snow may look so: Stage 3 compares all pictures of a camera
(`hugin/identification/camera_strips.py`).
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.tables.journal import Row

# Pixels of a row or column that are compared: every so manyth, so that it takes a millisecond.
LENGTH = 300
# How far from the edge strips are searched, as a fraction of the picture's side.
MAX_DEPTH = 0.2
# Thinner strips cannot hold letters.
MIN_DEPTH = 0.008
# In smaller pictures no letters can be read.
MIN_SIDE = 100
MIN_PIXELS = 4
# A row belongs to a strip if this share of its pixels has the strip's grey level, within a
# tolerance: letters and a logo cover the rest.
ROW_SHARE, LEVEL_TOLERANCE = 0.25, 8
# The share in the last rows of a strip, and how much lower it is right behind its end.
INNER_SHARE, MIN_DROP = 0.5, 0.3
# The share of pixels in letters, whose grey level differs by at least LETTER_CONTRAST.
MIN_LETTERS, MAX_LETTERS, LETTER_CONTRAST = 0.02, 0.6, 40

Rows = NDArray[np.int16]


class EdgeStrip(NamedTuple):
    """Uniform rows at one edge of a picture.

    Attributes:
        edge: top, bottom, left or right, of the upright picture.
        depth: of the uniform rows, as a fraction of the picture's height or width; MAX_DEPTH if
            they do not end before.
        level: their grey level, 0 to 255.
        lettered: True if they hold letters and end in a straight line.
    """

    edge: str
    depth: float
    level: int
    lettered: bool


def edge_strips(picture: Picture) -> list[Row]:
    """Return the uniform strips of a picture, at most one for each edge, as rows of EDGE_STRIPS.

    Args:
        picture: uint8 BGR [h, w, 3], upright.
    """
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE:
        return []
    top, left = round(height * MAX_DEPTH), round(width * MAX_DEPTH)
    columns, rows = max(1, width // LENGTH), max(1, height // LENGTH)
    # Rows of pixels from the edge inwards, and the picture's side in that direction.
    parts = {
        "top": (_grey(picture[:top, ::columns]), height),
        "bottom": (_grey(picture[height - top :, ::columns])[::-1], height),
        "left": (_grey(picture[::rows, :left]).T, width),
        "right": (_grey(picture[::rows, width - left :]).T[::-1], width),
    }
    found = (_edge_strip(edge, *part) for edge, part in parts.items())
    return [strip._asdict() for strip in found if strip]


def _grey(part: Picture) -> Rows:
    return cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_BGR2GRAY).astype(np.int16)


def _edge_strip(edge: str, rows: Rows, side: int) -> EdgeStrip | None:
    """The strip at an edge.

    Args:
        rows: from the edge inwards.
        side: pixels of the picture in the direction of the depth.
    """
    # Without the outermost row, which scaling and compression blur.
    level = int(np.median(rows[1 : max(3, round(side * MIN_DEPTH))]))
    share = (np.abs(rows - level) <= LEVEL_TOLERANCE).mean(axis=1)
    ends = np.flatnonzero(share[1:] < ROW_SHARE)
    depth = int(ends[0]) + 1 if ends.size else len(rows)
    if depth < max(MIN_PIXELS, side * MIN_DEPTH):
        return None
    return EdgeStrip(edge, depth / side, level, _is_lettered(rows, share, depth, level, side))


def _is_lettered(rows: Rows, share: NDArray[np.float64], depth: int, level: int, side: int) -> bool:
    behind = share[depth + 1 : depth + 1 + max(2, round(side * MIN_DEPTH / 2))]
    if behind.size < 2:
        return False
    inner = float(share[max(1, depth - 3) : depth].mean())
    letters = float((np.abs(rows[1:depth] - level) > LETTER_CONTRAST).mean())
    return (
        inner >= INNER_SHARE
        and inner - float(behind.mean()) >= MIN_DROP
        and MIN_LETTERS <= letters <= MAX_LETTERS
    )
