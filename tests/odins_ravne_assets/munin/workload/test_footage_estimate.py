"""Estimates of footage before a run, from names and headers only."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import polars as pl
import pytest
from media_files import write_picture, write_video

from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.munin.tables.schemas import MEDIA
from odins_ravne_assets.munin.workload import footage_estimate
from odins_ravne_assets.munin.workload.footage_estimate import FootageCount, count_footage
from resources.batch.work_units import DEFAULT_VIDEO_SECONDS
from resources.errors import StoreError
from resources.settings.profile import Profile, Stage0
from resources.storage.local_store import LocalStore

PROFILE = Profile()  # one frame for each second of video


class CountingStore(LocalStore):
    """A store that counts the files that are opened."""

    opened = 0

    @contextmanager
    def reading_edges(self, key: str) -> Iterator[Path]:
        self.opened += 1
        with super().reading_edges(key) as path:
            yield path


def probe(path: Path) -> Probe:
    return probe_media(path, Stage0())


def count(footage: LocalStore, output: LocalStore | None = None) -> FootageCount:
    return count_footage(footage, output, PROFILE, probe)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stills, two clips of 4 and 2 seconds, and other files."""
    folder = tmp_path_factory.mktemp("card")
    write_picture(folder / "DCIM" / "1.jpg")
    write_picture(folder / "DCIM" / "2.jpg", shift=1)
    write_video(folder / "DCIM" / "3.mp4", frames=40, fps=10)
    write_video(folder / "DCIM" / "4.mp4", frames=20, fps=10)
    (folder / "notes.txt").write_text("a fox")
    (folder / ".trash").mkdir()
    write_picture(folder / ".trash" / "old.jpg")
    return folder


def test_stills_count_as_one_frame_and_videos_by_their_sampling(card: Path) -> None:
    store = CountingStore(card)
    found = count(store)
    assert (found.images, found.videos, found.videos_read) == (2, 2, 2)
    assert found.video_seconds == pytest.approx(6, abs=0.01)
    assert found.frames == found.frames_left == 2 + 4 + 2
    assert found.bytes == sum(path.stat().st_size for path in (card / "DCIM").iterdir())
    assert store.opened == 2


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert count(LocalStore(tmp_path)) == FootageCount(0, 0, 0, 0, 0, 0.0, 0, 0, 0)


def test_a_video_without_a_header_is_counted_without_frames(card: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 1000)
    found = count(LocalStore(tmp_path))
    assert (found.videos, found.videos_unreadable, found.frames) == (1, 1, 0)


def test_an_archived_video_counts_as_one_of_unknown_length(tmp_path: Path) -> None:
    class Archived(LocalStore):
        def reading_edges(self, key: str) -> AbstractContextManager[Path]:
            raise StoreError(f"{key}: is archived")

    (tmp_path / "old.mp4").write_bytes(b"\0" * 1000)
    found = count(Archived(tmp_path))
    assert (found.videos_unreadable, found.frames) == (0, DEFAULT_VIDEO_SECONDS)


def test_of_very_many_videos_a_sample_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footage_estimate, "MAX_LOCAL_HEADERS", 5)
    clip = write_video(tmp_path / "000.mp4", frames=30, fps=10).read_bytes()
    for number in range(1, 40):
        (tmp_path / f"{number:03}.mp4").write_bytes(clip)
    store = CountingStore(tmp_path)
    found = count(store)
    assert (found.videos, found.videos_read, store.opened) == (40, 5, 5)
    assert found.video_seconds == pytest.approx(40 * 3, rel=0.01)
    assert found.frames == 40 * 3


def test_headers_read_by_an_earlier_run_are_not_read_again(card: Path, tmp_path: Path) -> None:
    output = earlier_run(card, tmp_path)
    store = CountingStore(card)
    found = count(store, output)
    assert store.opened == 0
    assert found.frames == 2 + 9 + 2  # the length of 3.mp4 in the table, not in the file
    assert found.media_finished == 0


def test_media_processed_by_an_earlier_run_are_not_left(card: Path, tmp_path: Path) -> None:
    output = earlier_run(card, tmp_path)
    journal = Stage1Journal(output, stage1_key(PROFILE))
    finished = dict.fromkeys(("status", "reason", "frames_decoded", "frames_skipped", "boxes"))
    journal.append({**finished, "content_hash": hash_of("3.mp4"), "status": "done"}, [], [], [])
    journal.flush()
    found = count(LocalStore(card), output)
    assert found.media_finished == 1
    assert found.frames_left == found.frames - 9

    other = Profile.model_validate({"pipeline": {"stage1": {"conf_threshold": 0.9}}})
    assert count_footage(LocalStore(card), output, other, probe).media_finished == 0


def test_a_changed_file_is_read_again(card: Path, tmp_path: Path) -> None:
    output = earlier_run(card, tmp_path, bytes_off=1)
    store = CountingStore(card)
    assert count(store, output).frames == 8
    assert store.opened == 2


def hash_of(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


def earlier_run(card: Path, output: Path, bytes_off: int = 0) -> LocalStore:
    """Write a media table in which 3.mp4 lasts nine seconds."""
    lengths = {"3.mp4": 9.0, "4.mp4": 2.0}
    rows = [
        dict.fromkeys(MEDIA)
        | {
            "path": f"DCIM/{path.name}",
            "bytes": path.stat().st_size + bytes_off,
            "kind": "video" if path.suffix == ".mp4" else "image",
            "duration_seconds": lengths.get(path.name),
            "fps": 10.0,
            "status": "ok",
            "content_hash": hash_of(path.name),
        }
        for path in sorted((card / "DCIM").iterdir())
    ]
    table = output / "tables" / "media.parquet"
    table.parent.mkdir(parents=True)
    pl.DataFrame(rows, schema=MEDIA).write_parquet(table)
    return LocalStore(output)
