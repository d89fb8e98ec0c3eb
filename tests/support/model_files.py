"""Models for tests: changed copies of shipped models, and manifests without a network."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from gpu_kernels.models.manifest import SHIPPED_MODELS, ModelManifest, load_manifest

DETECTOR = "megadetector-lite"
CATEGORY_DETECTOR = "ssd-mobilenet-v2-cam16"
CLASSIFIER = "efficientnet-lite3"
ANCHORS = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]], dtype=np.float32)
# SpeciesNet's labels.
FOX = "u1;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
CANID = "u2;mammalia;carnivora;canidae;;;canine family"
ANIMAL = "1f689929-883d-4dae-958c-3d57ab5b6c16;;;;;;animal"
BLANK = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
HUMAN = "990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human"
CATEGORIES = ("animal", "person", "vehicle")
SIDE = 64  # of the square input of `detector_manifest`


def copy_model(
    folder: Path,
    name: str = DETECTOR,
    change: tuple[str, str] = ("", ""),
    network: bytes = b"",
) -> Path:
    """Copy a shipped model into `folder`, and return the path of the manifest.

    Args:
        change: a text of the manifest and its replacement.
        network: the content of the model file, if another one.
    """
    manifest = load_manifest(name)
    folder.mkdir(exist_ok=True)
    for path in manifest.files:
        shutil.copy(path, folder)
    text = (SHIPPED_MODELS / f"{name}.toml").read_text(encoding="utf-8")
    assert change[0] in text
    if network:
        (folder / manifest.file).write_bytes(network)
        text = text.replace(manifest.sha256, sha256(network).hexdigest())
    path = folder / "own.toml"
    path.write_text(text.replace(*change), encoding="utf-8")
    return path


def detector_manifest(
    folder: Path,
    decoding: str = "yolo-objectness",
    fit_rule: str = "stretch",
    classes: Sequence[str] = ("deer", "fox"),
    nms_iou: float = 0.5,
) -> ModelManifest:
    """Return the manifest of a detector without a network; the tests construct its outputs."""
    np.save(folder / "anchors.npy", ANCHORS)
    lines = [
        'name = "without-network"',
        'task = "detector"',
        'file = "none.onnx"',
        f'sha256 = "{"0" * 64}"',
        *(f'{key} = "-"' for key in ("description", "licence", "source", "home")),
        "[input]",
        f'height = {SIDE}\nwidth = {SIDE}\nlayout = "nchw"\ncolour = "rgb"',
        f'multiply = [1.0, 1.0, 1.0]\nadd = [0.0, 0.0, 0.0]\nfit = "{fit_rule}"',
        "" if fit_rule == "stretch" else "pad = 114",
        "[output]",
        f'decoding = "{decoding}"\nthreshold = 0.25',
        "" if decoding == "rtdetr" else f"nms_iou = {nms_iou}",
        f'anchors = "anchors.npy"\nanchors_sha256 = "{"0" * 64}"' if decoding == "ssd" else "",
        "classes = [" + ", ".join(f'{{name = "{name}"}}' for name in classes) + "]",
    ]
    path = folder / f"{decoding}-{fit_rule}-{len(classes)}-{nms_iou}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load_manifest(str(path))


def plain_manifest(
    folder: Path,
    input_keys: Mapping[str, object],
    output_keys: Mapping[str, object],
    classes: Sequence[str] = ("animal", "person", "vehicle"),
    network: bytes = b"",
    fp16: bool = False,
) -> ModelManifest:
    """Return the manifest of a detector, written from keys of [input] and [output].

    Keys that are left out have the values of MegaDetector's exports: a letterbox of 64 x 64 pixels,
    padded with 114, RGB of 0 to 1.

    Args:
        network: the content of its file; none is written if empty.
    """
    scale = [1.0] * 3 if input_keys.get("dtype") == "uint8" else [1 / 255] * 3
    free = "long_side" in input_keys
    inputs: dict[str, object] = {
        **({} if free else {"height": SIDE, "width": SIDE}),
        "layout": "nchw",
        "colour": "rgb",
        "multiply": scale,
        "add": [0.0] * 3,
        "fit": "letterbox-centre",
        **({} if input_keys.get("fit") == "stretch" else {"pad": 114}),
        **input_keys,
    }
    output = {"threshold": 0.25, **output_keys}
    named = ", ".join(
        f'{{name = "{n}"' + (f', category = "{n}"}}' if n in CATEGORIES else "}") for n in classes
    )
    lines = [
        'name = "plain"\ntask = "detector"\nfile = "plain.onnx"',
        f'sha256 = "{sha256(network).hexdigest()}"',
        *(f'{key} = "-"' for key in ("description", "licence", "source", "home")),
        f"fp16 = {json.dumps(fp16)}",
        "[input]",
        *(f"{key} = {json.dumps(value)}" for key, value in inputs.items()),
        "[output]",
        *(f"{key} = {json.dumps(value)}" for key, value in output.items()),
        f"classes = [{named}]",
    ]
    folder.mkdir(exist_ok=True, parents=True)
    if network:
        (folder / "plain.onnx").write_bytes(network)
    path = folder / "plain.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load_manifest(str(path))


def speciesnet_manifest(folder: Path, layout: str) -> ModelManifest:
    """Return the manifest of docs/models.md, with a file of labels."""
    (folder / "labels.txt").write_text(f"{BLANK}\n{FOX}\n{CANID}\n")
    path = folder / "speciesnet-crop.toml"
    path.write_text(
        f"""
        name = "speciesnet-crop"
        task = "classifier"
        file = "speciesnet.onnx"
        sha256 = "{"0" * 64}"
        description = "2498 labels of the world's camera-trap animals."
        licence = "Apache-2.0"
        source = "-"
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
