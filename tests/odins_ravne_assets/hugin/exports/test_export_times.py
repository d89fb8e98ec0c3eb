"""Times with offsets, and the camera's notes, in the exports and JSON of a camera."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import Camera
from validators import camtrap_dp_errors

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.formats import shown_time
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project

PROJECT = Project(
    title="Night study",
    contributors=("Anna",),
    utc_offset="+01:00",
    deployments=({"cameraID": "camera7", "latitude": 59.1, "longitude": 17.6},),
)
SUMMER, WINTER = 120, 60


def local(text: str) -> datetime:
    return datetime.strptime(f"2026-10-25 {text}", "%Y-%m-%d %H:%M")


@pytest.fixture(scope="module")
def autumn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The night in which summer time ends: a visit over the change, and another an hour later."""
    folder = tmp_path_factory.mktemp("autumn") / "camera7"
    camera = Camera()
    notes = {
        "sequence_number": 2,
        "sequence_length": 3,
        "trigger": "motion",
        "temperature": -7,
        "moon_phase": "full",
    }
    camera.medium("1.jpg", local("02:58"), [{}], offset=SUMMER, **notes)
    camera.medium("2.jpg", local("02:01"), [{}], offset=WINTER)
    camera.medium("3.jpg", local("02:59"), [{}], offset=WINTER)
    store = camera.store(folder)
    run_stage3(store, Stage3(), {}, Privacy())
    export_camera(store, "camera7", PROJECT, Privacy())
    return folder / "stage3"


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


VISITS = [
    ("2026-10-25T02:58:00+02:00", "2026-10-25T02:01:00+01:00"),
    ("2026-10-25T02:59:00+01:00", "2026-10-25T02:59:00+01:00"),
]


def test_each_end_of_a_visit_has_its_own_offset_in_all_exports(autumn: Path) -> None:
    visits = rows(autumn / "observations.csv")
    assert [(row["start_time"], row["end_time"]) for row in visits] == VISITS
    assert [float(row["duration_seconds"]) for row in visits] == [180, 0]
    observations = rows(autumn / "camtrap-dp" / "observations.csv")
    events = [row for row in observations if row["observationLevel"] == "event"]
    assert [(row["eventStart"], row["eventEnd"]) for row in events] == VISITS
    content = json.loads((autumn / "compressed_observations.json").read_text(encoding="utf-8"))
    assert [row["end_time"][:19] + row["end_time"][23:] for row in content] == [
        end for _, end in VISITS
    ]
    assert [row["time"][23:] for row in content[0]["detection_timeline"]] == ["+02:00", "+01:00"]


def test_the_report_shows_offsets_where_those_of_a_visit_differ(autumn: Path) -> None:
    table = pl.read_parquet(autumn / "observations.parquet")
    shown = table.select(
        shown_time("start_at", "utc_offset_minutes", "%H:%M").alias("start"),
        shown_time("end_at", "end_utc_offset_minutes", "%H:%M").alias("end"),
    )
    assert shown.rows() == [("02:58 +02:00", "02:01 +01:00"), ("02:59", "02:59")]


def test_media_and_first_and_last_times_are_in_the_order_of_instants(autumn: Path) -> None:
    media = [row["timestamp"] for row in rows(autumn / "camtrap-dp" / "media.csv")]
    assert [text[11:] for text in media] == ["02:58:00+02:00", "02:01:00+01:00", "02:59:00+01:00"]
    report = json.loads((autumn / "report.json").read_text(encoding="utf-8"))
    assert report["time_range"]["media"] == {
        "first_time": "2026-10-25T02:58:00.000+02:00",
        "last_time": "2026-10-25T02:59:00.000+01:00",
    }


def test_the_cameras_notes_are_in_a_valid_package(autumn: Path) -> None:
    first, second, _ = rows(autumn / "camtrap-dp" / "media.csv")
    assert json.loads(first["exifData"]) == {
        "SequenceNumber": 2,
        "SequenceLength": 3,
        "TriggerMode": "motion",
        "AmbientTemperature": -7,
        "MoonPhase": "full",
    }
    assert (first["captureMethod"], second["exifData"]) == ("activityDetection", "")
    boxes = [
        row["observationTags"]
        for row in rows(autumn / "camtrap-dp" / "observations.csv")
        if row["observationLevel"] == "media"
    ]
    assert boxes == ["temperature:-7", "", ""]
    assert camtrap_dp_errors(autumn / "camtrap-dp") == []
