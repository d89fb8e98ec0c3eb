"""People named by a label or a reviewer alone are blurred, or left out, in every picture."""

import base64
import json
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from camera_tables import NIGHT
from report_rig import PERSON, CameraOutput, LabelledBox, grass, stage3, with_pattern

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.hugin.exports.export_tables import open_export_tables
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.worker.contact_sheet import CELL_SIDE, contact_sheet
from resources.settings.profile import Privacy
from resources.storage.local_store import LocalStore

CHECKS = np.kron([[0, 200], [200, 0]], np.ones((2, 2)))[:, :, None].repeat(3, 2).astype(np.uint8)
PICTURE = with_pattern(grass(), PERSON.xywh, CHECKS)
DOG = LabelledBox("domestic dog", "Canis familiaris", xywh=(0.6, 0.4, 0.3, 0.3))


def output(folder: Path, *boxes: LabelledBox) -> LocalStore:
    return CameraOutput(folder).still("1.jpg", NIGHT, *boxes, picture=PICTURE).write()


def sheet(store: LocalStore) -> Picture | None:
    markdown = contact_sheet(store, Stage1Journal(store, "one"))
    if markdown is None:
        return None
    jpeg = base64.b64decode(markdown.partition("base64,")[2].removesuffix(")"))
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.uint8)


def detail(picture: Picture) -> float:
    """Mean difference of neighbouring pixels of the middle of a picture."""
    middle = picture[40:-40, 40:-40].astype(int)
    return float(np.abs(np.diff(middle, axis=1)).mean())


def correct(store: LocalStore, category: str, species: str, name: str) -> None:
    content = pl.read_parquet(store.root / "tables" / "media.parquet")["content_hash"].item()
    row = dict.fromkeys(schemas.CORRECTIONS) | {
        "content_hash": content,
        "category": category,
        "species": species,
        "scientific_name": name,
        "reviewed_by": "Astrid",
        "reviewed_on": date(2026, 6, 1),
    }
    with store.writing("tables/corrections/one.parquet") as file:
        pl.DataFrame([row], schema=schemas.CORRECTIONS).write_parquet(file)


def thumbnail(store: LocalStore) -> Picture:
    (webp,) = pl.read_parquet(store.root / "stage3" / "thumbnails.parquet")["webp"]
    return np.asarray(cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    "label",
    [
        LabelledBox("human", "Homo sapiens"),
        LabelledBox("Human", None),
        LabelledBox(" person ", None, confidence=0.1, auto_ok=False),
        LabelledBox("hiker", "homo sapiens", confidence=0.2, auto_ok=False),
    ],
)
def test_the_best_crops_leave_out_frames_with_a_person_by_label(
    label: LabelledBox, tmp_path: Path
) -> None:
    assert sheet(output(tmp_path / "a", label)) is None
    assert sheet(output(tmp_path / "b", DOG, label)) is None


def test_the_best_crops_leave_out_media_in_which_a_reviewer_named_a_person(tmp_path: Path) -> None:
    store = output(tmp_path, LabelledBox())
    assert sheet(store) is not None
    correct(store, "person", "person", "Homo sapiens")
    assert sheet(store) is None


def test_a_crop_without_a_label_is_blurred_among_the_best_crops(tmp_path: Path) -> None:
    """Before Stage 2, nobody knows whether it is of a person."""
    store = output(tmp_path, LabelledBox())
    labelled = sheet(store)
    (tmp_path / "tables" / "classifications.parquet").unlink()
    unlabelled = sheet(store)
    assert labelled is not None
    assert unlabelled is not None
    assert labelled.shape == unlabelled.shape == (CELL_SIDE, CELL_SIDE, 3)
    assert detail(unlabelled) < 4 < 15 < detail(labelled)


def test_a_label_of_another_detector_s_box_is_not_a_label_of_this_box(tmp_path: Path) -> None:
    store = output(tmp_path, LabelledBox())
    table = tmp_path / "tables" / "classifications.parquet"
    older = pl.read_parquet(table).with_columns(pl.col("detection_confidence") * 0.9)
    older.write_parquet(table)
    shown = sheet(store)
    assert shown is not None
    assert detail(shown) < 4


def test_a_label_too_uncertain_to_name_a_visit_still_blurs_its_picture(tmp_path: Path) -> None:
    store = output(tmp_path, LabelledBox("human", "Homo sapiens", confidence=0.2, auto_ok=False))
    stage3(store)
    visits = pl.read_parquet(tmp_path / "stage3" / "observations.parquet")
    assert visits["species"].to_list() == ["unknown animal"]
    assert detail(thumbnail(store)) < 2


def test_a_reviewer_who_names_an_animal_lifts_the_blur_of_its_label(tmp_path: Path) -> None:
    store = output(tmp_path, LabelledBox("human", "Homo sapiens", confidence=0.2, auto_ok=False))
    correct(store, "animal", "red fox", "Vulpes vulpes")
    stage3(store)
    assert detail(thumbnail(store)) > 15


def test_the_page_says_where_the_original_of_a_blurred_person_is(tmp_path: Path) -> None:
    page = stage3(output(tmp_path, PERSON))
    assert "open the original, the file named below the picture" in page
    assert '"1.jpg"' in page


@pytest.mark.parametrize("whole_medium", [True, False])
def test_a_person_of_a_reviewer_is_blurred_also_if_no_visit_has_it(
    whole_medium: bool, tmp_path: Path
) -> None:
    store = output(tmp_path, LabelledBox(xywh=(0.2, 0.2, 0.6, 0.6)), LabelledBox("dog", None))
    stage3(store)
    path = tmp_path / "stage3" / "observations.parquet"
    visits = pl.read_parquet(path).filter(pl.col("species") == "red fox")
    correct(store, "person", "person", "Homo sapiens")
    if not whole_medium:
        corrections = tmp_path / "tables" / "corrections" / "one.parquet"
        box = dict(zip("xywh", (0.301, 0.3, 0.4, 0.4), strict=True))
        one_box = {"frame_number": 0, **box}
        pl.read_parquet(corrections).with_columns(
            pl.lit(value, schemas.CORRECTIONS[name]).alias(name) for name, value in one_box.items()
        ).write_parquet(corrections)
    visits.write_parquet(path)  # as if a rule had dropped the visit of the person
    (tmp_path / "stage3" / "thumbnails.parquet").unlink()
    make_report_page(store, store, Privacy())
    assert detail(thumbnail(store)) < 4
    with open_export_tables(store, store, "camera7") as tables:
        assert tables.without_people().media.collect().height == 0


@pytest.mark.parametrize("leave_out", [True, False])
def test_the_json_of_visits_lists_people_unless_they_are_left_out(
    leave_out: bool, tmp_path: Path
) -> None:
    store = output(tmp_path, PERSON, DOG)
    stage3(store, Privacy(leave_out_people=leave_out))
    rows = json.loads(store.read_bytes("stage3/compressed_observations.json"))
    assert ("person" in {row["category"] for row in rows}) != leave_out
    private = pl.read_parquet(tmp_path / "stage3" / "observations.parquet")
    assert private.filter(pl.col("category") == "person").height == 1
