"""Review files: corrections override the machine's labels and are stored with author and date."""

import csv
import json
import sqlite3
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, Camera, example_night
from validators import camtrap_dp_errors

from odins_ravne_assets.cameras.catalog import Camera as KnownCamera
from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.review.camera_labels import Review
from odins_ravne_assets.hugin.visits.stage3 import Stage3Result, run_stage3
from odins_ravne_assets.results.corrections import ImportResult, import_corrections
from resources.errors import UsageError
from resources.settings.profile import Privacy, Profile, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

JUNE = date(2026, 6, 1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = example_night().store(tmp_path / "camera7")
    run(store)
    export_camera(store, "camera7", Project(), Privacy())
    return store


def run(store: LocalStore) -> Stage3Result:
    return run_stage3(store, Stage3(), {}, Privacy())


def import_file(
    store: LocalStore,
    file: Path,
    by: str = "Anna",
    on: date = JUNE,
    column: str | None = None,
    confirms: bool = False,
) -> ImportResult:
    camera = KnownCamera("camera7", "file:///footage/camera7", store.root.as_uri())
    other = KnownCamera("camera8", "file:///footage/camera8", "file:///results/camera8")
    review = Review(by, on, confirms, datetime(2026, 6, 30, 12))
    return import_corrections([camera], [other], Profile(), file, review, column)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def observations(store: LocalStore) -> list[Row]:
    with store.reading("stage3/observations.parquet") as path:
        return pl.read_parquet(path).to_dicts()


def review(store: LocalStore) -> Row:
    found: Row = json.loads(store.read_bytes("stage3/report.json"))["review"]
    return found


def filled(store: LocalStore, labels: dict[str, str]) -> Path:
    """The exported spreadsheet, with labels for observations by their first medium."""
    table = store.root / "stage3" / "observations.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["confirmed_species"] = labels.get(row["first_medium"], "")
    out = store.root.parent / "filled.csv"
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def test_a_filled_spreadsheet_overrides_the_machine_and_stores_author_and_date(
    store: LocalStore,
) -> None:
    before = {observation["source_video"]: observation for observation in observations(store)}
    labels = {"DCIM/1.jpg": "Red fox", "DCIM/3.jpg": "Canis lupus", "DCIM/5.jpg": "brown hare"}
    assert import_file(store, filled(store, labels)).new == 3
    run(store)
    after = {observation["source_video"]: observation for observation in observations(store)}
    columns = ("species", "machine_species", "label_source", "reviewed_by", "reviewed_on")
    assert {path: tuple(after[path][name] for name in columns) for path in labels} == {
        "DCIM/1.jpg": ("red fox", "red fox", "reviewer", "Anna", JUNE),
        "DCIM/3.jpg": ("grey wolf", "red fox", "reviewer", "Anna", JUNE),
        "DCIM/5.jpg": ("brown hare", "unknown animal", "reviewer", "Anna", JUNE),
    }
    assert not any(after[path]["needs_review"] for path in labels)
    assert after["DCIM/4.jpg"] == before["DCIM/4.jpg"]
    assert after["DCIM/1.jpg"]["observation_id"] == before["DCIM/1.jpg"]["observation_id"]


def test_the_report_has_the_agreement_of_reviewers_and_machine(store: LocalStore) -> None:
    assert review(store)["share"] is None
    import_file(store, filled(store, {"DCIM/1.jpg": "red fox", "DCIM/3.jpg": "grey wolf"}))
    run(store)
    assert review(store) == {
        "boxes": 5,
        "agreed": 4,
        "share": 0.8,
        "empty_media": {"reviewed": 0, "missed": []},
        "words_without_effect": 0,
        "without_effect": [],
        "by_species": [
            {"machine": "red fox", "reviewer": "red fox", "boxes": 4},
            {"machine": "red fox", "reviewer": "grey wolf", "boxes": 1},
        ],
    }


def test_rejected_detections_are_left_out_and_counted(store: LocalStore) -> None:
    import_file(store, filled(store, {"DCIM/3.jpg": "nothing"}))
    result = run(store)
    assert result.rows_rejected == 1
    assert result.rows_in == (
        result.rows_rejected
        + result.rows_below_confidence
        + result.rows_too_short
        + result.rows_in_observations
    )
    assert "DCIM/3.jpg" not in {observation["source_video"] for observation in observations(store)}


def test_deleting_a_file_of_corrections_withdraws_them(store: LocalStore) -> None:
    before = store.read_bytes("stage3/observations.parquet")
    import_file(store, filled(store, {"DCIM/3.jpg": "grey wolf"}))
    run(store)
    assert store.read_bytes("stage3/observations.parquet") != before
    (stored,) = store.list("tables/corrections")
    store.delete(stored.key)
    run(store)
    assert store.read_bytes("stage3/observations.parquet") == before


def test_the_latest_correction_wins_and_the_same_file_is_stored_once(store: LocalStore) -> None:
    table = store.root.parent / "labels.csv"
    for day, label in ((3, "coyote"), (2, "grey wolf"), (2, "grey wolf")):
        written(table, f"path,species\nDCIM/3.jpg,{label}\n")
        import_file(store, table, on=date(2026, 6, day))
    assert len(list(store.list("tables/corrections"))) == 2
    run(store)
    assert "coyote" in {observation["species"] for observation in observations(store)}
    assert (review(store)["boxes"], review(store)["words_without_effect"]) == (1, 0)


def test_of_two_files_of_one_day_the_one_imported_later_wins(store: LocalStore) -> None:
    table = store.root.parent / "labels.csv"
    for label in ("coyote", "grey wolf", "wolverine", "red fox", "coyote"):
        import_file(store, written(table, f"path,species\nDCIM/3.jpg,{label}\n"))
        run(store)
        assert label in {observation["species"] for observation in observations(store)}


def test_timelapse_exports_label_whole_media(store: LocalStore, tmp_path: Path) -> None:
    table = written(
        tmp_path / "TimelapseData.csv",
        "RootFolder,File,RelativePath,DateTime,Species\n"
        "x,3.jpg,camera7\\DCIM,2026-05-01,wolverine\n"
        "x,1.jpg,camera7\\DCIM,2026-05-01,\n"
        "x,9.jpg,camera8\\DCIM,2026-05-01,red fox\n",
    )
    assert import_file(store, table).new == 1
    run(store)
    assert "wolverine" in {observation["species"] for observation in observations(store)}


def test_the_database_of_timelapse_is_read(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / "TimelapseData.ddb"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE DataTable (Id INTEGER, File, RelativePath, Animal)")
        database.execute("INSERT INTO DataTable VALUES (1, '3.jpg', 'DCIM', 'wolverine')")
    database.close()
    assert import_file(store, path, column="Animal").new == 1
    run(store)
    assert "wolverine" in {observation["species"] for observation in observations(store)}


def test_a_correction_of_a_medium_does_not_apply_to_the_person_in_it(tmp_path: Path) -> None:
    camera = Camera()
    person = {"category": "person", "label": "person", "scientific_name": "Homo sapiens"}
    camera.medium("1.jpg", NIGHT, [{"label": "coyote", "scientific_name": "Canis latrans"}, person])
    store = camera.store(tmp_path / "camera7")
    run(store)
    import_file(store, written(tmp_path / "labels.csv", "path,species\n1.jpg,domestic dog\n"))
    run(store)
    assert [observation["species"] for observation in observations(store)] == [
        "domestic dog",
        "person",
    ]


def test_a_correction_of_a_box_survives_a_renamed_file_and_another_detector(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [{}, {}])
    store = camera.store(tmp_path / "camera7")
    run(store)
    labels = "path,frame_number,box_number,species\n1.jpg,0,1,coyote\n"
    import_file(store, written(tmp_path / "labels.csv", labels))
    again = Camera()
    again.medium(
        "renamed.jpg", NIGHT, [{"box": (0.31, 0.25, 0.12, 0.5)}, {"box": (0.7, 0.2, 0.1, 0.1)}]
    )
    for table in again.rows.values():
        for row in table:
            row["content_hash"] = camera.rows["media"][0]["content_hash"]
    again.store(tmp_path / "again")
    for file in (tmp_path / "again" / "tables").iterdir():
        file.replace(tmp_path / "camera7" / "tables" / file.name)
    run(store)
    assert {
        (v["species"], v["detection_timeline"][0]["box_number"]) for v in observations(store)
    } == {
        ("coyote", 0),
        ("red fox", 1),
    }


def test_a_reviewed_clip_is_never_too_short(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("1.mp4", NIGHT, [{}])
    store = camera.store(tmp_path / "camera7")
    assert run(store).observations == 0
    import_file(store, written(tmp_path / "labels.csv", "path,species\n1.mp4,red fox\n"))
    assert run(store).observations == 1


def test_exports_mark_the_labels_of_a_reviewer(store: LocalStore, tmp_path: Path) -> None:
    place = {"cameraID": "camera7", "latitude": 59, "longitude": 17}
    project = Project(utc_offset="+01:00", deployments=(place,))  # type: ignore[arg-type]
    import_file(store, filled(store, {"DCIM/3.jpg": "grey wolf"}))
    run(store)
    export_camera(store, "camera7", project, Privacy())
    package = store.root / "stage3" / "camtrap-dp"
    assert camtrap_dp_errors(package) == []
    with (package / "observations.csv").open(encoding="utf-8") as file:
        wolves = [row for row in csv.DictReader(file) if row["scientificName"] == "Canis lupus"]
    columns = ("classificationMethod", "classifiedBy", "classificationTimestamp")
    assert {tuple(row[name] for name in columns) for row in wolves} == {
        ("human", "Anna", "2026-06-01T00:00:00Z")
    }
    assert {row["classificationProbability"] for row in wolves} == {""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,species\nDCIM/3.jpg,red fxo\n", "line 2: species 'red fxo' .*did you mean red fox"),
        ("path,species\nDCIM/33.jpg,red fox\n", "line 2: camera camera7 has no medium DCIM/33.jpg"),
        ("path,name\nDCIM/3.jpg,red fox\n", "has no column confirmed_species or species"),
        ("path,species\nDCIM/3.jpg,\n", "has no label for camera camera7"),
        ("observation_id,confirmed_species\nabc,red fox\n", "line 2: observation_id abc"),
        ("path,frame_number,box_number,species\nDCIM/3.jpg,0,7,red fox\n", "no box 7 in frame 0"),
        ("path,species,count\nDCIM/3.jpg,red fox,two\n", "line 2: count 'two' is not a number"),
        (
            "path,species,count,frame_number\nDCIM/3.jpg,red fox,2,0\n",
            "clear count or frame_number",
        ),
        ("", "has no rows"),
    ],
)
def test_an_invalid_row_is_an_error_with_its_line(
    store: LocalStore, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        import_file(store, written(tmp_path / "labels.csv", text))
    assert not list(store.list("tables/corrections"))


def test_an_unknown_listed_species_is_an_error_with_a_suggestion(store: LocalStore) -> None:
    listed = Project(species=({"scientific_name": "Vulpes vulpse"},)).species  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"did you mean Vulpes vulpes\?"):
        run_stage3(store, Stage3(), {}, Privacy(), listed)


def test_the_project_s_list_limits_the_species_and_renames_them(store: LocalStore) -> None:
    rows = (
        {"scientific_name": "Vulpes vulpes", "common_name": "räv"},
        {"scientific_name": "Fictus novus", "family": "Canidae", "order": "Carnivora"},
    )
    listed = Project(species=rows).species  # type: ignore[arg-type]
    run_stage3(store, Stage3(), {}, Privacy(), listed)
    assert {observation["species"] for observation in observations(store)} == {
        "räv",
        "person",
        "unknown animal",
    }
