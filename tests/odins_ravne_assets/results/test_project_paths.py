"""Exports of a project name media by their paths on disk."""

import json
from pathlib import Path

import pytest
from camera_tables import NIGHT, Camera

from odins_ravne_assets.cameras.catalog import Camera as KnownCamera
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.media.sources import Source, save_sources
from odins_ravne_assets.results.export import export_cameras
from odins_ravne_assets.results.project_paths import project_folders
from resources.settings.profile import Privacy, Profile, Stage3
from resources.storage.local_store import LocalStore


def known(folder: Path, camera_id: str, footage: str) -> KnownCamera:
    return KnownCamera(camera_id, footage, (folder / "results" / camera_id).as_uri())


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (
            ["file:///study/R%C3%A4v%207%20(north)", "file:///study/lake"],
            ["Räv 7 (north)", "lake"],
        ),
        (
            ["file:///study/north/cam%201", "file:///study/south/cam%201"],
            ["north/cam 1", "south/cam 1"],
        ),
        (["s3://bucket/study/a", "s3://bucket/study/b"], ["a", "b"]),
        (["file:///E:/cams/a", "file:///E:/b"], ["cams/a", "b"]),
        (["file:///mnt/card1/cam%20A", "s3://bucket/cam%20B"], ["cam A", "cam B"]),
        (["file:///mnt/card1/DCIM", "s3://bucket/DCIM"], ["one", "two"]),
        (["file:///study/cam%20A"], ["cam A"]),
        (["{output}/footage", "file:///study/lake"], ["one", "lake"]),
    ],
)
def test_media_are_named_relative_to_the_folder_above_all_cameras(
    places: list[str], expected: list[str], tmp_path: Path
) -> None:
    ids = ("one", "two")[: len(places)]
    cameras = [known(tmp_path, each, place) for each, place in zip(ids, places, strict=True)]
    cameras = [
        KnownCamera(e.camera_id, e.footage_url.format(output=e.output_url), e.output_url)
        for e in cameras
    ]
    folders = project_folders(cameras, lambda url: LocalStore(tmp_path / "none"))
    assert [folders[each][None] for each in ids] == expected


def test_a_camera_with_two_cards_has_a_folder_for_each(tmp_path: Path) -> None:
    camera = Camera("ridge")
    camera.medium("may/DCIM/1.jpg", NIGHT, [{}], source="may")
    camera.medium("june/1.jpg", NIGHT, [], source="june")
    store = camera.store(tmp_path / "results" / "ridge")
    cards = [Source("may", "file:///cards/20260501"), Source("june", "file:///cards/20260601")]
    save_sources(store, "ridge", cards)
    run_stage3(store, Stage3(), {}, Privacy())
    ridge = known(tmp_path, "ridge", "file:///cards/20260601")
    assert list(export_cameras([ridge], Profile(), tmp_path / "study"))
    content = json.loads((tmp_path / "study" / "megadetector.json").read_text())
    assert sorted(image["file"] for image in content["images"]) == [
        "20260501/DCIM/1.jpg",
        "20260601/1.jpg",
    ]
