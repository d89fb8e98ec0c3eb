"""Camera strips: pictures of a camera agree on them, and boxes in them are no visits."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import Camera

from odins_ravne_assets.hugin.visits.stage3 import Stage3Result, run_stage3
from resources.settings.profile import Privacy, Stage3

Row = dict[str, Any]

NOON = datetime(2026, 5, 1, 12)
LOGO: Row = {"box": (0.9, 0.96, 0.08, 0.03), "label": "crocodile", "confidence": 0.95}
FOX: Row = {"box": (0.4, 0.5, 0.2, 0.2)}
SIZE: Row = {"width": 2048, "height": 1536}


def strip(edge: str = "bottom", depth: float = 0.05, level: int = 0, lettered: bool = True) -> Row:
    return {"edge": edge, "depth": depth, "level": level, "lettered": lettered}


class Strips:
    """A camera whose pictures are an hour apart, each with a logo and every third with a fox."""

    def __init__(self) -> None:
        self.camera = Camera()
        self._number = 0

    def add(self, pictures: int, *strips: Row, name: str = "jpg", **columns: Any) -> None:
        for _ in range(pictures):
            self._number += 1
            boxes = [LOGO, FOX] if self._number % 3 == 0 else [LOGO]
            at = NOON + self._number * timedelta(hours=1)
            columns = {**SIZE, "edge_strips": list(strips), **columns}
            self.camera.medium(f"{self._number}.{name}", at, boxes, **columns)

    def visits(self, folder: Path) -> tuple[Stage3Result, list[str]]:
        store = self.camera.store(folder)
        result = run_stage3(store, Stage3(repeat_media=0), {}, Privacy())
        with store.reading("stage3/observations.parquet") as path:
            return result, pl.read_parquet(path)["species"].to_list()


def test_boxes_in_the_strip_of_a_camera_are_in_no_visit(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(9, strip())
    result, species = strips.visits(tmp_path)
    assert species == ["red fox"] * 3
    assert result.rows_left_out["in_camera_strip"] == 9
    report = json.loads((tmp_path / "stage3/report.json").read_bytes())
    (row,) = [each for each in report["left_out"] if "strip" in each["why"]]
    assert (row["stage"], row["what"], row["count"]) == (3, "detections", 9)
    assert pl.read_parquet(tmp_path / "tables/detections.parquet").height == 12


def test_a_logo_does_not_vote(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(9, strip())
    strips.camera.medium(
        "clear.jpg", NOON, [LOGO, FOX | {"confidence": 0.6}], edge_strips=[strip()], **SIZE
    )
    _, species = strips.visits(tmp_path)
    assert set(species) == {"red fox"}


@pytest.mark.parametrize("pictures", [1, 4])
def test_few_pictures_are_no_evidence(tmp_path: Path, pictures: int) -> None:
    strips = Strips()
    strips.add(pictures, strip())
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 0


def test_results_of_earlier_versions_have_no_strips(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(9)
    for frame in strips.camera.rows["frames"]:
        frame["edge_strips"] = None
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 0


@pytest.mark.parametrize("edge", ["top", "bottom", "left", "right"])
def test_a_strip_is_at_its_own_edge(tmp_path: Path, edge: str) -> None:
    boxes = {
        "top": (0.5, 0.01, 0.1, 0.03),
        "bottom": (0.5, 0.96, 0.1, 0.03),
        "left": (0.01, 0.5, 0.03, 0.1),
        "right": (0.96, 0.5, 0.03, 0.1),
    }
    camera = Camera()
    for number in range(5):
        everywhere = [{"box": box} for box in boxes.values()]
        at = NOON + number * timedelta(hours=1)
        camera.medium(f"{number}.jpg", at, everywhere, edge_strips=[strip(edge)], **SIZE)
    store = camera.store(tmp_path)
    result = run_stage3(store, Stage3(), {}, Privacy())
    assert result.rows_left_out["in_camera_strip"] == 5
    with store.reading("stage3/observations.parquet") as path:
        in_visits = pl.read_parquet(path).explode("detection_timeline")["detection_timeline"]
    number_of_edge = list(boxes).index(edge)
    assert number_of_edge not in in_visits.struct.field("box_number").to_list()


def test_an_animal_that_stands_on_the_strip_is_in_a_visit(tmp_path: Path) -> None:
    camera = Camera()
    for number in range(6):
        at = NOON + number * timedelta(hours=1)
        # The lowest 40 % of the box are in the strip.
        box = {"box": (0.4, 0.92, 0.1, 0.05)} if number else FOX
        camera.medium(f"{number}.jpg", at, [box], edge_strips=[strip()], **SIZE)
    result = run_stage3(camera.store(tmp_path), Stage3(), {}, Privacy())
    assert (result.rows_left_out["in_camera_strip"], result.observations) == (0, 6)


def test_stills_have_a_strip_and_clips_of_the_same_size_have_none(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(6, strip())
    strips.add(6, name="mp4")
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 6


def test_each_size_of_a_camera_s_pictures_has_its_own_strip(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(6, strip(depth=0.05))
    strips.add(6, strip("top", depth=0.08, level=255), width=1536, height=2048)
    strips.add(6, width=640, height=480)
    result, _ = strips.visits(tmp_path)
    # The portraits have their strip at the top, where no logo is.
    assert result.rows_left_out["in_camera_strip"] == 6


def test_strips_that_disagree_are_none(tmp_path: Path) -> None:
    strips = Strips()
    for number in range(12):
        strips.add(1, strip(depth=0.03 + 0.01 * number))  # a shadow that moves
    for number in range(12):
        strips.add(1, strip(level=20 * number), width=1000)  # a sky at different hours
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 0


def test_a_few_pictures_that_look_like_a_strip_are_none_among_many(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(6, strip())
    strips.add(7)
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 0


def test_dark_pictures_in_which_the_strip_has_no_end_have_it_too(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(6, strip())
    strips.add(5, strip(depth=0.2, level=6, lettered=False))
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 11


def test_a_picture_without_the_strip_keeps_its_boxes(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(8, strip())
    strips.add(2)
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 8


def test_strips_of_one_camera_are_not_those_of_another(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(4, strip())
    strips.camera.camera_id = "camera8"
    strips.add(4, strip())
    result, _ = strips.visits(tmp_path)
    assert result.rows_left_out["in_camera_strip"] == 0


@pytest.mark.parametrize(("picture", "fox_boxes"), [("3.jpg", 1), ("1.jpg", 1)])
def test_a_label_of_a_whole_picture_is_not_given_to_the_logo(
    tmp_path: Path, picture: str, fox_boxes: int
) -> None:
    """3.jpg shows a fox and the logo; in 1.jpg the detector found the logo only."""
    from odins_ravne_assets.munin.tables import schemas

    strips = Strips()
    strips.add(9, strip())
    store = strips.camera.store(tmp_path)
    media = pl.read_parquet(tmp_path / "tables/media.parquet")
    content = media.filter(pl.col("path") == picture)["content_hash"].item()
    label = {"category": "animal", "species": "badger", "reviewed_by": "Ada"}
    row = dict.fromkeys(schemas.CORRECTIONS) | label | {"content_hash": content}
    with store.writing("tables/corrections/1.parquet") as path:
        pl.DataFrame([row], schema=schemas.CORRECTIONS).write_parquet(path)
    run_stage3(store, Stage3(repeat_media=0), {}, Privacy())
    with store.reading("stage3/observations.parquet") as path:
        found = pl.read_parquet(path).filter(pl.col("species") == "badger")
    assert found["count"].to_list() == [fox_boxes]


def test_a_reviewer_s_label_counts_in_a_strip_too(tmp_path: Path) -> None:
    strips = Strips()
    strips.add(9, strip())
    store = strips.camera.store(tmp_path)
    detection = pl.read_parquet(tmp_path / "tables/detections.parquet").row(0, named=True)
    from odins_ravne_assets.munin.tables import schemas

    word = {"category": "animal", "species": "mouse", "reviewed_by": "Ada"}
    box = {name: detection[name] for name in ("content_hash", "frame_number", "x", "y", "w", "h")}
    row = {name: {**word, **box}.get(name) for name in schemas.CORRECTIONS}
    with store.writing("tables/corrections/1.parquet") as path:
        pl.DataFrame([row], schema=schemas.CORRECTIONS).write_parquet(path)
    result = run_stage3(store, Stage3(repeat_media=0), {}, Privacy())
    assert result.rows_left_out["in_camera_strip"] == 8
    with store.reading("stage3/observations.parquet") as path:
        assert "mouse" in pl.read_parquet(path)["species"].to_list()
