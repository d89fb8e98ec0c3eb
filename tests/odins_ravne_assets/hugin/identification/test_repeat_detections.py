"""Repeat detections: a box that recurs for weeks is marked, an animal that rests is not."""

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import Camera

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.identification.repeat_detections import find_repeat_detections
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

MAY = datetime(2026, 5, 1, 12)
HOUR = timedelta(hours=1)
BRANCH = (0.4, 0.3, 0.2, 0.25)


def box(number: int, at: datetime | None, place: tuple[float, ...] = BRANCH, **columns: Any) -> Row:
    """A box in a separate medium, about a pixel off its place."""
    jitter = 0.001 * (number % 4)
    x, y, w, h = place
    return {
        "camera_id": "camera7",
        "path": f"{number}.jpg",
        "frame_number": 0,
        "box_number": 0,
        "captured_at": at,
        "category": "animal",
        **{"x": x + jitter, "y": y, "w": w, "h": h - jitter},
        **columns,
    }


def marked(rows: list[Row], **settings: Any) -> set[str]:
    full = [{name: row.get(name) for name in schemas.DETECTIONS} for row in rows]
    found = find_repeat_detections(
        pl.LazyFrame(full, schema=schemas.DETECTIONS), Stage3(**settings)
    )
    return set(found["path"])


def over(hours: float, media: int = 20, **columns: Any) -> list[Row]:
    """Boxes in one place, evenly spaced over that many hours."""
    step = hours / (media - 1) * HOUR
    return [box(number, MAY + number * step, **columns) for number in range(media)]


def test_the_same_box_is_a_repeat_after_a_week_and_not_after_an_hour() -> None:
    assert len(marked(over(7 * 24))) == 20
    assert not marked(over(6 * 24))
    assert not marked(over(1, media=100))


def test_a_repeat_needs_repeat_media_different_media() -> None:
    assert not marked(over(200, media=19))
    assert len(marked(over(200, media=19), repeat_media=19)) == 19
    assert not marked(over(200), repeat_media=0)
    twice_each = [{**row, "path": f"{number // 2}.mp4", "frame_number": number % 2}
                  for number, row in enumerate(over(200, media=30))]  # fmt: skip
    assert not marked(twice_each)


def test_two_days_weeks_apart_are_not_enough() -> None:
    boxes = [box(n, MAY + (n % 2) * 20 * 24 * HOUR + n * HOUR / 60) for n in range(40)]
    assert not marked(boxes)


def test_a_passing_animal_and_another_camera_are_no_repeats() -> None:
    passing = [box(100 + n, MAY + n * 9 * HOUR, (0.03 * n, 0.34, 0.2, 0.25)) for n in range(20)]
    elsewhere = over(200, media=19, camera_id="camera8")
    branch = over(200)
    assert marked([*branch, *passing]) == {f"{n}.jpg" for n in range(20)}
    assert not marked([*branch[:19], *elsewhere])


def test_people_and_media_without_a_time_are_ignored() -> None:
    assert not marked(over(200, category="person"))
    assert not marked([box(n, None) for n in range(40)])


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A branch that is detected as a fox each day of a month, and one fox."""
    camera = Camera()
    for day in range(30):
        camera.medium(f"{day}.jpg", MAY + day * 24 * HOUR, [{"box": BRANCH}], offset=120)
    fox = {"box": (0.1, 0.5, 0.3, 0.3)}
    camera.medium("fox.jpg", MAY + timedelta(minutes=5), [{"box": BRANCH}, fox], offset=120)
    store = camera.store(tmp_path / "camera7")
    run_stage3(store, Stage3(), {}, Privacy())
    return store


def test_repeats_have_separate_observations_that_are_flagged_and_need_no_review(
    store: LocalStore,
) -> None:
    with store.reading("stage3/observations.parquet") as path:
        found = pl.read_parquet(path)
    flagged = found.filter(pl.col("flags").list.contains("repeat_detection"))
    (fox,) = found.filter(pl.col("flags").list.len() == 0).to_dicts()
    assert flagged["detection_count"].sum() == 31
    assert not flagged["needs_review"].any()
    assert (fox["source_video"], fox["count"]) == ("fox.jpg", 1)


def test_repeat_media_0_marks_nothing(store: LocalStore) -> None:
    run_stage3(store, Stage3(repeat_media=0), {}, Privacy())
    with store.reading("stage3/observations.parquet") as path:
        found = pl.read_parquet(path)
    assert found["detection_count"].sum() == 32
    assert found["flags"].list.len().sum() == 0


def test_a_repeat_is_of_unknown_type_in_camtrap_dp(store: LocalStore) -> None:
    place = {"cameraID": "camera7", "latitude": 59, "longitude": 17}
    export_camera(store, "camera7", Project(deployments=(place,)), Privacy())  # type: ignore[arg-type]
    table = store.root / "stage3" / "camtrap-dp" / "observations.csv"
    with table.open(encoding="utf-8") as file:
        events = [row for row in csv.DictReader(file) if row["observationLevel"] == "event"]
    repeat = [row for row in events if row["observationTags"] == "repeat_detection"]
    assert len(repeat) == len(events) - 1
    assert {(row["observationType"], row["scientificName"]) for row in repeat} == {("unknown", "")}
