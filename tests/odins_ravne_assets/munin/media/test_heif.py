"""HEIC and HEIF pictures, as telephones and some cameras write them."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from pillow_heif import from_pillow

from odins_ravne_assets.munin.detection.still_decoding import decode_still
from odins_ravne_assets.munin.media.probe_process import probe_media
from resources.errors import MediaError
from resources.settings.profile import Stage0


def write_heif(path: Path, mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Path:
    """Write a picture whose left half is red, or white if it has no colours."""
    picture = Image.new(mode, size)
    colour = {"RGB": (255, 0, 0), "RGBA": (255, 0, 0, 255), "L": 255}[mode]
    picture.paste(colour, (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "ACME"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2021:05:28 09:30:11"
    picture.info["exif"] = exif.tobytes()
    from_pillow(picture).save(path, quality=90)
    return path


@pytest.mark.parametrize("name", ["IMG_0002.HEIC", "a.heif", "a.hif"])
def test_size_time_and_camera_are_read(name: str, tmp_path: Path) -> None:
    probe = probe_media(write_heif(tmp_path / name), Stage0())
    assert (probe.kind, probe.format, probe.width, probe.height) == ("image", "heif", 64, 48)
    assert (probe.recorded_at, probe.camera_make) == (datetime(2021, 5, 28, 9, 30, 11), "ACME")
    assert probe.remark is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_pixels_are_bgr(mode: str, tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic", mode)
    picture = decode_still(path, "heif", 64, 48, 640)
    assert picture.shape == (48, 64, 3)
    expected = (255, 255, 255) if mode == "L" else (0, 0, 255)
    assert np.allclose(picture[:, :28].mean(axis=(0, 1)), expected, atol=12)
    assert picture[:, 36:].mean() < 12


def test_a_heic_named_as_a_jpeg_is_read_with_a_remark(tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic").rename(tmp_path / "IMG_0001.JPG")
    probe = probe_media(path, Stage0())
    assert (probe.format, probe.remark) == ("heif", "named .jpg, is HEIF")


@pytest.mark.parametrize("kept", [24, 200])
def test_a_truncated_one_fails_with_a_reason(kept: int, tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MediaError, match="damaged HEIF"):
        probe_media(path, Stage0())


def test_one_without_its_pixels_is_not_decoded(tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic", size=(640, 480))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 150])
    with pytest.raises(MediaError):
        decode_still(path, "heif", 640, 480, 640)
