"""Scans of a folder of uploads: bounded, resumed, and only of folders that have changed.

Time is that of a handed-in clock, which each stat of a file moves on.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from odins_ravne_assets.arrivals import folder_walk
from odins_ravne_assets.arrivals.folder_source import LISTING_SECONDS, FolderUploadSource
from odins_ravne_assets.arrivals.sensor_state import ScanResult, SensorState
from resources.errors import StoreError
from resources.settings.profile import Uploads
from resources.storage.local_store import named_entries

DATE, HOUR, QUIET = 1_700_000_000, 3600.0, 600.0
Known = set[tuple[str, int, int]]


@dataclass
class SlowEntry:
    """An entry of a folder on a disk that takes time for a stat."""

    entry: "os.DirEntry[str]"
    disk: "Disk"

    @property
    def name(self) -> str:
        return self.entry.name

    def is_dir(self) -> bool:
        return self.entry.is_dir()

    def stat(self) -> os.stat_result:
        self.disk.clock += self.disk.stat_seconds
        self.disk.stats.append(self.entry.name)
        return self.entry.stat()


@dataclass
class Disk:
    """A folder of uploads on a disk whose stats are counted and take time.

    Args:
        clock: seconds that only run forward.
        now: the time of the next scan.
        stats: names of the files whose status was read.
    """

    root: Path
    stat_seconds: float = 0.0
    clock: float = 0.0
    now: float = 1_800_000_000.0
    cursor: str = ""
    stats: list[str] = field(default_factory=list)
    tables: dict[str, Known] = field(default_factory=dict)

    def put(self, key: str, data: bytes = b"x") -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (DATE, DATE))

    def known(self, camera: str) -> Known:
        return self.tables.get(camera, set())

    @property
    def index(self) -> Path:
        return self.root.parent / "index.sqlite"

    def scan(self, after: float = 30.0, stored: bool = True) -> ScanResult:
        """Scan once.

        Args:
            after: seconds since the last scan.
            stored: Dagster stores the cursor; else the tick has died.
        """
        self.now += after
        source = FolderUploadSource(
            Uploads(url=str(self.root)),
            self.known,
            lambda camera: False,
            self.index,
            lambda: self.clock,
        )
        state = SensorState.read(self.cursor)
        self.stats = []
        result = source.scan(state, self.now)
        if stored:
            self.cursor = state.text()
        return result

    def settle(self) -> list[str]:
        """Scan until nothing is pending; return the cameras whose runs were requested."""
        requested: list[str] = []
        for _ in range(5):
            result = self.scan(after=QUIET)
            requested += [each.camera_id for each in result.run_requests]
        assert result.pending == 0
        return requested


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path / "cards")
    disk.root.mkdir()

    def slow_entries(folder: Path) -> Iterator[tuple[str, SlowEntry]]:
        return iter([(name, SlowEntry(entry, disk)) for name, entry in named_entries(folder)])

    monkeypatch.setattr(folder_walk, "named_entries", slow_entries)
    return disk


def test_a_slow_disk_is_listed_in_bounded_scans_with_one_stat_a_file(disk: Disk) -> None:
    names = [f"IMG_{number:04}.JPG" for number in range(400)]
    for name in names:
        disk.put(f"north-1/DCIM/{name}")
    disk.stat_seconds = 0.125  # 50 s for all: more than two scans
    read, scans, requests = [], 0, []
    while not requests:
        began = disk.clock
        result = disk.scan(after=120)
        assert disk.clock - began <= LISTING_SECONDS + 2 * disk.stat_seconds
        requests += result.run_requests
        read += disk.stats
        scans += 1
        assert scans < 20
        if scans == 3:
            assert sorted(read) == names, "each file once in a round"
    assert [(each.camera_id, each.files) for each in requests] == [("north-1", 400)]


def test_a_scan_that_dies_on_a_slow_disk_loses_no_progress(disk: Disk) -> None:
    for number in range(300):
        disk.put(f"north-1/IMG_{number:04}.JPG")
    disk.stat_seconds = 0.125
    disk.scan()
    read = set(disk.stats)
    disk.scan(stored=False)
    assert read.isdisjoint(disk.stats)
    read |= set(disk.stats)
    assert len(read) == 300


def test_a_round_that_takes_long_is_reported_once(disk: Disk) -> None:
    for number in range(600):
        disk.put(f"north-1/IMG_{number:04}.JPG")
    disk.stat_seconds = 1.0
    remarks = [remark for _ in range(55) for remark in disk.scan().remarks]
    assert len(remarks) == 2, "two rounds of 15 minutes"
    assert "minutes so far, more than 10" in remarks[0]
    assert remarks[0].startswith(str(disk.root))


def test_folders_that_have_not_changed_are_not_listed(disk: Disk) -> None:
    for camera in ("a", "b"):
        disk.put(f"{camera}/DCIM/1.jpg")
    assert disk.settle() == ["a", "b"]
    disk.tables = {camera: {("DCIM/1.jpg", 1, DATE * 10**9)} for camera in ("a", "b")}
    disk.scan()
    assert disk.stats == []
    disk.put("b/DCIM/2.jpg")
    disk.scan()
    assert disk.stats == ["1.jpg", "2.jpg"]
    assert disk.settle() == ["b"]


def test_a_new_folder_is_found_by_the_dates_of_the_one_above(disk: Disk) -> None:
    disk.put("a/DCIM/100/1.jpg")
    disk.settle()
    disk.put("a/DCIM/101/2.jpg")
    disk.scan()
    assert disk.stats == ["2.jpg"]
    (disk.root / "a/DCIM/101/2.jpg").unlink()
    (disk.root / "a/DCIM/101").rmdir()
    assert disk.settle() == []
    assert disk.stats == []


def test_a_file_that_grows_is_seen_though_its_folders_dates_do_not_change(disk: Disk) -> None:
    disk.put("a/1.mp4", b"x")
    disk.scan()
    for length in range(2, 6):
        (disk.root / "a/1.mp4").write_bytes(b"x" * length)
        assert not disk.scan(after=QUIET).run_requests
    assert disk.settle() == ["a"]


def test_a_file_replaced_in_place_is_found_by_the_full_listing(disk: Disk) -> None:
    disk.put("a/1.mp4", b"x")
    disk.settle()
    disk.tables["a"] = {("1.mp4", 1, DATE * 10**9)}
    disk.put("a/1.mp4", b"longer")
    assert disk.settle() == [], "the folder's dates are as before"
    disk.now += 24 * HOUR
    assert disk.settle() == ["a"]


def test_a_run_that_failed_is_requested_again_by_another_key(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.scan()
    (first,) = disk.scan(after=QUIET).run_requests
    assert disk.settle() == []
    disk.now += 24 * HOUR
    disk.scan()
    (second,) = disk.scan(after=QUIET).run_requests
    assert (first.camera_id, second.camera_id) == ("a", "a")
    assert first.run_key != second.run_key


def test_a_request_whose_scan_died_is_made_again_by_the_same_key(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.scan()
    (lost,) = disk.scan(after=QUIET, stored=False).run_requests
    (again,) = disk.scan().run_requests
    assert lost.run_key == again.run_key
    assert not disk.scan().run_requests


def test_a_disk_whose_folders_have_no_dates_is_listed_whole(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_walk, "_dates", lambda found: "0:0")  # FAT on Windows
    disk.put("a/1.jpg")
    disk.scan()
    disk.scan()
    disk.put("a/2.jpg")
    (remark,) = disk.scan().remarks
    assert "dates of its folders do not change" in remark
    disk.settle()
    disk.put("a/3.jpg")
    disk.scan()
    assert disk.stats == ["1.jpg", "2.jpg", "3.jpg"]
    assert disk.settle() == ["a"]


def test_dates_in_steps_of_seconds_hide_no_file(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_walk, "_dates", lambda found: f"{found.st_mtime_ns // 10**12}")
    disk.put("a/1.jpg")
    disk.scan()
    disk.put("a/2.jpg")  # in the same step
    assert disk.scan(after=2).remarks == ()
    assert disk.settle() == ["a"]


def test_a_time_that_is_set_back_stops_no_listing(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.settle()
    disk.now -= 400 * 24 * HOUR
    disk.put("a/2.jpg")
    assert disk.settle() == ["a"]
    disk.scan()
    assert disk.stats == []


def test_a_raw_file_is_left_out_wherever_a_listing_is_interrupted(disk: Disk) -> None:
    for number in range(6):
        disk.put(f"a/{number}.CR2")
        disk.put(f"a/{number}.JPG")
    disk.tables["a"] = {(f"{number}.JPG", 1, DATE * 10**9) for number in range(6)}
    disk.stat_seconds = LISTING_SECONDS  # two files of one name in each scan
    for _ in range(20):
        assert not disk.scan(after=QUIET).run_requests
        assert len(disk.stats) <= 4


def test_a_link_to_a_folder_that_was_listed_is_followed_once(disk: Disk) -> None:
    disk.put("a/1.jpg")
    (disk.root / "a" / "again").symlink_to(disk.root / "a")
    (disk.root / "b").symlink_to(disk.root / "a")
    assert disk.settle() == ["a"]


def test_a_folder_that_cannot_be_listed_is_in_quarantine_alone(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.put("a/1.jpg")
    disk.put("b/1.jpg")
    entries = folder_walk.named_entries

    def refuse(folder: Path) -> object:
        if folder.name == "b":
            raise PermissionError(13, "Permission denied")
        return entries(folder)

    with monkeypatch.context() as patch:
        patch.setattr(folder_walk, "named_entries", refuse)
        assert [each.path for each in disk.scan().quarantined] == ["b/"]
        assert disk.settle() == ["a"]
    assert disk.settle() == ["b"]
    assert SensorState.read(disk.cursor).quarantined == {}


def test_a_folder_that_is_not_there_is_named_and_forgets_nothing(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.settle()
    disk.root.rename(disk.root.parent / "away")
    assert disk.scan().remarks == (
        f"uploads.url {disk.root}: cannot be listed: No such file or directory",
    )
    (disk.root.parent / "away").rename(disk.root)
    assert disk.settle() == []


def test_a_table_that_cannot_be_read_harms_its_camera_alone(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.put("b/1.jpg")

    def damaged(camera: str) -> Known:
        if camera == "a":
            raise StoreError("/r/a/tables/media.parquet: is damaged")
        return set()

    disk.known = damaged  # type: ignore[method-assign]
    disk.scan()
    result = disk.scan(after=QUIET)
    assert [each.camera_id for each in result.run_requests] == ["b"]
    assert result.remarks == ("camera a: /r/a/tables/media.parquet: is damaged",)


def test_a_lost_index_costs_a_listing_and_no_run(disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.settle()
    disk.tables["a"] = {("1.jpg", 1, DATE * 10**9)}
    disk.index.unlink()
    assert disk.settle() == []


@pytest.mark.parametrize("damage", [b"", b"not a database" * 99])
def test_a_damaged_index_is_made_again(damage: bytes, disk: Disk) -> None:
    disk.put("a/1.jpg")
    disk.settle()
    disk.index.write_bytes(damage)
    assert disk.settle() == ["a"]


def test_an_index_with_a_damaged_row_is_deleted_with_a_message(disk: Disk) -> None:
    import sqlite3

    disk.put("a/1.jpg")
    disk.settle()
    with sqlite3.connect(disk.index) as database:
        database.execute("UPDATE folders SET facts = '{}'")
    database.close()
    with pytest.raises(StoreError, match=r"index\.sqlite: is damaged .* lists all folders"):
        disk.scan()
    assert disk.settle() == ["a"]


def test_a_cursor_that_an_operator_resets_begins_a_new_index(disk: Disk) -> None:
    disk.put("a/1.jpg")
    assert disk.settle() == ["a"]
    disk.cursor = ""
    assert disk.settle() == ["a"]


def test_the_cursor_does_not_grow_with_cameras(disk: Disk) -> None:
    for number in range(120):
        disk.put(f"cam-{number}/1.jpg")
    assert len(disk.settle()) == 120
    assert len(disk.cursor) < 600
