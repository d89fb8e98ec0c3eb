"""The report of several cameras next to their results."""

import shutil
from pathlib import Path

import pytest
from camera_tables import NIGHT
from camera_tables import Camera as FilledCamera

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.download import renew_combined_report, write_combined_report
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3


def camera_with(root: Path, name: str, media: int) -> Camera:
    filled = FilledCamera(name)
    for number in range(media):
        filled.medium(f"IMG_{number:04}.JPG", NIGHT, [])
    shutil.rmtree(root / name, ignore_errors=True)
    store = filled.store(root / name)
    run_stage3(store, Stage3(), {}, Privacy())
    make_report_page(store, store, Privacy())
    return Camera(name, f"file:///cards/{name}", (root / name).as_uri())


def test_the_report_of_several_cameras_follows_a_change_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = camera_with(tmp_path, "lake", 1)
    renew_combined_report([lake])
    assert not (tmp_path / "report.html").exists()
    write_combined_report([lake, camera_with(tmp_path, "ridge", 1)])
    before = (tmp_path / "report.html").read_bytes()
    renew_combined_report([camera_with(tmp_path, "lake", 3)])
    after = (tmp_path / "report.html").read_bytes()
    assert before != after and b"ridge" in after
    assert capsys.readouterr().out.count(f"report of 2 cameras: {tmp_path}/report.html") == 2


def test_a_page_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>My report</p>")
    camera_with(tmp_path, "ridge", 1)
    renew_combined_report([camera_with(tmp_path, "lake", 1)])
    assert page.read_text() == "<p>My report</p>"


def test_a_run_of_some_cameras_takes_none_out_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hill, lake, ridge = (camera_with(tmp_path, name, 1) for name in ("hill", "lake", "ridge"))
    for changed, cameras in (([hill, lake], 2), ([ridge], 3), ([hill, lake], 3)):
        renew_combined_report(changed)
        assert capsys.readouterr().out.startswith(f"report of {cameras} cameras:")
