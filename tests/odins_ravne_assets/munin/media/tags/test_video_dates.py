"""Dates in the containers and streams of videos: RIFF, AVCHD, boxes of MP4."""

import struct
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.tags.avchd import avchd_time
from odins_ravne_assets.munin.media.tags.exif_block import ORIGINAL
from odins_ravne_assets.munin.media.tags.iso_boxes import iso_box_times
from odins_ravne_assets.munin.media.tags.riff import read_riff_dates
from tests.odins_ravne_assets.munin.media.tags.test_xmp import packet
from tests.support.exif_blocks import ASCII, Tag, exif

TAKEN = datetime(2021, 5, 28, 9, 30, 11)
TIME = b"2021:05:28 09:30:11\0"


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def avi(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"AVI " + b"".join(chunks))


def listed(kind: bytes, *chunks: bytes) -> bytes:
    return chunk(b"LIST", kind + b"".join(chunks))


# RIFF


@pytest.mark.parametrize(
    "data",
    [
        avi(listed(b"hdrl", chunk(b"avih", b"\0" * 56), chunk(b"IDIT", TIME))),
        avi(listed(b"hdrl"), listed(b"movi", b"\0" * 99), listed(b"INFO", chunk(b"IDIT", TIME))),
        avi(chunk(b"JUNK", b"\0" * 7), chunk(b"IDIT", TIME)),
        # A recording that was cut off: the length of the file is not written.
        b"RIFF\0\0\0\0AVI " + listed(b"hdrl", chunk(b"IDIT", TIME)),
        # Beyond the first gigabyte a second chunk follows.
        avi(listed(b"movi")) + chunk(b"RIFF", b"AVIX" + listed(b"INFO", chunk(b"IDIT", TIME))),
    ],
)
def test_the_idit_of_an_avi_is_found(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(data)
    assert read_riff_dates(tmp_path / "a.avi").digitised == ["2021:05:28 09:30:11"]


def test_icrd_and_the_exif_of_a_stream_header_are_found(tmp_path: Path) -> None:
    block = exif([], [Tag(ORIGINAL, ASCII, TIME)])
    # An EXIF directory without its header of eight bytes; its offsets count from there.
    directory = struct.pack("<I", 0).join([b"AVIF", b""]) + shifted(block)
    strl = listed(b"strl", chunk(b"strd", directory))
    (tmp_path / "a.avi").write_bytes(
        avi(listed(b"hdrl", strl), listed(b"INFO", chunk(b"ICRD", b"2021-05-28\0")))
    )
    found = read_riff_dates(tmp_path / "a.avi")
    assert found.created == ["2021-05-28"]
    assert found.exif is not None and found.exif.tags == {ORIGINAL: TIME}


def shifted(block: bytes) -> bytes:
    """The directories of an EXIF block, with offsets that count from the first one."""
    data = bytearray(block[8:])
    (pointer,) = struct.unpack_from("<I", data, 2 + 8)
    struct.pack_into("<I", data, 2 + 8, pointer - 8)
    (place,) = struct.unpack_from("<I", data, pointer - 8 + 2 + 8)
    struct.pack_into("<I", data, pointer - 8 + 2 + 8, place - 8)
    return bytes(data)


def test_nested_lists_of_an_avi_end_the_search(tmp_path: Path) -> None:
    data = b""
    for _ in range(50):
        data = listed(b"hdrl", data, *[chunk(b"JUNK", b"")] * 100)
    (tmp_path / "a.avi").write_bytes(avi(data * 20))
    started = time.monotonic()
    assert read_riff_dates(tmp_path / "a.avi").digitised == []
    assert time.monotonic() - started < 1


@given(st.binary(max_size=200))
def test_any_riff_is_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.avi"
    path.write_bytes(avi(listed(b"hdrl", data), data))
    read_riff_dates(path)
    path.write_bytes(b"RIFF" + data)
    read_riff_dates(path)


# AVCHD


def message(zone: int, date: str = "202105", clock: str = "28093011", tags: int = 2) -> bytes:
    values = bytes([0x18, zone]) + bytes.fromhex(date) + bytes([0x19]) + bytes.fromhex(clock)
    mark = bytes.fromhex("17ee8c60f84d11d98cd60800200c9a66")
    return b"\0\0\0\1\x06\x05\xff" + mark + b"MDPM" + bytes([tags]) + values + b"\x80"


@pytest.mark.parametrize(
    ("zone", "offset"),
    [(0x02, 60), (0x22, -60), (0x42, 120), (0x0B, 330), (0x00, 0), (0xFF, None), (0x3E, None)],
)
def test_the_time_of_an_avchd_stream_has_its_zone(zone: int, offset: int | None) -> None:
    assert avchd_time([b"\0\0\0\1\x09\xf0", message(zone)]) == (TAKEN, offset)


def test_emulation_prevention_is_undone() -> None:
    data = message(0x02, clock="28000000").replace(b"\0\0\0", b"\0\0\3\0")
    found = avchd_time([data.replace(b"\0\0\3\0\1", b"\0\0\0\1", 1)])
    assert found is not None and found.at == TAKEN.replace(hour=0, minute=0, second=0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(0x02, tags=1),
        message(0x02, date="2021aa"),
        message(0x02, date="202113"),
        message(0x02)[:-3],
    ],
)
def test_a_stream_without_a_time_has_none(data: bytes) -> None:
    assert avchd_time([data]) is None


def test_the_search_ends_after_some_packets() -> None:
    def endless() -> object:
        while True:
            yield b"\0" * 100

    assert avchd_time(endless()) is None  # type: ignore[arg-type]


# MP4


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data) + 8, name) + data


XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet(
    'xmp:CreateDate="2021-05-28T09:30:11+02:00"'
)
NRTM = b'<NonRealTimeMeta><CreationDate value="2021-05-28T09:30:11+02:00"/></NonRealTimeMeta>'


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (box(b"ftyp", b"isom") + box(b"uuid", XMP), "XMP"),
        (box(b"moov", box(b"udta", box(b"XMP_", XMP[16:]))), "XMP"),
        (box(b"mdat", b"\0" * 99) + box(b"meta", bytes(4) + box(b"xml ", bytes(4) + NRTM)), "XML"),
        (box(b"moov", box(b"meta", box(b"hdlr", b"\0" * 24) + box(b"xml ", NRTM))), "XML"),
        # A size of 64 bits, and one that reaches to the end of the file.
        (struct.pack(">I4sQ", 1, b"mdat", 16) + b"\0\0\0\0uuid" + XMP, "XMP"),
    ],
)
def test_local_times_of_an_mp4_are_found(data: bytes, source: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    assert iso_box_times(tmp_path / "a.mp4") == [(source, "2021-05-28T09:30:11+02:00")]


def test_many_boxes_end_the_search(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(box(b"moov", box(b"free", b"") * 200_000))
    started = time.monotonic()
    assert iso_box_times(tmp_path / "a.mp4") == []
    assert time.monotonic() - started < 1


@given(st.binary(max_size=200))
def test_any_boxes_are_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.mp4"
    path.write_bytes(box(b"moov", data) + data)
    iso_box_times(path)
