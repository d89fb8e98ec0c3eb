"""People at work on the camera, named by a reviewer: never a visit, nor people that are seen."""

import csv
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera
from validators import camtrap_dp_errors, megadetector_errors

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.privacy.people import people_boxes
from odins_ravne_assets.hugin.review.staff import STAFF_LABELS
from odins_ravne_assets.munin.tables.checks import rows_accounted_for
from resources.settings.profile import Privacy
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.review.test_corrections import (
    Row,
    filled,
    import_file,
    observations,
    review,
    run,
    written,
)
from tests.odins_ravne_assets.hugin.review.test_missed_detections import PROJECT

PERSON: Row = {"category": "person", "label": "person", "scientific_name": "Homo sapiens"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A set-up, a fox, a hiker, a picture of a pickup in which nothing was detected."""
    camera = Camera()
    camera.medium("setup.jpg", NIGHT, [PERSON, PERSON])
    camera.medium("fox.jpg", NIGHT + 3600 * SECOND, [{}])
    camera.medium("hiker.jpg", NIGHT + 7200 * SECOND, [PERSON])
    camera.medium("board.jpg", NIGHT + 9000 * SECOND, [{}])
    camera.medium("pickup.jpg", NIGHT + 10_800 * SECOND, [])
    store = camera.store(tmp_path / "camera7")
    run(store)
    return store


LABELS = "path,species\nsetup.jpg,Setup\npickup.jpg,pickup\nboard.jpg,calibration\n"


def labelled(store: LocalStore, text: str = LABELS) -> LocalStore:
    import_file(store, written(store.root.parent / "staff.csv", text), "Anna", date(2026, 6, 1))
    return store


def left_out(store: LocalStore) -> pl.DataFrame:
    with store.reading("stage3/left_out_detections.parquet") as path:
        return pl.read_parquet(path)


def package(store: LocalStore, privacy: Privacy | None = None) -> list[Row]:
    """The observations of a valid Camtrap DP package."""
    export_camera(store, "camera7", PROJECT, privacy or Privacy())
    folder = store.root / "stage3"
    assert camtrap_dp_errors(folder / "camtrap-dp") == []
    assert megadetector_errors(folder / "megadetector.json") == []
    with (folder / "camtrap-dp" / "observations.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("label", [*STAFF_LABELS, "STAFF"])
def test_staff_are_no_visit(store: LocalStore, label: str) -> None:
    assert [row["species"] for row in observations(store)] == [
        "person",
        "red fox",
        "person",
        "red fox",
    ]
    labelled(store, f"path,species\nsetup.jpg,{label}\npickup.jpg,{label}\n")
    result = run(store)
    assert [row["species"] for row in observations(store)] == ["red fox", "person", "red fox"]
    check = rows_accounted_for(
        result.rows_in,
        result.rows_rejected,
        sum(result.rows_left_out.values()),
        result.rows_below_confidence,
        result.rows_too_short,
        result.rows_in_observations,
    )
    assert check.passed
    assert "pickup.jpg" not in (store.root / "stage3/observations.parquet").read_bytes().decode(
        "latin-1"
    )


def test_the_label_of_an_exported_visit_takes_it_out(store: LocalStore) -> None:
    export_camera(store, "camera7", PROJECT, Privacy())
    with (store.root / "stage3/observations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [
        f"{row['observation_id']},{'staff' * (row['first_medium'] == 'setup.jpg')}" for row in rows
    ]
    labelled(store, "\n".join(["observation_id,confirmed_species", *lines]) + "\n")
    run(store)
    assert [row["species"] for row in observations(store)] == ["red fox", "person", "red fox"]


def test_a_file_with_staff_can_be_handed_in_again(store: LocalStore) -> None:
    export_camera(store, "camera7", PROJECT, Privacy())
    file = filled(store, {"setup.jpg": "setup", "hiker.jpg": ""})
    assert import_file(store, file).new > 0
    run(store)
    again = import_file(store, file)
    assert (again.new, again.changed, again.failed) == (0, 0, {})
    run(store)
    assert [row["species"] for row in observations(store)] == ["red fox", "person", "red fox"]
    import_file(store, filled_again(file, "setup.jpg", "person"))
    run(store)
    assert next(row["species"] for row in observations(store)) == "person"


def filled_again(file: Path, medium: str, label: str) -> Path:
    """The same file, with another label for a visit."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        if row["first_medium"] == medium:
            row["confirmed_species"] = label
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_what_staff_left_out_is_counted_by_reason_and_listed_with_its_author(
    store: LocalStore,
) -> None:
    result = run(labelled(store))
    assert result.rows_left_out["camera_setup"] == 2
    assert result.rows_left_out["camera_calibration"] == 1
    rows = left_out(store).select("path", "reason", "staff_label", "staff_labelled_by").rows()
    assert rows == [
        ("board.jpg", "camera_calibration", "calibration", "Anna"),
        ("pickup.jpg", "camera_setup", "pickup", "Anna"),
        ("setup.jpg", "camera_setup", "setup", "Anna"),
        ("setup.jpg", "camera_setup", "setup", "Anna"),
    ]
    report = json.loads(store.read_bytes("stage3/report.json"))
    assert report["observations_by_category"]["person"] == 1
    # The models were right to name people.
    pairs = {(each["machine"], each["reviewer"]) for each in review(store)["by_species"]}
    assert pairs == {("person", "person"), ("red fox", "person")}


def test_camtrap_dp_has_staff_as_camera_setup(store: LocalStore) -> None:
    run(labelled(store))
    rows = package(store)
    staff = [row for row in rows if row["cameraSetupType"]]
    found = sorted((row["cameraSetupType"], row["observationTags"]) for row in staff)
    assert found == [
        ("calibration", "calibration"),
        ("setup", "pickup"),
        ("setup", "setup"),
        ("setup", "setup"),
    ]
    assert {(row["observationLevel"], row["observationType"]) for row in staff} == {
        ("media", "human")
    }
    assert {(row["classificationMethod"], row["classifiedBy"]) for row in staff} == {
        ("human", "Anna")
    }
    assert not any(row["eventID"] for row in staff)
    events = [row["observationType"] for row in rows if row["observationLevel"] == "event"]
    assert events == ["animal", "human"]
    assert "blank" not in {row["observationType"] for row in rows}


def test_staff_are_people_for_privacy(store: LocalStore) -> None:
    run(labelled(store))
    tables = {
        name: pl.scan_parquet(store.root / f"{name}.parquet")
        for name in ("stage3/observations", "tables/classifications", "stage3/left_out_detections")
    }
    people = people_boxes(*tables.values()).collect()
    assert {"setup.jpg", "pickup.jpg", "board.jpg"} <= set(people["path"])
    rows = package(store, Privacy(leave_out_people=True))
    assert not any(row["cameraSetupType"] for row in rows)
    content = json.loads((store.root / "stage3/megadetector.json").read_text())
    assert [image["file"] for image in content["images"]] == ["fox.jpg"]
