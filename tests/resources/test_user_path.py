"""Paths that users type."""

import os
from pathlib import Path

import pytest

from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore, local_path
from resources.user_path import special_file, user_path


def test_the_home_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert user_path("~/x") == Path("/home/ada/x")
    assert user_path("a/~x") == Path("a/~x")


@pytest.mark.parametrize("read", [user_path, local_path, load_profile])
@pytest.mark.parametrize("text", ["~nouser/x.yaml", "a\0b.yaml"])
def test_a_path_that_cannot_be_is_wrong_use(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(UsageError, match=r"not the home of a user|null character"):
        read(text)


def test_special_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert special_file((tmp_path / "file").stat().st_mode) is None
    assert special_file((tmp_path / "pipe").stat().st_mode) == "is a named pipe"
    assert special_file(tmp_path.stat().st_mode) == "is a folder"
    assert special_file(Path("/dev/null").stat().st_mode) == "is a device"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_file_that_is_replaced_has_its_permissions_still(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    LocalStore(tmp_path).write_bytes("a.txt", b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode
