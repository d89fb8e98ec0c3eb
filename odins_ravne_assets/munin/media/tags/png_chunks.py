"""EXIF, XMP and dates of a PNG, wherever in the file they are (PNG specification, 3rd edition).

Pillow reads what is after the pixels only when it decodes them.
"""

import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from odins_ravne_assets.munin.media.tags.exif_block import MAX_BLOCK_BYTES

_SIGNATURE_BYTES = 8
_MAX_CHUNKS = 50_000
_MAX_TAGS = 16  # a text may expand to a thousand times its size
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP_KEYWORD = b"XML:com.adobe.xmp"
# ImageMagick stores EXIF as hexadecimal digits behind a line with its name and one with its length.
_RAW_EXIF_KEYWORDS = frozenset({b"Raw profile type exif", b"Raw profile type APP1"})
_DATE_KEYWORD = b"Creation Time"
_KEYWORDS = {_XMP_KEYWORD, _DATE_KEYWORD, *_RAW_EXIF_KEYWORDS}


@dataclass
class PngTags:
    """EXIF blocks, the XMP packet, and the texts of creation times of a PNG."""

    exif: list[bytes] = field(default_factory=list)
    xmp: bytes = b""
    times: list[str] = field(default_factory=list)


def read_png_tags(file: IO[bytes]) -> PngTags:
    """Read the chunks of a PNG; a damaged one ends the search."""
    found = PngTags()
    tags = 0
    file.seek(_SIGNATURE_BYTES)
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head)
        if length <= MAX_BLOCK_BYTES and (name == b"eXIf" or name in _TEXT_CHUNKS):
            tags += _add(found, name, file.read(length))
            file.seek(4, 1)  # its checksum
        else:
            file.seek(length + 4, 1)
        if name == b"IEND" or tags >= _MAX_TAGS:
            break
    return found


def _add(found: PngTags, name: bytes, data: bytes) -> bool:
    """Add the content of a chunk; return False if it is none of a tag."""
    if name == b"eXIf":
        found.exif.append(data)
        return True
    keyword, _, text = data.partition(b"\0")
    if keyword not in _KEYWORDS:
        return False
    text = _text_of(name, text)
    if keyword == _XMP_KEYWORD:
        found.xmp = found.xmp or text
    elif keyword in _RAW_EXIF_KEYWORDS:
        digits = b"".join(text.split(b"\n")[3:])
        with suppress(ValueError):
            found.exif.append(bytes.fromhex(digits.decode("ascii")))
    elif keyword == _DATE_KEYWORD:
        found.times.append(text.decode("latin-1"))
    return True


def _text_of(name: bytes, text: bytes) -> bytes:
    """Return the text of a chunk behind its keyword; empty if it cannot be decompressed."""
    compressed = name == b"zTXt"
    if name == b"zTXt":
        text = text[1:]
    elif name == b"iTXt":
        compressed = text[:1] == b"\1"
        # Two flags, then the language and the translated keyword.
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, MAX_BLOCK_BYTES)
    except zlib.error:
        return b""
