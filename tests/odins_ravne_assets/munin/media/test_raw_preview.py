"""Raw files of cameras: their preview is the picture."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from media_files import write_picture
from raw_files import write_dng

from odins_ravne_assets.munin.detection.still_decoding import decode_still
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from resources.errors import MediaError
from resources.settings.profile import Stage0

TAKEN = datetime(2021, 5, 28, 9, 30, 11)
REMARK = "a raw file: its preview of 64x48 pixels is used"


def test_the_header_is_that_of_the_preview_with_the_files_own_exif(tmp_path: Path) -> None:
    probe = probe_media(write_dng(tmp_path / "IMG_0001.DNG"), Stage0())
    assert probe == Probe(
        kind="image",
        format="raw",
        width=64,
        height=48,
        recorded_at=TAKEN,
        time_source="exif",
        camera_make="ACME",
        camera_model="X1",
        remark=REMARK,
    )


def test_a_raw_file_of_a_camera_that_has_the_form_of_a_tiff_is_one_by_its_name(
    tmp_path: Path,
) -> None:
    path = write_dng(tmp_path / "a.dng").rename(tmp_path / "DSC_0001.NEF")
    assert probe_media(path, Stage0()).format == "raw"


@pytest.mark.parametrize(
    ("orientation", "bright"),
    [
        (1, (slice(None), slice(0, 24))),
        (3, (slice(None), slice(40, 64))),
        (6, (slice(0, 24), slice(None))),
        (8, (slice(40, 64), slice(None))),
    ],
)
def test_the_preview_is_upright(
    orientation: int, bright: tuple[slice, slice], tmp_path: Path
) -> None:
    path = write_dng(tmp_path / "a.dng", orientation=orientation, colour=(200, 120, 40))
    probe = probe_media(path, Stage0())
    picture = decode_still(path, "raw", probe.width, probe.height, 640)
    assert picture.shape == (probe.height, probe.width, 3)
    assert np.allclose(picture[bright].mean(axis=(0, 1)), (40, 120, 200), atol=12)  # BGR
    assert picture.mean() < 80


def test_without_a_preview_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="raw file without a preview: convert it to JPEG"):
        probe_media(write_dng(tmp_path / "a.dng", preview=False), Stage0())


@pytest.mark.parametrize("kept", [40, 300, 900])
def test_a_truncated_raw_file_fails_with_a_reason(kept: int, tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MediaError, match=r"raw file|RAW"):
        probe_media(path, Stage0())


def test_a_jpeg_named_as_a_raw_file_is_read_as_a_jpeg(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg").rename(tmp_path / "a.cr2")
    probe = probe_media(path, Stage0())
    assert (probe.format, probe.remark) == ("jpeg", "named .cr2, is JPEG")
