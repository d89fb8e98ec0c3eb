"""Crops: the regions around boxes, cut out of their frames and kept as JPEGs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from gpu_kernels.preprocessing.letterbox import Picture, Pixels, Region, cut, cut_region, pixels
from odins_ravne_assets.munin.detection.detector import Box
from odins_ravne_assets.munin.tables.journal import Row

# Crops keep this much room around the box, as a share of its longer side, so that classifiers
# with other crop rules can be tried later without decoding the footage again.
CROP_MARGIN = 0.1
JPEG_QUALITY = 90
# Longest side of a kept crop, in pixels; classifiers take 224 to 600.
MAX_CROP_SIDE = 640


class RawCrop(NamedTuple):
    """The region around a box."""

    region: Region  # x, y, w, h as fractions of the picture
    picture: Picture  # uint8 BGR [h, w, 3], in the frame's own size; may be a view of the frame


def cut_crops(
    frames: Sequence[tuple[Picture | DeviceFrame, Sequence[Box]]],
) -> list[list[RawCrop]]:
    """The regions around the boxes of each frame.

    Of frames on the GPU only these regions come to the host, those of all frames of a buffer at
    once.
    """
    regions = [[_around(picture, box) for box in boxes] for picture, boxes in frames]
    on_device = _cut_on_device(frames, regions)
    return [
        [
            RawCrop(
                region,
                on_device[number, place]
                if isinstance(picture, DeviceFrame)
                else cut(picture, region),
            )
            for place, region in enumerate(of_frame)
        ]
        for number, ((picture, _), of_frame) in enumerate(zip(frames, regions, strict=True))
    ]


def _around(picture: Picture | DeviceFrame, box: Box) -> Region:
    height, width = picture.shape[:2]
    return cut_region(box.xywh, "square", CROP_MARGIN, width, height)


def _cut_on_device(
    frames: Sequence[tuple[Picture | DeviceFrame, Sequence[Box]]],
    regions: Sequence[Sequence[Region]],
) -> dict[tuple[int, int], Picture]:
    """Pictures of regions, by the place of their frame and their own in it."""
    wanted: dict[int, list[tuple[tuple[int, int], DeviceFrame, Pixels]]] = {}
    for number, ((frame, _), of_frame) in enumerate(zip(frames, regions, strict=True)):
        if isinstance(frame, DeviceFrame):
            for place, region in enumerate(of_frame):
                shown = pixels(region, frame.picture.width, frame.picture.height)
                wanted.setdefault(id(frame.buffer), []).append(((number, place), frame, shown))
    found: dict[tuple[int, int], Any] = {}
    for of_buffer in wanted.values():
        from gpu_kernels.device.gpu_preprocess import cut_out

        shown_of = [(frame.picture, shown) for _, frame, shown in of_buffer]
        sizes = [(bottom - top, right - left) for _, (left, top, right, bottom) in shown_of]
        pictures = cut_out(of_buffer[0][1].buffer, shown_of, sizes)
        found.update(zip((key for key, _, _ in of_buffer), pictures, strict=True))
    return found


def encode_crop(cut_one: RawCrop) -> Row:
    """The region as a JPEG, with where it lies in the picture."""
    crop = cut_one.picture
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
        **dict(zip(("crop_x", "crop_y", "crop_w", "crop_h"), cut_one.region, strict=True)),
        "jpeg": jpeg.tobytes(),
    }
