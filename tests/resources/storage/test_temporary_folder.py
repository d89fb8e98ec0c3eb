"""Temporary folders of killed processes are removed by the next one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.storage.temporary_folder import process_folder, temporary_folder

HOLD = """
import sys
from resources.storage.temporary_folder import temporary_folder
with temporary_folder("step") as folder:
    (folder / "messages").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def holder(temporary: Path) -> "subprocess.Popen[str]":
    """A process that holds a folder until it is killed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_folder_is_deleted_at_the_end(temporary: Path) -> None:
    with temporary_folder("step") as folder:
        assert list(folder.iterdir()) == []
        assert folder.parent.parent == temporary
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(
    temporary: Path,
) -> None:
    killed, living = holder(temporary), holder(temporary)
    try:
        abandoned, used = (Path(each.stdout.readline().strip()) for each in (killed, living))  # type: ignore[union-attr]
        killed.kill()
        killed.communicate()
        assert abandoned.is_dir()
        with temporary_folder("exports"):
            assert not abandoned.exists()
            assert (used / "messages").exists()
    finally:
        living.kill()
        living.communicate()


def test_other_folders_stay(temporary: Path) -> None:
    others = ["munin-step-old", "munin-2-a", "step-99999999-x", "munin-footage-99999999-x"]
    for name in others:
        (temporary / name).mkdir()
    with temporary_folder("media"):
        pass
    assert sorted(path.name for path in temporary.iterdir()) == sorted(others)


def test_folders_of_version_0_1_0_are_removed_once_they_are_old(temporary: Path) -> None:
    for name, days in (("munin-step-abcdefg_", 8), ("munin-step-1234abcd", 6)):
        (temporary / name).mkdir()
        changed = time.time() - days * 86_400
        os.utime(temporary / name, (changed, changed))
    with temporary_folder("media"):
        pass
    assert [path.name for path in temporary.iterdir()] == ["munin-step-1234abcd"]


HOLD_COPY = """
import sys, tempfile
from resources.storage.temporary_folder import process_folder
handle, name = tempfile.mkstemp(prefix="s3-", dir=process_folder("s3"))
print(name, flush=True)
sys.stdin.read()
"""


def test_files_of_a_process_are_deleted_at_its_end_or_by_the_next_one(temporary: Path) -> None:
    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", HOLD_COPY],
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    ending, killed = start(), start()
    names = [Path(each.stdout.readline().strip()) for each in (ending, killed)]  # type: ignore[union-attr]
    killed.kill()
    killed.communicate()
    ending.communicate()
    assert [name.exists() for name in names] == [False, True]
    with temporary_folder("step"):
        assert not names[1].exists()
    assert list(temporary.iterdir()) == []


def test_a_process_has_one_folder_for_a_purpose(temporary: Path) -> None:
    folder = process_folder("s3")
    assert process_folder("s3") == folder != process_folder("runs")
    assert folder.is_dir() and folder.parent.parent == temporary
