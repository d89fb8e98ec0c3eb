"""Resize (letterbox or stretch) and normalise pictures for a model, and map its boxes back.

Pictures are upright, uint8 [h, w, 3] in BGR order, as OpenCV decodes them; the order of the
model's input is in its manifest. Boxes are x, y, w, h: top left corner and size, as fractions of
the upright picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import InputSpec

Picture = NDArray[np.uint8]
Images = NDArray[Any]  # a batch of a model's input: float32, float16 or uint8


@dataclass(frozen=True)
class Placement:
    """The position and size of a picture in the model's input, in input pixels."""

    x: int
    y: int
    width: int
    height: int


def input_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Return the height and width of the model's input for a picture of `height` x `width` pixels.

    For a free size the long side becomes `long_side`, the other one follows, and both are padded
    to multiples of `stride`, as YOLOv5 and Ultralytics do.
    """
    if spec.fixed_size is not None:
        return spec.fixed_size
    assert spec.long_side is not None and spec.stride is not None
    stride = spec.stride
    sides = _scaled(height, width, spec.long_side / max(height, width), spec.largest_size)
    return -(-sides[0] // stride) * stride, -(-sides[1] // stride) * stride


def placement(height: int, width: int, spec: InputSpec) -> Placement:
    """Return the placement of a picture of `height` x `width` pixels in the input of a model.

    A letterbox preserves the aspect ratio, to the nearest pixel; each side has at least one.
    """
    full = input_size(height, width, spec)
    if spec.fit == "stretch":
        return Placement(0, 0, full[1], full[0])
    if spec.long_side is None:
        ratio = min(full[0] / height, full[1] / width)
    else:
        ratio = spec.long_side / max(height, width)
    new_height, new_width = _scaled(height, width, ratio, full)
    if spec.fit == "letterbox-topleft":
        return Placement(0, 0, new_width, new_height)
    return Placement((full[1] - new_width) // 2, (full[0] - new_height) // 2, new_width, new_height)


def _scaled(height: int, width: int, ratio: float, limit: tuple[int, int]) -> tuple[int, int]:
    return (
        min(limit[0], max(1, round(height * ratio))),
        min(limit[1], max(1, round(width * ratio))),
    )


def fit(picture: Picture, manifest: ModelManifest) -> Picture:
    """Resize a picture to a model's input size; the result is uint8 BGR [H, W, 3], too."""
    spec = manifest.input
    height, width = input_size(picture.shape[0], picture.shape[1], spec)
    place = placement(picture.shape[0], picture.shape[1], spec)
    # Detections with INTER_LINEAR and INTER_AREA on the 43 labelled stills: megadetector-lite at
    # 0.25 has 30 and 30, ssd-mobilenet-v2-cam16 at 0.3 has 34 and 26. INTER_LINEAR is also faster,
    # and a GPU kernel can reproduce it exactly.
    resized = cv2.resize(picture, (place.width, place.height), interpolation=cv2.INTER_LINEAR)
    if (place.height, place.width) == (height, width):
        return np.asarray(resized, dtype=np.uint8)
    fitted = np.full((height, width, 3), spec.pad, dtype=np.uint8)
    fitted[place.y : place.y + place.height, place.x : place.x + place.width] = resized
    return fitted


def to_input(fitted: Sequence[Picture], manifest: ModelManifest) -> Images:
    """Convert fitted pictures (uint8 BGR [H, W, 3], all of one size) to a model's input.

    Returns:
        [N, 3, H, W], or [N, H, W, 3] for a model of layout nhwc, of the input's dtype and colour.
    """
    spec = manifest.input
    working = np.uint8 if spec.dtype == "uint8" else np.float32
    images = np.empty((len(fitted), 3, *fitted[0].shape[:2]), dtype=working)
    # This assignment, which reverses and moves the channels, is 8 times faster than blobFromImages.
    step = -1 if spec.colour == "rgb" else 1
    for image, picture in zip(images, fitted, strict=True):
        image[:] = picture[:, :, ::step].transpose(2, 0, 1)
    for channel, (multiply, add) in enumerate(zip(spec.multiply, spec.add, strict=True)):
        if multiply != 1.0:
            images[:, channel] *= np.float32(multiply)
        if add != 0.0:
            images[:, channel] += np.float32(add)
    images = images.astype(spec.dtype, copy=False)
    return images if spec.layout == "nchw" else np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def scale_boxes(
    corners: NDArray[np.float32], height: int, width: int, spec: InputSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Convert boxes in input pixels to boxes of the picture.

    Args:
        corners: [K, 4] x0, y0, x1, y1 in input pixels, finite.
        height, width: of the picture that was fitted, in pixels.
        spec: the input it was fitted to.

    Returns:
        Boxes [K, 4] x, y, w, h as fractions of the picture, clipped to it, and the share [K] of
        each box's area that is inside the picture; 0 for a box without an area.
    """
    place = placement(height, width, spec)
    offset = np.array([place.x, place.y, place.x, place.y], dtype=np.float32)
    size = np.array([place.width, place.height] * 2, dtype=np.float32)
    scaled = (corners - offset) / size
    clipped = np.clip(scaled, 0.0, 1.0)
    xywh = np.concatenate([clipped[:, :2], clipped[:, 2:] - clipped[:, :2]], axis=1)
    # Side by side, since the area of a very large box would overflow.
    with np.errstate(over="ignore"):  # an infinite side has a share of 0
        whole = np.maximum(scaled[:, 2:] - scaled[:, :2], np.finfo(np.float32).tiny)
    shares = np.maximum(xywh[:, 2:], 0.0) / whole
    return xywh, shares[:, 0] * shares[:, 1]
