"""SpeciesNet's predictions, in both layouts, as labels of boxes."""

import json
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from model_files import ANIMAL, BLANK, CANID, FOX, HUMAN

from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    PredictionLabeller,
    Predictions,
    load_predictions,
    predictions_hash,
    save_predictions,
)
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.build import write_taxa
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from resources.errors import ModelError
from resources.storage.layout import TAXA_TABLE
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

LEFT, RIGHT = [0.1, 0.2, 0.2, 0.3], [0.6, 0.2, 0.2, 0.3]

# The fields in the README of speciesnet ("Output format from run_model"), before version 5.0.6 and
# since.
OLD = {
    "filepath": "/data/camera7/DCIM/1.jpg",
    "country": "SWE",
    "classifications": {"classes": [FOX, CANID, BLANK], "scores": [0.9, 0.06, 0.02]},
    "detections": [{"category": "1", "label": "animal", "conf": 0.9, "bbox": LEFT}],
    "prediction": FOX,
    "prediction_score": 0.92,
    "prediction_source": "classifier",
    "model_version": "4.0.1a",
}
NEW = {
    "filepath": "DCIM/1.jpg",
    "country": "SWE",
    "detections": [
        {
            "category": "1",
            "label": "animal",
            "conf": 0.9,
            "bbox": box,
            "raw_classifications": {"classes": [FOX, CANID], "scores": scores},
            "processed_classification": {"class": text, "score": score, "source": "classifier"},
        }
        for box, text, score, scores in (
            (LEFT, FOX, 0.9, [0.9, 0.06]),
            (RIGHT, CANID, 0.7, [0.4, 0.3]),
        )
    ],
    "model_version": "4.0.3a",
}
# From the classifier of whole pictures: one label, then MegaDetector's boxes without labels.
WHOLE = {
    "filepath": "DCIM/1.jpg",
    "detections": [
        {
            "category": "0",
            "label": "whole_image_classification",
            "conf": 1.0,
            "bbox": [0.0, 0.0, 1.0, 1.0],
            "raw_classifications": {"classes": [FOX, CANID], "scores": [0.9, 0.06]},
            "processed_classification": {"class": FOX, "score": 0.9, "source": "classifier"},
        },
        {"category": "1", "label": "animal", "conf": 0.9, "bbox": LEFT},
        {"category": "2", "label": "human", "conf": 0.3, "bbox": RIGHT},
    ],
    "model_version": "4.0.3b",
}
FAILED = {
    "filepath": "DCIM/1.jpg",
    "failures": ["CLASSIFIER", "DETECTOR"],
    "model_version": "4.0.3a",
}


def write_predictions(folder: Path, prediction: Row) -> Path:
    path = folder / "predictions.json"
    info = {} if prediction is OLD else {"info": {"format_version": "20261015"}}
    path.write_text(json.dumps({**info, "predictions": [prediction]}))
    return path


def labelled(folder: Path, prediction: Row, boxes: list[list[float]]) -> list[Row]:
    """Return the rows of boxes of DCIM/1.jpg after labelling."""
    store = LocalStore(folder / "out")
    stage1, stage2 = Stage1Journal(store, "one"), Stage2Journal(store, "two")
    rows = [
        {
            "content_hash": "ab" * 32,
            "frame_number": 0,
            "box_number": number,
            "time_offset_ms": 0,
            "category": "animal",
            "confidence": 0.8,
            "category_confidence": None,
            **dict(zip("xywh", box, strict=True)),
        }
        for number, box in enumerate(boxes)
    ]
    finished = dict.fromkeys(schemas.FINISHED_MEDIA)
    stage1.append({**finished, "content_hash": "ab" * 32, "status": "done"}, [], rows, [])
    stage1.flush()
    predictions = Predictions(write_predictions(folder, prediction))
    stage = PredictionLabeller(predictions, {"ab" * 32: "DCIM/1.jpg"}, 0.5, lambda _: None)
    stage.run(stage1, stage2, stage1.parts(), Event())
    key = next(found.key for found in store.list("journal/stage2"))
    with store.reading(key) as path:
        return pl.read_parquet(path).sort("box_number").to_dicts()


def test_the_older_layout_labels_every_animal_of_the_picture(tmp_path: Path) -> None:
    for row in labelled(tmp_path, OLD, [LEFT, RIGHT]):
        assert (row["label"], row["scientific_name"], row["auto_ok"]) == (
            "red fox",
            "Vulpes vulpes",
            True,
        )
        assert row["confidence"] == pytest.approx(0.92)
        assert [each["label"] for each in row["top5"]] == ["red fox", "canine family", "blank"]


def test_the_newer_layout_labels_each_box_by_the_detection_it_overlaps_with(
    tmp_path: Path,
) -> None:
    near_left, near_right = [0.11, 0.2, 0.2, 0.3], [0.6, 0.22, 0.2, 0.3]
    first, second, third = labelled(tmp_path, NEW, [near_right, near_left, [0.3, 0.7, 0.1, 0.1]])
    assert (first["label"], first["scientific_name"]) == ("canine family", "Canidae")
    assert (second["label"], second["scientific_name"]) == ("red fox", "Vulpes vulpes")
    assert (third["label"], third["auto_ok"], third["top5"]) == ("no prediction", False, [])


def test_the_label_of_a_whole_picture_applies_to_all_its_animals(tmp_path: Path) -> None:
    for row in labelled(tmp_path, WHOLE, [LEFT, [0.3, 0.7, 0.1, 0.1]]):
        assert (row["label"], row["auto_ok"]) == ("red fox", True)
        assert row["confidence"] == pytest.approx(0.9)


def test_a_failed_prediction_gives_no_label(tmp_path: Path) -> None:
    (row,) = labelled(tmp_path, FAILED, [LEFT])
    assert (row["label"], row["auto_ok"]) == ("no prediction", False)


def test_blank_person_and_animal_are_not_species(tmp_path: Path) -> None:
    for number, text in enumerate((BLANK, HUMAN, ANIMAL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (row,) = labelled(folder, {**OLD, "prediction": text}, [LEFT])
        assert not row["auto_ok"]


def test_a_picture_without_a_prediction_has_no_label(tmp_path: Path) -> None:
    (row,) = labelled(tmp_path, {**OLD, "filepath": "other/DCIM2/1.jpg"}, [LEFT])
    assert (row["label"], row["auto_ok"]) == ("no prediction", False)


def test_saved_predictions_are_identified_by_their_content_and_refused_when_damaged(
    tmp_path: Path,
) -> None:
    file, output = write_predictions(tmp_path, OLD), LocalStore(tmp_path / "results")
    name = save_predictions(str(file), output)
    assert predictions_hash(name) == predictions_hash(str(file)), "so nothing is labelled twice"
    assert save_predictions(name, output) == name
    assert load_predictions(name, output).find("DCIM/1.jpg") == OLD
    output.write_bytes(name, file.read_bytes() + b" ")
    with pytest.raises(ModelError, match="is damaged; delete it and run Stage 2 again"):
        load_predictions(name, output)
    output.delete(name)
    with pytest.raises(ModelError, match="is missing; run Stage 2"):
        load_predictions(name, output)


def test_the_ranks_of_labels_are_written_as_taxa(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_taxa(store, Predictions(write_predictions(tmp_path, NEW)).labels())
    with store.reading(TAXA_TABLE) as path:
        assert pl.read_parquet(path).rows() == [
            ("Canidae", "canine family", "family", "Mammalia", "Carnivora", "Canidae", None),
            ("Vulpes vulpes", "red fox", "species", "Mammalia", "Carnivora", "Canidae", "Vulpes"),
        ]
    write_taxa(store, [])
    assert not store.exists(TAXA_TABLE)


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"predictions": [{"file": "1.jpg"}]}'])
def test_a_file_that_is_not_predictions_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"predictions\.json: are not SpeciesNet's"):
        Predictions(path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        Predictions(tmp_path / "none.json")
