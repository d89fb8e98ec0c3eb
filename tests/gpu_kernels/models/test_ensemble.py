"""Ensembles: several detectors under one name, and what a profile's detector consists of."""

from pathlib import Path

import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model

from gpu_kernels.models.ensemble import (
    Contrast,
    load_all_manifests,
    load_detector,
    load_ensemble,
)
from gpu_kernels.models.manifest import load_manifest, model_hash, shipped_ensembles
from resources.errors import ModelError

ENSEMBLE = "lite-ensemble"
TEXT = f"""
name = "mine"
task = "ensemble"
description = "Two detectors."
overlap = 0.5

[[parts]]
detector = "{DETECTOR}"
support = 0.5
contrast = true

[[parts]]
detector = "{CATEGORY_DETECTOR}"
categories = ["animal"]

[contrast]
clip_limit = 3.0
tiles = 8

[category_detector]
detector = "{CATEGORY_DETECTOR}"
person = 0.65
possible_person = 0.3
vehicle = 0.2
overlap = 0.5
"""


def write(folder: Path, *changes: tuple[str, str]) -> str:
    """Write the ensemble with these texts replaced, and return its path."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_one_ensemble_ships() -> None:
    assert shipped_ensembles() == [ENSEMBLE]
    models = load_detector(ENSEMBLE)
    assert [part.manifest.name for part in models.parts] == [DETECTOR, CATEGORY_DETECTOR]
    assert models.category_detector is not None
    assert models.names == (ENSEMBLE,)


def test_a_part_has_the_thresholds_of_the_ensemble_or_else_its_own(tmp_path: Path) -> None:
    change = ("support = 0.5", "threshold = 0.4\nlarge_threshold = 0.6\nsupport = 0.5")
    first, second = load_detector(write(tmp_path, change)).parts
    assert (first.threshold, first.large_threshold, first.support) == (0.4, 0.6, 0.5)
    assert first.contrast == Contrast(clip_limit=3.0, tiles=8)
    own = load_manifest(CATEGORY_DETECTOR).detector_output.threshold
    assert (second.threshold, second.support, second.contrast) == (own, None, None)
    assert second.categories == {"animal"}


def test_people_are_named_by_the_threshold_of_the_ensemble(tmp_path: Path) -> None:
    models = load_detector(write(tmp_path))
    assert models.category_detector is not None
    rule, own = models.category_detector.category_refinement, load_manifest(CATEGORY_DETECTOR)
    assert rule is not None and own.category_refinement is not None
    assert (rule.person, own.category_refinement.person) == (0.65, 0.5)


def test_a_plain_detector_has_the_hashes_of_its_two_models() -> None:
    """These are part of the keys of finished work."""
    models = load_detector(DETECTOR, CATEGORY_DETECTOR)
    expected = [model_hash(load_manifest(name)) for name in (DETECTOR, CATEGORY_DETECTOR)]
    assert models.hashes == expected == load_detector(DETECTOR).hashes
    assert models.names == (DETECTOR, CATEGORY_DETECTOR)
    assert set(models.versions) == {"detector", "category_detector"}


def test_a_detector_of_people_and_vehicles_has_no_category_detector() -> None:
    assert load_detector(CATEGORY_DETECTOR).category_detector is None
    assert load_detector(DETECTOR, None).category_detector is None
    assert load_detector(DETECTOR).category_detector == load_manifest(CATEGORY_DETECTOR)


@pytest.mark.parametrize(
    "change",
    [
        ("overlap = 0.5\n\n[[", "overlap = 0.6\n\n[["),
        ("support = 0.5", "support = 0.6"),
        ("support = 0.5", "support = 0.5\nthreshold = 0.3"),
        ("support = 0.5", "support = 0.5\nlarge_threshold = 0.9"),
        ("contrast = true", "contrast = false"),
        ('categories = ["animal"]', 'categories = ["animal", "person"]'),
        ("clip_limit = 3.0", "clip_limit = 2.0"),
        ("tiles = 8", "tiles = 4"),
        ("person = 0.65", "person = 0.7"),
        ("possible_person = 0.3", "possible_person = 0.4"),
        (f'detector = "{DETECTOR}"', f'detector = "{CATEGORY_DETECTOR}"'),
    ],
)
def test_the_hashes_change_with_every_setting(tmp_path: Path, change: tuple[str, str]) -> None:
    before = load_detector(write(tmp_path)).hashes
    assert load_detector(write(tmp_path, change)).hashes != before


def test_the_version_of_an_ensemble_covers_its_models_and_its_settings(tmp_path: Path) -> None:
    before = load_detector(write(tmp_path)).versions
    assert list(before) == ["detector", "detector_1", "detector_2", "category_detector"]
    assert before["detector"].startswith("mine ")
    for change in (
        ("support = 0.5", "support = 0.6"),
        ("person = 0.65", "person = 0.7"),
        (f'detector = "{DETECTOR}"', f'detector = "{CATEGORY_DETECTOR}"'),
    ):
        assert load_detector(write(tmp_path, change)).versions["detector"] != before["detector"]


def test_the_hashes_depend_neither_on_names_nor_on_descriptions(tmp_path: Path) -> None:
    before = load_detector(write(tmp_path)).hashes
    changes = ('name = "mine"', 'name = "other"'), ("Two detectors.", "Others.")
    assert load_detector(write(tmp_path, *changes)).hashes == before


def test_a_part_can_be_a_manifest_beside_the_ensemble(tmp_path: Path) -> None:
    copy_model(tmp_path)
    ensemble = write(tmp_path, (f'detector = "{DETECTOR}"', 'detector = "own.toml"'))
    assert load_detector(ensemble).parts[0].manifest.path.parent == tmp_path


def test_the_models_of_an_ensemble_are_listed_once() -> None:
    names = [manifest.name for manifest in load_all_manifests(ENSEMBLE)]
    assert names == [DETECTOR, CATEGORY_DETECTOR]
    assert [each.name for each in load_all_manifests(CLASSIFIER)] == [CLASSIFIER]
    assert load_ensemble(DETECTOR) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("overlap = 0.5\n\n[[", "[["), "overlap: is missing; add it"),
        (("support = 0.5", "supports = 0.5"), "parts.0.supports: unknown key"),
        (("support = 0.5", "support = nan"), "parts.0.support: nan is not allowed"),
        (("clip_limit = 3.0", "clip_limit = 0"), "contrast.clip_limit: 0 is not allowed"),
        (("tiles = 8", "tiles = 1000"), "contrast.tiles: 1000 is not allowed"),
        (('["animal"]', '["deer"]'), "parts.1.categories.0: 'deer' is not allowed"),
        (('["animal"]', "[]"), "parts.1.categories"),
        (
            ("[contrast]\nclip_limit = 3.0\ntiles = 8\n", ""),
            r"a part with contrast = true needs a \[contrast\] section",
        ),
        ((f'"{DETECTOR}"', f'"{CLASSIFIER}"'), f"model {CLASSIFIER}: is a classifier"),
        ((f'"{DETECTOR}"', f'"{ENSEMBLE}"'), f"its part {ENSEMBLE} is an ensemble"),
        ((f'"{DETECTOR}"', '"nothing"'), "model nothing: unknown"),
        ((f'"{DETECTOR}"', '"nothing.toml"'), r"nothing\.toml: no such file"),
        (
            (f'[category_detector]\ndetector = "{CATEGORY_DETECTOR}"',
             f'[category_detector]\ndetector = "{DETECTOR}"'),
            rf"its category detector {DETECTOR} needs a \[crop\] section",
        ),
    ],
)  # fmt: skip
def test_an_invalid_ensemble_is_one_line_that_names_the_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        load_detector(write(tmp_path, change))
    assert "\n" not in str(error.value)


def test_support_needs_a_category_detector(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ensemble mine: a part with support needs a category"):
        load_detector(write(tmp_path), None)


def test_a_file_that_is_not_toml_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("task = ", encoding="utf-8")
    with pytest.raises(ModelError, match="not valid TOML"):
        load_detector(str(path))
