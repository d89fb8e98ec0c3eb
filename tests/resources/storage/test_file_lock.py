"""Locks of files on disks that have none."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
from filelock import Timeout

from odins_ravne_assets.instance_home import prepare_home
from resources.errors import StoreError
from resources.storage.file_lock import SystemFileLock
from resources.storage.local_store import LocalStore


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every lock fails as on NFS without its lock service, on SMB and on FUSE; the reason."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return os.strerror(request.param)


def sentence(folder: Path, reason: str) -> str:
    return (
        f"{folder}: its disk does not lock files ({reason}), so that two runs could damage each "
        "other's files; mount it with locks, or choose a folder on another disk: "
        "docs/production.md#network-disks"
    )


def test_results_on_a_share_without_locks_are_one_sentence(no_locks: str, tmp_path: Path) -> None:
    output = tmp_path / "share" / "north"
    with pytest.raises(StoreError) as refused, LocalStore(output).exclusive(pytest.fail):
        pass
    assert str(refused.value) == sentence(output, no_locks)


def test_so_is_a_dagster_home(
    no_locks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(StoreError) as refused:
        prepare_home()
    assert str(refused.value) == sentence(tmp_path, no_locks)


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        SystemFileLock(tmp_path / "file" / "lock").acquire()
    with SystemFileLock(tmp_path / "lock"), pytest.raises(Timeout):
        SystemFileLock(tmp_path / "lock", timeout=0).acquire()
