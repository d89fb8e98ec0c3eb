"""Crops: the regions around boxes, cut out of their frames and stored as JPEG."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from gpu_kernels.preprocessing.crop_regions import (
    PixelRegion,
    Region,
    crop_picture,
    crop_region,
    to_pixels,
)
from gpu_kernels.preprocessing.device_picture import DeviceFrame
from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.detection.detector import Box
from odins_ravne_assets.munin.tables.journal import Row

# Margin around the box, as a share of its longer side, so that classifiers with other crop rules
# can be tried later without decoding the footage again.
CROP_MARGIN = 0.1
JPEG_QUALITY = 90
# Longest side of a stored crop, in pixels; classifiers take 224 to 600.
MAX_CROP_SIDE = 640


class RawCrop(NamedTuple):
    """The region around a box, not yet encoded."""

    region: Region  # x, y, w, h as fractions of the picture
    picture: Picture  # uint8 BGR [h, w, 3], in the frame's own size; may be a view of the frame


def cut_crops(
    frames: Sequence[tuple[Picture | DeviceFrame, Sequence[Box]]],
) -> list[list[RawCrop]]:
    """Cut out the regions around the boxes of each frame.

    Of frames on the GPU only these regions are copied to the host, for all frames of one buffer
    at once.
    """
    regions = [[_around(picture, box) for box in boxes] for picture, boxes in frames]
    on_device = _cut_on_device(frames, regions)
    return [
        [
            RawCrop(
                region,
                on_device[frame_index, box_index]
                if isinstance(picture, DeviceFrame)
                else crop_picture(picture, region),
            )
            for box_index, region in enumerate(of_frame)
        ]
        for frame_index, ((picture, _), of_frame) in enumerate(zip(frames, regions, strict=True))
    ]


def _around(picture: Picture | DeviceFrame, box: Box) -> Region:
    height, width = picture.shape[:2]
    return crop_region(box.xywh, "square", CROP_MARGIN, width, height)


def _cut_on_device(
    frames: Sequence[tuple[Picture | DeviceFrame, Sequence[Box]]],
    regions: Sequence[Sequence[Region]],
) -> dict[tuple[int, int], Picture]:
    """Return the regions of frames on the GPU, by the index of their frame and of their box."""
    by_buffer: dict[int, list[tuple[tuple[int, int], DeviceFrame, PixelRegion]]] = {}
    for frame_index, ((frame, _), of_frame) in enumerate(zip(frames, regions, strict=True)):
        if isinstance(frame, DeviceFrame):
            for box_index, region in enumerate(of_frame):
                area = to_pixels(region, frame.picture.width, frame.picture.height)
                key = (frame_index, box_index)
                by_buffer.setdefault(id(frame.buffer), []).append((key, frame, area))
    found: dict[tuple[int, int], Any] = {}
    for of_buffer in by_buffer.values():
        from gpu_kernels.device.gpu_preprocessing import crop_to_host

        areas = [(frame.picture, area) for _, frame, area in of_buffer]
        sizes = [(bottom - top, right - left) for _, (left, top, right, bottom) in areas]
        pictures = crop_to_host(of_buffer[0][1].buffer, areas, sizes)
        found.update(zip((key for key, _, _ in of_buffer), pictures, strict=True))
    return found


def encode_crop(raw: RawCrop) -> Row:
    """Return the region as a JPEG, with its position in the picture."""
    crop = raw.picture
    longest = max(crop.shape[:2])
    if longest > MAX_CROP_SIDE:
        size = (
            max(1, round(crop.shape[1] * MAX_CROP_SIDE / longest)),
            max(1, round(crop.shape[0] * MAX_CROP_SIDE / longest)),
        )
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    encoded, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise AssertionError("a crop of pixels can always be encoded")
    return {
        **dict(zip(("crop_x", "crop_y", "crop_w", "crop_h"), raw.region, strict=True)),
        "jpeg": jpeg.tobytes(),
    }
