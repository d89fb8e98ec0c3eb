"""Lines about the table of deployments after a run."""

from pathlib import Path

import pytest

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli import job
from odins_ravne_assets.instance_home import catalog_folder
from resources.settings.deployments import Deployment


def test_cameras_of_the_table_without_footage_are_named_after_a_run_of_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    ran = [Camera(name, f"file:///f/{name}", f"file:///r/{name}") for name in ("lake", "ridge")]
    for camera in ran:
        CameraCatalog(catalog_folder()).put(camera)
    place = {"latitude": 59.32, "longitude": 17.12, "table": "d.csv"}
    rows = [
        Deployment.model_validate({"cameraID": name, "line": line, **place})
        for line, name in enumerate(("lake", "silent", "rigde"), start=2)
    ]
    job._warn_of_unknown_cameras(ran, rows)
    lines = " ".join(capsys.readouterr().err.split())
    assert "d.csv: cameras without footage: silent; their days are not in the report" in lines
    assert "d.csv, line 4: cameraID rigde is no known camera, and ridge has no deployment" in lines
    job._warn_of_unknown_cameras(ran[:1], rows[:2])
    assert capsys.readouterr().err == ""
