"""Small raw files: DNGs with a preview, as a camera or a converter writes them (DNG 1.4)."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

# Type of a value -> its format (TIFF 6.0, section 2).
_BYTE, _ASCII, _SHORT, _LONG, _SIGNED_RATIONAL = 1, 2, 3, 4, 10
_FORMATS = {_BYTE: "B", _SHORT: "H", _LONG: "I", _SIGNED_RATIONAL: "ii"}
_IDENTITY = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]

Entry = tuple[int, int, str | list[int]]


def write_dng(
    path: Path,
    size: tuple[int, int] = (64, 48),
    orientation: int = 1,
    taken: str | None = "2021:05:28 09:30:11",
    colour: tuple[int, int, int] = (200, 120, 40),
    preview: bool = True,
) -> Path:
    """Write a DNG with uniform sensor values.

    Args:
        size: width and height of the preview, as stored.
        orientation: the EXIF orientation of the file.
        taken: DateTimeOriginal; None: it has none.
        colour: RGB, of the preview's left half; the right half is black.
        preview: False: the first picture of the file is the sensor's.
    """
    out = bytearray(b"II*\0\0\0\0\0")
    sensor = _put(out, np.full((48, 64), 1000, "<u2").tobytes())
    raw: list[Entry] = [
        (254, _LONG, [0]),  # the full picture
        (256, _LONG, [64]),
        (257, _LONG, [48]),
        (258, _SHORT, [16]),  # bits
        (259, _SHORT, [1]),  # not compressed
        (262, _SHORT, [32803]),  # colour filter array
        (273, _LONG, [sensor]),
        (277, _SHORT, [1]),
        (278, _LONG, [48]),
        (279, _LONG, [6144]),
        (33421, _SHORT, [2, 2]),
        (33422, _BYTE, [0, 1, 1, 2]),
        (50717, _LONG, [4095]),
    ]
    common: list[Entry] = [
        (271, _ASCII, "ACME"),
        (272, _ASCII, "X1"),
        (274, _SHORT, [orientation]),
        (50706, _BYTE, [1, 4, 0, 0]),
        (50708, _ASCII, "ACME X1"),
        (50721, _SIGNED_RATIONAL, _IDENTITY),
    ]
    if taken:
        common.append((0x8769, _LONG, [_directory(out, [(0x9003, _ASCII, taken)])]))
    if preview:
        common.append((330, _LONG, [_directory(out, raw)]))
        raw = _preview(out, size, colour)
    start = _directory(out, raw + common)
    out[4:8] = struct.pack("<I", start)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return path


def _preview(out: bytearray, size: tuple[int, int], colour: tuple[int, int, int]) -> list[Entry]:
    picture = Image.new("RGB", size)
    picture.paste(colour, (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    jpeg = buffer.getvalue()
    return [
        (254, _LONG, [1]),  # a reduced picture
        (256, _LONG, [size[0]]),
        (257, _LONG, [size[1]]),
        (258, _SHORT, [8, 8, 8]),
        (259, _SHORT, [7]),  # JPEG
        (262, _SHORT, [6]),  # YCbCr
        (273, _LONG, [_put(out, jpeg)]),
        (277, _SHORT, [3]),
        (278, _LONG, [size[1]]),
        (279, _LONG, [len(jpeg)]),
    ]


def _directory(out: bytearray, entries: list[Entry]) -> int:
    """Append a directory of tags; return its place."""
    rows = b""
    for tag, kind, values in sorted(entries, key=lambda entry: entry[0]):
        if isinstance(values, str):
            data, count = values.encode() + b"\0", len(values) + 1
        else:
            numbers = len(_FORMATS[kind])
            count = len(values) // numbers
            data = struct.pack(f"<{_FORMATS[kind] * count}", *values)
        if len(data) > 4:
            data = struct.pack("<I", _put(out, data))
        rows += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return _put(out, struct.pack("<H", len(entries)) + rows + bytes(4))


def _put(out: bytearray, data: bytes) -> int:
    out.extend(bytes(len(out) % 2))
    place = len(out)
    out.extend(data)
    return place
