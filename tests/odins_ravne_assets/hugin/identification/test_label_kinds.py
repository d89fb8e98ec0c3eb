"""A crop that the classifier names a person, a vehicle or nothing is no animal."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.identification.label_kinds import label_kind
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import ListedSpecies, Project
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

PROJECT = Project(
    utc_offset="+01:00",
    deployments=({"cameraID": "camera7", "latitude": 59.1, "longitude": 17.6},),
)
# Confident, as a table of labels has them that counts people among animals.
HUMAN: Row = {"label": "human", "scientific_name": "Homo sapiens"}
PERSON: Row = {"category": "person", "label": "person", "scientific_name": "Homo sapiens"}


def guessed(confidence: float, label: str, name: str | None = None, **others: float) -> Row:
    """A label of a thing, which needs a review in every table of labels."""
    top5 = [{"label": label, "scientific_name": name, "confidence": confidence}]
    top5 += [
        {"label": other, "scientific_name": other.replace("_", " "), "confidence": share}
        for other, share in others.items()
    ]
    return {
        "label": label,
        "scientific_name": name,
        "confidence": confidence,
        "auto_ok": False,
        "top5": top5,
    }


def camera(*pictures: list[Row], step: float = 2) -> Camera:
    found = Camera()
    for number, boxes in enumerate(pictures):
        found.medium(f"{number}.jpg", NIGHT + number * step * SECOND, boxes)
    return found


def visits(store: LocalStore, species: tuple[ListedSpecies, ...] = ()) -> list[tuple[Any, ...]]:
    run_stage3(store, Stage3(), {}, Privacy(), species)
    with store.reading("stage3/observations.parquet") as path:
        table = pl.read_parquet(path).sort("category", "species")
    return table.select("category", "species", "scientific_name", "detection_count").rows()


@pytest.mark.parametrize(
    ("label", "name", "kind"),
    [
        ("human", "Homo sapiens", "person"),
        ("Hikers_and_others", "Homo sapiens", "person"),
        (" Person", None, "person"),
        ("Homme", None, "person"),
        ("Vehicle", None, "vehicle"),
        ("véhicule", None, "vehicle"),
        ("no cv result", None, "nothing"),
        ("no-species", None, "nothing"),
        ("false_trigger", None, "nothing"),
        ("red fox", "Vulpes vulpes", None),
        ("zorilla", None, None),
        ("none of these", "Ictonyx striatus", None),
    ],
)
def test_labels_without_an_animal(label: str, name: str | None, kind: str | None) -> None:
    assert label_kind(label, name) == kind


@pytest.mark.parametrize(
    "box",
    [
        HUMAN,
        guessed(0.9, "human", "Homo sapiens"),
        guessed(0.9, "Human"),
        guessed(0.5, "person", Homo_sapiens=0.3),
    ],
)
def test_a_crop_that_the_classifier_names_a_person_is_one(tmp_path: Path, box: Row) -> None:
    store = camera([box], [PERSON]).store(tmp_path)
    assert visits(store) == [("person", "person", "Homo sapiens", 2)]
    report = json.loads(store.read_bytes("stage3/report.json"))
    assert report["observations_by_category"] == {"animal": 0, "person": 1, "vehicle": 0}
    assert report["detections_by_category"] == {"animal": 1, "person": 1, "vehicle": 0}


def test_a_person_needs_no_place_on_the_list_of_species(tmp_path: Path) -> None:
    listed = (ListedSpecies(scientific_name="Canis lupus"),)
    store = camera([HUMAN], [guessed(0.9, "human", "Homo sapiens")]).store(tmp_path)
    assert visits(store, listed) == [("person", "person", "Homo sapiens", 2)]


@pytest.mark.parametrize(
    "box", [guessed(0.9, "vehicle"), {"label": "car", "scientific_name": None}]
)
def test_a_crop_that_the_classifier_names_a_vehicle_is_one(tmp_path: Path, box: Row) -> None:
    store = camera([box], [{**box, "category": "vehicle"}]).store(tmp_path)
    assert visits(store) == [("vehicle", "vehicle", None, 2)]


@pytest.mark.parametrize("label", ["blank", "no cv result", "vide"])
@pytest.mark.parametrize("confident", [True, False])
def test_a_crop_that_the_classifier_names_blank_is_an_unknown_animal_to_review(
    tmp_path: Path, label: str, confident: bool
) -> None:
    box = guessed(0.95, label) | {"auto_ok": confident}
    store = camera([box]).store(tmp_path)
    assert visits(store) == [("animal", "unknown animal", None, 1)]
    with store.reading("stage3/observations.parquet") as path:
        found = pl.read_parquet(path)
    assert found["needs_review"].to_list() == [True]
    assert found["max_confidence"].to_list() == [pytest.approx(0.95)]  # the detector's


def test_blank_crops_do_not_vote_against_the_animal_of_their_sequence(tmp_path: Path) -> None:
    store = camera([{}], [guessed(0.95, "blank")], [guessed(0.95, "blank")]).store(tmp_path)
    assert visits(store) == [("animal", "red fox", "Vulpes vulpes", 3)]


def test_a_person_does_not_vote_and_is_not_outvoted(tmp_path: Path) -> None:
    store = camera([{}, HUMAN], [{}], [{}]).store(tmp_path)
    assert visits(store) == [
        ("animal", "red fox", "Vulpes vulpes", 3),
        ("person", "person", "Homo sapiens", 1),
    ]


def test_an_uncertain_person_does_not_add_up_to_a_mammal(tmp_path: Path) -> None:
    box = guessed(0.5, "human", "Homo sapiens", Vulpes_vulpes=0.3)
    store = camera([box]).store(tmp_path)
    assert visits(store) == [("animal", "unknown animal", None, 1)]


def test_unknown_animals_on_such_a_person_are_left_out(tmp_path: Path) -> None:
    body = {"box": (0.4, 0.2, 0.2, 0.6)}
    unnamed = guessed(0.2, "teapot") | body
    store = camera([HUMAN | body, unnamed], [unnamed]).store(tmp_path)
    assert visits(store) == [("person", "person", "Homo sapiens", 1)]


def test_a_label_of_a_picture_s_animals_does_not_rename_such_a_person(tmp_path: Path) -> None:
    found = camera([{}, HUMAN])
    store = found.store(tmp_path)
    columns = {"content_hash": found.rows["media"][0]["content_hash"], "category": "animal"}
    label = {"species": "grey wolf", "scientific_name": "Canis lupus", "reviewed_on": NIGHT.date()}
    row = dict.fromkeys(schemas.CORRECTIONS) | columns | label
    (tmp_path / "tables/corrections").mkdir()
    table = pl.DataFrame([row], schema=schemas.CORRECTIONS)
    table.write_parquet(tmp_path / "tables/corrections/1.parquet")
    assert visits(store) == [
        ("animal", "grey wolf", "Canis lupus", 1),
        ("person", "person", "Homo sapiens", 1),
    ]


def exported(store: LocalStore, privacy: Privacy) -> tuple[list[Row], dict[str, Row], list[Row]]:
    """Camtrap DP's observations, MegaDetector's pictures, and the spreadsheet."""
    visits(store)
    export_camera(store, "camera7", PROJECT, privacy)
    folder = store.root / "stage3"
    with (folder / "camtrap-dp/observations.csv").open(encoding="utf-8") as file:
        package = list(csv.DictReader(file))
    megadetector = json.loads((folder / "megadetector.json").read_text(encoding="utf-8"))
    with (folder / "observations.csv").open(encoding="utf-8", newline="") as file:
        sheet = list(csv.DictReader(file))
    return package, {image["file"]: image for image in megadetector["images"]}, sheet


def test_exports_have_such_people_and_vehicles_as_such(tmp_path: Path) -> None:
    store = camera([HUMAN], [guessed(0.9, "vehicle")], [{}]).store(tmp_path)
    package, images, sheet = exported(store, Privacy())
    types = {row["observationType"] for row in package}
    assert types == {"human", "vehicle", "animal"}
    found = [images[f"{number}.jpg"]["detections"][0] for number in range(3)]
    assert [each["category"] for each in found] == ["2", "3", "1"]
    assert [("classifications" in each) for each in found] == [False, False, True]
    assert sorted(row["category"] for row in sheet) == ["animal", "person", "vehicle"]


def test_media_of_such_people_are_left_out_of_what_is_shared(tmp_path: Path) -> None:
    store = camera([HUMAN, {}], [guessed(0.9, "human", "Homo sapiens")], [{}]).store(tmp_path)
    package, images, sheet = exported(store, Privacy(leave_out_people=True))
    assert "human" not in {row["observationType"] for row in package}
    assert list(images) == ["2.jpg"]
    assert [row["species"] for row in sheet] == ["red fox"]


def test_an_uncertain_label_of_a_person_leaves_out_its_medium_too(tmp_path: Path) -> None:
    store = camera([guessed(0.5, "human", "Homo sapiens")], [{}]).store(tmp_path)
    _, images, _ = exported(store, Privacy(leave_out_people=True))
    assert list(images) == ["1.jpg"]


def test_people_among_the_animals_of_stored_visits_are_left_out(tmp_path: Path) -> None:
    store = camera([HUMAN], [{}]).store(tmp_path)
    visits(store)
    stored = tmp_path / "stage3/observations.parquet"
    table = pl.read_parquet(stored)  # as earlier versions wrote it
    table.with_columns(category=pl.lit("animal")).write_parquet(stored)
    export_camera(store, "camera7", PROJECT, Privacy(leave_out_people=True))
    sheet = (tmp_path / "stage3/observations.csv").read_text(encoding="utf-8")
    assert "red fox" in sheet and "Homo sapiens" not in sheet
