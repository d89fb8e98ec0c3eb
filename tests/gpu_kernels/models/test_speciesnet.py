"""SpeciesNet: its labels, its predictions in both layouts, its kind of classifier."""

import json
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest

from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.models.speciesnet_labels import parse_label
from gpu_kernels.preprocessing.letterbox import to_input
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

FOX = "u1;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
CANID = "u2;mammalia;carnivora;canidae;;;canine family"
ANIMAL = "1f689929-883d-4dae-958c-3d57ab5b6c16;;;;;;animal"
BLANK = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
HUMAN = "990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human"
LEFT, RIGHT = [0.1, 0.2, 0.2, 0.3], [0.6, 0.2, 0.2, 0.3]

# Field by field as the README of speciesnet tells it ("Output format from run_model"), the old one
# before version 5.0.6, the new one since.
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
# Of the classifier of whole pictures: its one label, then MegaDetector's boxes without any.
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


def file_of(folder: Path, prediction: Row) -> Path:
    path = folder / "predictions.json"
    info = {} if prediction is OLD else {"info": {"format_version": "20261015"}}
    path.write_text(json.dumps({**info, "predictions": [prediction]}))
    return path


def labelled(folder: Path, prediction: Row, boxes: list[list[float]]) -> list[Row]:
    """The labels of boxes of DCIM/1.jpg."""
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
    predictions = Predictions(file_of(folder, prediction))
    stage = PredictionLabeller(predictions, {"ab" * 32: "DCIM/1.jpg"}, 0.5, lambda _: None)
    stage.run(stage1, stage2, stage1.parts(), Event())
    key = next(found.key for found in store.list("journal/stage2"))
    with store.reading(key) as path:
        return pl.read_parquet(path).sort("box_number").to_dicts()


@pytest.mark.parametrize(
    ("text", "name", "rank", "is_animal"),
    [
        (FOX, "Vulpes vulpes", "species", True),
        (CANID, "Canidae", "family", True),
        ("u;aves;;;;;bird", "Aves", "class", True),
        (ANIMAL, None, None, False),
        (BLANK, None, None, False),
        (HUMAN, "Homo sapiens", "species", False),
    ],
)
def test_a_label_tells_its_lowest_taxon(
    text: str, name: str | None, rank: str | None, is_animal: bool
) -> None:
    label = parse_label(text)
    assert label is not None
    assert (label.scientific_name, label.rank, label.is_animal) == (name, rank, is_animal)


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


def test_the_label_of_a_whole_picture_is_that_of_all_its_animals(tmp_path: Path) -> None:
    for row in labelled(tmp_path, WHOLE, [LEFT, [0.3, 0.7, 0.1, 0.1]]):
        assert (row["label"], row["auto_ok"]) == ("red fox", True)
        assert row["confidence"] == pytest.approx(0.9)


def test_a_prediction_that_failed_labels_nothing(tmp_path: Path) -> None:
    (row,) = labelled(tmp_path, FAILED, [LEFT])
    assert (row["label"], row["auto_ok"]) == ("no prediction", False)


def test_blank_person_and_animal_name_no_species(tmp_path: Path) -> None:
    for number, text in enumerate((BLANK, HUMAN, ANIMAL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (row,) = labelled(folder, {**OLD, "prediction": text}, [LEFT])
        assert not row["auto_ok"]


def test_a_picture_without_a_prediction_has_no_label(tmp_path: Path) -> None:
    (row,) = labelled(tmp_path, {**OLD, "filepath": "other/DCIM2/1.jpg"}, [LEFT])
    assert (row["label"], row["auto_ok"]) == ("no prediction", False)


def test_kept_predictions_are_known_by_their_content_and_refused_when_damaged(
    tmp_path: Path,
) -> None:
    file, output = file_of(tmp_path, OLD), LocalStore(tmp_path / "results")
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


def test_the_labels_ranks_are_kept_as_taxa(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_taxa(store, Predictions(file_of(tmp_path, NEW)).labels())
    with store.reading(TAXA_TABLE) as path:
        assert pl.read_parquet(path).rows() == [
            ("Canidae", "canine family", "family", "Mammalia", "Carnivora", "Canidae", None),
            ("Vulpes vulpes", "red fox", "species", "Mammalia", "Carnivora", "Canidae", "Vulpes"),
        ]
    write_taxa(store, [])
    assert not store.exists(TAXA_TABLE)


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"predictions": [{"file": "1.jpg"}]}'])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"predictions\.json: are not SpeciesNet's"):
        Predictions(path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        Predictions(tmp_path / "none.json")


def manifest(folder: Path, layout: str) -> ModelManifest:
    """The manifest of docs/models.md, with labels beside it."""
    (folder / "labels.txt").write_text(f"{BLANK}\n{FOX}\n{CANID}\n")
    path = folder / "speciesnet-crop.toml"
    path.write_text(
        f"""
        name = "speciesnet-crop"
        task = "classifier"
        file = "speciesnet.onnx"
        sha256 = "{"0" * 64}"
        honest = "2498 labels of the world's camera-trap animals."
        licence = "Apache-2.0"
        source = "here"
        home = "https://github.com/google/cameratrapai"
        [input]
        height = 480
        width = 480
        layout = "{layout}"
        colour = "rgb"
        multiply = [0.00392156862745098, 0.00392156862745098, 0.00392156862745098]
        add = [0.0, 0.0, 0.0]
        fit = "stretch"
        [output]
        decoding = "logits"
        labels = "labels.txt"
        labels_sha256 = "{"0" * 64}"
        [crop]
        shape = "box"
        margin = 0.0
        """
    )
    return load_manifest(str(path))


def test_a_classifier_of_speciesnet_s_kind_reads_its_labels_with_their_ranks(
    tmp_path: Path,
) -> None:
    blank, fox, canid = load_labels(manifest(tmp_path, "nhwc"))
    assert (blank.is_animal, fox.label, fox.scientific_name) == (False, "red fox", "Vulpes vulpes")
    assert canid.ranks is not None
    assert canid.ranks.family == "Canidae"


def test_a_model_of_layout_nhwc_is_given_the_same_picture_channels_last(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    first = to_input([picture], manifest(tmp_path, "nchw"))
    last = to_input([picture], manifest(tmp_path, "nhwc"))
    assert last.shape == (1, 480, 480, 3)
    assert np.array_equal(last.transpose(0, 3, 1, 2), first)
    assert last[0, 0, 0] == pytest.approx(picture[0, 0, ::-1] / 255)
