"""Synthetic pictures and videos for benchmarks without footage."""

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # BGR [height, width, 3]


def synthetic_still(height: int, width: int, seed: int) -> Picture:
    """Draw a lawn with a shape that detectors take for an animal; its place depends on the seed."""
    lawn = _grass(height, width, seed)
    size = height * (0.28, 0.42)[seed % 2]
    x, y = width * (0.3 + 0.4 * ((seed * 0.37) % 1)), height * 0.5
    mask = cv2.GaussianBlur(_silhouette(height, width, x, y, size), (0, 0), 1.2)
    share = mask.astype(np.float32)[..., np.newaxis] / 255
    below = (np.arange(height, dtype=np.float32)[:, np.newaxis, np.newaxis] - y) / (0.6 * size)
    fur = np.array((35, 60, 95), np.float32) * np.clip(1.05 - 0.5 * below, 0.5, 1.4)
    return np.asarray(np.clip(lawn * (1 - share) + fur * share, 0, 255), np.uint8)


def _grass(height: int, width: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    lawn = np.full((height, width, 3), (70, 130, 95), np.float32)
    for step, strength in ((120, 18), (30, 14), (6, 16), (2, 10)):
        grain = random.normal(0, strength, (height // step + 2, width // step + 2))
        grown = cv2.resize(grain.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        lawn += np.asarray(grown, np.float32)[..., np.newaxis]
    return lawn


# Body, neck, head, two ears and a tail: centre, half axes (all in the animal's length), degrees.
_PARTS = (
    (0, 0, 0.5, 0.22, 0),
    (0.5, -0.22, 0.22, 0.1, -50),
    (0.68, -0.42, 0.17, 0.085, 15),
    (0.58, -0.55, 0.03, 0.09, -20),
    (0.66, -0.56, 0.03, 0.09, 10),
    (-0.52, 0.02, 0.16, 0.03, 60),
)
_LEGS = (-0.38, -0.26, 0.27, 0.38)


def _silhouette(height: int, width: int, x: float, y: float, size: float) -> Picture:
    mask = np.zeros((height, width), np.uint8)
    for across, down, long, short, degrees in _PARTS:
        centre = round(x + across * size), round(y + down * size)
        axes = max(1, round(long * size)), max(1, round(short * size))
        cv2.ellipse(mask, centre, axes, degrees, 0, 360, 255, -1, cv2.LINE_AA)
    for leg in _LEGS:
        corners = [(leg - 0.05, 0.05), (leg + 0.05, 0.05), (leg + 0.025, 0.62), (leg - 0.025, 0.62)]
        outline = np.array([(x + u * size, y + v * size) for u, v in corners], np.int32)
        cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA)
    return mask


def write_clip(path: Path, frames: int, side: int) -> None:
    """Write a video of such stills, H.264; each is repeated five times for the motion gate."""
    path.parent.mkdir(parents=True)
    width = side * 16 // 9 // 2 * 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, side, "yuv420p"
        for number in range(frames):
            if number % 5 == 0:
                still = synthetic_still(side, width, number // 5)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(still, format="bgr24")))
        container.mux(stream.encode(None))
