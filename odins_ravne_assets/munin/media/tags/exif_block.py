"""Read the tags of an EXIF block that Stage 0 uses, and no others.

Format: TIFF 6.0, section 2, and EXIF 2.32, 4.6. At most three directories of MAX_ENTRIES are
read, and at most MAX_NUMBERS numbers of a tag, so that a crafted block costs no time. A broken tag
is left out with a remark, and the others are read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

PREFIX = b"Exif\0\0"
# EXIF in a JPEG has at most 64 KiB, some cameras write several segments.
MAX_BLOCK_BYTES = 2**20
MAX_ENTRIES = 1000
MAX_NUMBERS = 64

MAKE, MODEL, ORIENTATION, CHANGED = 0x010F, 0x0110, 0x0112, 0x0132
ORIGINAL, DIGITIZED = 0x9003, 0x9004
OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
SUBSECOND, SUBSECOND_ORIGINAL, SUBSECOND_DIGITIZED = 0x9290, 0x9291, 0x9292
TIME_ZONE_HOURS = 0x882A  # TIFF/EP: of DateTimeOriginal, and of DateTime
MAKER_NOTE, XMP = 0x927C, 0x02BC
BODY_SERIAL_NUMBER, CAMERA_SERIAL_NUMBER = 0xA431, 0xC62F
_EXIF, _GPS = 0x8769, 0x8825
_WANTED = frozenset(
    {
        *(MAKE, MODEL, ORIENTATION, CHANGED, ORIGINAL, DIGITIZED, TIME_ZONE_HOURS),
        *(OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED),
        *(SUBSECOND, SUBSECOND_ORIGINAL, SUBSECOND_DIGITIZED),
        *(MAKER_NOTE, XMP, BODY_SERIAL_NUMBER, CAMERA_SERIAL_NUMBER),
    }
)
# EXIF 2.32, table 15: latitude and longitude with their references, time and date (UTC).
_WANTED_GPS = frozenset({1, 2, 3, 4, 7, 0x1D})

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_TIFF = 42
# Type -> bytes of one value, and its struct format; rationals are two numbers.
_TYPES = {
    **{1: (1, ""), 2: (1, ""), 6: (1, ""), 7: (1, ""), 3: (2, "H"), 8: (2, "h")},
    **{4: (4, "I"), 13: (4, "I"), 9: (4, "i"), 5: (8, "II"), 10: (8, "ii")},
    **{11: (4, "f"), 12: (8, "d")},
}
_RATIONALS = frozenset({5, 10})

TOO_LARGE = "EXIF is too large and ignored"
DAMAGED = "EXIF is damaged and ignored"
PARTLY_DAMAGED = "EXIF is damaged in part"
WRONG_ORDER = "EXIF has a wrong byte-order mark"


@dataclass
class ExifBlock:
    """The tags of a block.

    Attributes:
        tags: of IFD0 and the Exif IFD. Texts and other bytes are `bytes`; numbers are an int or a
            float, or a tuple of them if there are several; a rational with a denominator of zero is
            NaN.
        gps: of the GPS IFD.
        remarks: on damage.
    """

    tags: dict[int, object] = field(default_factory=dict)
    gps: dict[int, object] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: int
    at: int  # of the value or of its offset


def read_exif_block(block: bytes) -> ExifBlock:
    """Read a block, with or without the prefix `Exif`."""
    while block.startswith(PREFIX):
        block = block[len(PREFIX) :]
    if len(block) > MAX_BLOCK_BYTES:
        return ExifBlock(remarks=(TOO_LARGE,))
    order = _BYTE_ORDERS.get(block[:2])
    if order is None or len(block) < 8:
        return ExifBlock(remarks=(DAMAGED,) if block.strip(b"\0") else ())
    remarks = []
    if struct.unpack_from(f"{order}H", block, 2)[0] != _TIFF:
        order = "<" if order == ">" else ">"
        if struct.unpack_from(f"{order}H", block, 2)[0] != _TIFF:
            return ExifBlock(remarks=(DAMAGED,))
        remarks.append(WRONG_ORDER)
    reader = _Reader(block, order)
    found = reader.read(struct.unpack_from(f"{order}I", block, 4)[0])
    if not (found.tags or found.gps) and reader.is_damaged:
        return ExifBlock(remarks=(*remarks, DAMAGED))
    if reader.is_damaged:
        remarks.append(PARTLY_DAMAGED)
    found.remarks = tuple(remarks)
    return found


def read_exif_directory(block: bytes, order: str, start: int) -> ExifBlock:
    """Read a directory without a TIFF header, as some AVIs hold it.

    Args:
        block: offsets in the directory count from its first byte.
        order: "<" or ">".
        start: of the directory.
    """
    return _Reader(block[:MAX_BLOCK_BYTES], order).read(start)


class _Reader:
    def __init__(self, block: bytes, order: str) -> None:
        self._block = block
        self._order = order
        self.is_damaged = False

    def read(self, start: int) -> ExifBlock:
        """Read IFD0 and the directories that it names."""
        found = ExifBlock()
        places = {_EXIF: 0, _GPS: 0}
        for entry in self._entries(start):
            if entry.tag in places:
                places[entry.tag] = self._number(entry)
            elif entry.tag in _WANTED:
                self._add(found.tags, entry)
        if places[_EXIF]:
            for entry in self._entries(places[_EXIF]):
                if entry.tag in _WANTED:
                    self._add(found.tags, entry)
        if places[_GPS]:
            for entry in self._entries(places[_GPS]):
                if entry.tag in _WANTED_GPS:
                    self._add(found.gps, entry)
        return found

    def _entries(self, start: int) -> Iterator[_Entry]:
        if start + 2 > len(self._block):
            self.is_damaged = True
            return
        (count,) = struct.unpack_from(f"{self._order}H", self._block, start)
        fits = min(count, MAX_ENTRIES, (len(self._block) - start - 2) // 12)
        self.is_damaged |= fits < count
        for at in range(start + 2, start + 2 + 12 * fits, 12):
            tag, kind, values = struct.unpack_from(f"{self._order}HHI", self._block, at)
            yield _Entry(tag, kind, values, at + 8)

    def _number(self, entry: _Entry) -> int:
        """Return an offset of a directory; the type of some cameras is wrong."""
        return int(struct.unpack_from(f"{self._order}I", self._block, entry.at)[0])

    def _add(self, tags: dict[int, object], entry: _Entry) -> None:
        if entry.tag in tags:
            return
        value = self._value(entry)
        if value is None:
            self.is_damaged = True
        else:
            tags[entry.tag] = value

    def _value(self, entry: _Entry) -> object:
        """Return the value of an entry; None if it is outside of the block or is too large."""
        size, form = _TYPES.get(entry.kind, (0, ""))
        length = size * entry.values
        if not length:
            return b"" if size else None
        if form and entry.values > MAX_NUMBERS:
            return None
        at = entry.at if length <= 4 else self._number(entry)
        data = self._block[at : at + length]
        if len(data) < length:
            return None
        if not form:
            return data
        numbers = struct.unpack(f"{self._order}{form * entry.values}", data)
        if entry.kind in _RATIONALS:
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            numbers = tuple(a / b if b else float("nan") for a, b in pairs)
        return numbers if entry.values > 1 else numbers[0]
