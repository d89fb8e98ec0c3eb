"""Media that another camera has too are named in the report, the exports and their package."""

import json
from pathlib import Path

from camera_tables import NIGHT, Camera
from validators import camtrap_dp_errors

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.media.shared_media import (
    SharedMedia,
    save_shared_media,
    shared_media_lines,
)
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

PROJECT = Project(
    title="Study",
    contributors=("Anna",),
    utc_offset="+01:00",
    deployments=({"cameraID": "south", "latitude": 59.12, "longitude": 17.65},),
)
LINE = "12 media have the same content as media of camera north: a card may have been copied twice"


def results(folder: Path, *shared: SharedMedia) -> LocalStore:
    camera = Camera("south")
    camera.medium("IMG_0001.JPG", NIGHT, [])
    store = camera.store(folder)
    save_shared_media(store, shared)
    run_stage3(store, Stage3(), {}, Privacy())
    make_report_page(store, store, Privacy())
    return store


def test_the_report_and_the_exports_name_the_other_camera(tmp_path: Path) -> None:
    store = results(tmp_path, SharedMedia("north", 12))
    report = json.loads(store.read_bytes("stage3/report.json"))
    assert report["shared_media"] == [{"camera_id": "north", "media": 12}]
    assert f"south: {LINE}" in store.read_bytes("stage3/report.html").decode()
    exported = export_camera(store, "south", PROJECT, Privacy())
    assert [line.startswith(f"south: {LINE}") for line in exported.remarks] == [True]
    package = json.loads(store.read_bytes("stage3/camtrap-dp/datapackage.json"))
    assert package["description"] == exported.remarks[0]
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []


def test_a_camera_that_shares_none_has_no_remark(tmp_path: Path) -> None:
    store = results(tmp_path)
    assert "copied twice" not in store.read_bytes("stage3/report.html").decode()
    assert export_camera(store, "south", PROJECT, Privacy()).remarks == ()
    package = json.loads(store.read_bytes("stage3/camtrap-dp/datapackage.json"))
    assert "description" not in package


def test_two_cameras_with_the_same_media_are_one_line() -> None:
    shared = {
        "south": [SharedMedia("north", 12), SharedMedia("lake", 1)],
        "north": [SharedMedia("south", 12)],
    }
    lines = [line.partition(" the same")[0] for line in shared_media_lines(shared)]
    assert lines == ["south: 12 media have", "south: 1 medium has"]
