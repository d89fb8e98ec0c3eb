"""The report page: its content, the privacy of people, and its behaviour in a browser."""

import base64
import html
import json
import re
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from report_rig import PERSON, CameraOutput, LabelledBox, grass, stage3, with_pattern
from ui_browser import Browser, missing_browser, open_browser

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.hugin.report.active_times import whole_days
from odins_ravne_assets.hugin.report.camera_effort import visit_rate
from odins_ravne_assets.hugin.report.camera_results import load_camera_results
from odins_ravne_assets.hugin.report.content import cost_description, warnings
from odins_ravne_assets.hugin.report.gallery import GALLERY_COLUMNS
from odins_ravne_assets.hugin.report.page import write_report_page
from odins_ravne_assets.hugin.report.sampling_effort import (
    cameras_per_period,
    make_calendar,
    sampling_effort,
    visits_per_hour,
    visits_per_period,
)
from odins_ravne_assets.hugin.report.thumbnails import BLUR_BLOCKS, THUMBNAIL_SIDE, blur_person
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.worker.contact_sheet import contact_sheet
from resources.ledger import table as cost_ledger
from resources.settings.profile import Privacy, Stage3
from resources.storage.layout import LEDGER_FOLDER
from resources.storage.local_store import LocalStore

TABLES = [f"tables/{name}.parquet" for name in ("media", "processed", "detections")]
NIGHT = datetime(2026, 5, 1, 2, 14)
HOUR = timedelta(hours=1)
OWL = LabelledBox("tawny owl", "Strix aluco", confidence=0.6)


def a_week(folder: Path) -> CameraOutput:
    """Foxes, an owl to review, a person, a failed file and a file without a time."""
    shoot = CameraOutput(folder)
    shoot.still("1.jpg", NIGHT, LabelledBox())
    shoot.still("2.jpg", NIGHT + 20 * HOUR, LabelledBox(), LabelledBox(xywh=(0.1, 0.1, 0.2, 0.2)))
    shoot.still("3.jpg", NIGHT + 50 * HOUR, OWL)
    shoot.still("4.jpg", NIGHT + 150 * HOUR, PERSON)
    shoot.still("5.jpg", None, LabelledBox())
    shoot.still("6.jpg", NIGHT, reason="file is empty")
    shoot.still("7.jpg", NIGHT + 10 * HOUR)
    return shoot


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return a_week(tmp_path_factory.mktemp("week")).write()


@pytest.fixture(scope="module")
def page(week: LocalStore) -> str:
    return stage3(week)


def visible_text(page: str) -> str:
    """The visible text of a page, without scripts and plots, in one line."""
    for element in ("script", "style", "svg", "template"):
        page = re.sub(f"<{element}.*?</{element}>", " ", page, flags=re.S)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def data(page: str) -> dict[str, Any]:
    found = re.search(r'id="visits">(.*?)</script>', page)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def visits(page: str) -> list[dict[str, Any]]:
    """The gallery's visits, with the names of their species."""
    content = data(page)
    rows = [dict(zip(GALLERY_COLUMNS, visit, strict=True)) for visit in content["visits"]]
    return [row | {"species": content["species"][row["species"]][0]} for row in rows]


def pictures(page: str) -> list[Picture]:
    """The gallery's pictures, BGR, in the order of their numbers."""
    chunks = re.findall(r'id="pictures-\d+">(.*?)</script>', page, re.S)
    encoded = [line for chunk in chunks for line in chunk.split("\n")]
    read = (np.frombuffer(base64.b64decode(each), np.uint8) for each in encoded)
    return [np.asarray(cv2.imdecode(each, cv2.IMREAD_COLOR), np.uint8) for each in read]


def detail(picture: Picture) -> float:
    """The mean difference of neighbouring pixels, in grey levels."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


# Content


def test_the_page_begins_with_the_totals(page: str) -> None:
    text = visible_text(page)
    assert text.startswith(
        "camera7: camera trap report camera7 2026-05-01 to 2026-05-07 by the camera's clock "
    )
    assert (
        "5 visits 1 to review 2 animal species 7 camera days 7 pictures 0 videos 1 failed file"
    ) in text


def test_each_species_has_visits_rate_and_maximum_count(page: str) -> None:
    text = visible_text(page)
    assert "red fox Vulpes vulpes 3 42.9 2 0 2026-05-01 02:14 2026-05-01 22:14" in text
    assert "tawny owl Strix aluco 1 14.3 1 1 2026-05-03 04:14 2026-05-03 04:14" in text


def cameras_of(days: list[int]) -> pl.DataFrame:
    """The effort of cameras without deployments."""
    return pl.DataFrame({"camera_days": days, "deployed": [False] * len(days)})


@pytest.mark.parametrize(
    ("days", "visits", "rate", "explanation"),
    [
        (7, 3, "42.9", "visits / 7 camera days × 100; it is not reliable for so few days."),
        (1, 3, "300.0", "visits / 1 camera day ×"),
        (4000, 1, "0.025", "visits / 4,000 camera days × 100."),
        (0, 1, "", "cannot be computed because no file has a time."),
    ],
)
def test_a_rate_has_the_camera_days_it_is_computed_with(
    days: int, visits: int, rate: str, explanation: str
) -> None:
    computed = visit_rate(cameras_of([days // 4] * 4 if days > 1000 else [days]))
    assert computed.of(visits) == rate
    assert explanation in computed.explanation


def test_there_is_no_rate_if_a_clock_may_have_been_wrong() -> None:
    computed = visit_rate(cameras_of([20 * 365, 30]))
    assert computed.of(5) == ""
    assert "the clock of a camera may have been wrong" in computed.explanation


def test_a_family_does_not_count_as_a_species(tmp_path: Path) -> None:
    dogs = LabelledBox("dog family", "Canidae")
    shoot = (
        CameraOutput(tmp_path)
        .still("1.jpg", NIGHT, LabelledBox())
        .still("2.jpg", NIGHT + HOUR, dogs)
    )
    assert "2 visits 0 to review 1 animal species" in visible_text(stage3(shoot.write()))


def test_exclusions_have_reasons_and_files(page: str) -> None:
    text = visible_text(page)
    assert "1 file could not be read reading" in text
    assert "1 file: file is empty 6.jpg" in text
    assert "1 visit without a time is not included" in text


def test_settings_have_descriptions_and_models_have_names(page: str) -> None:
    text = visible_text(page)
    assert "min_confidence 0.5 Minimum confidence of a name." in text
    assert "detector megadetector-lite 1" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "There are no cloud costs: everything ran on a local machine."),
        (
            [("local", "0", "0", "0")],
            "There are no cloud costs: everything ran on a local machine.",
        ),
        (
            [("spot", "0.0300", "0.1000", "0.0100"), (None, "0.0100", "0.0100", "0")],
            "$0.0400 for computing, 64% less than the on-demand price of $0.1100. "
            "$0.0100 of it was spent on interrupted or failed work. "
            "Storage and data transfer are not included.",
        ),
    ],
)
def test_costs_are_those_of_the_ledger(
    week: LocalStore,
    page: str,
    tmp_path: Path,
    rows: list[tuple[str | None, str, str, str]],
    message: str,
) -> None:
    source = LocalStore(tmp_path)
    for key in ("stage3/observations.parquet", "stage3/report.json", *TABLES):
        source.write_bytes(key, week.read_bytes(key))
    names = ("usd", "usd_on_demand", "usd_wasted")
    ledger = [
        {"market": row[0]}
        | {name: Decimal(text) for name, text in zip(names, row[1:], strict=True)}
        for row in rows
    ]
    whole = [{name: row.get(name) for name in cost_ledger.LEDGER_SCHEMA} for row in ledger]
    frame = pl.DataFrame(whole, schema=cost_ledger.LEDGER_SCHEMA)
    cost_ledger.write_ledger(LocalStore(tmp_path / LEDGER_FOLDER), "one", frame)
    assert cost_description([load_camera_results(source, source, Privacy())]) == message


def test_a_damaged_file_of_the_ledger_is_named_on_the_page(
    week: LocalStore, page: str, tmp_path: Path
) -> None:
    source = LocalStore(tmp_path)
    for key in ("stage3/observations.parquet", "stage3/report.json", *TABLES):
        source.write_bytes(key, week.read_bytes(key))
    source.write_bytes("ledger/one.json", b"a launch record")
    load_camera_results(source, source, Privacy())
    source.write_bytes("ledger/one.parquet", b"PAR1 and no more")
    results = load_camera_results(source, source, Privacy())
    assert list(warnings(results.effort, [results], Privacy())) == [
        "camera7: the costs in ledger/one.parquet are left out: the file cannot be read."
    ]


def test_the_gallery_begins_with_visits_to_review_then_is_ordered_by_time(page: str) -> None:
    shown = visits(page)
    assert [row["species"] for row in shown] == [
        "tawny owl",
        "red fox",
        "red fox",
        "person",
        "red fox",
    ]
    assert [row["start"] for row in shown] == [
        "2026-05-03 04:14:00",
        "2026-05-01 02:14:00",
        "2026-05-01 22:14:00",
        "2026-05-07 08:14:00",
        None,
    ]
    assert [row["review"] for row in shown] == [True, False, False, False, False]


def test_a_picture_shows_the_box_where_it_was_found(page: str) -> None:
    fox = visits(page)[1]
    assert [row["picture"] for row in visits(page)] == [0, 1, 2, 3, 4]
    x, y, w, h = fox["box"]
    # The crop is a square around the box, with a tenth of its longer side around it.
    assert (x, w) == (pytest.approx(1 / 12, abs=0.01), pytest.approx(10 / 12, abs=0.01))
    assert y + h / 2 == pytest.approx(0.5, abs=0.01)
    assert pictures(page)[1].shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def test_a_camera_without_visits_has_a_page(tmp_path: Path) -> None:
    page = stage3(CameraOutput(tmp_path).still("1.jpg", NIGHT).write())
    assert "There are no visits." in visible_text(page)
    assert "pictures-0" not in page


def test_names_of_species_and_files_are_escaped(tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">'
    page = stage3(
        CameraOutput(tmp_path).still(f"{name[:9]}.jpg", NIGHT, LabelledBox(name, name)).write()
    )
    assert "<img src" not in page
    (visit,) = visits(page)
    assert visit["species"] == name


def test_a_clock_that_may_have_been_wrong_is_a_warning(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", datetime(1970, 1, 1), LabelledBox())
    page = stage3(shoot.still("2.jpg", NIGHT, LabelledBox()).write())
    assert "The camera's clock may have been wrong" in visible_text(page)


def test_equal_results_give_the_same_page(week: LocalStore, page: str) -> None:
    assert stage3(week) == page


def test_launch_records_next_to_the_ledger_are_ignored(tmp_path: Path) -> None:
    store = a_week(tmp_path).write()
    stage3(store)
    store.write_bytes("ledger/launch-1.json", b"{}")
    assert load_camera_results(store, store, Privacy()).costs.is_empty()


def test_several_cameras_have_one_page_with_a_map(tmp_path: Path) -> None:
    places = {"hill": (59.123456, 11.2), "lake": (59.2, 11.3)}
    stores = [
        CameraOutput(tmp_path / name, name)
        .still("1.jpg", NIGHT, LabelledBox(), position=place)
        .write()
        for name, place in places.items()
    ]
    for store in stores:
        stage3(store)
    results = [load_camera_results(store, store, Privacy()) for store in stores]
    write_report_page(tmp_path / "all.html", results, Privacy())
    page = (tmp_path / "all.html").read_text("utf-8")
    text = visible_text(page)
    assert text.startswith("2 cameras: camera trap report")
    assert "Map of 2 cameras." in page
    assert "red fox Vulpes vulpes 2 100.0" in text
    assert [data(page)["cameras"][row["camera"]] for row in visits(page)] == ["hill", "lake"]


# Privacy


CHECKS = np.kron([[0, 200], [200, 0]], np.ones((2, 2)))[:, :, None].repeat(3, 2).astype(np.uint8)


def person_in(
    pattern: Picture, *boxes: LabelledBox, folder: Path, privacy: Privacy | None = None
) -> str:
    """The page of a picture with a patterned person."""
    picture = with_pattern(grass(), PERSON.xywh, pattern)
    shoot = CameraOutput(folder).still("1.jpg", NIGHT, *boxes, picture=picture)
    return stage3(shoot.write(), privacy)


def test_people_are_blurred_by_default(tmp_path: Path) -> None:
    (shown,) = pictures(person_in(CHECKS, PERSON, folder=tmp_path / "a"))
    clear = Privacy(blur_people=False)
    page = person_in(CHECKS, PERSON, folder=tmp_path / "b", privacy=clear)
    assert detail(shown) < 2 < 20 < detail(pictures(page)[0])
    assert "not blurred. Consider this before you share this file." in visible_text(page)


def test_people_who_differ_in_detail_alone_give_the_same_picture(tmp_path: Path) -> None:
    (one,) = pictures(person_in(CHECKS, PERSON, folder=tmp_path / "a"))
    (other,) = pictures(person_in(CHECKS[:, ::-1], PERSON, folder=tmp_path / "b"))
    (striped,) = pictures(person_in(CHECKS[:1].repeat(4, 0), PERSON, folder=tmp_path / "c"))
    for each in (other, striped):
        assert np.abs(one.astype(int) - each.astype(int)).max() <= 6


def test_a_blurred_person_has_no_colour(tmp_path: Path) -> None:
    red = np.full((1, 1, 3), (0, 0, 200), np.uint8)
    (shown,) = pictures(person_in(red, PERSON, folder=tmp_path))
    assert np.ptp(shown.astype(int), axis=2).max() <= 3


def test_a_person_next_to_an_animal_is_blurred_in_the_animal_s_picture(tmp_path: Path) -> None:
    dog_box = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    page = person_in(CHECKS, dog_box, PERSON, folder=tmp_path)
    dog = next(row for row in visits(page) if "dog" in row["species"])
    picture = pictures(page)[dog["picture"]]
    # The person ends a third into the dog's box; a margin around it is blurred too.
    assert detail(picture[50:140, :60]) < 2


def test_a_detection_labelled_as_a_person_is_blurred(tmp_path: Path) -> None:
    labelled_person = LabelledBox("human", "Homo sapiens")
    (shown,) = pictures(person_in(CHECKS, labelled_person, folder=tmp_path))
    assert detail(shown) < 2


def test_a_detection_labelled_as_a_person_is_blurred_in_other_pictures_too(tmp_path: Path) -> None:
    labelled_person = LabelledBox("human", "Homo sapiens")
    dog_box = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    page = person_in(CHECKS, dog_box, labelled_person, folder=tmp_path)
    dog = next(row for row in visits(page) if "dog" in row["species"])
    assert detail(pictures(page)[dog["picture"]][50:140, :60]) < 2


@pytest.mark.parametrize("score", [0.05, 0.64])
def test_an_animal_that_may_be_a_person_is_blurred(tmp_path: Path, score: float) -> None:
    possible = LabelledBox("cow", "Bos taurus", person_confidence=score)
    page = person_in(CHECKS, possible, folder=tmp_path)
    (shown,) = pictures(page)
    assert detail(shown[20:-20, 20:-20]) < 2
    assert visits(page)[0]["species"] != "person"


def test_a_possible_person_is_blurred_in_other_pictures_and_not_among_the_best_crops(
    tmp_path: Path,
) -> None:
    possible = LabelledBox("cow", "Bos taurus", person_confidence=0.5)
    dog_box = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    page = person_in(CHECKS, dog_box, possible, folder=tmp_path)
    dog = next(row for row in visits(page) if "dog" in row["species"])
    assert detail(pictures(page)[dog["picture"]][50:140, :60]) < 2
    store = LocalStore(tmp_path)
    assert contact_sheet(store, Stage1Journal(store, "one")) is None


def test_a_part_of_a_person_is_blurred_in_the_picture_of_a_vehicle(tmp_path: Path) -> None:
    """The person's body is an unknown animal that Stage 3 leaves out."""
    head = LabelledBox("person", "Homo sapiens", "person", xywh=(0.3, 0.28, 0.25, 0.15))
    body = LabelledBox("teapot", None, confidence=0.2, auto_ok=False)
    car = LabelledBox("vehicle", None, "vehicle", xywh=(0.6, 0.4, 0.3, 0.3))
    picture = with_pattern(grass(), PERSON.xywh, CHECKS)
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, head, picture=picture)
    page = stage3(shoot.still("2.jpg", NIGHT, car, body, picture=picture).write())
    shown = {row["species"]: row["picture"] for row in visits(page)}
    assert shown.keys() == {"vehicle", "person"}
    assert detail(pictures(page)[shown["vehicle"]][50:140, :60]) < 2


def test_boxes_that_a_rule_left_out_are_listed_with_their_medium_and_time(tmp_path: Path) -> None:
    body = LabelledBox("teapot", None, confidence=0.2, auto_ok=False)
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, PERSON, body)
    store = shoot.still("2.jpg", None, LabelledBox()).write()
    listed = "2026-05-01 02:14:00 1.jpg (1 box)"
    rule = "1 box: unknown animals that are probably part of a person"
    page = stage3(store)
    assert rule in visible_text(page) and listed in visible_text(page)
    with store.reading("stage3/left_out_detections.parquet") as path:
        assert pl.read_parquet(path).to_dicts() == [
            {
                "path": "1.jpg",
                "frame_number": 0,
                "box_number": 1,
                "captured_at": NIGHT,
                "reason": "near_person",
                **dict.fromkeys(("staff_label", "staff_labelled_by", "staff_labelled_on")),
            }
        ]
    assert listed not in visible_text(stage3(store, Privacy(leave_out_people=True)))


def test_people_are_blurred_in_the_thumbnails_table(tmp_path: Path) -> None:
    person_in(CHECKS, PERSON, folder=tmp_path)
    table = pl.read_parquet(tmp_path / "stage3/thumbnails.parquet")
    assert table.schema == schemas.THUMBNAILS
    (webp,) = table["webp"]
    picture = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR)
    assert detail(np.asarray(picture, np.uint8)) < 2


def test_thumbnails_are_made_again_when_blur_is_switched_on(tmp_path: Path) -> None:
    person_in(CHECKS, PERSON, folder=tmp_path, privacy=Privacy(blur_people=False))
    (shown,) = pictures(stage3(LocalStore(tmp_path)))
    assert detail(shown) < 2


def test_without_a_journal_there_are_no_pictures_when_blur_is_switched_on(
    tmp_path: Path,
) -> None:
    person_in(CHECKS, PERSON, folder=tmp_path, privacy=Privacy(blur_people=False))
    shutil.rmtree(tmp_path / "journal")
    assert not pictures(stage3(LocalStore(tmp_path)))


def test_a_blurred_body_is_a_few_blocks_however_large() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (224, 112, 3)).astype(np.uint8)
    shown = blur_person(noise, (0.0, 0.0, 1.0, 1.0), 0.0)
    blocks = cv2.resize(shown, (BLUR_BLOCKS // 2, BLUR_BLOCKS), interpolation=cv2.INTER_AREA)
    again = cv2.resize(blocks, (112, 224), interpolation=cv2.INTER_LINEAR)
    assert np.abs(again.astype(int) - shown.astype(int)).max() <= 10


def test_the_best_crops_in_the_ui_are_of_frames_without_people(tmp_path: Path) -> None:
    dog_box = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    store = CameraOutput(tmp_path / "a").still("1.jpg", NIGHT, dog_box, PERSON).write()
    assert contact_sheet(store, Stage1Journal(store, "one")) is None
    store = CameraOutput(tmp_path / "b").still("1.jpg", NIGHT, dog_box).write()
    assert contact_sheet(store, Stage1Journal(store, "one"))


def test_people_can_be_left_out(week: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(week.root, tmp_path / "copy")
    store = LocalStore(tmp_path / "copy")
    page = stage3(store, Privacy(leave_out_people=True))
    assert "person" not in {row["species"] for row in visits(page)}
    assert "People are left out (1 visit) by the privacy settings." in visible_text(page)
    with store.reading("stage3/thumbnails.parquet") as path:
        assert not pl.read_parquet(path)["person"].any()


def test_coordinates_are_rounded_where_a_sensitive_species_was_observed(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, OWL, position=(59.123456, 11.987654))
    store = shoot.write()
    privacy = Privacy(sensitive_species=("strix aluco",))
    assert "59.1, 12.0 (rounded)" in visible_text(stage3(store, privacy))
    assert "59.123" not in stage3(store, privacy)
    assert "59.12346, 11.98765" in visible_text(stage3(store))


# Reviews


def reviewed(
    shoot: CameraOutput, path: str, name: str, scientific_name: str, category: str
) -> LocalStore:
    """The camera's output after a reviewer labelled a medium."""
    (medium,) = (each for each in shoot.media if each["path"] == path)
    correction = {
        "content_hash": medium["content_hash"],
        "category": category,
        "species": name,
        "scientific_name": scientific_name,
        "reviewed_by": "Astrid",
        "reviewed_on": date(2026, 6, 1),
    }
    whole = {column: correction.get(column) for column in schemas.CORRECTIONS}
    store = shoot.write()
    with store.writing("tables/corrections/one.parquet") as file:
        pl.DataFrame([whole], schema=schemas.CORRECTIONS).write_parquet(file)
    return store


def test_a_correction_is_shown_with_its_author_and_the_agreement(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox())
    page = stage3(reviewed(shoot, "1.jpg", "Arctic fox", "Vulpes lagopus", "animal"))
    (visit,) = visits(page)
    assert visit["species"] == "Arctic fox"
    assert visit["note"] == "labelled by Astrid, 2026-06-01 (machine: red fox)"
    text = visible_text(page)
    assert "Reviewers labelled 1 box. They agreed with the machine on 0 (0%)." in text
    assert "red fox Arctic fox 1" in text


def test_a_missed_detection_is_shown_without_a_picture(tmp_path: Path) -> None:
    shoot = (
        CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).still("2.jpg", NIGHT + 2 * HOUR)
    )
    page = stage3(reviewed(shoot, "2.jpg", "Arctic fox", "Vulpes lagopus", "animal"))
    _, visit = visits(page)
    assert visit["note"] == "labelled by Astrid, 2026-06-01 (missed by the machine)"
    assert visit["picture"] is None
    text = visible_text(page)
    assert "Reviewers labelled 1 file without detections." in text
    assert "Missed by the machine (number of files): Arctic fox 1." in text


def test_a_visit_with_a_missed_detection_has_the_picture_of_its_box(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).still("2.jpg", NIGHT)
    page = stage3(reviewed(shoot, "2.jpg", "red fox", "Vulpes vulpes", "animal"))
    (visit,) = visits(page)
    assert visit["picture"] is not None


def test_a_detection_that_a_reviewer_labelled_as_a_person_is_blurred(tmp_path: Path) -> None:
    picture = with_pattern(grass(), LabelledBox().xywh, CHECKS)
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox(), picture=picture)
    assert detail(pictures(stage3(shoot.write()))[0]) > 20
    store = reviewed(shoot, "1.jpg", "person", "Homo sapiens", "person")
    assert detail(pictures(stage3(store))[0]) < 2


# Re-runs


def test_other_windows_reuse_thumbnails_without_the_journal(
    week: LocalStore, tmp_path: Path
) -> None:
    shutil.copytree(week.root, tmp_path / "copy", ignore=shutil.ignore_patterns("journal"))
    store = LocalStore(tmp_path / "copy")
    page = stage3(store, settings=Stage3(compression_window=60 * 24))
    assert len(visits(page)) == 4
    assert all(row["picture"] is not None for row in visits(page))


def test_visits_without_a_thumbnail_are_shown_without_a_picture(
    week: LocalStore, tmp_path: Path
) -> None:
    away = shutil.ignore_patterns("journal", "thumbnails.parquet")
    shutil.copytree(week.root, tmp_path / "copy", ignore=away)
    page = stage3(LocalStore(tmp_path / "copy"))
    assert [row["picture"] for row in visits(page)] == [None] * 5
    assert "5 visits have no picture." in visible_text(page)


# Sampling effort


def test_a_day_without_files_is_a_camera_day() -> None:
    days = [datetime(2026, 5, 1, 23), datetime(2026, 5, 4, 1), None]
    media = pl.LazyFrame(
        [
            {"camera_id": "a", "captured_at": day, "latitude": 1.0, "longitude": None}
            for day in days
        ],
        schema_overrides={"captured_at": schemas.TIME, "longitude": pl.Float64},
    )
    (row,) = sampling_effort(media).to_dicts()
    assert (row["camera_days"], row["days_with_media"], row["media"]) == (4, 2, 3)


@pytest.mark.parametrize(
    ("last", "name", "periods"),
    [
        (date(2026, 5, 1), "day", 1),
        (date(2026, 7, 1), "day", 62),
        (date(2026, 7, 2), "week", 10),
        (date(2027, 12, 31), "month", 20),
        (date(2046, 5, 1), "year", 21),
    ],
)
def test_a_calendar_has_a_readable_number_of_periods(last: date, name: str, periods: int) -> None:
    calendar = make_calendar(date(2026, 5, 1), last)
    assert (calendar.period_name, calendar.periods) == (name, periods)
    assert calendar.starts[0] <= date(2026, 5, 1)
    assert calendar.starts[-2] <= last < calendar.starts[-1]


def test_visits_with_a_time_are_counted_per_period_and_per_hour() -> None:
    times = [datetime(2026, 5, 1, 0), datetime(2026, 5, 1, 23, 59), datetime(2026, 5, 3), None]
    observations = pl.DataFrame({"start_at": times}, schema={"start_at": schemas.TIME})
    assert visits_per_period(observations, make_calendar(date(2026, 5, 1), date(2026, 5, 3))) == [
        2,
        0,
        1,
    ]
    assert visits_per_hour(observations) == [2, *[0] * 22, 1]


def test_active_cameras_are_averaged_per_period() -> None:
    first, second = date(2026, 5, 1), date(2026, 5, 2)
    active = [[whole_days(first, second)], [whole_days(second, second)], []]
    cameras = pl.DataFrame({"active": [[each._asdict() for each in some] for some in active]})
    assert cameras_per_period(cameras, make_calendar(first, date(2026, 5, 3))) == [1, 2, 0]


# In a browser


@pytest.fixture(scope="module")
def browser(week: LocalStore, page: str) -> Iterator[Browser]:
    if missing := missing_browser():
        pytest.skip(missing)
    with open_browser(week.url, 390, 800) as opened:
        opened.open("/stage3/report.html")
        yield opened


def shown(browser: Browser, name: str) -> list[str]:
    found = browser.driver.find_elements("css selector", f".card .{name}")
    return [element.text for element in found]


@pytest.mark.browser
def test_on_a_phone_nothing_is_wider_than_the_viewport(browser: Browser) -> None:
    script = "return [document.documentElement.scrollWidth, innerWidth]"
    width, window = browser.driver.execute_script(script)
    assert width <= window


@pytest.mark.browser
def test_on_a_phone_table_cells_are_visible_and_labelled(browser: Browser) -> None:
    overflowing = """return [...document.querySelectorAll('td, .plot svg, .legend')].filter(
        (each) => each.getBoundingClientRect().right > innerWidth).length"""
    assert browser.driver.execute_script(overflowing) == 0
    label = """return getComputedStyle(document.querySelector('.cards td.number'), '::before')
        .content"""
    assert "visits" in browser.driver.execute_script(label)


@pytest.mark.browser
def test_all_pictures_and_controls_have_accessible_names(browser: Browser) -> None:
    nameless = """
        const name = (each) => each.alt || each.ariaLabel || each.getAttribute('aria-labelledby')
            || (each.labels && each.labels.length) || each.textContent.trim();
        return [...document.querySelectorAll('img, svg[role=img], select, input, table, button, a')]
            .filter((each) => !name(each) && !each.closest('template, [hidden]')).length"""
    assert browser.driver.execute_script(nameless) == 0


@pytest.mark.browser
def test_the_filters_select_and_order_the_visits(browser: Browser) -> None:
    browser.read("5 visits")
    browser.click("//label[contains(., 'to review only')]/input")
    browser.read("1 visit")
    assert shown(browser, "name") == ["tawny owl"]
    browser.click("//a[text()='red fox']")
    browser.read("3 visits")
    assert shown(browser, "time") == [
        "2026-05-01 02:14:00",
        "2026-05-01 22:14:00",
        "unknown time",
    ]


@pytest.mark.browser
def test_pictures_are_decoded_near_the_viewport(browser: Browser) -> None:
    browser.driver.execute_script("document.getElementById('gallery').scrollIntoView()")
    loaded = "//article//img[starts-with(@src, 'data:image/webp;base64,')]"
    browser.see(loaded)
    size = "return document.querySelector('.card img').naturalWidth"
    assert browser.driver.execute_script(size) == THUMBNAIL_SIDE
    assert not browser.driver.get_log("browser")


@pytest.mark.browser
def test_a_small_crop_is_enlarged_with_its_box(browser: Browser) -> None:
    script = """
        const [done] = arguments, img = document.querySelector('.card img');
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 20;
        img.onload = () => {
            const box = img.parentElement.getBoundingClientRect();
            const own = img.getBoundingClientRect();
            done([img.naturalWidth, own.width, own.height, box.width, box.height]);
        };
        img.src = canvas.toDataURL();"""
    crop, width, height, *span = browser.driver.execute_async_script(script)
    assert (crop, width) == (20, height)
    assert 100 <= height <= 160
    assert span == [width, height]  # the box is drawn in fractions of it
