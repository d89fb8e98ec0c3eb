"""The tags of a picture: where each format has them, and what they say."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Literal

from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from odins_ravne_assets.munin.media.capture_time import (
    RecordedTime,
    first_time,
    time_from_exif,
    time_from_gps,
    time_from_xmp,
)
from odins_ravne_assets.munin.media.gps_position import NO_POSITION, Position, position_from_exif
from odins_ravne_assets.munin.media.probe import clean_name
from odins_ravne_assets.munin.media.tags import exif_block
from odins_ravne_assets.munin.media.tags.exif_block import DAMAGED, ExifBlock, read_exif_block
from odins_ravne_assets.munin.media.tags.iptc import iptc_times
from odins_ravne_assets.munin.media.tags.maker_notes import (
    NO_MAKER_NOTE,
    MakerNote,
    read_maker_note,
)
from odins_ravne_assets.munin.media.tags.png_chunks import read_png_tags
from odins_ravne_assets.munin.media.tags.xmp import JPEG_PREFIX, xmp_times

# Exceptions of Pillow's readers on malformed headers.
MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_IPTC_RESOURCE = 0x0404  # of Photoshop
_NOTED_TIME = "the time is that of the camera's notes"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")  # the last two with a wrong mark


@dataclass(frozen=True)
class PictureTags:
    """The tags of a picture as they are stored.

    Attributes:
        blocks: of EXIF, in their order.
        xmp: the XMP packet; empty if there is none.
        times: other texts of the time of capture.
    """

    blocks: Sequence[ExifBlock] = ()
    xmp: bytes = b""
    times: Sequence[str] = ()

    def get(self, tag: int) -> object:
        """Return the value of an EXIF tag; of several blocks the last one that has it."""
        return self.merged().get(tag)

    def merged(self) -> dict[int, object]:
        """Return the EXIF tags of all blocks; a later block replaces the values of an earlier one.

        Editors leave a block of their own before the camera's.
        """
        return {tag: value for block in self.blocks for tag, value in block.tags.items()}

    def remarks(self) -> list[str]:
        """Return the remarks on damaged blocks."""
        return [remark for block in self.blocks for remark in block.remarks]

    def position(self) -> Position:
        """Return the first position."""
        found = [position_from_exif(block.gps) for block in self.blocks]
        known = [position for position in found if position.latitude is not None]
        remarked = [position for position in found if position.remark]
        return (*known, *remarked, NO_POSITION)[0]

    def maker_note(self) -> MakerNote:
        """Return the camera's notes."""
        makes = [clean_name(block.tags.get(exif_block.MAKE)) for block in self.blocks]
        make = next((each for each in makes if (each or "").upper().startswith("RECONYX")), None)
        notes = (
            read_maker_note(block.tags.get(exif_block.MAKER_NOTE), make) for block in self.blocks
        )
        return next((note for note in notes if note != NO_MAKER_NOTE), NO_MAKER_NOTE)

    def recorded(self) -> tuple[RecordedTime, Literal["exif", "xmp"] | None]:
        """Return the time of capture and its source; remarks are on those before it too."""
        blocks = [self.merged(), *(block.tags for block in self.blocks)]
        exif = first_time(map(time_from_exif, blocks))
        if not exif.at and (noted := self.maker_note().recorded_at):
            exif = RecordedTime(noted, None, (*exif.remarks, _NOTED_TIME))
        if exif.at:
            return exif, "exif"
        texts, damage = xmp_times(self.xmp)
        xmp = time_from_xmp([*texts, *self.times])
        so_far = RecordedTime(None, None, (*exif.remarks, *damage))
        if xmp.at:
            return first_time([so_far, xmp]), "xmp"
        gps = (time_from_gps(block.gps) for block in self.blocks)
        found = first_time([so_far, xmp, *gps])
        return found, "exif" if found.at else None


def read_picture_tags(picture: ImageFile.ImageFile, file: IO[bytes]) -> PictureTags:
    """Read the tags of an open picture.

    Args:
        file: its content; it is read for a PNG only.
    """
    if isinstance(picture, JpegImageFile):
        return tags_of_jpeg(picture)
    if isinstance(picture, PngImageFile):
        # Pillow reads the chunks after the pixels only when it decodes them.
        found = read_png_tags(file)
        return PictureTags([read_exif_block(block) for block in found.exif], found.xmp, found.times)
    if isinstance(picture, TiffImageFile):
        return tags_of_pillow(picture.getexif)
    block = picture.info.get("exif") or b""
    xmp = picture.info.get("xmp") or b""
    return PictureTags([read_exif_block(block)], xmp if isinstance(xmp, bytes) else b"")


def tags_of_jpeg(picture: JpegImageFile) -> PictureTags:
    """Return the tags in the segments APP1; large EXIF continues in the next one."""
    blocks: list[list[bytes]] = []
    xmp = b""
    for name, data in picture.applist:
        if name != "APP1":
            continue
        if data.startswith(JPEG_PREFIX):
            xmp = xmp or data[len(JPEG_PREFIX) :]
        elif data.startswith(exif_block.PREFIX):
            body = data[len(exif_block.PREFIX) :]
            if not blocks or body.startswith(_TIFF_STARTS):
                blocks.append([])
            blocks[-1].append(body)
    photoshop = picture.info.get("photoshop")
    iptc = photoshop.get(_IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return PictureTags(
        [read_exif_block(b"".join(parts)) for parts in blocks],
        xmp,
        iptc_times(iptc) if isinstance(iptc, bytes) else (),
    )


def tags_of_pillow(read: Callable[[], Image.Exif]) -> PictureTags:
    """Return tags that Pillow reads, of a file that has the form of a TIFF."""
    try:
        exif = read()
        tags = {**exif.get_ifd(ExifTags.IFD.Exif), **exif}
        block = ExifBlock(tags, dict(exif.get_ifd(ExifTags.IFD.GPSInfo)))
    except MALFORMED:
        return PictureTags([ExifBlock(remarks=(DAMAGED,))])
    xmp = tags.get(exif_block.XMP)
    return PictureTags([block], xmp if isinstance(xmp, bytes) else b"")
