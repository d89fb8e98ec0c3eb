"""EXIF blocks and JPEG segments, byte by byte, for tests."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
_EXIF, _GPS = 0x8769, 0x8825


class Tag(NamedTuple):
    """A tag. `value`: bytes; a list of pairs of a rational; a number of a SHORT; or, of a broken
    tag, its number of values and their place."""

    tag: int
    kind: int
    value: bytes | list[tuple[int, int]] | int | tuple[int, int]


def exif(
    ifd0: Sequence[Tag],
    exif_ifd: Sequence[Tag] | None = None,
    gps: Sequence[Tag] | None = None,
    order: str = "<",
) -> bytes:
    """Return a block without the prefix `Exif`."""
    directories = [list(ifd0)]
    for pointer, tags in ((_EXIF, exif_ifd), (_GPS, gps)):
        if tags is not None:
            directories[0].append(Tag(pointer, LONG, (1, len(directories))))
            directories.append(list(tags))
    starts = [8]
    for tags in directories:
        starts.append(starts[-1] + 6 + 12 * len(tags))
    values = b""
    written = b""
    for tags in directories:
        written += struct.pack(f"{order}H", len(tags))
        for tag, kind, value in tags:
            if tag in {_EXIF, _GPS} and isinstance(value, tuple):
                value = (1, starts[value[1]])
            field, stored = _field(order, value, starts[-1] + len(values))
            written += struct.pack(f"{order}HH", tag, kind) + field
            values += stored
        written += bytes(4)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8) + written + values


def _field(order: str, value: object, place: int) -> tuple[bytes, bytes]:
    """Return the number of values and the field of a tag, and what is stored elsewhere."""
    if isinstance(value, tuple):
        return struct.pack(f"{order}II", *value), b""
    if isinstance(value, int):
        return struct.pack(f"{order}IHH", 1, value, 0), b""
    if isinstance(value, list):
        pairs = b"".join(struct.pack(f"{order}II", *pair) for pair in value)
        return struct.pack(f"{order}II", len(value), place), pairs
    assert isinstance(value, bytes)
    if len(value) <= 4:
        return struct.pack(f"{order}I", len(value)) + value.ljust(4, b"\0"), b""
    return struct.pack(f"{order}II", len(value), place), value


def segment(payload: bytes) -> bytes:
    """Return a JPEG segment APP1."""
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def with_segments(jpeg: bytes, *payloads: bytes) -> bytes:
    """Return a JPEG with segments APP1 at its start."""
    return jpeg[:2] + b"".join(segment(payload) for payload in payloads) + jpeg[2:]
