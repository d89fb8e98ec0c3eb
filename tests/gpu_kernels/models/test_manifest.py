"""Manifests of models: validation, checksums, and the hash of a model."""

from hashlib import sha256
from pathlib import Path

import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.models.manifest import load_manifest, model_hash, shipped_models, verify
from resources.errors import ModelError


def test_three_models_ship() -> None:
    assert shipped_models() == [CLASSIFIER, DETECTOR, TELLER]


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_what_its_manifest_says(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    verify(manifest)


def test_shipped_classes_have_a_category_each() -> None:
    classes = {c.name: c.category for c in load_manifest(TELLER).detector_output.classes}
    assert [n for n, c in classes.items() if c == "person"] == ["person"]
    assert [n for n, c in classes.items() if c == "vehicle"] == (
        ["bicycle", "car", "motorcycle", "bus", "truck"]
    )
    assert len([n for n, c in classes.items() if c == "animal"]) == 10


def test_a_users_manifest_names_files_beside_itself(tmp_path: Path) -> None:
    manifest = load_manifest(str(own(tmp_path)))
    verify(manifest)
    assert manifest.path.parent == tmp_path


@pytest.mark.parametrize("name", shipped_models())
def test_a_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(str(own(tmp_path, name)))
    for path, expected in manifest.files.items():
        good = path.read_bytes()
        path.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
        found = sha256(path.read_bytes()).hexdigest()
        with pytest.raises(ModelError) as caught:
            verify(manifest)
        for said in (str(path), expected, found, "fetch the file again"):
            assert said in str(caught.value)
        path.write_bytes(good)


@pytest.mark.parametrize("name", shipped_models())
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(str(own(tmp_path, name)))
    for path in manifest.files:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ModelError, match=f"{path}: no such file; put it there"):
            open_engine(manifest, "onnxruntime", 1)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (DETECTOR, ("[input]", "[input"), "not valid TOML"),
        (DETECTOR, ("pad = 0", "pad = 0\npadd = 1"), "input.padd: unknown key"),
        (DETECTOR, ("pad = 0", "pad = 256"), "input.pad: 256 is not allowed"),
        (DETECTOR, ("pad = 0", ""), "input: fit letterbox-topleft needs a pad"),
        (DETECTOR, ("letterbox-topleft", "stretch"), "input: fit stretch takes no pad"),
        (DETECTOR, ("height = 640", "height = 0"), "input.height: 0 is not allowed"),
        (DETECTOR, ("height = 640", ""), "input.height: is missing; add it"),
        (DETECTOR, ('"rgb"', '"bgr"'), "input.colour: 'bgr' is not allowed"),
        (DETECTOR, ("yolo-objectness", "yolo"), "output.decoding: "),
        (DETECTOR, ("nms_iou = 0.45", "nms_iou = 45"), "output.nms_iou: 45 is not allowed"),
        (DETECTOR, ('category = "animal"', 'category = "beast"'), "category: 'beast' is not"),
        (DETECTOR, ('task = "detector"', 'task = "classifier"'), "is not one of a classifier"),
        (DETECTOR, ('sha256 = "4', 'sha256 = "x'), "sha256: 'x29"),
        (TELLER, ("anchors_sha256", "anchor_sha256"), "output.anchors_sha256: is missing"),
        (TELLER, ("[crop]\nshape", "[input.crop]\nshape"), "unknown key"),
        (CLASSIFIER, ('[crop]\nshape = "square"\nmargin = 0.1', ""), "needs a [crop] section"),
        (CLASSIFIER, ("margin = 0.1", "margin = nan"), "crop.margin: nan is not allowed"),
    ],
)
def test_a_mistake_in_a_manifest_is_told_in_one_line(
    tmp_path: Path, name: str, change: tuple[str, str], said: str
) -> None:
    path = own(tmp_path, name, change)
    with pytest.raises(ModelError) as caught:
        load_manifest(str(path))
    message = str(caught.value)
    assert message.startswith(f"model manifest {path}: ")
    assert said in message
    assert "\n" not in message


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.toml: no such file"):
        load_manifest(str(tmp_path / "none.toml"))
    with pytest.raises(ModelError, match="model megadetektor: not known; name one of efficientnet"):
        load_manifest("megadetektor")


def test_a_manifest_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        load_manifest(str(tmp_path / "own.toml"))


@pytest.mark.parametrize(
    "change",
    [
        ('honest = "', 'honest = "Better words. '),
        ('licence = "', 'licence = "see '),
        ('name = "megadetector-lite"', 'name = "mine"'),
    ],
)
def test_words_do_not_change_the_model_hash(tmp_path: Path, change: tuple[str, str]) -> None:
    assert model_hash(load_manifest(str(own(tmp_path, change=change)))) == (
        model_hash(load_manifest(DETECTOR))
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (DETECTOR, ("nms_iou = 0.45", "nms_iou = 0.5")),
        (DETECTOR, ("threshold = 0.25", "threshold = 0.3")),
        (DETECTOR, ("add = [0.0, 0.0, 0.0]", "add = [0.0, 0.0, 1.0]")),
        (DETECTOR, ("pad = 0", "pad = 114")),
        (DETECTOR, ('sha256 = "4', 'sha256 = "5')),
        (TELLER, ('anchors_sha256 = "b', 'anchors_sha256 = "c')),
        (TELLER, ("person = 0.5", "person = 0.6")),
        (CLASSIFIER, ("margin = 0.1", "margin = 0.2")),
    ],
)
def test_what_changes_answers_changes_the_model_hash(
    tmp_path: Path, name: str, change: tuple[str, str]
) -> None:
    own_model = load_manifest(str(own(tmp_path, name, change)))
    assert model_hash(own_model) != model_hash(load_manifest(name))
