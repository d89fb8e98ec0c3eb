"""Cameras: their ids, the folders they are found in, and the catalog."""

import json
import os
from pathlib import Path

import pytest

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id

# Ids


@pytest.mark.parametrize("text", ["a", "7", "ridge-7", "Ridge_7", "A" * 63])
def test_an_id_is_taken_as_it_is(text: str) -> None:
    assert parse_camera_id(text) == text


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("Taï cam 192", "Tai-cam-192"),
        ("Bjørnhøyden", "Bjornhoyden"),
        ("Smålægret ß", "Smalaegret-ss"),
        ("-7", "7"),
        ("_ridge", "ridge"),
        ("a/b", "a-b"),
        ("a..b", "a-b"),
        ("ridge-7\n", "ridge-7"),
        ("A" * 64, "A" * 63),
    ],
)
def test_what_is_no_id_is_refused_with_one_that_would_do(text: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match="is not allowed: a letter or digit") as caught:
        parse_camera_id(text)
    assert str(caught.value).endswith(f"; use {suggestion}")
    assert parse_camera_id(suggestion) == suggestion


@pytest.mark.parametrize("text", ["", "---", "相机"])
def test_where_nothing_would_do_nothing_is_suggested(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_camera_id(text)
    assert "; use" not in str(caught.value)


# The catalog

CAMERA = Camera("ridge-7", "file:///data/ridge-7", "file:///results/ridge-7")


def test_a_camera_that_was_put_can_be_got(tmp_path: Path) -> None:
    CameraCatalog(tmp_path / "catalog").put(CAMERA)
    assert CameraCatalog(tmp_path / "catalog").get("ridge-7") == CAMERA


def test_putting_a_camera_again_replaces_it(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    catalog.put(CAMERA)
    moved = Camera("ridge-7", "s3://bucket/ridge-7", "s3://bucket/results")
    catalog.put(moved)
    assert catalog.list() == (moved,)


def test_cameras_are_listed_by_id_and_an_empty_catalog_lists_none(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path / "catalog")
    assert catalog.list() == ()
    for name in ("b", "a", "C"):
        catalog.put(Camera(name, "file:///in", "file:///out"))
    assert [camera.camera_id for camera in catalog.list()] == ["C", "a", "b"]


def test_an_unknown_camera_is_an_error_that_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`munin batch INPUT OUTPUT --camera ridge-7`"):
        CameraCatalog(tmp_path).get("ridge-7")


def test_what_is_no_id_is_neither_put_nor_got(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    with pytest.raises(UsageError, match="is not allowed"):
        catalog.put(Camera("../ridge", "file:///in", "file:///out"))
    with pytest.raises(UsageError, match="is not allowed"):
        catalog.get("../ridge")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"camera_id": 1}', '"text"'])
def test_a_damaged_file_is_an_error_that_names_it(content: str, tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    catalog.put(CAMERA)
    (tmp_path / "ridge-7.json").write_text(content)
    with pytest.raises(UsageError, match=r"ridge-7\.json: is not a camera's file"):
        catalog.get("ridge-7")
    with pytest.raises(UsageError, match=r"ridge-7\.json: is not a camera's file"):
        catalog.list()


def test_a_file_under_another_cameras_name_is_refused(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    catalog.put(CAMERA)
    (tmp_path / "ridge-7.json").rename(tmp_path / "ridge-8.json")
    with pytest.raises(UsageError, match="is the file of camera ridge-7"):
        catalog.get("ridge-8")


def test_the_file_of_a_camera_may_be_of_another_version(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    released = {"camera_id": "ridge", "footage_url": "file:///cards", "output_url": "file:///out"}
    for tree in (released, released | {"earlier_footage": [], "earlier_ids": [], "site": "north"}):
        (tmp_path / "ridge.json").write_text(json.dumps(tree))
        assert catalog.get("ridge") == Camera("ridge", "file:///cards", "file:///out")


def test_a_camera_is_found_by_an_earlier_id_only_with_its_footage(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    renamed = Camera("hill", "file:///cards/ridge", "file:///out", earlier_ids=("ridge",))
    catalog.put(renamed)
    assert catalog.current("ridge", "file:///cards/ridge/") == renamed
    assert catalog.current("hill", "file:///elsewhere") == renamed
    assert catalog.current("ridge", "file:///cards/other") is None  # another camera of that name
