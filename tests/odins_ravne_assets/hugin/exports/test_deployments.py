"""Deployments in Camtrap DP: instants, summer time, deployments without media."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from camera_tables import Camera
from validators import camtrap_dp_errors

from odins_ravne_assets.hugin.exports.export import ExportResult, export_project
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project

Row = dict[str, Any]
PLACE = {"cameraID": "ridge", "latitude": 59.32, "longitude": 17.12}


def package(
    folder: Path,
    times: list[datetime | tuple[datetime, int]],
    deployments: list[Row],
    silent: tuple[str, ...] = (),
    **project: Any,
) -> tuple[ExportResult, dict[str, list[Row]]]:
    """The tables of a valid package of camera ridge, with a fox at each time."""
    camera = Camera("ridge")
    for number, at in enumerate(times):
        moment, offset = at if isinstance(at, tuple) else (at, None)
        camera.medium(f"{number}.jpg", moment, [{}], offset=offset)
    store = camera.store(folder / "ridge")
    run_stage3(store, Stage3(), {}, Privacy())
    study = Project.model_validate({"utc_offset": "+02:00", "deployments": deployments} | project)
    result = export_project([("ridge", store)], folder / "project", study, Privacy(), silent)
    assert result.camtrap_dp is not None, result.camtrap_dp_error
    assert camtrap_dp_errors(folder / "project/camtrap-dp") == []
    tables = {}
    for name in ("deployments", "media", "observations"):
        with (folder / f"project/camtrap-dp/{name}.csv").open(encoding="utf-8") as file:
            tables[name] = list(csv.DictReader(file))
    return result, tables


def test_a_start_with_an_offset_is_an_instant(tmp_path: Path) -> None:
    """07:00Z is 09:00 in a project of +02:00, and the media from 09:00 on are in it."""
    row = {
        **PLACE,
        "deploymentStart": "2026-05-01T07:00:00Z",
        "deploymentEnd": "2026-05-03T03:30:00Z",
    }
    first, last = datetime(2026, 5, 1, 9), datetime(2026, 5, 3, 5, 30)
    result, tables = package(tmp_path, [datetime(2026, 5, 1, 8, 59), first, last], [row])
    (deployment,) = tables["deployments"]
    assert deployment["deploymentStart"] == "2026-05-01T09:00:00+02:00"
    assert deployment["deploymentEnd"] == "2026-05-03T05:30:00+02:00"
    assert [medium["timestamp"] for medium in tables["media"]] == [
        "2026-05-01T09:00:00+02:00",
        "2026-05-03T05:30:00+02:00",
    ]
    assert result.camtrap_dp == (1, 1, 0)


def test_media_with_their_own_offset_are_compared_as_instants(tmp_path: Path) -> None:
    row = {**PLACE, "deploymentStart": "2026-05-01T07:00Z", "deploymentEnd": "2026-05-02T07:00Z"}
    hour = datetime(2026, 5, 1, 7, 30)
    _, tables = package(tmp_path, [(hour, 0), (hour, 120)], [row])
    assert [medium["timestamp"] for medium in tables["media"]] == ["2026-05-01T07:30:00+00:00"]


def test_a_day_alone_holds_to_its_end(tmp_path: Path) -> None:
    row = {**PLACE, "deploymentStart": "20260501", "deploymentEnd": "20260503"}
    result, tables = package(tmp_path, [datetime(2026, 5, 3, 23, 59, 59)], [row])
    assert tables["deployments"][0]["deploymentEnd"] == "2026-05-03T23:59:59+02:00"
    assert result.camtrap_dp == (0, 0, 0)


def test_a_deployment_without_media_is_in_the_package(tmp_path: Path) -> None:
    rows = [
        {**PLACE, "deploymentID": "spring", "deploymentStart": "2026-05-01",
         "deploymentEnd": "2026-05-31"},
        {**PLACE, "deploymentID": "summer", "deploymentStart": "2026-06-01",
         "deploymentEnd": "2026-06-30", "setupBy": "Anna", "cameraModel": "Reconyx-HP2X"},
        {**PLACE, "deploymentID": "autumn", "deploymentStart": "2026-09-01"},
        {**PLACE, "cameraID": "lake", "deploymentID": "lake", "deploymentStart": "2026-05-01",
         "deploymentEnd": "2026-05-31"},
    ]  # fmt: skip
    result, tables = package(tmp_path, [datetime(2026, 5, 3)], rows, silent=("lake",))
    found = {row["deploymentID"]: row for row in tables["deployments"]}
    assert list(found) == ["spring", "summer", "lake"]
    assert found["summer"]["deploymentEnd"] == "2026-06-30T23:59:59+02:00"
    assert (found["summer"]["setupBy"], found["summer"]["cameraModel"]) == ("Anna", "Reconyx-HP2X")
    assert result.camtrap_dp == (0, 0, 1)  # autumn has no end and no media


def test_an_end_that_is_missing_is_that_of_the_last_medium(tmp_path: Path) -> None:
    row = {**PLACE, "deploymentStart": "2026-05-01"}
    _, tables = package(tmp_path, [datetime(2026, 5, 3, 8), datetime(2026, 5, 9, 8)], [row])
    assert tables["deployments"][0]["deploymentEnd"] == "2026-05-09T08:00:00+02:00"


def test_a_camera_that_follows_summer_time_has_both_of_its_offsets(tmp_path: Path) -> None:
    row = {**PLACE, "deploymentStart": "2026-03-01", "deploymentEnd": "2026-04-30"}
    times = [datetime(2026, 3, 2, 8), datetime(2026, 4, 2, 8)]
    zone = {"utc_offset": None, "time_zone": "Europe/Stockholm"}
    _, tables = package(tmp_path, list(times), [row], **zone)
    assert tables["deployments"][0]["deploymentStart"] == "2026-03-01T00:00:00+01:00"
    assert tables["deployments"][0]["deploymentEnd"] == "2026-04-30T23:59:59+02:00"
    assert [medium["timestamp"][-6:] for medium in tables["media"]] == ["+01:00", "+02:00"]


def test_pictures_at_a_regular_interval_are_time_lapse(tmp_path: Path) -> None:
    hours = [datetime(2026, 5, 1 + number // 24, number % 24) for number in range(30)]
    _, tables = package(tmp_path, [*hours, datetime(2026, 5, 1, 2, 17, 5)], [PLACE])
    methods = {row["timestamp"][11:16]: row["captureMethod"] for row in tables["media"]}
    assert methods.pop("02:17") == "activityDetection"
    assert set(methods.values()) == {"timeLapse"}
    content = json.loads((tmp_path / "project/camtrap-dp/datapackage.json").read_text())
    assert content["project"]["captureMethod"] == ["activityDetection", "timeLapse"]


@pytest.mark.parametrize(
    ("local", "offset"),
    [("2026-10-25T02:30:00", "+02:00"), ("2026-03-29T02:30:00", "+01:00")],
)
def test_local_times_that_a_zone_repeats_or_skips_have_an_offset(
    local: str, offset: str, tmp_path: Path
) -> None:
    zone = {"utc_offset": None, "time_zone": "Europe/Stockholm"}
    _, tables = package(tmp_path, [datetime.fromisoformat(local)], [PLACE], **zone)
    assert tables["media"][0]["timestamp"] == f"{local}{offset}"
