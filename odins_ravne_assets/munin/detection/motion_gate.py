"""The motion gate: which sampled frames of a video need no look.

A frame is looked at when it is a video's first, when something in it moved, or when one of the
last two looks found a box: what stands still is looked at again until it is gone. Moved means:
differs from the last frame that moved, not from its neighbour, so that what creeps in slowly is
noticed too. Stills have no gate.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Frames are compared as grey pictures of this width: enough to see a mouse move at 5 m, little
# enough to cost a fiftieth of an inference.
COMPARED_WIDTH = 320
TILE = 8  # pixels of the compared picture
# Mean change of a tile, in grey levels of 255, that counts as change; sensor noise of night
# pictures averages out below this over a tile's 64 pixels.
TILE_CHANGE = 6.0

# Looks without a box after which one is believed to be gone: detectors miss a frame now and then.
FRAMES_AFTER_BOX = 2


class MotionDetector:
    """Whether a picture differs from the last one that did, by the share of tiles that changed."""

    def __init__(self, threshold: float) -> None:
        """Args:
        threshold: share of tiles, 0 to 1, above which a picture counts as moved.
        """
        self._threshold = threshold
        self._reference: npt.NDArray[Any] | None = None

    def moved(self, picture: npt.NDArray[np.uint8]) -> bool:
        """Whether this picture (uint8 BGR [h, w, 3]) differs; the first one does."""
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
        differs = bool((energy > TILE_CHANGE).mean() > self._threshold)
        if differs:
            self._reference = grey
        return differs


class MotionGate:
    """One video's gate. Ask `look` for each sampled frame in order, then tell `seen`."""

    def __init__(self) -> None:
        self._looks_left = 1  # the first frame is always looked at

    def look(self, moved: bool) -> bool:
        """Whether the frame must be looked at; needs the last look's result."""
        return moved or self._looks_left > 0

    def seen(self, boxes: int) -> None:
        """How many boxes the frame held that was looked at."""
        self._looks_left = FRAMES_AFTER_BOX if boxes else max(0, self._looks_left - 1)
