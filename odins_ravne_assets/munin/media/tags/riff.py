"""Dates of an AVI: chunks IDIT and ICRD, and the EXIF of some cameras' stream headers.

Chunks of RIFF (Microsoft, Multimedia Programming Interface, 1991) are walked from the start of the
file; the pictures are skipped. Some cameras (chunk `strd`, mark `AVIF`) store an EXIF directory
behind eight bytes, little-endian, without a TIFF header.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from odins_ravne_assets.munin.media.tags.exif_block import ExifBlock, read_exif_directory
from odins_ravne_assets.munin.media.tags.time_text import clean_text

_MAX_CHUNKS = 2000
_MAX_DEPTH = 4
_MAX_DATE_BYTES = 256
_MAX_BYTES = 2**16  # of a chunk
_EXIF_MARK, _EXIF_AT = b"AVIF", 8
_DATES = {b"IDIT": "digitised", b"ICRD": "created"}
# Lists that can hold dates; the pictures (movi) and unknown ones cannot.
_LISTS = frozenset({b"hdrl", b"strl", b"odml", b"INFO", b"INF0"})


@dataclass
class RiffDates:
    """The texts of dates, and EXIF, of an AVI.

    Attributes:
        digitised: of the chunks IDIT: when the recording began.
        created: of the chunk ICRD, often a date alone.
        exif: of the stream header, None if it has none.
    """

    digitised: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    exif: ExifBlock | None = None


def read_riff_dates(path: Path) -> RiffDates:
    """Read the dates of an AVI; a damaged chunk ends the search."""
    with path.open("rb") as file:
        walk = _Walk(file)
        size, at = file.seek(0, 2), 0
        while at + 12 <= size:  # files above 1 GiB are several RIFF chunks
            file.seek(at)
            name, length = struct.unpack("<4sI4x", file.read(12))
            # The length of a recording that was cut off is zero.
            end = min(at + 8 + length, size) if length else size
            if name != b"RIFF" or end <= at:
                break
            walk.chunks(at + 12, end, 0)
            at = end + end % 2
    return walk.found


class _Walk:
    """A walk through the chunks of a file; `found` are its results."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._chunks_left = _MAX_CHUNKS
        self.found = RiffDates()

    def chunks(self, at: int, end: int, depth: int) -> None:
        """Read the chunks between two places."""
        while at + 8 <= end and self._chunks_left:
            self._chunks_left -= 1
            self._file.seek(at)
            head = self._file.read(12)
            if len(head) < 8:
                return
            name, length = struct.unpack_from("<4sI", head)
            start, stop = at + 8, min(at + 8 + length, end)
            if name == b"LIST" and head[8:] in _LISTS and depth < _MAX_DEPTH:
                self.chunks(at + 12, stop, depth + 1)
            elif name in _DATES or name == b"strd":
                self._file.seek(start)
                self._add(name, self._file.read(min(stop - start, _MAX_BYTES)))
            at = start + length + length % 2

    def _add(self, name: bytes, data: bytes) -> None:
        if name == b"strd":
            self.found.exif = self.found.exif or _stream_exif(data)
        else:
            getattr(self.found, _DATES[name]).append(clean_text(data[:_MAX_DATE_BYTES]))


def _stream_exif(data: bytes) -> ExifBlock | None:
    if not data.startswith(_EXIF_MARK) or len(data) < _EXIF_AT + 2:
        return None
    return read_exif_directory(data[_EXIF_AT:], "<", 0)
