"""The results of the shipped models, on real pictures where the labelled footage is available."""

import csv
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR

from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.heads.category_refinement import min_score, refine_categories, refinement_crop
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.crop_regions import crop_pixels
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input


@pytest.fixture(scope="module")
def detector() -> tuple[ModelManifest, Engine]:
    manifest = load_manifest(DETECTOR)
    return manifest, open_engine(manifest, "onnxruntime", 2)


@pytest.fixture(scope="module")
def category_detector() -> tuple[ModelManifest, Engine]:
    manifest = load_manifest(CATEGORY_DETECTOR)
    return manifest, open_engine(manifest, "onnxruntime", 2)


def detect(model: tuple[ModelManifest, Engine], pictures: list[Picture]) -> list[Boxes]:
    manifest, engine = model
    outputs = engine.run(to_input([fit(picture, manifest) for picture in pictures], manifest))
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
    return decode_boxes(outputs, manifest, sizes, manifest.detector_output.threshold)


def read(path: Path) -> Picture:
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, path
    return np.asarray(picture, np.uint8)


def _pictures_with_a_blob() -> list[Picture]:
    """Return eight pictures of different sizes, each with a blob on noise."""
    random = np.random.default_rng(7)
    pictures = []
    for number in range(8):
        height, width = 300 + 37 * number, 640 - 41 * number
        picture = random.integers(90, 140, (height, width, 3), dtype=np.uint8)
        centre = (width // 2 + 9 * number, height // 2)
        cv2.ellipse(picture, centre, (90, 50), 0, 0, 360, (40, 60, 90), -1)
        pictures.append(picture)
    return pictures


def are_equal(some: list[Boxes], other: list[Boxes]) -> bool:
    return all(
        np.array_equal(a.xywh, b.xywh)
        and np.array_equal(a.confidence, b.confidence)
        and np.array_equal(a.class_index, b.class_index)
        for a, b in zip(some, other, strict=True)
    )


def test_the_raw_output_of_a_picture_does_not_depend_on_its_batch(
    detector: tuple[ModelManifest, Engine],
) -> None:
    manifest, engine = detector
    images = to_input([fit(picture, manifest) for picture in _pictures_with_a_blob()], manifest)
    (together,) = engine.run(images)
    separate = np.concatenate([engine.run(images[k : k + 1])[0] for k in range(8)])
    assert np.array_equal(together, separate)


def test_memory_does_not_grow_with_the_batch(detector: tuple[ModelManifest, Engine]) -> None:
    manifest, engine = detector
    images = to_input([fit(_pictures_with_a_blob()[0], manifest)] * 8, manifest)
    engine.run(images[:1])
    before = psutil.Process().memory_info().rss
    engine.run(images)
    # Measured: 2 MB; with the batch as a whole in the network 540 MB.
    assert psutil.Process().memory_info().rss - before < 100e6


@pytest.mark.footage
def test_the_boxes_of_real_pictures_do_not_depend_on_their_batch(
    footage: Path, detector: tuple[ModelManifest, Engine]
) -> None:
    sequence = sorted((footage / "camtrapdp_example/media").glob("*.JPG"))[:5]
    others = ["speciesnet_testdata/african_elephants.jpg", "microsoft_cameratraps/capybara.jpg"]
    pictures = [read(path) for path in sequence + [footage / name for name in others]]
    together = detect(detector, pictures)
    assert sum(map(len, together)) >= 5
    assert are_equal(together, [detect(detector, [picture])[0] for picture in pictures])


@pytest.mark.footage
def test_the_recall_of_the_detector_is_as_measured(
    footage: Path, detector: tuple[ModelManifest, Engine]
) -> None:
    """Measured: 30 of the 43 labelled stills with something on them, none of the 4 empty ones.

    The lower limit allows for another processor's rounding. The truncated JPEG is skipped: its
    decoding is not a matter of the models.
    """
    found = {"something": 0, "empty": 0}
    total = {"something": 0, "empty": 0}
    with (footage / "labels.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            path = footage / row["path"]
            still = (
                path.suffix.lower() in {".jpg", ".jpeg", ".webp"} and "truncated" not in path.name
            )
            if still and row["category"] in {"animal", "person", "vehicle", "empty"}:
                kind = "empty" if row["category"] == "empty" else "something"
                total[kind] += 1
                found[kind] += len(detect(detector, [read(path)])[0]) > 0
    assert total == {"something": 43, "empty": 4}
    assert found["something"] >= 28
    assert found["empty"] == 0


@pytest.mark.footage
@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("speciesnet_testdata/human.jpg", "person"),
        ("animl/Southwest/B012_2021-05-27_human.jpg", "person"),
        ("speciesnet_testdata/vehicle.jpg", "vehicle"),
        ("speciesnet_testdata/african_elephants.jpg", "animal"),
        ("animl/Southwest/IMAG0031_wolf.JPG", "animal"),
        ("zamba_images/chimpanzee_bonobo.jpeg", "animal"),
    ],
)
def test_people_and_vehicles_are_distinguished_from_animals(
    footage: Path,
    detector: tuple[ModelManifest, Engine],
    category_detector: tuple[ModelManifest, Engine],
    name: str,
    category: str,
) -> None:
    manifest, engine = category_detector
    picture = read(footage / name)
    boxes = detect(detector, [picture])[0]
    crops = [
        refinement_crop(*picture.shape[:2], (x, y, w, h), manifest)
        for x, y, w, h in boxes.xywh.tolist()
    ]
    outputs = engine.run(
        to_input([fit(crop_pixels(picture, crop.region), manifest) for crop in crops], manifest)
    )
    found = decode_boxes(outputs, manifest, [crop.size for crop in crops], min_score(manifest))
    assert {each.category for each in refine_categories(found, manifest, crops)} == {category}


@pytest.mark.footage
def test_the_classifier_recognises_an_elephant(
    footage: Path,
) -> None:
    manifest = load_manifest(CLASSIFIER)
    picture = read(footage / "speciesnet_testdata/african_elephants.jpg")
    images = to_input([fit(picture, manifest)], manifest)
    (probabilities,) = open_engine(manifest, "onnxruntime", 2).run(images)
    (labels,) = rank_labels(probabilities, manifest)
    assert len(labels) == 5
    names = [label.label for label in labels]
    assert "African elephant" in names
    assert labels[names.index("African elephant")].scientific_name == "Loxodonta africana"
    assert [a.confidence for a in labels] == sorted((a.confidence for a in labels), reverse=True)
