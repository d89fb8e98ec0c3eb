"""`munin models verify`: a right manifest passes; for a wrong one the error says what to change."""

import hashlib
import shutil
from pathlib import Path

import exported_graphs as exported
import pytest

from gpu_kernels.inspection.verification import verify_model
from gpu_kernels.models.manifest import load_manifest, shipped_models
from odins_ravne_assets.demo.footage import read_sample
from resources.errors import ModelError

CAT = read_sample("cat", (1280, 960))


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    """Copy a model, with texts of its manifest replaced; return the manifest's path."""
    for path in exported.FOLDER.glob(f"{name}.*"):
        shutil.copy(path, folder)
    manifest = folder / f"{name}.toml"
    text = manifest.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    manifest.write_text(text, "utf-8")
    return str(manifest)


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_a_graph_of_every_exporter_matches_its_manifest(name: str) -> None:
    finding = verify_model(exported.manifest(name), CAT)
    assert " from 0.5 in the sample picture: " in finding


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_matches_its_manifest(name: str) -> None:
    finding = verify_model(load_manifest(name), CAT)
    assert "cat" in finding or "animal" in finding


def test_a_classifier_tells_its_best_label() -> None:
    finding = verify_model(exported.manifest(exported.CLASSIFIER), CAT)
    assert finding == "red fox 0.62, of 7 labels, for the sample picture"


def test_a_model_that_finds_nothing_passes(tmp_path: Path) -> None:
    path = changed(tmp_path, "yolo-rows", ("threshold = 0.5", "threshold = 0.99"))
    assert verify_model(load_manifest(path), CAT) == "no box from 0.99 in the sample picture"


DECODING = 'decoding = "end2end"'
WRONG = {
    "another decoding": (
        "yolo-nms-inside",
        (DECODING, 'decoding = "yolo-anchor-free"\nnms_iou = 0.5'),
        'look like decoding = "end2end"',
    ),
    "rows for columns": (
        "yolo-rows",
        ('decoding = "yolo-anchor-free"', 'decoding = "yolo-objectness"'),
        'look like decoding = "yolo-anchor-free"',
    ),
    "boxes and logits for RT-DETR": (
        "yolov9-mit",
        (
            'decoding = "boxes-and-logits"\noutputs = ["boxes", "cls_logits"]\nnms_iou = 0.5',
            'decoding = "rtdetr"\noutputs = ["boxes", "cls_logits"]',
        ),
        'look like decoding = "boxes-and-logits", scores = "sigmoid"',
    ),
    "two outputs for one": (
        "yolo-top-rows",
        (DECODING, 'decoding = "rtdetr"'),
        'needs 2; correct output.decoding .*look like decoding = "end2end"',
    ),
    "logits": ("rtdetr-huggingface", ('scores = "sigmoid"\n', ""), 'output.scores = "sigmoid"'),
    "probabilities": (
        "yolo-rows",
        ("nms_iou", 'scores = "sigmoid"\nnms_iou'),
        'set output.scores = "probability"',
    ),
    "fractions": (
        "rtdetr-packed",
        ("threshold", 'box_units = "pixels"\nthreshold'),
        'are fractions, .* set output.box_units = "fractions"',
    ),
    "pixels": (
        "yolo-rows",
        ("threshold", 'box_units = "fractions"\nthreshold'),
        'are pixels, .* set output.box_units = "pixels"',
    ),
    "corners": (
        "yolov9-mit",
        ("threshold", 'box_format = "cxcywh"\nthreshold'),
        'set output.box_format = "xyxy"',
    ),
    "centre and size": (
        "yolo-rows",
        ("threshold", 'box_format = "xyxy"\nthreshold'),
        'set output.box_format = "cxcywh"',
    ),
    "too few classes for the shape": (
        "yolo-rows",
        ('    { name = "vehicle", category = "vehicle" },\n', ""),
        "with 2 class.* look like 3 class",
    ),
    "too few classes for the labels": (
        "rtdetr-own-exporter",
        ('    { name = "vehicle", category = "vehicle" },\n', ""),
        "gives class 2, the manifest lists 2 class.* list all of them in output.classes",
    ),
    "class first": (
        "yolov9-mit-nms",
        ('columns = "class-box-score"\n', ""),
        'look like columns = "class-box-score"',
    ),
    "outputs in another order": (
        "rtdetr-own-exporter",
        ('outputs = ["boxes", "labels", "scores"]', 'outputs = ["labels", "boxes", "scores"]'),
        'look like outputs = \\["boxes", "labels", "scores"\\]',
    ),
    "an output that is not there": (
        "rtdetr-huggingface",
        ('outputs = ["pred_boxes", "logits"]', 'outputs = ["boxes", "logits"]'),
        "has no output boxes, its outputs are logits, pred_boxes",
    ),
    "another input size": (
        "yolo-rows",
        ("height = 64", "height = 96"),
        r"input is images \[free, 3, 64, 64\] of float32, the manifest says .* \[N, 3, 96, 64\]",
    ),
    "another type of pictures": (
        "yolo-rows",
        ('colour = "rgb"', 'colour = "rgb"\ndtype = "float16"'),
        "of float32, the manifest says one float16",
    ),
    "no sizes": (
        "rtdetr-own-exporter",
        ('sizes_input = "orig_target_sizes"\n', ""),
        "nothing feeds orig_target_sizes",
    ),
    "probabilities of a classifier": (
        "speciesnet-form",
        ('decoding = "logits"', 'decoding = "probabilities"'),
        'declares probabilities, .* look like decoding = "logits"',
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_manifest_is_refused_with_what_to_change(tmp_path: Path, fault: str) -> None:
    name, change, message = WRONG[fault]
    manifest = load_manifest(changed(tmp_path, name, change))
    with pytest.raises(ModelError, match=message) as caught:
        verify_model(manifest, CAT)
    assert "\n" not in str(caught.value)


def test_labels_of_another_model_are_refused(tmp_path: Path) -> None:
    path = Path(changed(tmp_path, exported.CLASSIFIER))
    labels = tmp_path / f"{exported.CLASSIFIER}.labels.txt"
    old = hashlib.sha256(labels.read_bytes()).hexdigest()
    labels.write_text("".join(labels.read_text("utf-8").splitlines(keepends=True)[:-1]))
    new = hashlib.sha256(labels.read_bytes()).hexdigest()
    path.write_text(path.read_text("utf-8").replace(old, new))
    with pytest.raises(ModelError, match=r"outputs \(1, 7\), but .* 6"):
        verify_model(load_manifest(str(path)), CAT)


def test_what_a_graph_does_not_show_is_not_claimed(tmp_path: Path) -> None:
    """Wrong colours and another rule of fitting give other boxes, but no error."""
    path = changed(
        tmp_path,
        "yolo-rows",
        ('colour = "rgb"', 'colour = "bgr"'),
        ('fit = "letterbox-centre"', 'fit = "letterbox-topleft"'),
    )
    assert verify_model(load_manifest(path), CAT)
