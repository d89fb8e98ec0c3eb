"""Local contrast of grey pictures, those of infrared flashes, for detectors trained in daylight.

Of 18 infrared stills, whose animals are often dark or overexposed, MegadetectorLite finds the
animal in 8, and on the same pictures with more local contrast in 15 (benchmarks/stage1_recall.py).
"""

import cv2
import numpy as np

from gpu_kernels.models.ensemble import Contrast
from gpu_kernels.preprocessing.letterbox import Picture

# Side of the sample by which a picture is grey, in pixels: enough for a share of pixels.
SAMPLE_SIDE = 64
# A pixel has a colour if its channels differ by more than this, of 255. JPEG leaves 3 to 7 in grey
# pictures, and some cameras tint them.
MAX_GREY_DIFFERENCE = 8
# Share of coloured pixels of a grey picture: camera strips with a logo or a temperature. Of 90
# stills and medians of clips the grey ones have up to 0.075, the others 0.17 and more.
MAX_COLOURED_SHARE = 0.1


def is_grey(sample: Picture) -> bool:
    """Return True if a picture has no colours.

    Args:
        sample: the picture, uint8 BGR, resized to a few thousand pixels.
    """
    difference = sample.max(axis=2).astype(np.int16) - sample.min(axis=2)
    return bool((difference > MAX_GREY_DIFFERENCE).mean() < MAX_COLOURED_SHARE)


def raise_contrast(picture: Picture, contrast: Contrast) -> Picture:
    """Return a picture, uint8 BGR [h, w, 3], as grey with more local contrast (CLAHE)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    equalize = cv2.createCLAHE(contrast.clip_limit, (contrast.tiles, contrast.tiles))
    return np.asarray(cv2.cvtColor(equalize.apply(grey), cv2.COLOR_GRAY2BGR), np.uint8)
