"""The report for people: what it says, whom it protects, and how it behaves in a browser."""

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
from report_rig import PERSON, LabelledBox, CameraOutput, grass, stage3, with_pattern
from ui_browser import Browser, missing_browser, open_browser

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.hugin.report.camera_results import load_camera_results
from odins_ravne_assets.hugin.report.content import cost_description, visit_rate
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
from resources.errors import StoreError
from resources.ledger import table as cost_ledger
from resources.settings.profile import Privacy, Stage3
from resources.storage.local_store import LocalStore

TABLES = [f"tables/{name}.parquet" for name in ("media", "processed", "detections")]
NIGHT = datetime(2026, 5, 1, 2, 14)
HOUR = timedelta(hours=1)
OWL = LabelledBox("tawny owl", "Strix aluco", confidence=0.6)


def a_week(folder: Path) -> CameraOutput:
    """Foxes, an owl that is to be reviewed, a person, and what goes wrong with footage."""
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


def words(page: str) -> str:
    """What a reader sees, without scripts and drawings, in one line."""
    for element in ("script", "style", "svg", "template"):
        page = re.sub(f"<{element}.*?</{element}>", " ", page, flags=re.S)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def data(page: str) -> dict[str, Any]:
    found = re.search(r'id="visits">(.*?)</script>', page)
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told


def visits(page: str) -> list[dict[str, Any]]:
    """The gallery's visits, with the names of their species."""
    told = data(page)
    rows = [dict(zip(GALLERY_COLUMNS, visit, strict=True)) for visit in told["visits"]]
    return [row | {"species": told["species"][row["species"]][0]} for row in rows]


def pictures(page: str) -> list[Picture]:
    """The gallery's pictures, BGR, in the order of their numbers."""
    chunks = re.findall(r'id="pictures-\d+">(.*?)</script>', page, re.S)
    encoded = [line for chunk in chunks for line in chunk.split("\n")]
    read = (np.frombuffer(base64.b64decode(each), np.uint8) for each in encoded)
    return [np.asarray(cv2.imdecode(each, cv2.IMREAD_COLOR), np.uint8) for each in read]


def detail(picture: Picture) -> float:
    """How much neighbouring pixels differ, in grey levels."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


# What it says


def test_the_page_begins_with_the_numbers_that_are_asked_for_first(page: str) -> None:
    said = words(page)
    assert said.startswith(
        "camera7: what was seen camera7 2026-05-01 to 2026-05-07, by the camera's clock "
    )
    assert (
        "5 visits 1 to review 2 animal species 7 camera days 7 pictures 0 videos 1 file not used"
    ) in said


def test_each_species_has_its_visits_their_rate_and_the_most_at_once(page: str) -> None:
    said = words(page)
    assert "red fox Vulpes vulpes 3 42.9 2 0 2026-05-01 02:14 2026-05-01 22:14" in said
    assert "tawny owl Strix aluco 1 14.3 1 1 2026-05-03 04:14 2026-05-03 04:14" in said


@pytest.mark.parametrize(
    ("days", "visits", "rate", "said"),
    [
        (7, 3, "42.9", "divided by the 7 days that cameras were out, times 100; so few days"),
        (1, 3, "300.0", "divided by the 1 day that"),
        (4000, 1, "0.025", "divided by the 4,000 days that cameras were out, times 100."),
        (0, 1, "", "are not told: no file says when it was."),
    ],
)
def test_a_rate_is_told_with_the_days_that_it_is_counted_by(
    days: int, visits: int, rate: str, said: str
) -> None:
    counted = visit_rate(pl.DataFrame({"camera_days": [days // 4] * 4 if days > 1000 else [days]}))
    assert counted.of(visits) == rate
    assert said in counted.says


def test_no_rate_is_told_by_a_clock_that_was_wrong() -> None:
    counted = visit_rate(pl.DataFrame({"camera_days": [20 * 365, 30]}))
    assert counted.of(5) == ""
    assert "a clock may have been wrong" in counted.says


def test_a_family_is_no_species_in_the_count_of_species(tmp_path: Path) -> None:
    dogs = LabelledBox("dog family", "Canidae")
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).still("2.jpg", NIGHT + HOUR, dogs)
    assert "2 visits 0 to review 1 animal species" in words(stage3(shoot.write()))


def test_what_was_left_out_is_told_with_its_reason_and_its_files(page: str) -> None:
    said = words(page)
    assert "1 file could not be read reading files" in said
    assert "1 file: file is empty 6.jpg" in said
    assert "1 visit without a time is not in it" in said


def test_settings_are_told_with_their_meaning_and_models_with_their_names(page: str) -> None:
    said = words(page)
    assert "min_confidence 0.5 Rows below this are left out." in said
    assert "detector megadetector-lite 1" in said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "Nothing was rented: all of it ran on a machine of your own."),
        ([("local", "0", "0", "0")], "Nothing was rented: all of it ran on a machine of your own."),
        (
            [("spot", "0.0300", "0.1000", "0.0100"), (None, "0.0100", "0.0100", "0")],
            "$0.0400 for computing; on demand it would have been $0.1100, of which 64% were saved. "
            "$0.0100 of it bought nothing: work that was interrupted or failed. "
            "Storage and transfer are not in it.",
        ),
    ],
)
def test_what_it_cost_is_told_from_the_ledger(
    week: LocalStore,
    page: str,
    tmp_path: Path,
    rows: list[tuple[str | None, str, str, str]],
    said: str,
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
    cost_ledger.write_ledger(LocalStore(tmp_path / cost_ledger.LEDGER_FOLDER), "one", frame)
    assert cost_description([load_camera_results(source, source, Privacy())]) == said


def test_a_ledger_that_cannot_be_read_is_named(week: LocalStore, page: str, tmp_path: Path) -> None:
    source = LocalStore(tmp_path)
    for key in ("stage3/observations.parquet", "stage3/report.json", *TABLES):
        source.write_bytes(key, week.read_bytes(key))
    source.write_bytes("ledger/one.json", b"what is known of a launch")
    load_camera_results(source, source, Privacy())
    source.write_bytes("ledger/one.parquet", b"PAR1 and no more")
    with pytest.raises(StoreError, match=r"ledger/one\.parquet is damaged or of another"):
        load_camera_results(source, source, Privacy())


def test_the_gallery_begins_with_what_is_to_be_reviewed_then_goes_by_time(page: str) -> None:
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


def test_a_camera_that_saw_nothing_has_a_page_too(tmp_path: Path) -> None:
    page = stage3(CameraOutput(tmp_path).still("1.jpg", NIGHT).write())
    assert "No visits were found." in words(page)
    assert "pictures-0" not in page


def test_names_of_species_and_files_stay_text(tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">'
    page = stage3(CameraOutput(tmp_path).still(f"{name[:9]}.jpg", NIGHT, LabelledBox(name, name)).write())
    assert "<img src" not in page
    (visit,) = visits(page)
    assert visit["species"] == name


def test_a_clock_that_was_wrong_is_told_before_anything_is_counted_by_it(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", datetime(1970, 1, 1), LabelledBox())
    page = stage3(shoot.still("2.jpg", NIGHT, LabelledBox()).write())
    assert "its clock may have been wrong" in words(page)


def test_the_same_results_give_the_same_page(week: LocalStore, page: str) -> None:
    assert stage3(week) == page


def test_what_lies_beside_the_ledgers_tables_is_no_table(tmp_path: Path) -> None:
    store = a_week(tmp_path).write()
    stage3(store)
    store.write_bytes("ledger/launch-1.json", b"{}")
    assert load_camera_results(store, store, Privacy()).cost.is_empty()


def test_several_cameras_have_one_page_with_a_map(tmp_path: Path) -> None:
    places = {"hill": (59.123456, 11.2), "lake": (59.2, 11.3)}
    stores = [
        CameraOutput(tmp_path / name, name).still("1.jpg", NIGHT, LabelledBox(), position=place).write()
        for name, place in places.items()
    ]
    for store in stores:
        stage3(store)
    results = [load_camera_results(store, store, Privacy()) for store in stores]
    write_report_page(tmp_path / "all.html", results, Privacy())
    page = (tmp_path / "all.html").read_text("utf-8")
    said = words(page)
    assert said.startswith("2 cameras: what was seen")
    assert "Map of 2 cameras." in page
    assert "red fox Vulpes vulpes 2 100.0" in said
    assert [data(page)["cameras"][row["camera"]] for row in visits(page)] == ["hill", "lake"]


# Whom it protects


CHECKS = np.kron([[0, 200], [200, 0]], np.ones((2, 2)))[:, :, None].repeat(3, 2).astype(np.uint8)


def person_in(pattern: Picture, *seen: LabelledBox, folder: Path, privacy: Privacy | None = None) -> str:
    """The page of a picture on which a person wears a pattern."""
    picture = with_pattern(grass(), PERSON.xywh, pattern)
    shoot = CameraOutput(folder).still("1.jpg", NIGHT, *seen, picture=picture)
    return stage3(shoot.write(), privacy)


def test_a_person_is_blurred_unless_asked_otherwise(tmp_path: Path) -> None:
    (shown,) = pictures(person_in(CHECKS, PERSON, folder=tmp_path / "a"))
    clear = Privacy(blur_people=False)
    page = person_in(CHECKS, PERSON, folder=tmp_path / "b", privacy=clear)
    assert detail(shown) < 2 < 20 < detail(pictures(page)[0])
    assert "not blurred: think before you pass this file on" in words(page)


def test_people_who_differ_in_detail_alone_give_the_same_picture(tmp_path: Path) -> None:
    (one,) = pictures(person_in(CHECKS, PERSON, folder=tmp_path / "a"))
    (other,) = pictures(person_in(CHECKS[:, ::-1], PERSON, folder=tmp_path / "b"))
    (striped,) = pictures(person_in(CHECKS[:1].repeat(4, 0), PERSON, folder=tmp_path / "c"))
    for each in (other, striped):
        assert np.abs(one.astype(int) - each.astype(int)).max() <= 6


def test_a_person_s_clothes_have_no_colour_left(tmp_path: Path) -> None:
    red = np.full((1, 1, 3), (0, 0, 200), np.uint8)
    (shown,) = pictures(person_in(red, PERSON, folder=tmp_path))
    assert np.ptp(shown.astype(int), axis=2).max() <= 3


def test_a_person_beside_an_animal_is_blurred_in_the_animal_s_picture(tmp_path: Path) -> None:
    beside = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    page = person_in(CHECKS, beside, PERSON, folder=tmp_path)
    dog = next(row for row in visits(page) if "dog" in row["species"])
    picture = pictures(page)[dog["picture"]]
    # The person ends a third into the dog's box; a margin around it is blurred too.
    assert detail(picture[50:140, :60]) < 2


def test_what_a_label_calls_a_person_is_one(tmp_path: Path) -> None:
    called = LabelledBox("human", "Homo sapiens")
    (shown,) = pictures(person_in(CHECKS, called, folder=tmp_path))
    assert detail(shown) < 2


def test_who_is_a_person_by_a_label_alone_is_blurred_beside_an_animal_too(tmp_path: Path) -> None:
    called = LabelledBox("human", "Homo sapiens")
    beside = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    page = person_in(CHECKS, beside, called, folder=tmp_path)
    dog = next(row for row in visits(page) if "dog" in row["species"])
    assert detail(pictures(page)[dog["picture"]][50:140, :60]) < 2


def test_nothing_of_a_person_is_in_the_thumbnails_table_either(tmp_path: Path) -> None:
    person_in(CHECKS, PERSON, folder=tmp_path)
    table = pl.read_parquet(tmp_path / "stage3/thumbnails.parquet")
    assert table.schema == schemas.THUMBNAILS
    (webp,) = table["webp"]
    picture = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR)
    assert detail(np.asarray(picture, np.uint8)) < 2


def test_blur_that_was_switched_on_later_is_made_anew_from_the_journal(tmp_path: Path) -> None:
    person_in(CHECKS, PERSON, folder=tmp_path, privacy=Privacy(blur_people=False))
    (shown,) = pictures(stage3(LocalStore(tmp_path)))
    assert detail(shown) < 2


def test_blur_that_was_switched_on_later_shows_nothing_where_the_journal_is_gone(
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
    beside = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))
    store = CameraOutput(tmp_path / "a").still("1.jpg", NIGHT, beside, PERSON).write()
    assert contact_sheet(store, Stage1Journal(store, "one")) is None
    store = CameraOutput(tmp_path / "b").still("1.jpg", NIGHT, beside).write()
    assert contact_sheet(store, Stage1Journal(store, "one"))


def test_people_can_be_left_out_altogether(week: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(week.root, tmp_path / "copy")
    store = LocalStore(tmp_path / "copy")
    page = stage3(store, Privacy(leave_out_people=True))
    assert "person" not in {row["species"] for row in visits(page)}
    assert "People are left out, as the settings ask: 1 visit." in words(page)
    with store.reading("stage3/thumbnails.parquet") as path:
        assert not pl.read_parquet(path)["person"].any()


def test_where_a_sensitive_species_was_seen_the_place_is_rounded(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, OWL, place=(59.123456, 11.987654))
    store = shoot.write()
    privacy = Privacy(sensitive_species=("strix aluco",))
    assert "59.1, 12.0 (rounded)" in words(stage3(store, privacy))
    assert "59.123" not in stage3(store, privacy)
    assert "59.12346, 11.98765" in words(stage3(store))


# What reviewers say


def reviewed(shoot: CameraOutput, path: str, name: str, scientific_name: str, category: str) -> LocalStore:
    """The camera's output after a reviewer named what a medium shows."""
    (medium,) = (each for each in shoot.media if each["path"] == path)
    word = {
        "content_hash": medium["content_hash"],
        "category": category,
        "species": name,
        "scientific_name": scientific_name,
        "reviewed_by": "Astrid",
        "reviewed_on": date(2026, 6, 1),
    }
    whole = {column: word.get(column) for column in schemas.CORRECTIONS}
    store = shoot.write()
    with store.writing("tables/corrections/one.parquet") as file:
        pl.DataFrame([whole], schema=schemas.CORRECTIONS).write_parquet(file)
    return store


def test_a_reviewer_s_word_is_shown_with_who_said_it_and_the_agreement(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox())
    page = stage3(reviewed(shoot, "1.jpg", "Arctic fox", "Vulpes lagopus", "animal"))
    (visit,) = visits(page)
    assert visit["species"] == "Arctic fox"
    assert visit["note"] == "named by Astrid, 2026-06-01 (the machine: red fox)"
    said = words(page)
    assert "Reviewers named 1 box; the machine had said the same of 0 of them, 0%." in said
    assert "red fox Arctic fox 1" in said


def test_what_the_machine_missed_is_shown_without_a_picture_and_told(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).still("2.jpg", NIGHT + 2 * HOUR)
    page = stage3(reviewed(shoot, "2.jpg", "Arctic fox", "Vulpes lagopus", "animal"))
    _, visit = visits(page)
    assert visit["note"] == "named by Astrid, 2026-06-01 (the machine found nothing)"
    assert visit["picture"] is None
    said = words(page)
    assert "Reviewers looked at 1 file in which the machine had found nothing." in said
    assert "It had missed, by files: Arctic fox 1." in said


def test_a_visit_that_a_reviewer_added_to_keeps_the_picture_of_its_box(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).still("2.jpg", NIGHT)
    page = stage3(reviewed(shoot, "2.jpg", "red fox", "Vulpes vulpes", "animal"))
    (visit,) = visits(page)
    assert visit["picture"] is not None


def test_whom_a_reviewer_calls_a_person_is_blurred(tmp_path: Path) -> None:
    picture = with_pattern(grass(), LabelledBox().xywh, CHECKS)
    shoot = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox(), picture=picture)
    assert detail(pictures(stage3(shoot.write()))[0]) > 20
    store = reviewed(shoot, "1.jpg", "person", "Homo sapiens", "person")
    assert detail(pictures(stage3(store))[0]) < 2


# Made again


def test_other_windows_take_the_pictures_that_are_there_and_need_no_journal(
    week: LocalStore, tmp_path: Path
) -> None:
    shutil.copytree(week.root, tmp_path / "copy", ignore=shutil.ignore_patterns("journal"))
    store = LocalStore(tmp_path / "copy")
    page = stage3(store, settings=Stage3(compression_window=60 * 24))
    assert len(visits(page)) == 4
    assert all(row["picture"] is not None for row in visits(page))


def test_visits_whose_picture_is_not_at_hand_are_shown_without(
    week: LocalStore, tmp_path: Path
) -> None:
    away = shutil.ignore_patterns("journal", "thumbnails.parquet")
    shutil.copytree(week.root, tmp_path / "copy", ignore=away)
    page = stage3(LocalStore(tmp_path / "copy"))
    assert [row["picture"] for row in visits(page)] == [None] * 5
    assert "5 visits have no picture here." in words(page)


# Effort


def test_a_quiet_day_is_a_day_of_effort() -> None:
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
    ("last", "name", "parts"),
    [
        (date(2026, 5, 1), "day", 1),
        (date(2026, 7, 1), "day", 62),
        (date(2026, 7, 2), "week", 10),
        (date(2027, 12, 31), "month", 20),
        (date(2046, 5, 1), "year", 21),
    ],
)
def test_time_is_cut_into_as_few_parts_as_can_be_read(last: date, name: str, parts: int) -> None:
    cut = make_calendar(date(2026, 5, 1), last)
    assert (cut.name, cut.parts) == (name, parts)
    assert cut.starts[0] <= date(2026, 5, 1)
    assert cut.starts[-2] <= last < cut.starts[-1]


def test_visits_are_counted_by_part_and_by_hour_and_one_without_a_time_by_neither() -> None:
    times = [datetime(2026, 5, 1, 0), datetime(2026, 5, 1, 23, 59), datetime(2026, 5, 3), None]
    observations = pl.DataFrame({"start_at": times}, schema={"start_at": schemas.TIME})
    assert visits_per_period(observations, make_calendar(date(2026, 5, 1), date(2026, 5, 3))) == [
        2,
        0,
        1,
    ]
    assert visits_per_hour(observations) == [2, *[0] * 22, 1]


def test_cameras_count_on_the_days_they_were_out() -> None:
    spans = {
        "first_day": [date(2026, 5, 1), date(2026, 5, 2), None],
        "last_day": [date(2026, 5, 2), date(2026, 5, 2), None],
    }
    cut = make_calendar(date(2026, 5, 1), date(2026, 5, 3))
    assert cameras_per_period(pl.DataFrame(spans), cut) == [1, 2, 0]


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
def test_on_a_phone_nothing_is_wider_than_the_window(browser: Browser) -> None:
    script = "return [document.documentElement.scrollWidth, innerWidth]"
    width, window = browser.driver.execute_script(script)
    assert width <= window


@pytest.mark.browser
def test_on_a_phone_no_cell_of_a_table_is_cut_and_each_says_what_it_is(browser: Browser) -> None:
    cut = """return [...document.querySelectorAll('td, .plot svg, .legend')].filter(
        (each) => each.getBoundingClientRect().right > innerWidth).length"""
    assert browser.driver.execute_script(cut) == 0
    label = """return getComputedStyle(document.querySelector('.cards td.number'), '::before')
        .content"""
    assert "visits" in browser.driver.execute_script(label)


@pytest.mark.browser
def test_every_picture_and_field_has_a_name_for_who_cannot_see_it(browser: Browser) -> None:
    nameless = """
        const name = (each) => each.alt || each.ariaLabel || each.getAttribute('aria-labelledby')
            || (each.labels && each.labels.length) || each.textContent.trim();
        return [...document.querySelectorAll('img, svg[role=img], select, input, table, button, a')]
            .filter((each) => !name(each) && !each.closest('template, [hidden]')).length"""
    assert browser.driver.execute_script(nameless) == 0


@pytest.mark.browser
def test_the_filters_choose_and_order_the_visits(browser: Browser) -> None:
    browser.read("5 visits")
    browser.click("//label[contains(., 'to review only')]/input")
    browser.read("1 visit")
    assert shown(browser, "name") == ["tawny owl"]
    browser.click("//a[text()='red fox']")
    browser.read("3 visits")
    assert shown(browser, "when") == [
        "2026-05-01 02:14:00",
        "2026-05-01 22:14:00",
        "time not known",
    ]


@pytest.mark.browser
def test_pictures_are_made_when_they_come_near_the_window(browser: Browser) -> None:
    browser.driver.execute_script("document.getElementById('gallery').scrollIntoView()")
    loaded = "//article//img[starts-with(@src, 'data:image/webp;base64,')]"
    browser.see(loaded)
    size = "return document.querySelector('.card img').naturalWidth"
    assert browser.driver.execute_script(size) == THUMBNAIL_SIDE
    assert not browser.driver.get_log("browser")
