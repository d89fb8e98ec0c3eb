"""Manifests of models: validation, checksums, and the hash of a model."""

from hashlib import sha256
from pathlib import Path

import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.models.manifest import load_manifest, model_hash, shipped_models, verify
from resources.errors import ModelError


def test_three_models_ship() -> None:
    assert shipped_models() == [CLASSIFIER, DETECTOR, CATEGORY_DETECTOR]


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_matches_its_manifest(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    verify(manifest)


def test_each_class_of_a_shipped_detector_has_a_category() -> None:
    classes = {c.name: c.category for c in load_manifest(CATEGORY_DETECTOR).detector_output.classes}
    assert [n for n, c in classes.items() if c == "person"] == ["person"]
    assert [n for n, c in classes.items() if c == "vehicle"] == (
        ["bicycle", "car", "motorcycle", "bus", "truck"]
    )
    assert len([n for n, c in classes.items() if c == "animal"]) == 10


def test_the_files_of_a_manifest_are_in_its_folder(tmp_path: Path) -> None:
    manifest = load_manifest(str(copy_model(tmp_path)))
    verify(manifest)
    assert manifest.path.parent == tmp_path


@pytest.mark.parametrize("name", shipped_models())
def test_a_file_with_another_checksum_is_refused(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(str(copy_model(tmp_path, name)))
    for path, expected in manifest.files.items():
        intact = path.read_bytes()
        path.write_bytes(intact[:1000] + bytes([intact[1000] ^ 1]) + intact[1001:])
        found = sha256(path.read_bytes()).hexdigest()
        with pytest.raises(ModelError) as caught:
            verify(manifest)
        for part in (str(path), expected, found, "download the file again"):
            assert part in str(caught.value)
        path.write_bytes(intact)


@pytest.mark.parametrize("name", shipped_models())
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(str(copy_model(tmp_path, name)))
    for path in manifest.files:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ModelError, match=f"{path}: no such file; add it"):
            open_engine(manifest, "onnxruntime", 1)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (DETECTOR, ("[input]", "[input"), "not valid TOML"),
        (DETECTOR, ("pad = 0", "pad = 0\npadd = 1"), "input.padd: unknown key"),
        (DETECTOR, ("pad = 0", "pad = 256"), "input.pad: 256 is not allowed"),
        (DETECTOR, ("pad = 0", ""), "input: fit letterbox-topleft needs a pad"),
        (DETECTOR, ("letterbox-topleft", "stretch"), "input: fit stretch takes no pad"),
        (DETECTOR, ("height = 640", "height = 0"), "input.height: 0 is not allowed"),
        (DETECTOR, ("height = 640", ""), "input: needs height and width, or for a free size long_"),
        (DETECTOR, ("height = 640", "height = 640\nlong_side = 640\nstride = 32"), "input: needs"),
        (DETECTOR, ("height = 640\nwidth = 640", "long_side = 640"), "input: needs height"),
        (
            CATEGORY_DETECTOR,
            ("height = 300\nwidth = 300", "long_side = 300\nstride = 32"),
            "input: long_side needs a fit of letterbox-topleft or letterbox-centre",
        ),
        (DETECTOR, ('"rgb"', '"grey"'), "input.colour: 'grey' is not allowed"),
        (DETECTOR, ("pad = 0", 'pad = 0\ndtype = "int8"'), "input.dtype: 'int8' is not allowed"),
        (
            CATEGORY_DETECTOR,
            ('colour = "rgb"', 'colour = "rgb"\ndtype = "uint8"'),
            "input: dtype uint8 needs multiply = [1.0, 1.0, 1.0], add = [0.0, 0.0, 0.0]",
        ),
        (
            DETECTOR,
            ("pad = 0", 'pad = 0\nsizes_input = "sizes"'),
            "input: sizes_input needs a name",
        ),
        (
            DETECTOR,
            ("pad = 0", 'pad = 0\nname = "a"\nsizes_input = "a"'),
            "input: name and sizes_input are the same",
        ),
        (
            DETECTOR,
            ("nms_iou = 0.45", 'nms_iou = 0.45\noutputs = ["a", "b"]'),
            "output: outputs names 2, this decoding needs 1",
        ),
        (
            CATEGORY_DETECTOR,
            ("nms_iou = 0.6", 'nms_iou = 0.6\noutputs = ["a", "a"]'),
            "output: outputs names one output twice",
        ),
        (CATEGORY_DETECTOR, ("nms_iou = 0.6", 'nms_iou = 0.6\nscores = "sigmoid"'), "unknown key"),
        (DETECTOR, ("yolo-objectness", "yolo"), "output.decoding: "),
        (DETECTOR, ("nms_iou = 0.45", "nms_iou = 45"), "output.nms_iou: 45 is not allowed"),
        (DETECTOR, ('category = "animal"', 'category = "beast"'), "category: 'beast' is not"),
        (DETECTOR, ('task = "detector"', 'task = "classifier"'), "is not one of a classifier"),
        (DETECTOR, ('sha256 = "4', 'sha256 = "x'), "sha256: 'x29"),
        (
            CATEGORY_DETECTOR,
            ("anchors_sha256", "anchor_sha256"),
            "output.anchors_sha256: is missing",
        ),
        (CATEGORY_DETECTOR, ("[crop]\nshape", "[input.crop]\nshape"), "unknown key"),
        (CLASSIFIER, ('[crop]\nshape = "square"\nmargin = 0.1', ""), "needs a [crop] section"),
        (CLASSIFIER, ("margin = 0.1", "margin = nan"), "crop.margin: nan is not allowed"),
    ],
)
def test_an_invalid_manifest_is_reported_in_one_line(
    tmp_path: Path, name: str, change: tuple[str, str], expected: str
) -> None:
    path = copy_model(tmp_path, name, change)
    with pytest.raises(ModelError) as caught:
        load_manifest(str(path))
    message = str(caught.value)
    assert message.startswith(f"model manifest {path}: ")
    assert expected in message
    assert "\n" not in message


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.toml: no such file"):
        load_manifest(str(tmp_path / "none.toml"))
    needed = (
        r"^model speciesnet-crop: is not installed; install it: munin models add speciesnet-crop"
    )
    with pytest.raises(ModelError, match=f"{needed}$"):
        load_manifest("speciesnet-crop")
    with pytest.raises(ModelError, match=f"{needed} --to s3://bucket/models$"):
        load_manifest("speciesnet-crop", "s3://bucket/models")
    with pytest.raises(ModelError, match=r"add deepfaune-europe --accept CC-BY-SA-4.0$"):
        load_manifest("deepfaune-europe")
    with pytest.raises(ModelError, match="model megadetektor: unknown; use one of efficientnet"):
        load_manifest("megadetektor")


def test_a_manifest_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        load_manifest(str(tmp_path / "own.toml"))


def test_the_old_names_of_keys_are_read(tmp_path: Path) -> None:
    path = copy_model(tmp_path, CATEGORY_DETECTOR)
    text = path.read_text(encoding="utf-8")
    for key, old in (
        ("description =", "honest ="),
        ("fp16 =", "half ="),
        ("[category_refinement]", "[telling]"),
    ):
        assert key in text
        text = text.replace(key, old)
    path.write_text(text, encoding="utf-8")
    assert load_manifest(str(path)).model_dump() == load_manifest(CATEGORY_DETECTOR).model_dump()


@pytest.mark.parametrize(
    "change",
    [
        ('description = "', 'description = "Improved. '),
        ('licence = "', 'licence = "see '),
        ('name = "megadetector-lite"', 'name = "mine"'),
    ],
)
def test_descriptive_fields_do_not_change_the_model_hash(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    assert model_hash(load_manifest(str(copy_model(tmp_path, change=change)))) == (
        model_hash(load_manifest(DETECTOR))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (CLASSIFIER, "1ac482bfe39367575051bf9f58155c026df714c47c0f39737410d738b26985a2"),
        (DETECTOR, "73e4b7791b06204c7c36b08bc4f66e45ee077fc26613568552f02d3f5069125c"),
        (CATEGORY_DETECTOR, "f8a8afcd70d7f7def22d1cbc141314da2dabc4d121174a4baf7590f3ab63e8a3"),
    ],
)
def test_the_hashes_of_the_first_release_stay(name: str, expected: str) -> None:
    """Every recorded result is stored under them; another hash computes it again."""
    assert model_hash(load_manifest(name)) == expected


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (DETECTOR, ("pad = 0", 'pad = 0\ndtype = "float32"\nsizes_order = "wh"')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\noutputs = []\nscores = "probability"')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\nbox_format = "cxcywh"')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\nbox_units = "pixels"')),
    ],
)
def test_a_later_key_at_its_default_does_not_change_the_model_hash(
    tmp_path: Path, name: str, change: tuple[str, str]
) -> None:
    assert model_hash(load_manifest(str(copy_model(tmp_path, name, change)))) == (
        model_hash(load_manifest(name))
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (DETECTOR, ("nms_iou = 0.45", "nms_iou = 0.5")),
        (DETECTOR, ('colour = "rgb"', 'colour = "bgr"')),
        (DETECTOR, ("pad = 0", 'pad = 0\ndtype = "float16"')),
        (DETECTOR, ("pad = 0", 'pad = 0\nname = "images"')),
        (DETECTOR, ("pad = 0", 'pad = 0\nname = "images"\nsizes_input = "sizes"')),
        (DETECTOR, ("height = 640\nwidth = 640", "long_side = 640\nstride = 32")),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\noutputs = ["output"]')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\nscores = "sigmoid"')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\nbox_format = "xyxy"')),
        (DETECTOR, ("nms_iou = 0.45", 'nms_iou = 0.45\nbox_units = "fractions"')),
        (DETECTOR, ("threshold = 0.25", "threshold = 0.3")),
        (DETECTOR, ("add = [0.0, 0.0, 0.0]", "add = [0.0, 0.0, 1.0]")),
        (DETECTOR, ("pad = 0", "pad = 114")),
        (DETECTOR, ('sha256 = "4', 'sha256 = "5')),
        (CATEGORY_DETECTOR, ('anchors_sha256 = "b', 'anchors_sha256 = "c')),
        (CATEGORY_DETECTOR, ("person = 0.5", "person = 0.6")),
        (CLASSIFIER, ("margin = 0.1", "margin = 0.2")),
    ],
)
def test_fields_that_affect_results_change_the_model_hash(
    tmp_path: Path, name: str, change: tuple[str, str]
) -> None:
    changed = load_manifest(str(copy_model(tmp_path, name, change)))
    assert model_hash(changed) != model_hash(load_manifest(name))
