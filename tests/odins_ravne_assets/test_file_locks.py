"""Locks between this version and older ones, which called fcntl.flock on the same files."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest

from odins_ravne_assets import instance_home
from resources.launch import slots
from resources.storage.layout import LOCK_FILE
from resources.storage.local_store import LocalStore

pytest.importorskip("fcntl")

# As versions before filelock did. `wait` holds the lock until standard input ends.
OLDER_VERSION = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("busy", flush=True)
    else:
        print("held", flush=True)
        sys.stdin.read() if sys.argv[2:] == ["wait"] else None
"""


def hold_store(folder: Path, work: Callable[[], None]) -> None:
    with LocalStore(folder).exclusive(lambda: None):
        work()


def hold_slots(folder: Path, work: Callable[[], None]) -> None:
    with (
        dg.DagsterInstance.local_temp(str(folder)) as instance,
        slots.LaunchSlots(instance, "run", "pool", 1)._lock(),
    ):
        work()


def hold_home(folder: Path, work: Callable[[], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        patch.setattr(instance_home, "_initialize", lambda folder: work())
        instance_home.prepare_home()


LOCKS = [
    (LOCK_FILE, hold_store),
    (slots.SLOTS_LOCK, hold_slots),
    (instance_home.LOCK_FILE, hold_home),
]


def older_version(path: Path, *words: str) -> "AbstractContextManager[subprocess.Popen[str]]":
    return subprocess.Popen(
        [sys.executable, "-c", OLDER_VERSION, path, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("name", "hold"), LOCKS)
def test_an_older_version_waits_for_this_one(
    name: str, hold: Callable[[Path, Callable[[], None]], None], tmp_path: Path
) -> None:
    (tmp_path / name).write_text("left by an older version")

    def probe() -> str:
        with older_version(tmp_path / name) as older:
            return first_line(older)

    answers: list[str] = []
    hold(tmp_path, lambda: answers.append(probe()))
    assert answers == ["busy"]
    assert probe() == "held"
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "hold"), LOCKS)
def test_this_version_waits_for_an_older_one_until_it_is_killed(
    name: str, hold: Callable[[Path, Callable[[], None]], None], tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    with older_version(tmp_path / name, "wait") as older, ThreadPoolExecutor(1) as threads:
        assert first_line(older) == "held"
        taken = threads.submit(hold, tmp_path, lambda: None)
        with pytest.raises(FutureTimeoutError):
            taken.result(timeout=1)
        older.kill()
        taken.result(timeout=60)
