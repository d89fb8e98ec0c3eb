"""Where the tags of a picture are: blocks of EXIF, XMP, chunks of PNG, the camera's notes."""

import io
import struct
import zlib
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.media.tags import exif_block
from odins_ravne_assets.munin.media.tags.xmp import JPEG_PREFIX
from resources.settings.profile import Stage0
from tests.odins_ravne_assets.munin.media.tags.test_maker_notes import hyperfire
from tests.odins_ravne_assets.munin.media.tags.test_xmp import packet
from tests.support.exif_blocks import ASCII, RATIONAL, UNDEFINED, Tag, exif, with_segments

TAKEN = datetime(2021, 5, 28, 9, 30, 11)
TIME = b"2021:05:28 09:30:11\0"
MAKE, ORIGINAL, CHANGED = exif_block.MAKE, exif_block.ORIGINAL, exif_block.CHANGED
DATED = exif([Tag(CHANGED, ASCII, TIME)], [Tag(ORIGINAL, ASCII, TIME)])
EDITOR = exif([Tag(MAKE, ASCII, b"Editor\0")])
EDITED = exif([Tag(CHANGED, ASCII, b"2023:01:05 18:00:00\0")])
ZEROS = exif(
    [Tag(CHANGED, ASCII, b"0000:00:00 00:00:00\0")],
    [Tag(ORIGINAL, ASCII, b"0000:00:00 00:00:00\0")],
)
XMP = packet('exif:DateTimeOriginal="2021-05-28T09:30:11+02:00"')


def picture(form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, form)
    return file.getvalue()


def probe(data: bytes, tmp_path: Path, name: str = "a.jpg") -> Probe:
    (tmp_path / name).write_bytes(data)
    return probe_media(tmp_path / name, Stage0())


@pytest.mark.parametrize(
    ("segments", "source", "offset", "remark"),
    [
        ([b"Exif\0\0" + EDITOR, b"Exif\0\0" + DATED], "exif", None, None),
        ([b"Exif\0\0" + DATED, b"Exif\0\0" + EDITOR], "exif", None, None),
        ([b"Exif\0\0" + EDITED, b"Exif\0\0" + DATED], "exif", None, None),
        ([b"Exif\0\0" + DATED, b"Exif\0\0" + EDITED], "exif", None, None),
        ([b"Exif\0\0" + DATED, b"Exif\0\0" + ZEROS], "exif", None, "EXIF time is blank or zeros"),
        ([b"Exif\0\0" + EDITOR, JPEG_PREFIX + XMP], "xmp", 120, None),
        ([JPEG_PREFIX + XMP, b"Exif\0\0" + DATED], "exif", None, None),
        ([JPEG_PREFIX + XMP], "xmp", 120, None),
        ([b"Exif\0\0JUNKJUNK", JPEG_PREFIX + XMP], "xmp", 120, "EXIF is damaged and ignored"),
        ([b"Exif\0\0" + DATED[:40], b"Exif\0\0" + DATED[40:]], "exif", None, None),
        (
            [b"Exif\0\0" + ZEROS, JPEG_PREFIX + XMP], "xmp", 120, "EXIF time is blank or zeros",
        ),
    ],
)  # fmt: skip
def test_the_first_usable_time_of_a_jpeg_is_used(
    segments: list[bytes], source: str, offset: int | None, remark: str | None, tmp_path: Path
) -> None:
    found = probe(with_segments(picture(), *segments), tmp_path)
    assert (found.recorded_at, found.time_source) == (TAKEN, source)
    assert (found.utc_offset_minutes, found.remark) == (offset, remark)


def test_dates_of_iptc_are_read(tmp_path: Path) -> None:
    values = ((55, b"20210528"), (60, b"093011+0200"))
    iptc = b"".join(
        bytes([0x1C, 2, dataset]) + struct.pack(">H", len(value)) + value
        for dataset, value in values
    )
    resource = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iptc)) + iptc
    payload = b"Photoshop 3.0\0" + resource + b"\0" * (len(iptc) % 2)
    jpeg = picture()
    segment = b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload
    found = probe(jpeg[:2] + segment + jpeg[2:], tmp_path)
    assert (found.recorded_at, found.utc_offset_minutes) == (TAKEN, 120)


def test_damaged_xmp_is_a_remark(tmp_path: Path) -> None:
    found = probe(with_segments(picture(), JPEG_PREFIX + b"<x"), tmp_path)
    assert (found.recorded_at, found.remark) == (None, "XMP is damaged and ignored")


def test_notes_of_the_camera_are_columns(tmp_path: Path) -> None:
    tags = [Tag(ORIGINAL, ASCII, TIME), Tag(exif_block.MAKER_NOTE, UNDEFINED, hyperfire())]
    block = exif([Tag(MAKE, ASCII, b"RECONYX\0")], tags)
    found = probe(with_segments(picture(), b"Exif\0\0" + block), tmp_path)
    assert (found.sequence_number, found.sequence_length, found.trigger) == (2, 3, "motion")
    assert (found.temperature, found.moon_phase) == (-7, "waning gibbous")
    assert (found.camera_serial, found.remark) == ("H500HG01", None)


def test_the_time_of_the_notes_or_of_the_gps_is_the_last_resort(tmp_path: Path) -> None:
    notes = exif(
        [Tag(MAKE, ASCII, b"RECONYX\0")], [Tag(exif_block.MAKER_NOTE, UNDEFINED, hyperfire())]
    )
    found = probe(with_segments(picture(), b"Exif\0\0" + notes), tmp_path)
    assert (found.recorded_at, found.remark) == (TAKEN, "the time is that of the camera's notes")
    gps = [Tag(7, RATIONAL, [(7, 1), (30, 1), (11, 1)]), Tag(0x1D, ASCII, b"2021:05:28\0")]
    found = probe(with_segments(picture(), b"Exif\0\0" + exif([], None, gps)), tmp_path)
    assert (found.recorded_at, found.utc_offset_minutes) == (TAKEN.replace(hour=7), 0)
    assert found.remark == "the time is that of the GPS, in UTC"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


RAW_EXIF = b"\nexif\n      99\n" + DATED.hex().encode()


@pytest.mark.parametrize("before_pixels", [True, False])
@pytest.mark.parametrize(
    ("extra", "source"),
    [
        (chunk(b"eXIf", DATED), "exif"),
        (chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW_EXIF)), "exif"),
        (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), "xmp"),
        (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)), "xmp"),
        (chunk(b"tEXt", b"Creation Time\0Fri, 28 May 2021 09:30:11 +0200"), "xmp"),
    ],
)
def test_tags_of_a_png_are_found_anywhere(
    extra: bytes, source: str, before_pixels: bool, tmp_path: Path
) -> None:
    data = picture("PNG")
    at = data.index(b"IDAT" if before_pixels else b"IEND") - 4
    found = probe(data[:at] + extra + data[at:], tmp_path, "a.png")
    assert (found.recorded_at, found.time_source, found.remark) == (TAKEN, source, None)


def test_a_text_of_a_png_that_expands_to_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    data = picture("PNG")
    packed = zlib.compress(b"\0" * 2**28)
    at = data.index(b"IEND") - 4
    extra = chunk(b"zTXt", b"Raw profile type exif\0\0" + packed) * 200
    found = probe(data[:at] + extra + data[at:], tmp_path, "a.png")
    assert (found.width, found.recorded_at) == (64, None)


def test_xmp_of_webp_and_tiff_is_read(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48))
    image.save(tmp_path / "a.webp", xmp=XMP)
    image.save(tmp_path / "a.tif", tiffinfo={700: XMP})
    for name in ("a.webp", "a.tif"):
        found = probe_media(tmp_path / name, Stage0())
        assert (found.recorded_at, found.time_source) == (TAKEN, "xmp"), name
