"""The recording time of a video, and its duration."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from odins_ravne_assets.munin.media.probe_process import probe_media
from resources.settings.profile import Stage0
from tests.odins_ravne_assets.munin.media.tags.test_video_dates import chunk
from tests.support.media_files import gradient

TAKEN = datetime(2021, 5, 28, 9, 30, 11)


@pytest.mark.parametrize(
    ("idit", "at"),
    [
        ("2021/ 5/28  9:30", TAKEN.replace(second=0)),
        ("2021/05/28/ 09:30", TAKEN.replace(second=0)),
        ("2021-05-28 09:30:11", TAKEN),
        ("2021:05:28 09:30:11", TAKEN),
        ("FRI MAY 28 09:30:11 2021", TAKEN),
        ("2021/05/28 09:30:11PM", TAKEN.replace(hour=21)),
    ],
)
def test_forms_of_idit(idit: str, at: datetime, tmp_path: Path, make_video: Any) -> None:
    data = make_video(tmp_path / "a.avi").read_bytes()
    idit_chunk = chunk(b"IDIT", idit.encode() + b"\n\0")
    (tmp_path / "a.avi").write_bytes(data + idit_chunk)  # behind the first chunk RIFF
    assert probe_media(tmp_path / "a.avi", Stage0()).recorded_at is None
    (tmp_path / "a.avi").write_bytes(
        b"RIFF" + (len(data) - 8 + len(idit_chunk)).to_bytes(4, "little") + data[8:] + idit_chunk
    )
    found = probe_media(tmp_path / "a.avi", Stage0())
    assert (found.recorded_at, found.time_source, found.remark) == (at, "container", None)


UTC, LOCAL = "2021-05-28T01:30:11Z", "2021-05-28T09:30:11"
APPLE = "com.apple.quicktime.creationdate"


@pytest.mark.parametrize(
    ("name", "tags", "hour", "remark"),
    [
        ("a.mp4", {"creation_time": UTC, APPLE: f"{LOCAL}+0800"}, 9, "which is used"),
        ("a.mp4", {"creation_time": UTC, "date": f"{LOCAL}+0800"}, 1, "container_time: utc"),
        ("a.mp4", {"creation_time": UTC, "date": LOCAL}, 1, "container_time: utc"),
        ("a.mkv", {"creation_time": UTC, "DATE_RECORDED": LOCAL}, 1, "container_time: utc"),
    ],
)
def test_a_utc_time_beside_a_local_one_is_a_remark(
    name: str, tags: dict[str, str], hour: int, remark: str, tmp_path: Path, make_video: Any
) -> None:
    found = probe_media(make_video(tmp_path / name, metadata=tags), Stage0())
    assert found.recorded_at == TAKEN.replace(hour=hour)
    assert "container time 01:30:11 is 8 h from the local time" in (found.remark or "")
    assert remark in (found.remark or "")


@pytest.mark.parametrize(
    "tags",
    [
        {"creation_time": f"{LOCAL}Z", "date": LOCAL},
        {"creation_time": f"{LOCAL}Z", "date": "2021-05-28"},
        {"creation_time": f"{LOCAL}Z", "date": "2020-01-01T10:00:00"},  # of something else
    ],
)
def test_times_that_agree_are_no_remark(
    tags: dict[str, str], tmp_path: Path, make_video: Any
) -> None:
    found = probe_media(make_video(tmp_path / "a.mp4", metadata=tags), Stage0())
    assert (found.recorded_at, found.remark) == (TAKEN, None)


def test_utc_by_the_settings_agrees_with_a_local_time(tmp_path: Path, make_video: Any) -> None:
    path = make_video(tmp_path / "a.mp4", metadata={"creation_time": UTC, "date": f"{LOCAL}+08:00"})
    found = probe_media(path, Stage0(container_time="utc"))
    assert (found.utc_offset_minutes, found.remark) == (0, None)


@pytest.mark.parametrize("start", [0, 1000])
def test_the_duration_of_an_mkv_counts_from_its_start(start: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(gradient(64, 48, number), format="rgb24")
            frame.pts, frame.time_base = 1000 * start + 500 * number, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe_media(path, Stage0()).duration_seconds == pytest.approx(3.7, abs=0.3)
