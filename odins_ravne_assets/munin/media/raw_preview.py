"""Read the preview in a camera's raw file (DNG, CR2, CR3, NEF …): the JPEG that the camera shows.

Raw pixels are never developed. LibRaw finds the preview in every layout.
"""

import datetime as dt
import io
from pathlib import Path
from typing import NamedTuple

import rawpy
from PIL import ExifTags
from PIL.JpegImagePlugin import JpegImageFile

from resources.errors import MediaError

# More than any camera writes into one picture; LibRaw reads the file piece by piece.
MAX_RAW_BYTES = 2**29
# `flip` of LibRaw -> EXIF orientation.
_ORIENTATION_OF_FLIP = {3: 3, 5: 8, 6: 6}


class Preview(NamedTuple):
    """The largest preview of a raw file that is a JPEG."""

    jpeg: bytes
    width: int  # in pixels, as stored
    height: int
    orientation: int  # EXIF orientation that makes the stored pixels upright
    states_orientation: bool  # the JPEG has it too, and decoders apply it
    recorded_at: dt.datetime | None  # by LibRaw, the camera's wall clock


def read_preview(path: Path) -> Preview:
    """Return the preview of a raw file.

    Raises:
        MediaError: it is damaged, not a raw file, or has no preview that is a JPEG.
    """
    if path.stat().st_size > MAX_RAW_BYTES:
        raise MediaError(f"its file has {path.stat().st_size / 1e6:,.0f} MB, too many for a raw")
    try:
        with rawpy.imread(str(path)) as raw:
            preview = raw.extract_thumb()
            orientation = _ORIENTATION_OF_FLIP.get(raw.sizes.flip, 1)
            recorded_at = _wall_clock(raw.other.timestamp)
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise MediaError("is a raw file without a preview: convert it to JPEG") from None
    except rawpy.LibRawError as error:
        raise MediaError(f"damaged raw file, or of an unknown camera: {_text(error)}") from None
    if preview.format is not rawpy.ThumbFormat.JPEG:
        raise MediaError("is a raw file whose preview is not a JPEG: convert it to JPEG")
    jpeg = bytes(preview.data)
    picture = JpegImageFile(io.BytesIO(jpeg))
    own = picture.getexif().get(ExifTags.Base.Orientation)
    width, height = picture.size
    return Preview(jpeg, width, height, int(own or orientation), own is not None, recorded_at)


def _wall_clock(timestamp: object) -> dt.datetime | None:
    """Return LibRaw's time: it made a time stamp of the wall clock in this machine's zone."""
    if isinstance(timestamp, dt.datetime):
        return timestamp.replace(tzinfo=None)
    if not isinstance(timestamp, int | float) or timestamp <= 0:
        return None
    return dt.datetime.fromtimestamp(timestamp)


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else type(error).__name__
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
