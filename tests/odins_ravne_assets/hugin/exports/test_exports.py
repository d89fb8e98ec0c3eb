"""Exports: the observations in the formats of other tools, checked by the formats' validators."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera, example_night
from validators import camtrap_dp_errors, megadetector_errors

from odins_ravne_assets.hugin.exports.export import ExportResult, export_camera, export_project
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.loader import load_profile
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

PROJECT = Project(
    title="Night study",
    contributors=("Anna", "Bo"),
    utc_offset="+01:00",
    deployments=({"cameraID": "camera7", "latitude": 59.123456, "longitude": 17.654321},),
)
PERSON: Row = {"category": "person", "label": "person", "scientific_name": "Homo sapiens"}


def exported(
    camera: Camera, folder: Path, project: Project = PROJECT, privacy: Privacy | None = None
) -> tuple[LocalStore, ExportResult]:
    store = camera.store(folder)
    run_stage3(store, Stage3(), {}, Privacy())
    return store, export_camera(store, camera.camera_id, project, privacy or Privacy())


def rows(folder: Path, table: str) -> list[Row]:
    with (folder / "stage3" / "camtrap-dp" / f"{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def images(folder: Path) -> dict[str, Row]:
    content = json.loads((folder / "stage3" / "megadetector.json").read_text(encoding="utf-8"))
    return {image["file"]: image for image in content["images"]}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of a night with failed, pending and duplicate media."""
    folder = tmp_path_factory.mktemp("exports") / "camera7"
    camera = example_night()
    camera.medium("DCIM/12.jpg", NIGHT + 5 * SECOND, [], "duplicate", reason="is DCIM/1.jpg")
    for table in ("media", "processed"):
        camera.rows[table][-1]["content_hash"] = camera.rows[table][0]["content_hash"]
        camera.rows[table][-1]["status"] = "duplicate"
    exported(camera, folder)
    return folder


# Validity


def test_a_night_with_failures_is_valid_in_both_formats(night: Path) -> None:
    assert megadetector_errors(night / "stage3" / "megadetector.json") == []
    assert camtrap_dp_errors(night / "stage3" / "camtrap-dp") == []


def test_a_camera_without_detections_is_valid_in_both_formats(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [])
    exported(camera, tmp_path)
    assert megadetector_errors(tmp_path / "stage3" / "megadetector.json") == []
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []


def test_unusual_names_and_boxes_at_the_edge_are_valid_in_both_formats(tmp_path: Path) -> None:
    camera = Camera()
    for name in ('ä "木",\n🦊.jpg', "a..b/~c.jpg", "=1+1.jpg", "looks like.MP4"):
        edges = {"box": (0.99999, 0.0, 0.00001, 1.0)}
        camera.medium(name, NIGHT, [edges, {"box": (0, 0, 1, 1)}])
    exported(camera, tmp_path)
    assert megadetector_errors(tmp_path / "stage3" / "megadetector.json") == []
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []
    assert "camera7/a%2E%2Eb/~c.jpg" in {row["filePath"] for row in rows(tmp_path, "media")}


def test_two_empty_files_are_two_failures(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [])
    for name in ("empty.jpg", "empty.mp4"):
        camera.medium(name, None, [], "failed", reason="is empty", unreadable=True)
        for table in ("media", "processed"):
            camera.rows[table][-1]["content_hash"] = "e3" * 32
    exported(camera, tmp_path)
    assert megadetector_errors(tmp_path / "stage3" / "megadetector.json") == []
    assert [each["failure"] for name, each in images(tmp_path).items() if "empty" in name] == [
        "image access failure",
        "Failure processing video: is empty",
    ]


def test_validators_find_errors(night: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for file in (night / "stage3" / "camtrap-dp").iterdir():
        (package / file.name).write_bytes(file.read_bytes())
    table = package / "observations.csv"
    table.write_text(table.read_text().replace("+02:00", "", 1).replace(",event,", ",visit,", 1))
    assert len(camtrap_dp_errors(package)) >= 2
    content = json.loads((night / "stage3" / "megadetector.json").read_text())
    content["images"][0]["detections"][0]["conf"] = 2.0
    (tmp_path / "bad.json").write_text(json.dumps(content))
    assert megadetector_errors(tmp_path / "bad.json")


# MegaDetector JSON


def test_a_box_has_the_species_of_its_observation_and_the_detector_s_confidence(
    night: Path,
) -> None:
    content = json.loads((night / "stage3" / "megadetector.json").read_text())
    assert content["classification_categories"] == {"0": "red fox"}
    assert content["classification_category_descriptions"] == {
        "0": ";mammalia;carnivora;canidae;vulpes;vulpes;red fox"
    }
    first = images(night)["DCIM/1.jpg"]["detections"][0]
    assert (first["category"], first["conf"], first["bbox"]) == ("1", 0.95, [0.1, 0.25, 0.125, 0.5])
    assert first["classifications"] == [["0", 0.9]]


def test_people_and_unknown_animals_have_no_classification(night: Path) -> None:
    (person,) = images(night)["DCIM/4.jpg"]["detections"]
    (unknown,) = images(night)["DCIM/5.jpg"]["detections"]
    assert (person["category"], unknown["category"]) == ("2", "1")
    assert "classifications" not in person | unknown


def test_a_video_has_its_frames_and_the_frame_of_each_box(night: Path) -> None:
    video = images(night)["DCIM/2.mp4"]
    assert video["frames_processed"] == [0, 1, 2]
    assert [box["frame_number"] for box in video["detections"]] == [1, 2]
    assert video["frame_rate"] > 0


def test_failures_have_the_format_s_messages_and_a_duplicate_the_boxes_of_its_original(
    night: Path,
) -> None:
    found = images(night)
    assert found["DCIM/9.jpg"]["failure"] == "image access failure"
    assert found["DCIM/10.mp4"]["failure"] == "Failure processing video: decoder crashed"
    assert found["DCIM/12.jpg"]["detections"] == found["DCIM/1.jpg"]["detections"]
    assert "DCIM/11.jpg" not in found  # pending in Stage 1


# Camtrap DP


def test_an_observation_is_an_event_with_a_count_and_its_boxes_are_media_rows(night: Path) -> None:
    observations = rows(night, "observations")
    fox = next(row for row in observations if row["observationLevel"] == "event")
    assert {name: fox[name] for name in ("observationType", "scientificName", "count")} == {
        "observationType": "animal",
        "scientificName": "Vulpes vulpes",
        "count": "2",
    }
    assert (fox["eventStart"], fox["eventEnd"]) == (
        "2026-05-01T02:14:00+02:00",
        "2026-05-01T02:14:12+02:00",
    )
    boxes = [row for row in observations if row["eventID"] == fox["eventID"] and row["mediaID"]]
    assert len(boxes) == 4
    assert boxes[0]["bboxX"] == "0.1"


def test_rows_without_an_observation_are_unknown_blank_or_unclassified(night: Path) -> None:
    media = {row["mediaID"]: row["fileName"] for row in rows(night, "media")}
    without_event = {
        media[row["mediaID"]]: row["observationType"]
        for row in rows(night, "observations")
        if row["mediaID"] and not row["eventID"]
    }
    assert without_event == {
        "6.jpg": "unknown",
        "7.mp4": "unknown",
        "8.jpg": "blank",
        "10.mp4": "unclassified",
        "11.jpg": "unclassified",
    }


def test_media_and_observations_without_a_time_are_left_out_and_counted(tmp_path: Path) -> None:
    _, result = exported(example_night(), tmp_path)
    assert result.camtrap_dp is not None
    assert (result.camtrap_dp.media, result.camtrap_dp.observations) == (1, 1)


def test_a_missing_offset_is_that_of_the_camera_or_of_the_project(
    tmp_path: Path,
) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [{}], offset=120)
    camera.medium("2.mp4", NIGHT + SECOND, [{}])
    exported(camera, tmp_path / "a")
    assert [row["timestamp"][-6:] for row in rows(tmp_path / "a", "media")] == ["+02:00"] * 2
    alone = Camera()
    alone.medium("2.jpg", NIGHT, [{}])
    exported(alone, tmp_path / "b")
    assert [row["timestamp"][-6:] for row in rows(tmp_path / "b", "media")] == ["+01:00"]


@pytest.mark.parametrize(
    ("project", "reason"),
    [
        (PROJECT.model_copy(update={"deployments": ()}), "camera camera7: no coordinates"),
        (PROJECT.model_copy(update={"utc_offset": None}), "project.utc_offset"),
    ],
)
def test_there_is_no_package_without_coordinates_or_utc_offset(
    project: Project, reason: str, tmp_path: Path
) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [{}])
    store, result = exported(camera, tmp_path)
    assert result.camtrap_dp is not None
    again = export_camera(store, "camera7", project, Privacy())
    assert again.camtrap_dp is None
    assert reason in (again.camtrap_dp_error or "")
    assert not store.exists("stage3/camtrap-dp/datapackage.json")
    assert store.exists("stage3/megadetector.json")


def test_a_moved_camera_has_a_deployment_for_each_place(tmp_path: Path) -> None:
    camera = Camera()
    for number, day in enumerate((0, 1, 5, 30)):
        camera.medium(f"{number}.jpg", NIGHT + day * 86_400 * SECOND, [{}])
    place = {"cameraID": "camera7", "latitude": 59, "longitude": 17}
    deployments = (
        {**place, "deploymentID": "ridge", "deploymentEnd": "2026-05-02"},
        {**place, "deploymentID": "lake", "deploymentStart": "2026-05-06T00:00:00+01:00",
         "deploymentEnd": "2026-05-07", "habitat": "shore"},
    )  # fmt: skip
    project = Project(**PROJECT.model_dump() | {"deployments": deployments})
    _, result = exported(camera, tmp_path, project)
    assert result.camtrap_dp is not None
    assert result.camtrap_dp.media == 1
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []
    assert [row["deploymentID"] for row in rows(tmp_path, "media")] == ["ridge", "ridge", "lake"]
    assert rows(tmp_path, "deployments")[1]["habitat"] == "shore"


def test_coordinates_default_to_those_of_the_media(tmp_path: Path) -> None:
    camera = Camera()
    for number, place in enumerate([(59.0, 17.0), (59.2, 17.2), (59.1, 17.1), (0.0, 0.0)]):
        there = {"latitude": place[0], "longitude": place[1]}
        camera.medium(f"{number}.jpg", NIGHT + number * SECOND, [], **there)
    exported(camera, tmp_path, PROJECT.model_copy(update={"deployments": ()}))
    (deployment,) = rows(tmp_path, "deployments")
    assert (deployment["latitude"], deployment["longitude"]) == ("59.1", "17.1")


# Privacy


def test_people_can_be_left_out_with_all_media_that_show_one(tmp_path: Path) -> None:
    camera = example_night()
    camera.medium("DCIM/13.jpg", NIGHT + 30 * SECOND, [{}, {**PERSON, "confidence": 0.2}])
    exported(camera, tmp_path, privacy=Privacy(leave_out_people=True))
    shown = {"DCIM/4.jpg", "DCIM/13.jpg"}
    assert not shown & images(tmp_path).keys()
    assert not {f"camera7/{path}" for path in shown} & {
        row["filePath"] for row in rows(tmp_path, "media")
    }
    assert "human" not in {row["observationType"] for row in rows(tmp_path, "observations")}
    assert "person" not in (tmp_path / "stage3" / "observations.csv").read_text()
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []


def test_coordinates_are_rounded_where_a_sensitive_species_was_observed(tmp_path: Path) -> None:
    place = {"cameraID": "camera7", "latitude": 59.123456, "longitude": 17.654321}
    named = {**place, "locationName": "Eagle rock", "habitat": "forest"}
    project = Project(**PROJECT.model_dump() | {"deployments": [named]})
    for chosen, latitude, uncertainty, location in (
        ("Vulpes vulpes", "59.1", "15691", ""),
        ("Canidae", "59.1", "15691", ""),
        ("Lynx lynx", "59.123456", "", "Eagle rock"),
    ):
        folder = tmp_path / chosen
        exported(example_night(), folder, project, Privacy(sensitive_species=(chosen,)))
        (deployment,) = rows(folder, "deployments")
        assert deployment["latitude"] == latitude
        assert deployment["coordinateUncertainty"] == uncertainty
        assert deployment["locationName"] == location
        assert deployment["habitat"] == "forest"
        package = (folder / "stage3" / "camtrap-dp" / "datapackage.json").read_text()
        assert ("17.654321" in package) == (chosen == "Lynx lynx")


# The spreadsheet


def test_the_spreadsheet_has_a_row_per_observation_and_columns_for_reviewers(night: Path) -> None:
    with (night / "stage3" / "observations.csv").open(encoding="utf-8") as file:
        fox, *others = csv.DictReader(file)
    assert len(others) == 3
    assert (fox["species"], fox["count"], fox["start_time"]) == (
        "red fox",
        "2",
        "2026-05-01T02:14:00+02:00",
    )
    assert (fox["confirmed_species"], fox["comment"]) == ("", "")


def test_formulas_in_names_are_escaped_in_the_spreadsheet(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("=cmd|1.jpg", NIGHT, [{"label": "@fox", "scientific_name": None}])
    exported(camera, tmp_path)
    with (tmp_path / "stage3" / "observations.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["species"], row["first_medium"]) == ("'@fox", "'=cmd|1.jpg")


# Projects


def test_a_project_is_one_valid_file_and_one_valid_package(tmp_path: Path) -> None:
    stores = []
    for number in (7, 8):
        camera = example_night()
        camera.camera_id = f"camera{number}"
        for table in camera.rows.values():
            for row in table:
                row["camera_id"] = camera.camera_id
        store = camera.store(tmp_path / camera.camera_id)
        run_stage3(store, Stage3(), {}, Privacy())
        stores.append((camera.camera_id, store))
    places = [{"cameraID": name, "latitude": 59, "longitude": 17} for name, _ in stores]
    project = Project(**PROJECT.model_dump() | {"deployments": places})
    result = export_project(stores, tmp_path / "project", project, Privacy())
    assert result.observations == 8
    assert megadetector_errors(tmp_path / "project" / "megadetector.json") == []
    assert camtrap_dp_errors(tmp_path / "project" / "camtrap-dp") == []
    content = json.loads((tmp_path / "project" / "megadetector.json").read_text())
    assert {image["file"].split("/")[0] for image in content["images"]} == {"camera7", "camera8"}


def test_a_project_names_the_models_of_all_cameras(tmp_path: Path) -> None:
    """One camera was updated to another detector, the other one was not."""
    stores = [(name, example_night().store(tmp_path / name)) for name in ("camera7", "camera8")]
    detections = tmp_path / "camera8/tables/detections.parquet"
    origin = {"journal_key": "1", "models": {"detector": "lite-ensemble 2"}}
    rows = pl.read_parquet(detections)
    rows.write_parquet(detections, metadata={"munin.origin": json.dumps(origin)})
    for _, store in stores:
        run_stage3(store, Stage3(), {}, Privacy())
    export_project(stores, tmp_path / "project", PROJECT, Privacy())
    assert megadetector_errors(tmp_path / "project" / "megadetector.json") == []
    info = json.loads((tmp_path / "project" / "megadetector.json").read_text())["info"]
    assert info["detector"] == "megadetector-lite 1, lite-ensemble 2"
    assert info["classifier"] == "efficientnet-lite3 1"


def test_a_camera_without_times_does_not_prevent_the_package_of_a_project(tmp_path: Path) -> None:
    stores = []
    for name, at in (("camera7", NIGHT), ("camera8", None)):
        camera = Camera(name)
        camera.medium("1.jpg", at, [{}])
        store = camera.store(tmp_path / name)
        run_stage3(store, Stage3(), {}, Privacy())
        stores.append((name, store))
    places = [{"cameraID": name, "latitude": 59, "longitude": 17} for name, _ in stores]
    project = Project(**PROJECT.model_dump() | {"deployments": places})
    result = export_project(stores, tmp_path / "project", project, Privacy())
    assert result.camtrap_dp == (1, 1, 1)
    assert camtrap_dp_errors(tmp_path / "project" / "camtrap-dp") == []
    assert pl.read_parquet(tmp_path / "project" / "observations.parquet").height == 2


def test_a_second_export_writes_the_same_bytes(night: Path) -> None:
    store = LocalStore(night)
    before = {found.key: store.read_bytes(found.key) for found in store.list("stage3")}
    export_camera(store, "camera7", PROJECT, Privacy())
    assert {found.key: store.read_bytes(found.key) for found in store.list("stage3")} == before


# CSV files of the project


def test_species_and_deployments_are_read_from_the_csv_files_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "species.csv").write_text("scientific_name,common_name\nVulpes vulpes,räv\n")
    (tmp_path / "places.csv").write_text("cameraID,latitude,longitude,habitat\nc7,59,17,bog\n")
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        f"project: {{species: {tmp_path}/species.csv, deployments: {tmp_path}/places.csv}}"
    )
    project = load_profile(str(profile)).project
    assert (project.species[0].common_name, project.deployments[0].remarks) == (
        "räv",
        {"habitat": "bog"},
    )
    # Jobs on AWS get the project as JSON.
    assert Project.model_validate_json(project.model_dump_json()) == project


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameraID,latitude\nc7,59\n", "places.csv, line 1: column longitude is missing"),
        ("cameraID,latitude,longitude\nc7,59,\n", "places.csv, line 2: longitude is missing"),
        ("cameraID,latitude,longitude\nc7,north,1\n", "line 2: latitude 'north' is not allowed"),
        (
            "cameraID,latitude,longitude,deploymentEnd\nc7,1,1,May\n",
            "line 2: deploymentEnd 'May' is not allowed",
        ),
        ("cameraID,latitude,longitude\n", "has no row"),
    ],
)
def test_an_invalid_row_of_such_a_file_is_an_error_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    from resources.errors import ProfileError

    (tmp_path / "places.csv").write_text(text)
    profile = tmp_path / "mine.yaml"
    profile.write_text(f"project: {{deployments: {tmp_path}/places.csv}}")
    with pytest.raises(ProfileError, match=message):
        load_profile(str(profile))


# Detections that Stage 3 leaves out


def part_of_a_person() -> Camera:
    """A burst: a person, and the person's body as an animal without a name."""
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [PERSON])
    camera.medium("2.jpg", NIGHT + SECOND, [{"label": "?", "auto_ok": False}])
    return camera


def test_a_detection_that_a_rule_leaves_out_is_unknown_with_the_reason_as_tag(
    tmp_path: Path,
) -> None:
    exported(part_of_a_person(), tmp_path)
    found = {
        row["observationType"]: row["observationTags"]
        for row in rows(tmp_path, "observations")
        if row["observationLevel"] == "media"
    }
    assert found == {"human": "", "unknown": "near_person"}
    assert camtrap_dp_errors(tmp_path / "stage3" / "camtrap-dp") == []
    assert len(images(tmp_path)["2.jpg"]["detections"]) == 1


def test_media_with_a_part_of_a_person_show_people(tmp_path: Path) -> None:
    camera = part_of_a_person()
    camera.medium("3.jpg", NIGHT + 600 * SECOND, [{}])
    exported(camera, tmp_path, privacy=Privacy(leave_out_people=True))
    assert images(tmp_path).keys() == {"3.jpg"}


def test_results_of_a_version_without_the_table_of_left_out_detections_are_exported(
    tmp_path: Path,
) -> None:
    store, _ = exported(part_of_a_person(), tmp_path)
    store.delete("stage3/left_out_detections.parquet")
    export_camera(store, "camera7", PROJECT, Privacy())
    tags = {row["observationTags"] for row in rows(tmp_path, "observations")}
    assert tags == {""}
