"""Local times of an MP4 or MOV that FFmpeg does not read: XMP, and Sony's non-real-time metadata.

Boxes (ISO 14496-12, 4.2) are walked from the start of the file; the pictures are skipped.
"""

import re
import struct
from pathlib import Path
from typing import IO

from odins_ravne_assets.munin.media.tags.xmp import MAX_XMP_BYTES, xmp_times

_MAX_BOXES = 1000
_MAX_DEPTH = 4
# uuid of XMP (XMP specification, part 3), and the box of QuickTime's user data.
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_CONTAINERS = frozenset({b"moov", b"udta", b"meta"})
# <CreationDate value="2021-05-28T09:30:11+02:00"/>
_SONY_DATE = re.compile(rb'<CreationDate\s+value="([^"<>]{1,40})"')


def iso_box_times(path: Path) -> list[tuple[str, str]]:
    """Return the source ("XMP", "XML") and the text of each time; damage ends the search."""
    with path.open("rb") as file:
        walk = _Walk(file)
        walk.boxes(0, file.seek(0, 2), 0)
    return walk.found


class _Walk:
    """A walk through the boxes of a file; `found` are its results."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._boxes_left = _MAX_BOXES
        self.found: list[tuple[str, str]] = []

    def boxes(self, at: int, end: int, depth: int) -> None:
        """Read the boxes between two places."""
        while at + 8 <= end and self._boxes_left:
            self._boxes_left -= 1
            self._file.seek(at)
            head = self._file.read(16)
            if len(head) < 8:
                return
            size, name = struct.unpack_from(">I4s", head)
            start = at + 8
            if size == 1 and len(head) == 16:
                size, start = struct.unpack_from(">Q", head, 8)[0], at + 16
            stop = min(at + size, end) if size else end
            if stop < start:
                return
            if name in _CONTAINERS and depth < _MAX_DEPTH:
                # `meta` of ISO has a version and flags before its boxes, that of QuickTime has not.
                is_full = name == b"meta" and head[12:16] != b"hdlr"
                self.boxes(start + (4 if is_full else 0), stop, depth + 1)
            elif name in {b"uuid", b"XMP_", b"xml "}:
                self._file.seek(start)
                self._add(name, self._file.read(min(stop - start, MAX_XMP_BYTES)))
            at = stop

    def _add(self, name: bytes, data: bytes) -> None:
        if name == b"xml " and (match := _SONY_DATE.search(data)):
            self.found.append(("XML", match[1].decode("latin-1")))
        elif name == b"XMP_" or data.startswith(_XMP_UUID):
            packet = data.removeprefix(_XMP_UUID)
            self.found += [("XMP", text) for text in xmp_times(packet)[0][:1]]
