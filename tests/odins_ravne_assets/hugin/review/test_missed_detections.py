"""Missed detections: labels of empty media become observations of the reviewer."""

import csv
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera
from validators import camtrap_dp_errors, megadetector_errors

from odins_ravne_assets.hugin.exports.export import export_camera
from resources.settings.profile import Privacy
from resources.settings.project import Project
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.review.test_corrections import (
    Row,
    import_file,
    observations,
    review,
    run,
    written,
)

PLACE = {"cameraID": "camera7", "latitude": 59, "longitude": 17}
PROJECT = Project(utc_offset="+01:00", deployments=(PLACE,))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A detected fox; four media without detections, one of them a clip; a damaged one."""
    camera = Camera()
    camera.medium("fox.jpg", NIGHT, [{}])
    camera.medium("later.jpg", NIGHT + 300 * SECOND, [])
    camera.medium("dawn.jpg", NIGHT + 9000 * SECOND, [])
    camera.medium("noon.jpg", NIGHT + 36_000 * SECOND, [])
    camera.medium("clip.mp4", NIGHT + 72_000 * SECOND, [])
    camera.medium("broken.jpg", None, [], "failed", reason="not a JPEG", unreadable=True)
    store = camera.store(tmp_path / "camera7")
    run(store)
    return store


def correct(store: LocalStore, text: str, by: str = "Anna", day: int = 1) -> None:
    """Import a CSV and run Stage 3 again."""
    import_file(store, written(store.root.parent / "missed.csv", text), by, date(2026, 6, day))
    run(store)


def values(store: LocalStore, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(observation[name] for name in columns) for observation in observations(store)]


def exported(store: LocalStore, privacy: Privacy | None = None) -> Path:
    export_camera(store, "camera7", PROJECT, privacy or Privacy())
    return store.root / "stage3"


def read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_label_of_an_empty_medium_is_an_observation_of_the_reviewer(
    store: LocalStore,
) -> None:
    correct(store, "path,species,count\ndawn.jpg,Meles meles,3\n")
    fox, badger = observations(store)
    assert fox["label_source"] == "machine"
    named = ("species", "scientific_name", "family", "count", "start_at", "source_video")
    assert [badger[name] for name in named] == [
        "European badger",
        "Meles meles",
        "Mustelidae",
        3,
        NIGHT + 9000 * SECOND,
        "dawn.jpg",
    ]
    by = ("label_source", "reviewed_by", "reviewed_on", "machine_species", "needs_review")
    assert [badger[name] for name in by] == ["reviewer", "Anna", date(2026, 6, 1), None, False]
    assert (badger["detection_count"], badger["media_count"], badger["frame_count"]) == (0, 1, 1)


def test_it_joins_the_observation_of_its_species_at_that_time(store: LocalStore) -> None:
    correct(store, "path,species,count\nlater.jpg,red fox,2\n")
    [fox] = observations(store)
    joined = ("count", "media_count", "detection_count", "duration_seconds", "label_source")
    assert [fox[name] for name in joined] == [2, 2, 1, 300.0, "reviewer"]


def test_a_medium_can_have_several_species_and_the_count_defaults_to_1(
    store: LocalStore,
) -> None:
    correct(store, "path,species,count\ndawn.jpg,red deer,\ndawn.jpg,wild boar,4\n")
    assert values(store, "species", "count")[1:] == [("red deer", 1), ("wild boar", 4)]


def test_a_count_applies_to_media_with_detections_too(store: LocalStore) -> None:
    correct(store, "path,species,count\nfox.jpg,red fox,5\n")
    assert values(store, "species", "count", "detection_count") == [("red fox", 5, 1)]


def test_an_animal_of_a_clip_is_at_its_start_and_is_not_too_short(store: LocalStore) -> None:
    correct(store, "path,species\nclip.mp4,red deer\n")
    began = NIGHT + 72_000 * SECOND
    assert values(store, "species", "start_at", "end_at")[1:] == [("red deer", began, began)]


def test_the_counter_of_timelapse_is_read_and_its_0_is_no_count(
    store: LocalStore,
) -> None:
    correct(store, "RelativePath,File,Species,Count\n,dawn.jpg,red deer,0\n,noon.jpg,red deer,6\n")
    assert values(store, "species", "count")[1:] == [("red deer", 1), ("red deer", 6)]


def test_a_later_file_replaces_all_labels_of_a_medium(store: LocalStore) -> None:
    correct(store, "path,species\ndawn.jpg,red deer\ndawn.jpg,wild boar\nnoon.jpg,wild boar\n")
    correct(store, "path,species\ndawn.jpg,moose\n", by="Bo", day=2)
    assert values(store, "species", "reviewed_by")[1:] == [("moose", "Bo"), ("wild boar", "Anna")]
    correct(store, "path,species\ndawn.jpg,nothing\nnoon.jpg,nothing\n", day=3)
    assert values(store, "species") == [("red fox",)]


def test_a_correction_of_an_observation_renames_it_alone_and_retains_its_count(
    store: LocalStore,
) -> None:
    correct(store, "path,species,count\ndawn.jpg,red deer,2\ndawn.jpg,wild boar,4\n")
    exported(store)
    deer = next(v["observation_id"] for v in observations(store) if v["species"] == "red deer")
    correct(store, f"observation_id,count,confirmed_species\n{deer},9,moose\n", by="Bo", day=2)
    found = [("moose", 2, "Bo"), ("wild boar", 4, "Anna")]
    assert values(store, "species", "count", "reviewed_by")[1:] == found


def test_stage_3_is_repeatable_and_its_rows_add_up(store: LocalStore) -> None:
    correct(store, "path,species,count\ndawn.jpg,red deer,2\nlater.jpg,red fox,\n")
    before = store.read_bytes("stage3/observations.parquet")
    result = run(store)
    assert store.read_bytes("stage3/observations.parquet") == before
    assert (result.rows_in, result.rows_in_observations, result.observations) == (1, 1, 2)


def test_the_report_counts_missed_detections_and_corrections_without_effect(
    store: LocalStore,
) -> None:
    lines = "dawn.jpg,red deer\nlater.jpg,red deer\nnoon.jpg,nothing\nbroken.jpg,moose\n"
    correct(store, f"path,species\nfox.jpg,red fox\n{lines}")
    agreement = review(store)
    assert (agreement["boxes"], agreement["agreed"], agreement["share"]) == (1, 1, 1.0)
    assert agreement["empty_media"] == {
        "reviewed": 3,
        "missed": [{"species": "red deer", "media": 2}],
    }
    assert agreement["words_without_effect"] == 1


def test_corrections_stored_before_counts_existed_are_read(store: LocalStore) -> None:
    correct(store, "path,species\ndawn.jpg,red deer\n")
    [stored] = store.list("tables/corrections")
    with store.reading(stored.key) as path:
        old = pl.read_parquet(path).drop("count", "instead_of")
    old.write_parquet(store.root / stored.key)
    run(store)
    assert values(store, "species")[1:] == [("red deer",)]


def test_camtrap_dp_has_an_event_and_a_media_row_that_is_not_blank(
    store: LocalStore,
) -> None:
    correct(store, "path,species,count\ndawn.jpg,red deer,2\ndawn.jpg,wild boar,\n")
    package = exported(store) / "camtrap-dp"
    assert camtrap_dp_errors(package) == []
    rows = read_csv(package / "observations.csv")
    deer = [row for row in rows if row["scientificName"] == "Cervus elaphus"]
    shown = ("observationLevel", "count", "bboxX", "classificationMethod", "classifiedBy")
    assert [tuple(row[name] for name in shown) for row in deer] == [
        ("event", "2", "", "human", "Anna"),
        ("media", "", "", "human", "Anna"),
    ]
    assert deer[0]["eventID"] == deer[1]["eventID"]
    [medium] = {row["mediaID"] for row in deer} - {""}
    assert sum(row["mediaID"] == medium for row in rows) == 2, "one of each species, none blank"
    assert sum(row["observationType"] == "blank" for row in rows) == 3


def test_megadetector_json_has_the_whole_picture_as_box(store: LocalStore) -> None:
    correct(store, "path,species\ndawn.jpg,red deer\nclip.mp4,person\n")
    file = exported(store) / "megadetector.json"
    assert megadetector_errors(file) == []
    images = {image["file"]: image for image in json.loads(file.read_text())["images"]}
    [deer] = images["dawn.jpg"]["detections"]
    assert (deer["category"], deer["conf"], deer["bbox"]) == ("1", 1.0, [0, 0, 1, 1])
    assert deer["classifications"][0][1] == 1.0
    [person] = images["clip.mp4"]["detections"]
    assert (person["category"], person["frame_number"]) == ("2", 0)


def test_the_spreadsheet_has_the_author(store: LocalStore) -> None:
    correct(store, "path,species,count\ndawn.jpg,red deer,2\n")
    row = read_csv(exported(store) / "observations.csv")[1]
    named = ("species", "count", "detection_count", "label_source", "reviewed_by", "first_medium")
    assert [row[name] for name in named] == ["red deer", "2", "0", "reviewer", "Anna", "dawn.jpg"]


def test_a_person_labelled_by_a_reviewer_is_left_out_with_the_medium(store: LocalStore) -> None:
    correct(store, "path,species\ndawn.jpg,person\n")
    folder = exported(store, Privacy(leave_out_people=True))
    assert "dawn.jpg" not in (folder / "megadetector.json").read_text()
    assert "dawn.jpg" not in (folder / "camtrap-dp" / "media.csv").read_text()
    assert len(read_csv(folder / "observations.csv")) == 1
