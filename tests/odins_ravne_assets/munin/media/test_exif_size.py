"""EXIF blocks that no camera writes are ignored before they are parsed."""

import io
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from odins_ravne_assets.munin.media.exif_size import MAX_EXIF_BYTES, is_excessive
from odins_ravne_assets.munin.media.probe_process import probe_media
from resources.settings.profile import Stage0

RATIONAL, MAX_SEGMENT = 5, 65_500


def block(entries: list[tuple[int, int, int, int]], size: int = 0, order: str = "<") -> bytes:
    """EXIF with these tags (tag, type, number of values, offset), filled up to `size` bytes."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tags = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    data = mark + struct.pack(f"{order}IH", 8, len(entries)) + tags + bytes(4)
    return data.ljust(size, b"\1")


def jpeg_with(exif: bytes) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    pieces = (exif[at : at + MAX_SEGMENT] for at in range(0, len(exif), MAX_SEGMENT))
    segments = (b"Exif\0\0" + piece for piece in pieces)
    headers = b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in segments)
    return picture.getvalue()[:2] + headers + picture.getvalue()[2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_whose_tags_are_larger_than_it_is_excessive(order: str) -> None:
    shared = [(0x8000 + number, RATIONAL, 10_000, 8) for number in range(100)]
    assert is_excessive(block(shared, 100_000, order))
    assert not is_excessive(block(shared[:2], 100_000, order))


def test_directories_that_point_to_each_other_are_counted_once() -> None:
    assert not is_excessive(block([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8)]))


def test_a_thousand_tags_are_excessive() -> None:
    assert is_excessive(block([(0x8000 + number, 3, 1, 0) for number in range(1001)]))


@pytest.mark.parametrize("data", [b"", b"II*\0", b"no EXIF", b"II*\0\xff\xff\xff\xff\0\0"])
def test_a_small_damaged_block_is_left_to_the_parser(data: bytes) -> None:
    assert not is_excessive(data)


def test_26_megabytes_of_exif_cost_no_time(tmp_path: Path) -> None:
    tags = (0x9003, 0x829A, 0x829D, 0x9201, 0x9202, 0x11A, 0x11B, 0x132)
    exif = block([(tag, RATIONAL, 3_000_000, 8) for tag in tags], 26_000_000)
    (tmp_path / "a.jpg").write_bytes(jpeg_with(exif))
    started = time.monotonic()
    probe = probe_media(tmp_path / "a.jpg", Stage0())
    assert time.monotonic() - started < 5  # 20 s when it is parsed
    assert (probe.width, probe.remark) == (64, "EXIF is too large and ignored")


def test_a_real_block_is_read(make_picture: Any, tmp_path: Path) -> None:
    exif = {"DateTimeOriginal": "2021:05:28 09:30:11", "MakerNote": b"\1" * 60_000}
    path = make_picture(tmp_path / "a.jpg", exif=exif)
    assert len(path.read_bytes()) < MAX_EXIF_BYTES
    assert probe_media(path, Stage0()).time_source == "exif"
