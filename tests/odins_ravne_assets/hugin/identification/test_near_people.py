"""Clips and bursts of people give no visits of unknown animals from bodies and furniture."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import Camera

from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Privacy, Stage3

Row = dict[str, Any]

NOON = datetime(2026, 5, 1, 12)
SETTINGS = Stage3(min_duration=0)
BODY = (0.4, 0.2, 0.2, 0.6)
ELSEWHERE = (0.05, 0.7, 0.1, 0.1)


def person(box: Any = BODY, **columns: Any) -> Row:
    return {"category": "person", "label": "person", "scientific_name": None, "box": box, **columns}


def unknown(box: Any = BODY, **columns: Any) -> Row:
    """An animal that the classifier has no name for."""
    nameless = {"label": "teapot", "scientific_name": None, "auto_ok": False, "confidence": 0.2}
    return {**nameless, "box": box, **columns}


def dog(box: Any = BODY, **columns: Any) -> Row:
    return {"label": "dog", "scientific_name": "Canis familiaris", "box": box, **columns}


def moved(box: Any, x: float) -> Any:
    return (box[0] + x, *box[1:])


def visits(folder: Path, camera: Camera, settings: Stage3 = SETTINGS) -> dict[str, int]:
    """The number of detections of each species in visits, and of those left out near people."""
    store = camera.store(folder)
    result = run_stage3(store, settings, {}, Privacy())
    with store.reading("stage3/observations.parquet") as path:
        rows = pl.read_parquet(path).group_by("species").agg(pl.col("detection_count").sum())
    in_visits = sum(rows["detection_count"])
    left_out = result.rows_left_out["near_person"]
    assert in_visits + left_out + result.rows_below_confidence == result.rows_in
    return dict(rows.iter_rows()) | {"left out": left_out}


def clip(*frames: list[Row]) -> Camera:
    """A clip with a frame each second."""
    camera = Camera()
    boxes = [{**box, "second": second} for second, found in enumerate(frames) for box in found]
    camera.medium("a.mp4", NOON, boxes)
    return camera


def burst(*pictures: list[Row], step: float = 1) -> Camera:
    camera = Camera()
    for number, boxes in enumerate(pictures):
        camera.medium(f"{number}.jpg", NOON + timedelta(seconds=step * number), boxes)
    return camera


@pytest.mark.parametrize("media", [clip, burst])
def test_a_body_that_is_no_person_in_some_frames_is_no_animal(tmp_path: Path, media: Any) -> None:
    camera = media([person()], [unknown()], [person()])
    assert visits(tmp_path, camera) == {"person": 2, "left out": 1}


def test_a_second_box_on_a_person_is_no_animal(tmp_path: Path) -> None:
    legs = (0.42, 0.55, 0.15, 0.25)
    assert visits(tmp_path, burst([person(), unknown(legs)])) == {"person": 1, "left out": 1}


def test_a_chair_next_to_a_person_is_no_animal(tmp_path: Path) -> None:
    frames = [[person(moved(BODY, 0.1 * number)), unknown(ELSEWHERE)] for number in range(3)]
    assert visits(tmp_path, clip(*frames)) == {"person": 3, "left out": 3}


@pytest.mark.parametrize(("seconds", "left_out"), [(4, 0), (5, 2)])
def test_a_chair_in_two_frames_some_seconds_apart_is_no_animal(
    tmp_path: Path, seconds: float, left_out: int
) -> None:
    camera = burst([person(), unknown(ELSEWHERE)], [person(), unknown(ELSEWHERE)], step=seconds)
    assert visits(tmp_path, camera)["left out"] == left_out


def test_a_box_with_a_weak_score_of_a_person_is_none_in_a_sequence_with_people(
    tmp_path: Path,
) -> None:
    weak = unknown(ELSEWHERE, person_confidence=0.55)
    assert visits(tmp_path / "1", burst([person()], [weak])) == {"person": 1, "left out": 1}
    assert visits(tmp_path / "2", burst([weak], [weak])) == {"unknown animal": 2, "left out": 0}


def test_an_animal_that_moves_elsewhere_is_in_a_visit(tmp_path: Path) -> None:
    frames = [[person(), unknown(moved(ELSEWHERE, 0.08 * number))] for number in range(4)]
    assert visits(tmp_path, clip(*frames)) == {"person": 4, "unknown animal": 4, "left out": 0}


def test_a_dog_with_its_owner_is_in_a_visit(tmp_path: Path) -> None:
    frames = [[person(), dog(), dog(ELSEWHERE)] for _ in range(4)]
    found = visits(tmp_path, clip(*frames))
    assert found == {"person": 4, "domestic dog": 8, "left out": 0}


def test_without_people_nothing_is_left_out(tmp_path: Path) -> None:
    frames = [[unknown(ELSEWHERE)] for _ in range(10)]
    assert visits(tmp_path, clip(*frames)) == {"unknown animal": 10, "left out": 0}


def test_a_person_below_min_confidence_leaves_nothing_out(tmp_path: Path) -> None:
    camera = burst([person(confidence=0.4), unknown()])
    assert visits(tmp_path, camera) == {"unknown animal": 1, "left out": 0}


def test_an_animal_where_a_person_was_a_minute_ago_is_in_a_visit(tmp_path: Path) -> None:
    camera = burst([person()], [unknown()], step=59)
    assert visits(tmp_path, camera) == {"person": 1, "unknown animal": 1, "left out": 0}


def test_a_vehicle_leaves_nothing_out(tmp_path: Path) -> None:
    vehicle = {**person(), "category": "vehicle", "label": "vehicle"}
    assert visits(tmp_path, burst([vehicle, unknown()]))["left out"] == 0


@pytest.mark.parametrize("gap", [0, 5])
def test_the_rule_holds_without_the_vote_of_sequences(tmp_path: Path, gap: float) -> None:
    camera = clip([person()], [unknown()])
    settings = Stage3(min_duration=0, burst_gap=gap)
    assert visits(tmp_path, camera, settings) == {"person": 1, "left out": 1}


def test_media_without_a_time_are_compared_by_themselves(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("a.mp4", None, [{**person(), "second": 0}, {**unknown(), "second": 1}])
    camera.medium("b.mp4", None, [{**unknown(), "second": 1}])
    found = visits(tmp_path, camera)
    assert found == {"person": 1, "unknown animal": 1, "left out": 1}


def correct(store_folder: Path, **label: Any) -> None:
    """A reviewer's label of the first box of 0.jpg."""
    detections = pl.read_parquet(store_folder / "tables/detections.parquet")
    found = detections.filter(pl.col("path") == label.pop("path")).row(0, named=True)
    box = {name: found[name] for name in ("content_hash", "frame_number", "x", "y", "w", "h")}
    row = {name: {**label, **box}.get(name) for name in schemas.CORRECTIONS}
    (store_folder / "tables/corrections").mkdir()
    pl.DataFrame([row], schema=schemas.CORRECTIONS).write_parquet(
        store_folder / "tables/corrections/1.parquet"
    )


def recomputed(folder: Path) -> dict[str, int]:
    from resources.storage.local_store import LocalStore

    run_stage3(LocalStore(folder), SETTINGS, {}, Privacy())
    rows = pl.read_parquet(folder / "stage3/observations.parquet")
    return dict(rows.group_by("species").agg(pl.col("detection_count").sum()).iter_rows())


def test_what_a_reviewer_labelled_as_an_animal_is_in_a_visit(tmp_path: Path) -> None:
    visits(tmp_path, burst([unknown()], [person()]))
    correct(tmp_path, path="0.jpg", category="animal", species="unknown animal")
    assert recomputed(tmp_path) == {"person": 1, "unknown animal": 1}


def test_a_person_whom_a_reviewer_rejected_leaves_nothing_out(tmp_path: Path) -> None:
    visits(tmp_path, burst([person()], [unknown()]))
    correct(tmp_path, path="0.jpg", category=None)
    assert recomputed(tmp_path) == {"unknown animal": 1}


def test_the_report_counts_them_and_the_tables_keep_them(tmp_path: Path) -> None:
    visits(tmp_path, burst([person(), unknown()]))
    report = json.loads((tmp_path / "stage3/report.json").read_bytes())
    (row,) = [each for each in report["left_out"] if "part of a person" in each["why"]]
    assert (row["stage"], row["count"]) == (3, 1)
    assert pl.read_parquet(tmp_path / "tables/detections.parquet").height == 2


def test_the_order_of_files_does_not_matter(tmp_path: Path) -> None:
    pictures = [[person(moved(BODY, 0.1 * n)), unknown(moved(BODY, 0.25 * n))] for n in range(3)]
    camera = burst(*pictures)
    expected = visits(tmp_path / "1", camera)
    for name in camera.rows:
        camera.rows[name].reverse()
    assert visits(tmp_path / "2", camera) == expected


def test_a_busy_day_takes_seconds(tmp_path: Path) -> None:
    from time import process_time

    camera = Camera()
    for number in range(3000):
        x = (number * 7919 % 800) / 1000
        boxes = [person(moved((0.0, 0.2, 0.1, 0.5), x)), unknown(moved((0.0, 0.8, 0.1, 0.1), x))]
        camera.medium(f"{number}.jpg", NOON + timedelta(seconds=2 * number), boxes)
    store = camera.store(tmp_path)
    started = process_time()
    run_stage3(store, SETTINGS, {}, Privacy())
    assert process_time() - started < 20
