"""Maker notes of Reconyx: sequence, trigger, temperature, phase of the moon, time.

The places of the fields are those that the tag tables of ExifTool 12.57 list (Reconyx HyperFire,
UltraFire and HyperFire 2), checked against ExifTool. No layout of Bushnell's or Browning's notes is
published. Notes are little-endian. A value beyond its bounds counts as missing.
"""

import struct
from datetime import datetime
from typing import Literal, NamedTuple

from odins_ravne_assets.munin.media.tags.time_text import plausible_time

Trigger = Literal["motion", "time_lapse", "external", "manual"]
MoonPhase = Literal[
    "new",
    "waxing crescent",
    "first quarter",
    "waxing gibbous",
    "full",
    "waning gibbous",
    "last quarter",
    "waning crescent",
]
MOON_PHASES: tuple[MoonPhase, ...] = MoonPhase.__args__  # type: ignore[attr-defined]
TRIGGERS: dict[bytes, Trigger] = {
    b"M": "motion",
    b"T": "time_lapse",
    b"E": "external",
    b"P": "manual",
}
# Degrees Celsius that a camera trap can measure.
MIN_TEMPERATURE, MAX_TEMPERATURE = -60, 80
MAX_SEQUENCE = 1000


class MakerNote(NamedTuple):
    """What a camera notes of a picture; None where it notes nothing.

    Attributes:
        sequence_number, sequence_length: the picture's number in its burst, from 1, and their
            number.
        trigger: what released the picture.
        temperature: degrees Celsius.
        moon_phase: by the camera's date.
        recorded_at: the camera's wall clock, less reliable than EXIF.
        serial: the camera's serial number.
    """

    sequence_number: int | None = None
    sequence_length: int | None = None
    trigger: Trigger | None = None
    temperature: int | None = None
    moon_phase: MoonPhase | None = None
    recorded_at: datetime | None = None
    serial: str | None = None


NO_MAKER_NOTE = MakerNote()


class _Layout(NamedTuple):
    """Places in bytes, and struct formats, of the fields of a note."""

    trigger: int
    sequence: tuple[int, str]
    time: tuple[int, str]  # second, minute, hour, then month, day and year, or day, month and year
    month_first: bool
    moon: tuple[int, str]
    celsius: int
    serial: tuple[int, int, str]  # place, length, encoding
    length: int  # through the temperature


_HYPERFIRE = _Layout(12, (14, "<2H"), (22, "<6H"), True, (36, "<H"), 40, (42, 30, "utf-16-le"), 42)
_ULTRAFIRE = _Layout(
    0x34, (0x35, "<2B"), (0x3B, "<5BH"), False, (0x43, "<B"), 0x46, (0x4B, 15, "latin-1"), 0x48
)
_HYPERFIRE_2 = _Layout(
    0x34, (0x36, "<2H"), (0x3E, "<6H"), True, (0x4C, "<H"), 0x50, (0x7E, 30, "utf-16-le"), 0x52
)


def read_maker_note(note: object, make: str | None) -> MakerNote:
    """Return the fields of a maker note; NO_MAKER_NOTE if its layout is unknown.

    Args:
        note: the value of the EXIF tag MakerNote.
        make: the camera's make.
    """
    if not isinstance(note, bytes) or (layout := _layout(note, make)) is None:
        return NO_MAKER_NOTE
    if len(note) < layout.length:
        return NO_MAKER_NOTE
    number, length = _unpack(note, layout.sequence)
    known = 1 <= number <= length <= MAX_SEQUENCE
    (moon,) = _unpack(note, layout.moon)
    (celsius,) = struct.unpack_from("<h", note, layout.celsius)
    return MakerNote(
        number if known else None,
        length if known else None,
        TRIGGERS.get(note[layout.trigger : layout.trigger + 1]),
        celsius if MIN_TEMPERATURE <= celsius <= MAX_TEMPERATURE else None,
        MOON_PHASES[moon] if moon < len(MOON_PHASES) else None,
        _time(note, layout),
        _serial(note, layout),
    )


def _layout(note: bytes, make: str | None) -> _Layout | None:
    if note.startswith(b"RECONYXUF\0"):
        return _ULTRAFIRE
    if note.startswith(b"RECONYXH2\0"):
        return _HYPERFIRE_2
    # 0xF101, and in firmware 2 and 3 the number of it; other makers may begin a note like this.
    is_hyperfire = note.startswith(b"\x01\xf1") and (
        note[2:4] in {b"\2\0", b"\3\0"} or (make or "").upper().startswith("RECONYX")
    )
    return _HYPERFIRE if is_hyperfire else None


def _time(note: bytes, layout: _Layout) -> datetime | None:
    values = _unpack(note, layout.time)
    # Some firmware writes these numbers big-endian.
    if layout is _HYPERFIRE and values[0] & 0xFF00 and not values[0] & 0xFF:
        values = struct.unpack_from(">6H", note, layout.time[0])
    second, minute, hour, one, other, year = values
    month, day = (one, other) if layout.month_first else (other, one)
    return plausible_time([year, month, day, hour, minute, second])


def _serial(note: bytes, layout: _Layout) -> str | None:
    at, length, encoding = layout.serial
    text = note[at : at + length].decode(encoding, "replace").partition("\0")[0].strip()
    return text if text.isascii() and text.isprintable() and text else None


def _unpack(note: bytes, field: tuple[int, str]) -> tuple[int, ...]:
    return struct.unpack_from(field[1], note, field[0])
