"""Decode stills into upright pictures: uint8, BGR, [height, width, 3]."""

import math
import mmap
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from odins_ravne_assets.munin.media.media_files import Format
from odins_ravne_assets.munin.media.probe import check_file_size
from resources.errors import MediaError

Picture = npt.NDArray[np.uint8]

# Largest decoded picture, in pixels; larger ones are scaled down to it. Detectors take 0.4 to 1.6
# megapixels, and crops of 4 megapixels still show a mouse.
MAX_PIXELS = 4_000_000
OPENCV_OUT_OF_MEMORY = -4  # cv::Error::StsNoMem
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A still is decoded at a half, a quarter or an eighth of its size if its short side is then still
# this many times the detector's input: decoding is faster, and crops have enough detail.
MIN_SIDE_RATIO = 1.5
REDUCED_SCALES = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


def decode_still(
    path: Path, media_format: Format, width: int, height: int, network_side: int
) -> Picture:
    """Decode an image file to an upright BGR picture, at reduced scale if it is large enough.

    Args:
        media_format: by the file's content, from the media table.
        width, height: of the upright picture, by its header.
        network_side: the longer side of the detector's input, in pixels.

    Raises:
        MediaError: it cannot be decoded, or its file is too large.
        MemoryError: it needs more than the process may allocate.
    """
    if media_format == "heif":
        return within_limits(_decode_heif(path, width * height))
    if media_format == "raw":
        return within_limits(_decode_preview(path, width, height, network_side))
    data = _read_picture(path, width * height)
    return within_limits(_decode(data, _reduction(width, height, network_side)))


def within_limits(picture: Picture) -> Picture:
    """Scale a picture down to MAX_PIXELS if it has more."""
    height, width = picture.shape[:2]
    if height * width <= MAX_PIXELS:
        return picture
    scale = math.sqrt(MAX_PIXELS / (height * width))
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _reduction(width: int, height: int, network_side: int) -> int:
    for factor, reduced in REDUCED_SCALES:
        if min(width, height) / factor >= network_side * MIN_SIDE_RATIO:
            return reduced
    return cv2.IMREAD_COLOR


def _decode(data: npt.NDArray[np.uint8], flag: int) -> Picture:
    try:
        picture = cv2.imdecode(data, flag) if data.size else None
    except cv2.error as error:
        if error.code == OPENCV_OUT_OF_MEMORY:
            raise MemoryError from None
        raise MediaError(f"the image cannot be decoded: {error.err}") from None
    if picture is None:
        raise MediaError("the image cannot be decoded")
    return np.asarray(picture, np.uint8)


def _decode_heif(path: Path, pixels: int) -> Picture:
    # Imported here: few cameras write it.
    import pillow_heif

    check_file_size(path.stat().st_size, pixels)
    try:
        file = pillow_heif.open_heif(path, convert_hdr_to_8bit=True, bgr_mode=True)
        picture = np.asarray(file)
    except (EOFError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise MediaError(f"the image cannot be decoded: {error}") from None
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(picture[:, :, :3])  # without an alpha channel


def _decode_preview(path: Path, width: int, height: int, network_side: int) -> Picture:
    # Imported here: few cameras write raw files.
    from odins_ravne_assets.munin.media.raw_preview import read_preview

    preview = read_preview(path)
    data = np.frombuffer(preview.jpeg + JPEG_END, np.uint8)
    picture = _decode(data, _reduction(width, height, network_side))
    if preview.states_orientation:
        return picture
    turn = _TURNS.get(preview.orientation)
    return picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)


# EXIF orientation -> rotation that makes a picture upright (EXIF 2.32, 4.6.5.1.5).
_TURNS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def _read_picture(path: Path, pixels: int) -> npt.NDArray[np.uint8]:
    """Read a picture's file once, with its end marker if it is a JPEG.

    Without the marker OpenCV does not decode a truncated one.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_file_size(size, pixels)
        data = mmap.mmap(-1, size + len(JPEG_END))
        size = file.readinto(memoryview(data)[:size])
    end = size
    if data[: len(JPEG_START)] == JPEG_START:
        end = size + len(JPEG_END)
        data[size:end] = JPEG_END
    return np.frombuffer(data, np.uint8, end)
