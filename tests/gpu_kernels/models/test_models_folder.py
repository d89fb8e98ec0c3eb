"""The folder of a user's models."""

import os
import tempfile
from pathlib import Path

import pytest
from model_files import copy_model

from gpu_kernels.models.manifest import CATALOGUE_ENTRIES, load_manifest, shipped_models, verify
from gpu_kernels.models.models_folder import (
    MODEL_NAME,
    installed_manifest,
    installed_models,
    local_models_folder,
)
from resources.errors import ModelError, UsageError
from resources.settings.profile import Profile


def test_the_default_is_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert local_models_folder() == Path("/data/odins-ravne/models")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr("sys.platform", "linux")
    assert local_models_folder() == Path("/home/ada/.local/share/odins-ravne/models")


def test_a_user_without_a_home_has_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert local_models_folder("s3://bucket/models").is_relative_to(tempfile.gettempdir())


def test_a_bucket_has_a_copy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    first = local_models_folder("s3://bucket/models")
    assert first.parent == Path("/cache/odins-ravne/models")
    assert local_models_folder("s3://bucket/models/") == first
    assert local_models_folder("s3://other/models") != first


def test_an_installed_model_is_found_by_its_name(tmp_path: Path) -> None:
    own = copy_model(tmp_path / "mine")
    own.rename(own.with_name("mine.toml"))
    folder = str(tmp_path)
    assert installed_models(folder) == ["mine"]
    assert installed_manifest("mine", folder) == tmp_path / "mine" / "mine.toml"
    assert load_manifest("mine", folder).path.parent == tmp_path / "mine"


@pytest.mark.parametrize("name", ["none", "../mine", "mine/mine", "Mine", ""])
def test_other_names_are_unknown_and_say_what_there_is(tmp_path: Path, name: str) -> None:
    copy_model(tmp_path / "mine").rename(tmp_path / "mine" / "mine.toml")
    with pytest.raises(ModelError, match=r"mine.*munin models catalogue"):
        load_manifest(name, str(tmp_path))


def test_a_shipped_model_cannot_be_replaced_by_an_installed_one(tmp_path: Path) -> None:
    copy_model(tmp_path / "megadetector-lite").rename(
        tmp_path / "megadetector-lite" / "megadetector-lite.toml"
    )
    assert load_manifest("megadetector-lite", str(tmp_path)).path.parent.name == "shipped"


@pytest.mark.parametrize(
    "name", ["a", "speciesnet-crop", "v1.2", "a-", "console", "com10x", "7", "a" * 64]
)
def test_names_that_a_model_may_have(name: str) -> None:
    assert MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a.", "x..", "a..b", ".a", "-a", "con", "con.v2", "nul", "com1", "lpt9.x",
     "auto", "a.toml", "a.json", "a.yaml", "A", "a b", "a/b", "a\n", "a" * 65],
)  # fmt: skip
def test_names_that_are_no_folder_or_no_model_everywhere(name: str) -> None:
    assert not MODEL_NAME.fullmatch(name)


def test_every_model_of_the_catalogue_has_a_name_that_is_allowed() -> None:
    names = [path.stem for path in CATALOGUE_ENTRIES.glob("*.toml")]
    assert names
    assert [name for name in [*names, *shipped_models()] if not MODEL_NAME.fullmatch(name)] == []


def test_an_empty_folder_of_the_profile_is_the_folder_of_the_user() -> None:
    assert local_models_folder("") == local_models_folder()
    assert Profile.model_validate({"models": {"folder": ""}}).models.folder is None
    assert Profile.model_validate({"models": {"engines": " "}}).models.engines is None


def test_the_home_of_an_unknown_user_is_named() -> None:
    with pytest.raises(UsageError, match=r"models.folder: ~nouser/x: ~nouser is not the home"):
        local_models_folder("~nouser/x")


@pytest.mark.parametrize("file", ["", "a\\u0000b", "a\\nb"])
def test_a_file_that_no_disk_can_hold_is_refused(tmp_path: Path, file: str) -> None:
    path = copy_model(tmp_path / "mine")
    lines = path.read_text().splitlines()
    named = [f'file = "{file}"' if line.startswith("file = ") else line for line in lines]
    path.write_text("\n".join(named))
    with pytest.raises(ModelError, match="file: "):
        load_manifest(str(path))


def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    manifest = load_manifest(str(copy_model(tmp_path / "mine")))
    manifest.path.unlink()
    os.mkfifo(manifest.path)
    with pytest.raises(ModelError, match="is a named pipe, not a file"):
        verify(manifest)
