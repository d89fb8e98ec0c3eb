"""EXIF is read tag by tag: a broken tag costs a remark, and a crafted block costs no time."""

import io
import math
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.media.tags import exif_block
from odins_ravne_assets.munin.media.tags.exif_block import (
    DAMAGED,
    MAX_BLOCK_BYTES,
    PARTLY_DAMAGED,
    WRONG_ORDER,
    read_exif_block,
)
from resources.settings.profile import Stage0
from tests.support.exif_blocks import ASCII, RATIONAL, UNDEFINED, Tag, exif

MAKE, CHANGED, ORIGINAL = exif_block.MAKE, exif_block.CHANGED, exif_block.ORIGINAL
TIME = b"2021:05:28 09:30:11\0"
MAX_SEGMENT = 65_500


def jpeg_with(block: bytes) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    pieces = (block[at : at + MAX_SEGMENT] for at in range(0, len(block), MAX_SEGMENT))
    segments = (b"Exif\0\0" + piece for piece in pieces)
    headers = b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in segments)
    return picture.getvalue()[:2] + headers + picture.getvalue()[2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_numbers_and_positions_are_read_in_both_byte_orders(order: str) -> None:
    gps = [Tag(1, ASCII, b"N\0"), Tag(2, RATIONAL, [(59, 1), (19, 2), (0, 0)])]
    found = read_exif_block(
        exif([Tag(MAKE, ASCII, b"ACME\0")], [Tag(ORIGINAL, ASCII, TIME)], gps, order)
    )
    assert found.tags == {MAKE: b"ACME\0", ORIGINAL: TIME}
    degrees = found.gps[2]
    assert isinstance(degrees, tuple)
    assert degrees[:2] == (59.0, 9.5) and math.isnan(degrees[2])
    assert found.remarks == ()


def test_a_wrong_byte_order_mark_is_a_remark() -> None:
    block = exif([], [Tag(ORIGINAL, ASCII, TIME)], order=">")
    found = read_exif_block(b"II" + block[2:])
    assert (found.tags, found.remarks) == ({ORIGINAL: TIME}, (WRONG_ORDER,))


def test_a_prefix_that_is_written_twice_is_no_damage() -> None:
    block = b"Exif\0\0Exif\0\0" + exif([Tag(MAKE, ASCII, b"ACME\0")])
    assert read_exif_block(block).tags == {MAKE: b"ACME\0"}


@pytest.mark.parametrize(
    ("tag", "kind", "values", "place"),
    [
        (exif_block.MAKER_NOTE, UNDEFINED, 2**28, 8),  # longer than the block
        (exif_block.MAKER_NOTE, UNDEFINED, 100, 2**24),  # outside of it
        (exif_block.MAKER_NOTE, 99, 20, 8),  # of no type
        (exif_block.MODEL, ASCII, 2**31, 8),
    ],
)
def test_a_broken_tag_leaves_the_others(tag: int, kind: int, values: int, place: int) -> None:
    block = exif([Tag(CHANGED, ASCII, TIME), Tag(tag, kind, (values, place))])
    found = read_exif_block(block)
    assert found.tags == {CHANGED: TIME}
    assert found.remarks == (PARTLY_DAMAGED,)


@pytest.mark.parametrize(
    ("block", "remarks"),
    [
        (b"", ()),
        (b"\0" * 20, ()),
        (b"JUNKJUNK", (DAMAGED,)),
        (b"II*\0", (DAMAGED,)),
        (b"II*\0\xff\xff\xff\xff\0\0", (DAMAGED,)),
        (b"II\x55\0\x08\0\0\0\0\0", (DAMAGED,)),
    ],
)
def test_a_block_without_tags_is_damaged_or_empty(block: bytes, remarks: tuple[str, ...]) -> None:
    found = read_exif_block(block)
    assert (found.tags, found.gps, found.remarks) == ({}, {}, remarks)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_read_without_an_error(noise: bytes, at: int) -> None:
    block = bytearray(exif([Tag(MAKE, ASCII, b"ACME\0")], [Tag(ORIGINAL, ASCII, TIME)]))
    block[at : at + len(noise)] = noise
    read_exif_block(bytes(block))
    read_exif_block(b"II*\0\x08\0\0\0" + noise)


def test_tags_that_share_bytes_cost_no_time() -> None:
    shared = [Tag(MAKE, RATIONAL, (5_000, 8)) for _ in range(60_000)]
    block = exif(shared)[:MAX_BLOCK_BYTES]
    started = time.monotonic()
    read_exif_block(block)
    assert time.monotonic() - started < 1


def test_26_megabytes_of_exif_cost_no_time(tmp_path: Path) -> None:
    tags = (0x9003, 0x829A, 0x829D, 0x9201, 0x9202, 0x11A, 0x11B, 0x132)
    block = exif([Tag(tag, RATIONAL, (3_000_000, 8)) for tag in tags]).ljust(26_000_000, b"\1")
    (tmp_path / "a.jpg").write_bytes(jpeg_with(block))
    started = time.monotonic()
    probe = probe_media(tmp_path / "a.jpg", Stage0())
    assert time.monotonic() - started < 5  # 20 s when it is parsed
    assert (probe.width, probe.remark) == (64, "EXIF is too large and ignored")


def test_a_large_maker_note_is_no_damage(make_picture: Any, tmp_path: Path) -> None:
    tags = {"DateTimeOriginal": "2021:05:28 09:30:11", "MakerNote": b"\1" * 60_000}
    probe = probe_media(make_picture(tmp_path / "a.jpg", exif=tags), Stage0())
    assert (probe.time_source, probe.remark) == ("exif", None)
    block = exif(
        [], [Tag(exif_block.MAKER_NOTE, UNDEFINED, b"\1" * 90_000), Tag(ORIGINAL, ASCII, TIME)]
    )
    (tmp_path / "b.jpg").write_bytes(jpeg_with(block))
    probe = probe_media(tmp_path / "b.jpg", Stage0())
    assert (probe.time_source, probe.remark) == ("exif", None)
