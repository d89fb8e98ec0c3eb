"""`munin demo`: its footage and its errors; `test_wheel.py` runs it."""

import filecmp
from pathlib import Path

from in_process import MuninInProcess

from odins_ravne_assets.demo.footage import SAMPLES, write_footage


def test_footage_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = write_footage(tmp_path / "a"), write_footage(tmp_path / "b")
    names = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert len(names) == 6
    assert filecmp.cmpfiles(first, second, list(map(str, names)), shallow=False)[0] == list(
        map(str, names)
    )


def test_an_interrupted_generation_is_completed(tmp_path: Path) -> None:
    media = write_footage(tmp_path) / "DCIM" / "100MEDIA"
    (media / "IMAG0006.MP4").rename(media / ".IMAG0006.MP4")
    write_footage(tmp_path)
    assert (media / "IMAG0006.MP4").exists() and not (media / ".IMAG0006.MP4").exists()


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 300_000


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = MuninInProcess(tmp_path / "munin")("demo", tmp_path / "file")
    assert ended.code == 2 and len(ended.errors) == 1
    assert "cannot be written" in ended.errors[0]
