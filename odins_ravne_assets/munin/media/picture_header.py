"""Read the header of a picture (JPEG, PNG, TIFF, WebP, HEIF, raw), without decoding pixels."""

import io
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from odins_ravne_assets.munin.media.media_files import Format
from odins_ravne_assets.munin.media.picture_tags import (
    MALFORMED,
    PictureTags,
    read_picture_tags,
    tags_of_jpeg,
    tags_of_pillow,
)
from odins_ravne_assets.munin.media.probe import (
    Probe,
    check_file_size,
    check_size,
    clean_name,
    join_remarks,
)
from odins_ravne_assets.munin.media.tags.exif_block import (
    BODY_SERIAL_NUMBER,
    CAMERA_SERIAL_NUMBER,
    MAKE,
    MODEL,
    ORIENTATION,
    ORIGINAL,
    ExifBlock,
)
from resources.errors import MediaError

if TYPE_CHECKING:
    from odins_ravne_assets.munin.media.raw_preview import Preview

# Opened by class, not by Image.open, which tries every format, and treats the second picture of
# a camera's JPEG (MPO) as a frame.
_READERS: dict[Format, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "tiff": TiffImageFile,
    "webp": WebPImageFile,
    "heif": HeifImageFile,
}
# Pillow's own limit applies to some formats only; `check_size` applies to all.
Image.MAX_IMAGE_PIXELS = None
# Its warnings become remarks.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Far above any camera's header; a crafted one would keep the reader busy for hours.
_MAX_HEADER_BYTES = 64 * 2**20
_MAX_HEADER_READS = 500_000
# Orientations that rotate the picture by 90° (EXIF 2.32, 4.6.5.1.5).
_ROTATED = {5, 6, 7, 8}
_TIFF_HEADS = (b"II*\0", b"MM\0*")

_END_OF_JPEG = b"\xff\xd9"
_CHUNK_BYTES = 2**20
_LAST_PNG_CHUNK = b"\0\0\0\0IEND\xaeB`\x82"
_TRUNCATED = "file is truncated"


def read_picture_header(path: Path, media_format: Format, max_megapixels: float) -> Probe:
    """Read size, EXIF and truncation of a picture.

    Raises:
        MediaError: the header cannot be read, or the picture is too large.
    """
    try:
        with path.open("rb") as file:
            if media_format == "raw":
                # Imported here: few cameras write raw files.
                from odins_ravne_assets.munin.media.raw_preview import read_preview

                return _read_raw(file, read_preview(path), max_megapixels)
            return _read(file, media_format, max_megapixels)
    except MemoryError:
        raise MediaError(
            f"damaged {media_format.upper()}: its header needs too much memory"
        ) from None
    except MALFORMED as error:
        reason = str(error) or type(error).__name__
        raise MediaError(f"damaged {media_format.upper()}: {reason}") from None


def _read(file: IO[bytes], media_format: Format, max_megapixels: float) -> Probe:
    picture = _READERS[media_format](cast(IO[bytes], _Bounded(file)))
    width, height = picture.size
    check_size(width, height, max_megapixels)
    check_file_size(os.fstat(file.fileno()).st_size, width * height)
    truncation = _truncation_remark(file, media_format)
    tags = read_picture_tags(picture, file)
    # The readers of TIFF and HEIF rotate the size themselves.
    if tags.get(ORIENTATION) in _ROTATED and media_format not in {"tiff", "heif"}:
        width, height = height, width
    return _probe(media_format, (width, height), tags, [truncation])


def _read_raw(file: IO[bytes], preview: "Preview", max_megapixels: float) -> Probe:
    """Read a raw file: the size of its preview, and its own EXIF or that of the preview."""
    width, height = preview.width, preview.height
    check_size(width, height, max_megapixels)
    if preview.orientation in _ROTATED:
        width, height = height, width
    tags = _raw_tags(file, preview)
    if preview.recorded_at and tags.get(ORIGINAL) is None:
        time: dict[int, object] = {ORIGINAL: f"{preview.recorded_at:%Y:%m:%d %H:%M:%S}"}
        tags = replace(tags, blocks=[*tags.blocks, ExifBlock(time)])
    small = f"a raw file: its preview of {width}x{height} pixels is used"
    return _probe("raw", (width, height), tags, [small])


def _raw_tags(file: IO[bytes], preview: "Preview") -> PictureTags:
    """Return the tags of a raw file: its own if it has the form of a TIFF, else its preview's."""
    is_tiff = file.read(len(_TIFF_HEADS[0])) in _TIFF_HEADS
    file.seek(0)
    if not is_tiff:
        return tags_of_jpeg(JpegImageFile(io.BytesIO(preview.jpeg)))

    def read() -> Image.Exif:
        exif = Image.Exif()
        exif.load_from_fp(cast(IO[bytes], _Bounded(file)))
        return exif

    return tags_of_pillow(read)


def _probe(
    media_format: Format,
    size: tuple[int, int],
    tags: PictureTags,
    remarks: list[str | None],
) -> Probe:
    """Return the header of a picture.

    Args:
        size: width and height of the upright picture.
        remarks: on the file, before those on its tags.
    """
    width, height = size
    (recorded, source), position, note = tags.recorded(), tags.position(), tags.maker_note()
    serial = tags.get(BODY_SERIAL_NUMBER) or tags.get(CAMERA_SERIAL_NUMBER) or note.serial
    return Probe(
        kind="image",
        format=media_format,
        width=width,
        height=height,
        recorded_at=recorded.at,
        utc_offset_minutes=recorded.utc_offset_minutes,
        time_source=source,
        latitude=position.latitude,
        longitude=position.longitude,
        camera_make=clean_name(tags.get(MAKE)),
        camera_model=clean_name(tags.get(MODEL)),
        camera_serial=clean_name(serial),
        sequence_number=note.sequence_number,
        sequence_length=note.sequence_length,
        trigger=note.trigger,
        temperature=note.temperature,
        moon_phase=note.moon_phase,
        remark=join_remarks([*remarks, *tags.remarks(), *recorded.remarks, position.remark]),
    )


def _truncation_remark(file: IO[bytes], media_format: Format) -> str | None:
    """Return a remark if the end of the file is missing; the position is after the header."""
    if media_format == "jpeg":
        if _ends_after(file, file.tell()):
            return None
        return f"{_TRUNCATED}: the part that is left is used"
    if media_format == "png":
        # Cameras and editors append data after the end.
        file.seek(max(0, file.seek(0, io.SEEK_END) - _CHUNK_BYTES))
        return None if _LAST_PNG_CHUNK in file.read(_CHUNK_BYTES) else _TRUNCATED
    return None


def _ends_after(file: IO[bytes], scan: int) -> bool:
    """Return True if there is an end marker after the start of a JPEG's scan.

    The search is from the end: cameras append data and second pictures, and the thumbnail in the
    header has its own end marker. The two bytes cannot occur within a scan.
    """
    end = file.seek(0, io.SEEK_END)
    while end > scan:
        start = max(scan, end - _CHUNK_BYTES)
        file.seek(start)
        if _END_OF_JPEG in file.read(end - start + 1):
            return True
        end = start
    return False


class _Bounded(io.RawIOBase):
    """A file that raises an error if a header has no end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes = 0
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        allowed = _MAX_HEADER_BYTES - self._bytes
        data = self._file.read(allowed if size < 0 else min(size, allowed))
        self._bytes += len(data)
        self._reads += 1
        if self._bytes >= _MAX_HEADER_BYTES or self._reads > _MAX_HEADER_READS:
            raise MediaError("its header has no end: it is damaged or malicious")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
