"""The folder of a user's models."""

import tempfile
from pathlib import Path

import pytest
from model_files import copy_model

from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.models.models_folder import (
    installed_manifest,
    installed_models,
    local_models_folder,
)
from resources.errors import ModelError


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
