"""`munin export`: cameras without results, and cameras that only the table of deployments has."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from camera_tables import NIGHT
from camera_tables import Camera as Tables
from validators import camtrap_dp_errors

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.results.export import export_cameras
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Privacy, Stage3

HEADER = "cameraID,latitude,longitude,deploymentStart,deploymentEnd"
STAY = "59.32,17.12,2026-04-01,2026-05-31"


def with_results(root: Path, name: str) -> Camera:
    tables = Tables(name)
    tables.medium("1.jpg", NIGHT, [{}], offset=120)
    tables.medium("2.jpg", NIGHT + timedelta(hours=5), [], offset=120)
    run_stage3(tables.store(root / "results" / name), Stage3(), {}, Privacy())
    return without_results(root, name)


def without_results(root: Path, name: str) -> Camera:
    return Camera(name, (root / name).as_uri(), (root / "results" / name).as_uri())


def exported(root: Path, cameras: list[Camera], whole_project: bool = True) -> list[str]:
    profile = load_profile("local", {"project.utc_offset": "+02:00"})
    return list(export_cameras(cameras, profile, root / "export", whole_project))


def deployments(root: Path) -> list[str]:
    package = root / "export/camtrap-dp"
    assert camtrap_dp_errors(package) == []
    with (package / "deployments.csv").open(encoding="utf-8") as file:
        return [row["cameraID"] for row in csv.DictReader(file)]


def test_a_camera_without_results_is_left_out_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "deployments.csv").write_text(f"{HEADER}\nridge,{STAY}\n")
    cameras = [with_results(tmp_path, "ridge"), without_results(tmp_path, "lake")]
    lines = exported(tmp_path, cameras, whole_project=False)
    assert lines[0].startswith("camera lake is left out: no results yet in ")
    assert "1 visit of 1 camera:" in lines
    assert deployments(tmp_path) == ["ridge"]


def test_there_is_no_export_without_any_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no results of camera lake yet; run `munin batch"):
        exported(tmp_path, [without_results(tmp_path, "lake")])


def test_deployments_of_cameras_that_recorded_nothing_are_part_of_a_whole_project(
    tmp_path: Path,
) -> None:
    table = tmp_path / "deployments.csv"
    table.write_text(f"{HEADER}\nridge,{STAY}\nhill,{STAY}\nlakee,{STAY}\n")
    cameras = [with_results(tmp_path, name) for name in ("ridge", "lake")]
    lines = exported(tmp_path, [cameras[0]])
    assert deployments(tmp_path) == ["ridge", "hill", "lakee"]
    assert (
        f"{table}, line 3: camera hill has no results; its deployments are in Camtrap DP" in lines
    )
    lines = exported(tmp_path, [cameras[0]], whole_project=False)
    assert deployments(tmp_path) == ["ridge"]
    lines = exported(tmp_path, cameras)
    assert (
        f"{table}, line 4: cameraID lakee is no camera with results, did you mean lake? Its "
        "deployments are left out"
    ) in lines


def test_two_names_of_one_camera_may_not_overlap(tmp_path: Path) -> None:
    table = tmp_path / "deployments.csv"
    table.write_text(f"{HEADER}\nRäv 7,{STAY}\nRav-7,{STAY}\n", encoding="utf-8")
    camera = with_results(tmp_path, "Rav-7")
    with pytest.raises(UsageError, match=rf"^{table}, lines 2 and 3: deployments of camera Rav-7"):
        exported(tmp_path, [camera])
