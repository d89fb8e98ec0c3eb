"""What a reviewer saw where the machine found nothing becomes a visit, with the reviewer's name."""

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
    review,
    run,
    take,
    visits,
    written,
)

PLACE = {"cameraID": "camera7", "latitude": 59, "longitude": 17}
PROJECT = Project(utc_offset="+01:00", deployments=(PLACE,))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A fox with a box; four media in which nothing was found, one of them a clip; a broken one."""
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


def say(store: LocalStore, text: str, by: str = "Anna", day: int = 1) -> None:
    """Hand in a CSV, and make the visits anew."""
    take(store, written(store.root.parent / "missed.csv", text), by, date(2026, 6, day))
    run(store)


def told(store: LocalStore, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(visit[name] for name in columns) for visit in visits(store)]


def exported(store: LocalStore, privacy: Privacy | None = None) -> Path:
    export_camera(store, "camera7", PROJECT, privacy or Privacy())
    return store.root / "stage3"


def rows_of(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_species_and_a_count_for_a_file_without_boxes_is_a_visit_by_the_reviewer(
    store: LocalStore,
) -> None:
    say(store, "path,species,count\ndawn.jpg,Meles meles,3\n")
    fox, badger = visits(store)
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


def test_it_joins_the_visit_of_its_species_that_was_going_on(store: LocalStore) -> None:
    say(store, "path,species,count\nlater.jpg,red fox,2\n")
    [fox] = visits(store)
    joined = ("count", "media_count", "detection_count", "duration_seconds", "label_source")
    assert [fox[name] for name in joined] == [2, 2, 1, 300.0, "reviewer"]


def test_a_file_can_show_several_species_and_a_count_is_one_if_nobody_counted(
    store: LocalStore,
) -> None:
    say(store, "path,species,count\ndawn.jpg,red deer,\ndawn.jpg,wild boar,4\n")
    assert told(store, "species", "count")[1:] == [("red deer", 1), ("wild boar", 4)]


def test_a_count_holds_for_files_with_boxes_too(store: LocalStore) -> None:
    say(store, "path,species,count\nfox.jpg,red fox,5\n")
    assert told(store, "species", "count", "detection_count") == [("red fox", 5, 1)]


def test_a_clip_s_animal_is_put_at_its_beginning_and_is_not_too_short(store: LocalStore) -> None:
    say(store, "path,species\nclip.mp4,red deer\n")
    began = NIGHT + 72_000 * SECOND
    assert told(store, "species", "start_at", "end_at")[1:] == [("red deer", began, began)]


def test_timelapse_s_counter_is_read_and_its_0_means_that_nobody_counted(
    store: LocalStore,
) -> None:
    say(store, "RelativePath,File,Species,Count\n,dawn.jpg,red deer,0\n,noon.jpg,red deer,6\n")
    assert told(store, "species", "count")[1:] == [("red deer", 1), ("red deer", 6)]


def test_a_later_file_says_all_of_a_medium_anew(store: LocalStore) -> None:
    say(store, "path,species\ndawn.jpg,red deer\ndawn.jpg,wild boar\nnoon.jpg,wild boar\n")
    say(store, "path,species\ndawn.jpg,moose\n", by="Bo", day=2)
    assert told(store, "species", "reviewed_by")[1:] == [("moose", "Bo"), ("wild boar", "Anna")]
    say(store, "path,species\ndawn.jpg,nothing\nnoon.jpg,nothing\n", day=3)
    assert told(store, "species") == [("red fox",)]


def test_a_visit_of_the_spreadsheet_is_renamed_alone_and_keeps_its_count(
    store: LocalStore,
) -> None:
    say(store, "path,species,count\ndawn.jpg,red deer,2\ndawn.jpg,wild boar,4\n")
    exported(store)
    deer = next(v["observation_id"] for v in visits(store) if v["species"] == "red deer")
    say(store, f"observation_id,count,confirmed_species\n{deer},9,moose\n", by="Bo", day=2)
    found = [("moose", 2, "Bo"), ("wild boar", 4, "Anna")]
    assert told(store, "species", "count", "reviewed_by")[1:] == found


def test_re_runs_give_the_same_rows_and_rows_add_up(store: LocalStore) -> None:
    say(store, "path,species,count\ndawn.jpg,red deer,2\nlater.jpg,red fox,\n")
    before = store.read_bytes("stage3/observations.parquet")
    result = run(store)
    assert store.read_bytes("stage3/observations.parquet") == before
    assert (result.rows_in, result.rows_in_visits, result.observations) == (1, 1, 2)


def test_the_report_tells_what_the_machine_missed_and_which_words_met_nothing(
    store: LocalStore,
) -> None:
    words = "dawn.jpg,red deer\nlater.jpg,red deer\nnoon.jpg,nothing\nbroken.jpg,moose\n"
    say(store, f"path,species\nfox.jpg,red fox\n{words}")
    said = review(store)
    assert (said["boxes"], said["agreed"], said["share"]) == (1, 1, 1.0)
    assert said["empty_media"] == {"reviewed": 3, "missed": [{"species": "red deer", "media": 2}]}
    assert said["words_without_effect"] == 1


def test_words_that_were_kept_before_there_were_counts_still_hold(store: LocalStore) -> None:
    say(store, "path,species\ndawn.jpg,red deer\n")
    [kept] = store.list("tables/corrections")
    with store.reading(kept.key) as path:
        old = pl.read_parquet(path).drop("count", "instead_of")
    old.write_parquet(store.root / kept.key)
    run(store)
    assert told(store, "species")[1:] == [("red deer",)]


def test_camtrap_dp_has_it_as_an_event_and_as_a_medium_that_is_not_blank(
    store: LocalStore,
) -> None:
    say(store, "path,species,count\ndawn.jpg,red deer,2\ndawn.jpg,wild boar,\n")
    package = exported(store) / "camtrap-dp"
    assert camtrap_dp_errors(package) == []
    rows = rows_of(package / "observations.csv")
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


def test_megadetector_json_has_it_with_the_whole_picture_as_its_box(store: LocalStore) -> None:
    say(store, "path,species\ndawn.jpg,red deer\nclip.mp4,person\n")
    file = exported(store) / "megadetector.json"
    assert megadetector_errors(file) == []
    images = {image["file"]: image for image in json.loads(file.read_text())["images"]}
    [deer] = images["dawn.jpg"]["detections"]
    assert (deer["category"], deer["conf"], deer["bbox"]) == ("1", 1.0, [0, 0, 1, 1])
    assert deer["classifications"][0][1] == 1.0
    [person] = images["clip.mp4"]["detections"]
    assert (person["category"], person["frame_number"]) == ("2", 0)


def test_the_spreadsheet_has_it_with_its_author(store: LocalStore) -> None:
    say(store, "path,species,count\ndawn.jpg,red deer,2\n")
    row = rows_of(exported(store) / "observations.csv")[1]
    named = ("species", "count", "detection_count", "label_source", "reviewed_by", "first_medium")
    assert [row[name] for name in named] == ["red deer", "2", "0", "reviewer", "Anna", "dawn.jpg"]


def test_a_person_whom_a_reviewer_saw_is_left_out_with_the_file(store: LocalStore) -> None:
    say(store, "path,species\ndawn.jpg,person\n")
    folder = exported(store, Privacy(leave_out_people=True))
    assert "dawn.jpg" not in (folder / "megadetector.json").read_text()
    assert "dawn.jpg" not in (folder / "camtrap-dp" / "media.csv").read_text()
    assert len(rows_of(folder / "observations.csv")) == 1
