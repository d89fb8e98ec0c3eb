"""The report of several cameras next to their results."""

from pathlib import Path

import pytest
from camera_tables import NIGHT
from camera_tables import Camera as Tables

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.download import renew_combined_report
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3


def with_results(root: Path, name: str) -> Camera:
    tables = Tables(name)
    tables.medium("1.jpg", NIGHT, [{}])
    run_stage3(tables.store(root / "results" / name), Stage3(), {}, Privacy())
    return Camera(name, (root / name).as_uri(), (root / "results" / name).as_uri())


def test_a_run_of_some_cameras_takes_none_out_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hill, lake, ridge = (with_results(tmp_path, name) for name in ("hill", "lake", "ridge"))
    page = tmp_path / "results" / "report.html"
    for changed, shown in (
        ([ridge], None),  # a report of one camera is its own
        ([hill, lake], "2 cameras"),
        ([ridge], "3 cameras"),
        ([hill, lake], "3 cameras"),
    ):
        renew_combined_report(changed)
        line = capsys.readouterr().out
        assert line.startswith(f"report of {shown}:") if shown else not page.exists()
