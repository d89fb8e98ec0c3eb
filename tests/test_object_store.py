"""Object stores: keys, atomic writes, one writer at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resources.errors import StoreError, UsageError
from resources.object_store import PARTIAL_PREFIX, LocalStore, local_path, open_store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_what_is_written_is_read_and_listed(store: LocalStore) -> None:
    store.write_bytes("b/two", b"22")
    store.write_bytes("a", b"1")
    assert store.read_bytes("b/two") == b"22"
    assert [(stored.key, stored.size) for stored in store.list()] == [("a", 1), ("b/two", 2)]
    assert [stored.key for stored in store.list("b")] == ["b/two"]
    store.delete("a")
    store.delete("a")
    assert not store.exists("a")


def test_a_write_that_fails_leaves_the_old_object(store: LocalStore) -> None:
    store.write_bytes("key", b"old")
    with pytest.raises(ZeroDivisionError), store.writing("key") as path:
        path.write_bytes(b"half of the n")
        _ = 1 / 0
    assert store.read_bytes("key") == b"old"
    assert [path.name for path in store.root.iterdir()] == ["key"]


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_keys_stay_inside(store: LocalStore, key: str) -> None:
    with pytest.raises(StoreError, match="is not a key"):
        store.write_bytes(key, b"")


def test_a_missing_object_is_named(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="nothing-here"):
        store.read_bytes("nothing-here")
    with pytest.raises(StoreError, match="nothing-here"), store.reading("nothing-here"):
        pass


def test_links_are_followed_but_loops_are_not(store: LocalStore, tmp_path: Path) -> None:
    store.write_bytes("real/file", b"1")
    (store.root / "real" / "up").symlink_to(store.root)
    (store.root / "linked").symlink_to(store.root / "real")
    (store.root / "nowhere").symlink_to(tmp_path / "missing")
    (store.root / "itself").symlink_to(store.root / "itself")
    assert [stored.key for stored in store.list()] == ["linked/file", "real/file"]


def test_urls_and_paths_name_the_same_store(tmp_path: Path) -> None:
    folder = tmp_path / "cam é 1"
    assert open_store(folder.as_uri()).url == open_store(str(folder)).url == folder.as_uri()
    assert local_path(folder.as_uri()) == folder


@pytest.mark.parametrize("url", ["s3://bucket/x", "http://host/x", "file://other-host/x"])
def test_what_cannot_be_opened_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="://"):
        open_store(url)


HOLD = """
import sys, time
from pathlib import Path
from resources.object_store import LocalStore
with LocalStore(Path(sys.argv[1])).exclusive(lambda: print("waiting", flush=True)):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_second_writer_waits_and_a_killed_one_lets_go(store: LocalStore) -> None:
    def hold(seconds: float) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(store.root), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )

    with hold(60) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        with hold(0) as second:
            assert second.stdout and second.stdout.readline() == "waiting\n"
            first.kill()
            assert second.stdout.readline() == "held\n"


def test_what_a_killed_writer_left_is_removed_by_the_next(store: LocalStore) -> None:
    store.write_bytes("tables/a", b"1")
    left = store.root / "tables" / f"{PARTIAL_PREFIX}left"
    left.write_bytes(b"half")
    assert [stored.key for stored in store.list()] == ["tables/a"]
    with store.exclusive(lambda: None):
        assert not left.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="mounting a small disk needs Linux")
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        store = LocalStore(disk)
        store.write_bytes("small", b"kept")
        with pytest.raises(StoreError, match="no space left to write big; make room and run again"):
            store.write_bytes("big", b"x" * 200_000)
        assert store.read_bytes("small") == b"kept"
        assert not store.exists("big")
    finally:
        subprocess.run(["umount", disk], check=True)
