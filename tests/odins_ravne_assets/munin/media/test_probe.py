"""The header of one file, as Stage 0 reads it."""

import csv
import math
import struct
import time
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from pydantic import ValidationError

from odins_ravne_assets.munin.media.gps_position import position_from_exif, position_from_iso_6709
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from resources.errors import MediaError
from resources.settings.profile import Stage0

SETTINGS = Stage0()
# Pictures without an EXIF time whose camera's notes have one.
NOTED_TIMES = {"american_black_bear.jpg": datetime(2010, 11, 6, 4, 4)}
TAKEN = datetime(2021, 5, 28, 9, 30, 11)
EXIF_TIME = "2021:05:28 09:30:11"
PICTURES = {"a.jpg": "jpeg", "a.png": "png", "a.tif": "tiff", "a.webp": "webp"}
VIDEOS = {
    "a.mp4": "mp4",
    "a.mov": "mov",
    "a.3gp": "3gp",
    "a.avi": "avi",
    "a.mkv": "mkv",
    "a.webm": "mkv",
    "a.mpg": "mpeg",
    "a.mts": "mpeg",
    "a.m2ts": "mpeg",
    "a.ts": "mpeg",
    "a.mod": "mpeg",
    "a.vob": "mpeg",
    "a.asf": "asf",
    "a.wmv": "asf",
}


def reason_of(path: Path, settings: Stage0 = SETTINGS) -> str:
    with pytest.raises(MediaError) as caught:
        probe_media(path, settings)
    return str(caught.value)


# Pictures


@pytest.mark.parametrize(("name", "media_format"), PICTURES.items())
def test_size_time_position_and_camera_are_read_from_each_format(
    name: str, media_format: str, tmp_path: Path, make_picture: Any
) -> None:
    exif = {
        "DateTimeOriginal": EXIF_TIME,
        "SubsecTimeOriginal": "25",
        "OffsetTimeOriginal": "+02:00",
        "Make": "ACME   ",
        "Model": "X1\0\0\0",
        "BodySerialNumber": "H500",
    }
    gps = {
        "GPSLatitudeRef": "S",
        "GPSLatitude": (59.0, 30.0, 36.0),
        "GPSLongitudeRef": "E",
        "GPSLongitude": (10.0, 45.0, 0.0),
    }
    assert probe_media(make_picture(tmp_path / name, exif=exif, gps=gps), SETTINGS) == Probe(
        kind="image",
        format=media_format,
        width=64,
        height=48,
        recorded_at=TAKEN.replace(microsecond=250_000),
        utc_offset_minutes=120,
        time_source="exif",
        latitude=-59.51,
        longitude=10.75,
        camera_make="ACME",
        camera_model="X1",
        camera_serial="H500",
    )


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_of_the_upright_picture(
    name: str, orientation: int, tmp_path: Path, make_picture: Any
) -> None:
    path = make_picture(tmp_path / name, exif={"Orientation": orientation})
    probe = probe_media(path, SETTINGS)
    assert (probe.width, probe.height) == ((48, 64) if orientation >= 5 else (64, 48))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_pictures_are_read(mode: str, tmp_path: Path, make_picture: Any) -> None:
    probe = probe_media(make_picture(tmp_path / "a.jpg", mode=mode), SETTINGS)
    assert (probe.width, probe.height, probe.remark) == (64, 48, None)


def test_a_picture_without_exif_has_no_time_and_no_remark(
    tmp_path: Path, make_picture: Any
) -> None:
    probe = probe_media(make_picture(tmp_path / "a.jpg"), SETTINGS)
    assert probe == Probe(kind="image", format="jpeg", width=64, height=48)


def test_the_serial_number_may_be_in_the_older_tag(tmp_path: Path, make_picture: Any) -> None:
    path = make_picture(tmp_path / "a.jpg", exif={"CameraSerialNumber": "77"})
    assert probe_media(path, SETTINGS).camera_serial == "77"


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("a.jpg", "file is truncated: the part that is left is used"),
        ("a.png", "file is truncated"),
    ],
)
def test_a_truncated_picture_is_used_with_a_remark(
    name: str, remark: str, tmp_path: Path, make_picture: Any
) -> None:
    path = make_picture(tmp_path / name, size=(400, 300), exif={"DateTimeOriginal": EXIF_TIME})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    probe = probe_media(path, SETTINGS)
    assert (probe.remark, probe.recorded_at) == (remark, TAKEN)


def test_a_truncated_picture_is_recognised_although_its_thumbnail_is_complete(
    tmp_path: Path, make_picture: Any
) -> None:
    thumbnail = make_picture(tmp_path / "thumbnail.jpg").read_bytes()
    path = make_picture(tmp_path / "a.jpg", size=(400, 300))
    whole = path.read_bytes()
    header = whole[:2] + b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path.write_bytes(header + whole[2:-2])
    assert "truncated" in (probe_media(path, SETTINGS).remark or "")
    path.write_bytes(header + whole[2:])
    assert probe_media(path, SETTINGS).remark is None


def test_data_after_the_end_of_a_picture_is_not_damage(sample_picture: Path) -> None:
    whole = sample_picture.read_bytes()
    # With the last length the end marker spans two of the chunks that are searched.
    for length in (7, 100_000, 3_000_000, 2**20 - 1):
        notes = (b"\xcc\xbb camera's notes\r\n" * 200_000)[:length]
        sample_picture.write_bytes(whole + notes)
        assert probe_media(sample_picture, SETTINGS).remark is None
        sample_picture.write_bytes(whole[:-2] + notes)
        assert "truncated" in (probe_media(sample_picture, SETTINGS).remark or "")


def test_damaged_exif_is_ignored_with_a_remark(sample_picture: Path) -> None:
    data = bytearray(sample_picture.read_bytes())
    at = data.index(b"Exif\0\0") + 6
    data[at : at + 8] = b"JUNKJUNK"
    sample_picture.write_bytes(data)
    probe = probe_media(sample_picture, SETTINGS)
    assert (probe.width, probe.recorded_at) == (64, None)
    assert probe.remark == "EXIF is damaged and ignored"


# Positions


@pytest.mark.parametrize(
    ("gps", "why"),
    [
        ({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, "0, 0"),
        ({1: "\0", 2: (1.0, 1.3, 1.0), 3: "\0", 4: (1.0, 1.3, 1.0)}, "no hemisphere"),
        ({2: (59.0, 30.0, 36.0), 4: (10.0, 45.0, 0.0)}, "no hemisphere"),
        ({1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, "not on Earth"),
        ({1: "N", 2: (59.0, 0.0, 0.0), 3: "W", 4: (180.0, 0.0, 1.0)}, "not on Earth"),
        ({1: "N", 2: (math.nan, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, "not on Earth"),
        ({1: "N", 2: (59.0, 75.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, "not in degrees"),
        ({1: "N", 2: (59.0, -1.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, "not in degrees"),
        ({1: "N", 2: b"\0\0\0", 3: "E", 4: (10.0, 0.0, 0.0)}, "not in degrees"),
        ({1: "N", 2: ("a", "b", "c"), 3: "E", 4: (10.0, 0.0, 0.0)}, "not in degrees"),
        ({1: "N", 2: (59.0, 30.0, 36.0)}, "no hemisphere"),
    ],
)
def test_an_invalid_position_is_missing_with_a_remark(gps: dict[int, object], why: str) -> None:
    position = position_from_exif(gps)
    assert (position.latitude, position.longitude) == (None, None)
    assert position.remark is not None and why in position.remark


def test_a_position_with_a_denominator_of_zero_is_missing(
    tmp_path: Path, make_picture: Any
) -> None:
    gps = {"GPSLatitudeRef": "N", "GPSLatitude": (59.0, 30.0, 36.0)}
    gps |= {"GPSLongitudeRef": "E", "GPSLongitude": (10.0, 45.0, 0.0)}
    path = make_picture(tmp_path / "a.jpg", gps=gps)
    data = path.read_bytes()
    degrees = struct.pack(">2L", 59, 1)
    if degrees not in data:
        degrees = struct.pack("<2L", 59, 1)
    path.write_bytes(data.replace(degrees, degrees[:4] + bytes(4)))
    probe = probe_media(path, SETTINGS)
    assert (probe.latitude, probe.longitude) == (None, None)
    assert "GPS position ignored" in (probe.remark or "")


def test_missing_gps_tags_are_not_a_remark() -> None:
    assert position_from_exif({}) == position_from_exif({0: b"\2\0\0\0", 29: "2021:05:28"})
    assert position_from_exif({}).remark is None


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("+59.9139+010.7522/", (59.9139, 10.7522)),
        ("+59.9139+010.7522+012.300/", (59.9139, 10.7522)),
        ("-3330.5+07015.25/", (-33.508333, 70.254167)),
        ("+400530.6-0740130/", (40.091833, -74.025)),
        ("+27.5916+086.5640+8850CRSWGS_84/", (27.5916, 86.564)),
    ],
)
def test_iso_6709_positions_are_read(text: str, position: tuple[float, float]) -> None:
    found = position_from_iso_6709(text)
    assert (found.latitude, found.longitude) == pytest.approx(position, abs=1e-6)


@pytest.mark.parametrize("text", ["", "59.9 10.7", "+99.0+010.0/", "+00+000/", "+5999+01000/"])
def test_an_invalid_iso_6709_position_is_missing_with_a_remark(text: str) -> None:
    found = position_from_iso_6709(text)
    assert found.latitude is None and found.remark


# Videos


@pytest.mark.parametrize(("name", "media_format"), VIDEOS.items())
def test_size_frame_rate_and_duration_are_read_from_each_format(
    name: str, media_format: str, tmp_path: Path, make_video: Any
) -> None:
    path = make_video(tmp_path / name, size=(320, 240), frames=50)
    probe = probe_media(path, SETTINGS)
    assert (probe.kind, probe.format) == ("video", media_format)
    assert (probe.width, probe.height, probe.fps) == (320, 240, 25.0)
    assert probe.duration_seconds == pytest.approx(2.0, abs=0.2)
    assert probe.recorded_at is None


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.3gp", "a.mkv"])
@pytest.mark.parametrize(("rotation", "size"), [(90, (48, 64)), (-90, (48, 64)), (180, (64, 48))])
def test_the_size_of_a_rotated_video_is_upright(
    name: str, rotation: int, size: tuple[int, int], tmp_path: Path, make_video: Any
) -> None:
    probe = probe_media(make_video(tmp_path / name, rotation=rotation), SETTINGS)
    assert (probe.width, probe.height) == size


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.3gp", "a.mkv", "a.webm", "a.asf", "a.wmv"])
def test_a_container_time_is_the_cameras_wall_clock_unless_the_settings_say_utc(
    name: str, tmp_path: Path, make_video: Any
) -> None:
    path = make_video(tmp_path / name, metadata={"creation_time": "2021-05-28T09:30:11Z"})
    camera = probe_media(path, SETTINGS)
    assert (camera.recorded_at, camera.utc_offset_minutes) == (TAKEN, None)
    utc = probe_media(path, Stage0(container_time="utc"))
    assert (utc.recorded_at, utc.utc_offset_minutes) == (TAKEN, 0)
    assert camera.time_source == utc.time_source == "container"


def test_a_quicktime_creation_date_with_an_offset_takes_precedence(
    tmp_path: Path, make_video: Any
) -> None:
    metadata = {
        "creation_time": "2021-05-28T07:30:11Z",
        "com.apple.quicktime.creationdate": "2021-05-28T09:30:11+0200",
        "com.apple.quicktime.location.ISO6709": "+59.9139+010.7522+012.300/",
        "com.apple.quicktime.make": "ACME",
        "com.apple.quicktime.model": "X1",
    }
    probe = probe_media(make_video(tmp_path / "a.mp4", metadata=metadata), SETTINGS)
    assert (probe.recorded_at, probe.utc_offset_minutes) == (TAKEN, 120)
    assert (probe.latitude, probe.longitude) == (59.9139, 10.7522)
    assert (probe.camera_make, probe.camera_model) == ("ACME", "X1")


def test_the_location_atom_of_quicktime_is_read(tmp_path: Path, make_video: Any) -> None:
    metadata = {"location": "-33.5000-070.2500/", "make": "ACME", "model": "X1"}
    probe = probe_media(make_video(tmp_path / "a.mov", metadata=metadata), SETTINGS)
    assert (probe.latitude, probe.longitude) == (-33.5, -70.25)
    assert (probe.camera_make, probe.camera_model) == ("ACME", "X1")


@pytest.mark.parametrize("container_time", ["camera", "utc"])
@pytest.mark.parametrize("idit", ["FRI MAY 28 09:30:11 2021\n\0", "2021/05/28 09:30:11\0"])
def test_the_idit_time_of_an_avi_has_no_zone(
    idit: str, container_time: Any, tmp_path: Path, make_video: Any
) -> None:
    path = make_video(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    text = idit.encode() + b"\0" * (len(idit) % 2)
    chunk = b"IDIT" + struct.pack("<I", len(text)) + text
    at = data.index(b"hdrl")
    for size_at in (4, at - 4):  # of the file, and of the list of headers
        size = struct.unpack_from("<I", data, size_at)[0]
        struct.pack_into("<I", data, size_at, size + len(chunk))
    data[at + 4 : at + 4] = chunk
    path.write_bytes(data)
    probe = probe_media(path, Stage0(container_time=container_time))
    assert (probe.recorded_at, probe.utc_offset_minutes) == (TAKEN, None)


def test_the_icrd_date_of_an_avi_counts_only_with_a_time(tmp_path: Path, make_video: Any) -> None:
    timed = make_video(tmp_path / "a.avi", metadata={"date": "2021-05-28 09:30:11"})
    assert probe_media(timed, SETTINGS).recorded_at == TAKEN
    dated = probe_media(make_video(tmp_path / "b.avi", metadata={"date": "2021-05-28"}), SETTINGS)
    assert (dated.recorded_at, dated.remark) == (None, None)


def test_a_truncated_avi_has_a_remark(tmp_path: Path, make_video: Any) -> None:
    path = make_video(tmp_path / "a.avi", size=(320, 240), frames=20)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert probe_media(path, SETTINGS).remark == "file is truncated"


def test_an_mp4_without_an_index_fails_with_the_reason(sample_video: Path) -> None:
    data = sample_video.read_bytes()
    sample_video.write_bytes(data[: data.index(b"moov") - 4])
    assert "index is missing" in reason_of(sample_video)


def test_sound_with_a_cover_picture_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16_000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = np.zeros((48, 64, 3), np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(cover.encode(None))
        second = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        second.sample_rate = 16_000
        container.mux(sound.encode(second))
        container.mux(sound.encode(None))
    assert reason_of(path) == "holds no video, only sound"


def test_an_unknown_codec_fails_with_a_remedy(sample_video: Path) -> None:
    data = sample_video.read_bytes()
    sample_video.write_bytes(
        data.replace(b"avc1", b"zzzz").replace(b"isomiso2zzzz", b"isomiso2avc1")
    )
    assert "convert it" in reason_of(sample_video)


def test_a_playlist_named_as_a_video_is_not_followed(tmp_path: Path, sample_video: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXTINF:10,\n{sample_video}\n#EXT-X-ENDLIST\n")
    assert reason_of(path) == "is text, not a picture or a video"


# Names and contents


def test_content_decides_on_the_format_and_a_mismatched_name_is_a_remark(
    tmp_path: Path, sample_picture: Path, sample_video: Path
) -> None:
    as_png = tmp_path / "a.png"
    as_png.write_bytes(sample_picture.read_bytes())
    probe = probe_media(as_png, SETTINGS)
    assert (probe.format, probe.remark) == ("jpeg", "named .png, is JPEG")
    as_picture = tmp_path / "b.JPG"
    as_picture.write_bytes(sample_video.read_bytes())
    probe = probe_media(as_picture, SETTINGS)
    assert (probe.kind, probe.remark) == ("video", "named .jpg, is MP4")


def test_formats_of_the_iso_family_have_any_of_its_extensions(
    tmp_path: Path, make_video: Any
) -> None:
    path = make_video(tmp_path / "a.mov")
    probe = probe_media(path.rename(tmp_path / "a.mp4"), SETTINGS)
    assert (probe.format, probe.remark) == ("mov", None)


def test_the_name_decides_if_the_content_is_inconclusive(tmp_path: Path, make_video: Any) -> None:
    path = make_video(tmp_path / "a.mpg", size=(320, 240), frames=50)
    path.write_bytes(b"\x01junk\x02\x00\x03" + path.read_bytes())
    assert probe_media(path, SETTINGS).format == "mpeg"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file is empty"),
        (b"Not a picture.\r\n" * 9, "is text, not a picture or a video"),
        (bytes(5000), "is all zeros, as a failing card writes, not a picture or a video"),
        (b"GIF89a" + bytes(range(200)), "is a GIF picture, which is not read: convert it"),
        (b"\0\0\0\x18ftypavif" + bytes(99), "is an AVIF picture, which is not read: convert it"),
        (b"\xff\xd8\xff", "damaged JPEG"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n", "damaged PNG"),
        (b"II*\0\x08\0\0\0", "damaged TIFF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged WEBP"),
        (b"RIFF\x10\0\0\0AVI LIST", "damaged AVI"),
        (b"\0\0\0\x18ftypisom" + bytes(16), "damaged MP4"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "damaged HEIF"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(99), "damaged raw file"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "damaged MKV"),
        (bytes(range(1, 99)), "damaged JPEG"),
    ],
)
def test_a_file_that_is_not_a_picture_fails_with_a_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "IMG_0001.JPG"
    path.write_bytes(content)
    assert reason_of(path).startswith(reason)


def test_a_deleted_file_fails(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "gone.jpg") == "cannot be opened: No such file or directory"


# Malicious files


def png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000))
    reason = reason_of(path)
    assert "60000x60000 pixels" in reason and "pipeline.stage0.max_megapixels (200)" in reason
    assert probe_media(path, Stage0(max_megapixels=3600)).width == 60_000


def test_a_decompression_bomb_of_any_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    Image.new("RGB", (64, 48)).save(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x9d\x01\x2a") + 3  # the size, in the header of the VP8 frame
    data[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    path.write_bytes(data)
    assert "16383x16383 pixels, more than pipeline.stage0.max_megapixels" in reason_of(path)


def test_the_limit_of_megapixels_applies_to_videos(sample_video: Path) -> None:
    assert "64x48 pixels" in reason_of(sample_video, Stage0(max_megapixels=0.003))


def tiff_with_a_tag_of(count: int) -> bytes:
    """Return a TIFF whose only tag claims `count` fractions."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 700, 5, count, 8) + bytes(4)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "text.png",
            png(64, 48, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
            "too large",
        ),
        (
            "profile.png",
            png(64, 48, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
            "too large",
        ),
        ("chunks.png", png(64, 48, *[png_chunk(b"teXt", b"")] * 400_000), "has no end"),
        ("endless.jpg", b"\xff\xd8\xff" + bytes(2_000_000), "has no end"),
        (
            "segments.jpg",
            b"\xff\xd8" + b"\xff\xe5\xff\xff".ljust(65_537, b"\0") * 1100,
            "has no end",
        ),
        ("tag.tif", tiff_with_a_tag_of(2**29), "Missing dimensions"),
    ],
)
def test_a_malicious_header_fails_quickly(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    start = time.monotonic()
    assert reason in reason_of(path)
    assert time.monotonic() - start < 10


def test_a_probe_survives_json(sample_picture: Path) -> None:
    probe = probe_media(sample_picture, SETTINGS)
    assert Probe.from_message(probe.as_message()) == probe
    with pytest.raises(ValueError, match="Extra inputs"):
        Probe.from_message(probe.as_message() | {"path": "/etc/passwd"})


# The labelled footage


@pytest.mark.footage
def test_headers_match_the_manifest(footage: Path) -> None:
    with (footage / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["path"]).suffix]
    assert len(rows) == 74
    for row in rows:
        path = footage / row["path"]
        if row["bytes"] == "0":
            assert reason_of(path) == "file is empty"
            continue
        probe = probe_media(path, SETTINGS)
        assert f"{probe.width}x{probe.height}" == row["size"], path
        assert probe.kind == row["kind"], path
        if probe.kind == "video":
            assert probe.fps == float(row["fps"]), path
            continue
        taken = row["exif_datetime"] and datetime.strptime(row["exif_datetime"], "%Y:%m:%d %X")
        assert probe.recorded_at == (taken or NOTED_TIMES.get(path.name)), path
        assert (probe.camera_make or "") == row["exif_make"], path
        # Every position in the set is invalid.
        assert probe.latitude is None
        assert ("GPS position ignored" in (probe.remark or "")) == bool(row["exif_gps"]), path


@pytest.mark.footage
@pytest.mark.parametrize(
    ("path", "remark"),
    [
        ("microsoft_cameratraps/10050028_0.JPG", "named .jpg, is PNG"),
        (
            "speciesnet_testdata/african_elephants_truncated_file.jpg",
            "file is truncated: the part that is left is used",
        ),
        ("made_from_real_frames/heron_burst_mjpeg_truncated.avi", "file is truncated"),
        (
            "animl/Southwest/2021-05-28_SYFR0041_deer.JPG",
            "GPS position ignored: no hemisphere",
        ),
        (
            "animl/Southwest/2021-12-07_12080069_rabbit.JPG",
            "GPS position ignored: 0, 0",
        ),
        ("speciesnet_testdata/african_elephants_cmyk.jpg", None),
        ("animl/Southwest/IMAG0004_cougar.JPG", None),  # the camera appends data
    ],
)
def test_remarks_on_real_files(path: str, remark: str | None, footage: Path) -> None:
    assert probe_media(footage / path, SETTINGS).remark == remark


@pytest.mark.footage
def test_duration_and_time_of_real_videos(footage: Path) -> None:
    cars = probe_media(footage / "intel_sample_videos/car-detection.mp4", SETTINGS)
    assert cars.duration_seconds == pytest.approx(377 / 12.5)
    assert cars.recorded_at == datetime(2018, 4, 19, 22, 46)
    assert cars.time_source == "container"
    chimp = probe_media(footage / "zamba_videos/densepose_tests/chimp.mp4", SETTINGS)
    assert (chimp.duration_seconds, chimp.recorded_at) == (15.0, None)
    clip = footage / "zamba_videos/data/raw/chimpandsee/Trip_5/card 1.2_location/PICT0074.ASF"
    assert "not plausible" in (probe_media(clip, SETTINGS).remark or "")


def with_rate(path: Path, scale: int, rate: int) -> Path:
    """Give an AVI another frame rate, `rate / scale`, in the header of its stream."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 28, scale, rate)
    path.write_bytes(data)
    return path


def test_a_clip_of_millennia_has_no_duration(make_video: Any, tmp_path: Path) -> None:
    path = with_rate(make_video(tmp_path / "a.avi", frames=5), 2**31 - 1, 1)
    probe = probe_media(path, SETTINGS)
    assert (probe.duration_seconds, probe.fps) == (None, None)
    assert "its duration is not plausible and ignored: 1.07e+10" in (probe.remark or "")
    assert "its frame rate is not plausible and ignored: 4.66e-10" in (probe.remark or "")


def test_an_absurd_frame_rate_is_ignored(make_video: Any, tmp_path: Path) -> None:
    path = with_rate(make_video(tmp_path / "a.avi", frames=5), 1, 10**8)
    probe = probe_media(path, SETTINGS)
    assert probe.fps is None
    assert "its frame rate is not plausible and ignored: 1e+08" in (probe.remark or "")


@pytest.mark.parametrize(
    "wrong", [{"width": 2**31}, {"duration_seconds": 1e9}, {"latitude": 91.0}, {"fps": "NaN"}]
)
def test_an_answer_beyond_the_bounds_of_the_tables_is_refused(wrong: dict[str, Any]) -> None:
    answer = {"kind": "video", "format": "mp4", "width": 64, "height": 48}
    Probe.from_message(answer)
    with pytest.raises(ValidationError):
        Probe.from_message(answer | wrong)
