"""A reviewer's file is imported again, by several people, and after visits have changed."""

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.identification.observation_ids import (
    is_shown_as,
    observation_id,
    observation_id_0_1,
)
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.results.corrections import ImportResult
from resources.errors import UsageError
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.review.test_corrections import import_file, observations

Row = dict[str, str]
Words = dict[str, str]  # labels by the first medium of the visit

HARE = {"label": "brown hare", "scientific_name": "Lepus europaeus"}
LYNX = {"label": "lynx", "scientific_name": "Lynx lynx"}
FIRST, SECOND_DAY, THIRD = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 3)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Visits of a lynx and of a hare within four minutes, and one of a fox at noon."""
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [LYNX])
    camera.medium("2.jpg", NIGHT + 90 * SECOND, [HARE])
    camera.medium("3.jpg", NIGHT + 180 * SECOND, [HARE])
    camera.medium("noon.jpg", NIGHT + 40_000 * SECOND, [{}])
    store = camera.store(tmp_path / "camera7")
    run(store)
    return store


def run(store: LocalStore, **settings: Any) -> None:
    run_stage3(store, Stage3(**settings), {}, Privacy())


def exported(store: LocalStore) -> list[Row]:
    """The rows of observations.csv."""
    export_camera(store, "camera7", Project(), Privacy())
    with (store.root / "stage3" / "observations.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hand_in(
    store: LocalStore, rows: list[Row], words: Words, by: str = "Anna", on: date = FIRST, **how: Any
) -> ImportResult:
    """Fill in a copy of an export, import it, and recompute the visits."""
    path = store.root.parent / "filled.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            word = words.get(row.get("first_medium", ""), row["confirmed_species"])
            writer.writerow({**row, "confirmed_species": word})
    result = import_file(store, path, by, on, **how)
    run(store)
    return result


def counts(result: ImportResult) -> tuple[int, int, int]:
    return result.new, result.changed, result.known


def species(store: LocalStore) -> dict[str, str]:
    """The species of each medium."""
    return {
        sighting["path"]: each["species"]
        for each in observations(store)
        for sighting in each["detection_timeline"]
    }


def corrections(store: LocalStore) -> int:
    return len(list(store.list("tables/corrections")))


def test_an_id_is_text_and_depends_on_camera_and_first_detection_alone(store: LocalStore) -> None:
    before = {each["source_video"]: each for each in observations(store)}
    identifier = before["1.jpg"]["observation_id"]
    assert identifier == observation_id("camera7", before["1.jpg"]["first_detection"])
    assert identifier != observation_id("camera8", before["1.jpg"]["first_detection"])
    assert len(identifier) == 17 and identifier[0] == "o"
    hand_in(store, exported(store), {"1.jpg": "wolverine", "noon.jpg": "red fox"})
    after = {each["source_video"]: each["observation_id"] for each in observations(store)}
    assert after["1.jpg"] == identifier


def test_half_of_a_file_is_filled_in_and_then_the_rest(store: LocalStore) -> None:
    rows = exported(store)
    assert {row["first_detection"][-4:] for row in rows} == {"-0-0"}
    assert counts(hand_in(store, rows, {"1.jpg": "red fox"})) == (1, 0, 0)
    both = {"1.jpg": "red fox", "2.jpg": "red fox", "noon.jpg": "red fox"}
    result = hand_in(store, rows, both)
    assert counts(result) == (2, 0, 1)
    assert result.lines == ("camera7: 3 labels of Anna: 2 new, 0 changed, 1 known already",)
    assert set(species(store).values()) == {"red fox"}
    assert len(observations(store)) == 2, "the visits of the night are one now"
    before = store.read_bytes("stage3/observations.parquet")
    assert counts(hand_in(store, rows, both)) == (0, 0, 3)
    assert store.read_bytes("stage3/observations.parquet") == before
    assert corrections(store) == 2


def test_rows_of_merged_visits_keep_their_own_detections(store: LocalStore) -> None:
    rows = exported(store)
    hand_in(store, rows, {"1.jpg": "red fox", "2.jpg": "red fox"})
    changed = hand_in(store, rows, {"1.jpg": "red fox", "2.jpg": "European badger"})
    assert counts(changed) == (0, 1, 1)
    found = species(store)
    assert found.pop("noon.jpg") == "red fox"
    assert found == {
        "1.jpg": "red fox",
        "2.jpg": "European badger",
        "3.jpg": "European badger",
    }


def test_a_visit_without_a_label_is_not_taken_by_the_row_above_it(store: LocalStore) -> None:
    """A wider window makes one visit of two, of which one row has a label."""
    camera = Camera()
    for minute in (0, 1, 40, 41):
        camera.medium(f"{minute}.jpg", NIGHT + 60 * minute * SECOND, [{}])
    night = camera.store(store.root.parent / "night")
    run(night, compression_window=5)
    rows = exported(night)
    assert [row["first_medium"] for row in rows] == ["0.jpg", "40.jpg"]
    run(night, compression_window=60)
    path = night.root.parent / "filled.csv"
    pl.DataFrame(
        [{**row, "confirmed_species": word} for row, word in zip(rows, ("moose", ""), strict=True)]
    ).write_csv(path)
    assert import_file(night, path).new == 1
    run(night, compression_window=60)
    assert species(night) == {
        "0.jpg": "moose",
        "1.jpg": "moose",
        "40.jpg": "red fox",
        "41.jpg": "red fox",
    }


def test_a_row_of_a_visit_that_begins_earlier_now_is_placed(tmp_path: Path) -> None:
    """As with a lower threshold or more footage: the id is another one."""
    late, more = Camera(), Camera()
    for camera, minutes in ((late, (1, 2)), (more, (0, 1, 2, 3))):
        for minute in minutes:
            camera.medium(f"{minute}.jpg", NIGHT + 60 * minute * SECOND, [{}])
    before, store = late.store(tmp_path / "before"), more.store(tmp_path / "camera7")
    for each in (before, store):
        run(each)
    rows = exported(before)
    assert rows[0]["observation_id"] != observations(store)[0]["observation_id"]
    assert counts(hand_in(store, rows, {"1.jpg": "moose"})) == (1, 0, 0)
    assert set(species(store).values()) == {"moose"}
    assert counts(hand_in(store, rows, {"1.jpg": "moose"})) == (0, 0, 1)


def test_other_models_name_and_split_visits(store: LocalStore) -> None:
    rows = exported(store)
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [{"label": "badger", "scientific_name": "Meles meles"}])
    camera.medium("2.jpg", NIGHT + 90 * SECOND, [LYNX])
    camera.medium("3.jpg", NIGHT + 180 * SECOND, [HARE])
    camera.medium("noon.jpg", NIGHT + 40_000 * SECOND, [])
    other = camera.store(store.root.parent / "other")
    for file in (other.root / "tables").iterdir():
        file.replace(store.root / "tables" / file.name)
    run(store)
    result = hand_in(store, rows, {"1.jpg": "moose", "2.jpg": "red fox", "noon.jpg": "moose"})
    assert counts(result) == (2, 0, 0)
    [line] = result.failed
    assert (line, result.failed[line][:23]) == (4, "its first detection is ")
    assert "filled.csv: 1 row not imported; correct and import the file again" in result.lines[1]
    assert result.lines[2].startswith("  line 4: its first detection is not in the results")
    assert species(store) == {"1.jpg": "moose", "2.jpg": "red fox", "3.jpg": "brown hare"}


def test_a_row_that_was_labelled_nothing_is_known_and_can_be_changed(store: LocalStore) -> None:
    rows = exported(store)
    hand_in(store, rows, {"1.jpg": "nothing"})
    assert "1.jpg" not in species(store)
    assert counts(hand_in(store, rows, {"1.jpg": "nothing", "2.jpg": "red fox"})) == (1, 0, 1)
    assert counts(hand_in(store, rows, {"1.jpg": "lynx"})) == (0, 1, 0)
    assert species(store)["1.jpg"] == "lynx"


def test_of_two_people_the_later_label_counts_and_differences_are_printed(
    store: LocalStore,
) -> None:
    rows = exported(store)
    annas = {"1.jpg": "red fox", "noon.jpg": "European badger"}
    hand_in(store, rows, annas)
    bos = {"1.jpg": "wolverine", "noon.jpg": "European badger", "2.jpg": "wolverine"}
    result = hand_in(store, rows, bos, "Bo", SECOND_DAY)
    assert counts(result) == (1, 1, 1)
    assert result.lines[1:] == (
        "labels that differ from those of other reviewers: 1",
        "  line 2: wolverine by Bo replaces red fox by Anna, 2026-06-01",
    )
    [night, noon] = observations(store)
    columns = ("species", "reviewed_by", "reviewed_on")
    assert [night[name] for name in columns] == ["wolverine", "Bo", SECOND_DAY]
    assert [noon[name] for name in columns] == ["European badger", "Anna", FIRST]
    # Anna fills in more of her file: what she said before is no new label.
    again = hand_in(store, rows, {**annas, "2.jpg": "lynx"}, "Anna", THIRD)
    assert counts(again) == (0, 1, 2)
    assert "  line 2: red fox by Anna; the later wolverine by Bo, 2026-06-02, stays" in again.lines
    assert species(store)["1.jpg"] == "wolverine"
    # With a date of her own she says it again.
    confirmed = hand_in(store, rows, {"1.jpg": "red fox"}, "Anna", THIRD, confirms=True)
    assert counts(confirmed) == (0, 1, 0)
    assert species(store)["1.jpg"] == "red fox"


def test_a_label_of_an_earlier_day_does_not_replace_a_later_one(store: LocalStore) -> None:
    rows = exported(store)
    hand_in(store, rows, {"1.jpg": "red fox"}, "Anna", SECOND_DAY)
    result = hand_in(store, rows, {"1.jpg": "wolverine"}, "Bo", FIRST)
    assert (
        result.lines[-1]
        == "  line 2: wolverine by Bo; the later red fox by Anna, 2026-06-02, stays"
    )
    assert species(store)["1.jpg"] == "red fox"


def test_a_cleared_cell_is_no_label_and_machine_withdraws_one(store: LocalStore) -> None:
    rows = exported(store)
    before = species(store)
    hand_in(store, rows, {"1.jpg": "red fox", "noon.jpg": "moose"})
    assert counts(hand_in(store, rows, {"noon.jpg": "moose"})) == (0, 0, 1)
    assert species(store)["1.jpg"] == "red fox"
    assert counts(hand_in(store, rows, {"1.jpg": "Machine"}, "Bo")) == (0, 1, 0)
    assert species(store) == before | {"noon.jpg": "moose"}
    assert counts(hand_in(store, rows, {"1.jpg": "machine"}, "Bo")) == (0, 0, 1)
    hand_in(store, rows, {"1.jpg": "wolverine"})
    assert species(store)["1.jpg"] == "wolverine"


def test_a_label_of_a_file_is_withdrawn_by_its_path(store: LocalStore) -> None:
    before = species(store)
    path = store.root.parent / "labels.csv"
    for word in ("moose", "machine"):
        path.write_text(f"path,species\n1.jpg,{word}\nnoon.jpg,{word}\n")
        import_file(store, path)
    run(store)
    assert species(store) == before


def test_two_added_animals_of_one_picture_have_ids_that_stay(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("dawn.jpg", NIGHT, [])
    store = camera.store(tmp_path / "camera7")
    run(store)
    path = tmp_path / "labels.csv"
    path.write_text("path,species,count\ndawn.jpg,red deer,2\ndawn.jpg,wild boar,\n")
    import_file(store, path)
    run(store)
    rows = exported(store)
    assert len({row["observation_id"] for row in rows}) == 2
    words = {row["first_detection"]: row for row in rows}
    for word, expected in (("moose", (0, 1, 0)), ("moose", (0, 0, 1)), ("roe deer", (0, 1, 0))):
        filled = [
            {**row, "confirmed_species": word if row["species"] == "red deer" else ""}
            for row in words.values()
        ]
        assert counts(hand_in(store, filled, {})) == expected
    assert sorted(each["species"] for each in observations(store)) == ["roe deer", "wild boar"]
    assert {each["observation_id"] for each in observations(store)} == {
        row["observation_id"] for row in rows
    }


def test_a_saved_spreadsheet_with_damaged_ids_and_rows_in_another_order(store: LocalStore) -> None:
    rows = exported(store)[::-1]
    del rows[1]
    mangled = [{**row, "observation_id": "6.6E+15"} for row in rows]
    words = {"1.jpg": "red fox", "noon.jpg": "moose"}
    assert counts(hand_in(store, mangled, words)) == (2, 0, 0)
    found = species(store)
    assert (found["1.jpg"], found["noon.jpg"]) == ("red fox", "moose")


def test_ids_and_first_detections_that_do_not_belong_together_are_refused(
    store: LocalStore,
) -> None:
    """One column of the table was sorted alone."""
    rows = exported(store)
    firsts = [row["first_detection"] for row in rows]
    shifted = [
        {**row, "first_detection": first}
        for row, first in zip(rows, [*firsts[1:], firsts[0]], strict=True)
    ]
    with pytest.raises(UsageError, match=r"line 2: .* are of different visits; sort whole rows"):
        hand_in(store, shifted, {"1.jpg": "moose"})
    assert not corrections(store)


def test_two_labels_of_one_visit_in_a_file_are_listed(store: LocalStore) -> None:
    rows = exported(store)
    both = [*rows, {**rows[0], "first_medium": "", "confirmed_species": "moose"}]
    result = hand_in(store, both, {"1.jpg": "red fox"})
    assert result.new == 1
    assert result.failed == {5: "line 2 names the same visit red fox"}


def test_an_older_file_is_still_placed_after_a_label_of_the_merged_visit(store: LocalStore) -> None:
    old = exported(store)
    hand_in(store, old, {"1.jpg": "red fox", "2.jpg": "red fox"})
    new = exported(store)
    assert [row["detection_count"] for row in new] == ["3", "1"]
    assert counts(hand_in(store, new, {"1.jpg": "moose"})) == (0, 1, 0)
    assert species(store) == {**dict.fromkeys(("1.jpg", "2.jpg", "3.jpg"), "moose")} | {
        "noon.jpg": "red fox"
    }
    assert counts(hand_in(store, old, {"2.jpg": "European badger"}, "Bo", SECOND_DAY)) == (0, 1, 0)
    found = species(store)
    assert (found["1.jpg"], found["2.jpg"], found["3.jpg"]) == (
        "moose",
        "European badger",
        "European badger",
    )


def test_an_id_alone_is_found_again_after_its_visit_has_changed(store: LocalStore) -> None:
    rows = [
        {k: row[k] for k in ("observation_id", "first_medium", "confirmed_species")}
        for row in exported(store)
    ]
    hand_in(store, rows, {"1.jpg": "red fox", "2.jpg": "red fox"})
    assert counts(hand_in(store, rows, {"2.jpg": "moose"})) == (0, 1, 0)
    assert (species(store)["1.jpg"], species(store)["2.jpg"]) == ("red fox", "moose")


def old_rows(store: LocalStore) -> list[Row]:
    """The export as version 0.1 makes it."""
    rows = []
    for row in exported(store):
        first = row.pop("first_detection")
        old = observation_id_0_1("camera7", row["category"], row["species"], first)
        rows.append({**row, "observation_id": old})
    return rows


def test_a_file_exported_by_0_1_is_imported_again_and_again(store: LocalStore) -> None:
    rows = old_rows(store)
    assert not any(row["observation_id"].startswith("o") for row in rows)
    assert counts(hand_in(store, rows, {"1.jpg": "red fox"})) == (1, 0, 0)
    words = {"1.jpg": "red fox", "2.jpg": "red fox", "noon.jpg": "moose"}
    assert counts(hand_in(store, rows, words)) == (2, 0, 1)
    assert counts(hand_in(store, rows, {**words, "2.jpg": "lynx"})) == (0, 1, 2)
    assert species(store)["2.jpg"] == "lynx"


@pytest.mark.parametrize(
    ("identifier", "shown", "is_shown"),
    [
        ("6603412345678901", "6.6E+15", True),
        ("6603412345678901", "6,60341234567890E+15", True),
        ("6603412345678901", "6603412345678900", True),
        ("6603412345678901", "6.7E+15", False),
        ("6603412345678901", "6603412345678801", False),
        ("0003412345678901", "3412345678901", True),
        ("12e4567890123456", "1.2E+01", False),
        ("1234567890123e45", "1.23457E+57", True),
        ("6a03412345678901", "6.6E+15", False),
        ("6603412345678901", "6.6E+9999999999", False),
    ],
)
def test_an_id_of_0_1_that_a_spreadsheet_took_for_a_number(
    identifier: str, shown: str, is_shown: bool
) -> None:
    assert is_shown_as(identifier, shown) is is_shown


def test_the_stored_labels_have_their_visit_and_the_time_of_the_import(store: LocalStore) -> None:
    rows = exported(store)
    hand_in(store, rows, {"1.jpg": "red fox"})
    [key] = (found.key for found in store.list("tables/corrections"))
    stored = pl.read_parquet(store.root / key).row(0, named=True)
    assert stored["first_detection"] == rows[0]["first_detection"]
    assert (stored["reviewed_by"], stored["imported_at"].isoformat()) == (
        "Anna",
        "2026-06-30T12:00:00",
    )
    assert json.loads(store.read_bytes("stage3/report.json"))["review"]["boxes"] == 1
