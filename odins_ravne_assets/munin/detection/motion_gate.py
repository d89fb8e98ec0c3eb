"""The motion gate: skips sampled frames of a video in which nothing moved.

A frame is processed if it is the first of its video, if something in it moved, or if one of the
last two processed frames had a box: an animal at rest is detected again until it is gone. Motion is
a difference from the last frame with motion, not from the previous frame, so that slow motion is
noticed too. Stills have no gate.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Frames are compared as grey pictures of this width: enough to see a mouse move at 5 m, at a
# fiftieth of the cost of an inference.
COMPARED_WIDTH = 320
TILE = 8  # pixels of the compared picture
# Mean change of a tile that counts as change, in grey levels of 255; sensor noise of night
# pictures averages out below this over a tile's 64 pixels.
TILE_CHANGE = 6.0

# Processed frames without a box after which the animal counts as gone: detectors miss some.
FRAMES_AFTER_BOX = 2


class MotionDetector:
    """Compares pictures with the last one that had motion, by the share of tiles that changed."""

    def __init__(self, threshold: float) -> None:
        """Args:
        threshold: share of changed tiles, 0 to 1, above which a picture has motion.
        """
        self._threshold = threshold
        self._reference: npt.NDArray[Any] | None = None

    def moved(self, picture: npt.NDArray[np.uint8]) -> bool:
        """Return True if this picture (uint8 BGR [h, w, 3]) has motion; the first one has."""
        height, width = picture.shape[:2]
        size = (COMPARED_WIDTH, max(TILE, round(COMPARED_WIDTH * height / width)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        if self._reference is None or self._reference.shape != grey.shape:
            self._reference = grey
            return True
        change = cv2.absdiff(grey, self._reference).astype(np.float32)
        tiles = (max(1, size[0] // TILE), max(1, size[1] // TILE))
        energy = cv2.resize(change, tiles, interpolation=cv2.INTER_AREA)
        moved = bool((energy > TILE_CHANGE).mean() > self._threshold)
        if moved:
            self._reference = grey
        return moved


class MotionGate:
    """The gate of one video. Call `opens` for each sampled frame in order, then `record`."""

    def __init__(self) -> None:
        self._frames_left = 1  # the first frame is always processed

    def opens(self, moved: bool) -> bool:
        """Return True if the frame must be processed; needs the record of all frames before it."""
        return moved or self._frames_left > 0

    def record(self, boxes: int) -> None:
        """Record the number of boxes in a processed frame."""
        self._frames_left = FRAMES_AFTER_BOX if boxes else max(0, self._frames_left - 1)
