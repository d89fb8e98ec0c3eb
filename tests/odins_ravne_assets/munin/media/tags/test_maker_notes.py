"""Maker notes of Reconyx."""

import struct
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.tags.maker_notes import (
    NO_MAKER_NOTE,
    MakerNote,
    read_maker_note,
)

TAKEN = datetime(2021, 5, 28, 9, 30, 11)


def hyperfire(
    trigger: bytes = b"M\0", sequence: tuple[int, int] = (2, 3), moon: int = 5, celsius: int = -7
) -> bytes:
    note = bytearray(100)
    struct.pack_into("<HHHH", note, 0, 0xF101, 3, 0, 1)
    note[12:14] = trigger
    struct.pack_into("<2H", note, 14, *sequence)
    struct.pack_into("<6H", note, 22, 11, 30, 9, 5, 28, 2021)
    struct.pack_into("<HHh", note, 36, moon, 19, celsius)
    note[42:72] = "H500HG01".encode("utf-16-le").ljust(30, b"\0")
    return bytes(note)


def ultrafire() -> bytes:
    note = bytearray(120)
    note[:10] = b"RECONYXUF\0"
    note[0x34:0x35] = b"T"
    note[0x35:0x37] = bytes([1, 10])
    struct.pack_into("<5BH", note, 0x3B, 11, 30, 9, 28, 5, 2021)
    note[0x43] = 4
    struct.pack_into("<h", note, 0x46, 21)
    note[0x4B:0x53] = b"XR6UF001"
    return bytes(note)


def hyperfire_2() -> bytes:
    note = bytearray(160)
    note[:10] = b"RECONYXH2\0"
    note[0x34:0x36] = b"P\0"
    struct.pack_into("<2H", note, 0x36, 3, 3)
    struct.pack_into("<6H", note, 0x3E, 11, 30, 9, 5, 28, 2021)
    struct.pack_into("<H", note, 0x4C, 0)
    struct.pack_into("<h", note, 0x50, 30)
    note[0x7E:0x9C] = "H2X0001".encode("utf-16-le").ljust(30, b"\0")
    return bytes(note)


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (hyperfire(), MakerNote(2, 3, "motion", -7, "waning gibbous", TAKEN, "H500HG01")),
        (ultrafire(), MakerNote(1, 10, "time_lapse", 21, "full", TAKEN, "XR6UF001")),
        (hyperfire_2(), MakerNote(3, 3, "manual", 30, "new", TAKEN, "H2X0001")),
    ],
)
def test_sequence_trigger_temperature_moon_and_time_are_read(
    note: bytes, expected: MakerNote
) -> None:
    assert read_maker_note(note, "RECONYX") == expected


def test_values_beyond_their_bounds_are_missing() -> None:
    note = hyperfire(trigger=b"?\0", sequence=(4, 3), moon=8, celsius=-300)
    found = read_maker_note(note, "RECONYX")
    assert found[:5] == (None,) * 5
    assert found.recorded_at == TAKEN


def test_the_numbers_of_a_time_may_be_big_endian() -> None:
    note = bytearray(hyperfire())
    struct.pack_into(">6H", note, 22, 11, 30, 9, 5, 28, 2021)
    assert read_maker_note(bytes(note), "RECONYX").recorded_at == TAKEN


@pytest.mark.parametrize("note", [b"", hyperfire()[:20], b"MKN" + b"\0" * 100, "text", None, 5])
def test_other_notes_are_not_read(note: object) -> None:
    assert read_maker_note(note, "RECONYX") == NO_MAKER_NOTE


def test_a_first_hyperfire_is_recognised_by_its_make() -> None:
    note = bytearray(hyperfire())
    note[2:4] = b"\0\0"
    assert read_maker_note(bytes(note), "RECONYX").trigger == "motion"
    assert read_maker_note(bytes(note), "ACME") == NO_MAKER_NOTE


@given(st.sampled_from([b"\x01\xf1\3\0", b"RECONYXUF\0", b"RECONYXH2\0"]), st.binary(max_size=160))
def test_any_note_is_read_without_an_error(start: bytes, rest: bytes) -> None:
    read_maker_note(start + rest, "RECONYX")
