"""Labels of reviewers after an update: each has an effect, is replaced, or is reported."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.munin.tables import build
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from resources.errors import StoreError
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

TWO_SPECIES = "path,species,count\nnoon.jpg,red fox,2\nnoon.jpg,European badger,\n"


def camera_tables(folder: Path, boxes_at_noon: list[Row], boxes_at_night: list[Row]) -> LocalStore:
    """A camera with two stills, after all stages."""
    camera = Camera()
    camera.medium("night.jpg", NIGHT, boxes_at_night)
    camera.medium("noon.jpg", NIGHT + 40_000 * SECOND, boxes_at_noon)
    store = camera.store(folder)
    run(store)
    return store


def update(store: LocalStore, boxes_at_noon: list[Row], boxes_at_night: list[Row]) -> None:
    """Replace the tables by those of other models."""
    other = camera_tables(store.root.parent / "other", boxes_at_noon, boxes_at_night)
    for file in (other.root / "tables").iterdir():
        file.replace(store.root / "tables" / file.name)


def correct(store: LocalStore, text: str, by: str = "Anna") -> None:
    import_file(store, written(store.root.parent / "labels.csv", text), by)


def at_noon(store: LocalStore) -> set[tuple[Any, ...]]:
    """The species, count and boxes of the visits at noon."""
    return {
        (each["species"], each["count"], each["detection_count"])
        for each in observations(store)
        if each["source_video"] == "noon.jpg"
    }


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], {("red fox", 2, 0), ("European badger", 1, 0)}),
        ([{}], {("red fox", 2, 1), ("European badger", 1, 0)}),
        (
            [{"label": "badger", "scientific_name": "Meles meles"}],
            {("red fox", 2, 0), ("European badger", 1, 1)},
        ),
        (
            [{}, {"label": "badger", "scientific_name": "Meles meles"}],
            {("red fox", 2, 1), ("European badger", 1, 1)},
        ),
    ],
)
def test_two_species_of_a_picture_stay_two_whatever_is_detected(
    tmp_path: Path, boxes: list[Row], expected: set[tuple[Any, ...]]
) -> None:
    store = camera_tables(tmp_path / "camera7", [], [{}])
    correct(store, TWO_SPECIES)
    update(store, boxes, [{}])
    result = run(store)
    assert at_noon(store) == expected
    assert review(store)["words_without_effect"] == 0
    assert result.labels_without_effect is None
    assert result.rows_in == result.rows_in_observations == 1 + len(boxes)
    make_report_page(store, store, Privacy())
    export_camera(store, "camera7", Project(), Privacy())


def test_a_renamed_visit_leaves_the_other_species_of_its_picture_alone(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [], [{}])
    correct(store, TWO_SPECIES)
    run(store)
    [fox] = [each for each in observations(store) if each["count"] == 2]
    identifier = fox["observation_id"]
    correct(store, f"observation_id,confirmed_species\n{identifier},moose\n", by="Bo")
    update(store, [{}], [{}])
    run(store)
    assert at_noon(store) == {("moose", 2, 1), ("European badger", 1, 0)}


def test_a_label_of_a_box_and_one_of_its_picture_are_both_used(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [{}], [{}])
    header = "path,species,frame_number,box_number\n"
    correct(store, f"{header}noon.jpg,European badger,0,0\nnoon.jpg,moose,,\n")
    run(store)
    assert at_noon(store) == {("moose", 1, 0), ("European badger", 1, 1)}


def test_a_later_file_replaces_all_labels_of_a_picture(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [{}], [{}])
    correct(store, TWO_SPECIES)
    correct(store, "path,species\nnoon.jpg,moose\n", by="Bo")
    run(store)
    assert at_noon(store) == {("moose", 1, 1)}
    assert review(store)["words_without_effect"] == 0


def test_labels_of_boxes_that_are_gone_are_named(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [{}], [{}, {}])
    boxes = "night.jpg,0,0,European badger\nnight.jpg,0,1,European badger\nnoon.jpg,0,0,moose\n"
    correct(store, f"path,frame_number,box_number,species\n{boxes}")
    update(store, [{}], [])
    message = run(store).labels_without_effect
    assert message == (
        "2 labels of reviewers without effect, because the file or the box is not in the results: "
        "night.jpg: European badger (Anna, 2 boxes)"
    )
    listed = {"path": "night.jpg", "species": "European badger", "reviewed_by": "Anna", "words": 2}
    assert review(store)["without_effect"] == [listed]
    make_report_page(store, store, Privacy())
    page = (store.root / "stage3/report.html").read_text()
    assert "2 labels of reviewers" in page
    assert "<code>night.jpg: European badger (Anna, 2 boxes)</code>" in page


def test_a_contradiction_within_a_file_is_named(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [{}], [{}])
    correct(store, "path,species\nnoon.jpg,nothing\nnoon.jpg,moose\nnight.jpg,nothing\n")
    message = run(store).labels_without_effect
    assert at_noon(store) == {("moose", 1, 1)}
    assert message and message.endswith(": noon.jpg: nothing (Anna)")


def detect_again(store: LocalStore, key: str) -> Stage1Journal:
    """Run Stage 1 under another key: one box in each still."""
    journal = Stage1Journal(store, key)
    for path in ("night.jpg", "noon.jpg"):
        place = {"content_hash": hashlib.sha256(path.encode()).hexdigest(), "frame_number": 0}
        box = {**place, "box_number": 0, "time_offset_ms": 0, "category": "animal"}
        box |= {"confidence": 0.9, "category_confidence": None}
        box |= dict(zip("xywh", (0.1, 0.25, 0.125, 0.5), strict=True))
        media = {"content_hash": place["content_hash"], "status": "done", "reason": None}
        media |= {"frames_decoded": 1, "frames_skipped": 0, "boxes": 1}
        journal.append(media, [{**place, "time_offset_ms": 0, "boxes": 1}], [box], [])
    journal.flush()
    build.write_stage1_tables(store, journal, {"detector": "other 1"})
    return journal


def label_again(store: LocalStore, stage1: Stage1Journal, key: str) -> None:
    """Run Stage 2: all boxes are foxes."""
    stage2 = Stage2Journal(store, key)
    for part in stage1.parts():
        with stage1.reading(part, "boxes") as path:
            boxes = pl.read_parquet(path).select("content_hash", "frame_number", "box_number")
        fox = {"label": "red fox", "scientific_name": "Vulpes vulpes", "confidence": 0.9}
        stage2.write(
            part, [{**row, **fox, "auto_ok": True, "top5": []} for row in boxes.to_dicts()]
        )
    build.write_stage2_table(store, stage1, stage2, {"classifier": "efficientnet-lite3 1"})


@pytest.mark.parametrize("recorded", [False, True])
def test_stage_3_waits_until_an_update_has_labelled_the_new_boxes(
    tmp_path: Path, recorded: bool
) -> None:
    """Tables of version 0.1.0 do not name the journal of the labelled boxes."""
    store = camera_tables(tmp_path / "camera7", [], [{}])
    if recorded:
        label_again(store, detect_again(store, "first"), "first-labels")
    correct(store, TWO_SPECIES)
    run(store)
    before = {key: store.read_bytes(key) for key in ("stage3/observations.parquet",)}
    updated = detect_again(store, "second")
    detect_again(store, "second")  # once more, as the next run does
    match = r"classifications.parquet has no labels .* run Stage 2 \(classifications\) first"
    with pytest.raises(StoreError, match=match):
        run(store)
    with pytest.raises(StoreError, match=match):
        correct(store, "path,frame_number,box_number,species\nnoon.jpg,0,0,moose\n")
    assert {key: store.read_bytes(key) for key in before} == before
    label_again(store, updated, "second-labels")
    run(store)
    assert at_noon(store) == {("red fox", 2, 1), ("European badger", 1, 0)}


def test_stage_3_refuses_tables_of_a_killed_stage_1(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [], [{}])
    label_again(store, detect_again(store, "first"), "first-labels")
    detections = store.read_bytes("tables/detections.parquet")
    detect_again(store, "second")
    store.write_bytes("tables/detections.parquet", detections)
    with pytest.raises(StoreError, match=r"run Stages 1 and 2 .* first"):
        run(store)


def test_reports_of_earlier_versions_have_only_the_number(tmp_path: Path) -> None:
    store = camera_tables(tmp_path / "camera7", [{}], [{}])
    run(store)
    report = json.loads(store.read_bytes("stage3/report.json"))
    del report["review"]["without_effect"]
    report["review"]["words_without_effect"] = 3
    store.write_bytes("stage3/report.json", json.dumps(report).encode())
    make_report_page(store, store, Privacy())
    page = (store.root / "stage3/report.html").read_text()
    assert "3 labels of reviewers" in page and "and 3 more" in page
