"""Results of versions that did not record their settings: what version 0.1.0 has stored.

`tests/old_results/README.md` says what is in it.
"""

from pathlib import Path
from typing import Any

import pytest
from finished_camera import Results
from stored_data import STORED, unpack

from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.tables import build
from odins_ravne_assets.munin.workload.used_settings import choose_settings, differ_from_profile
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.storage import layout
from resources.storage.local_store import LocalStore

ALL = ("footage", "detections", "classifications", "observations", "exports")
OLD_KEY = "b32188f1d56dbd8d"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the cameras ridge and lake."""
    root = tmp_path_factory.mktemp("old")
    unpack(STORED / "v0_1_0" / "results.tar.xz", root)
    return root


def profile(**pipeline: Any) -> Profile:
    return Profile.model_validate({"pipeline": pipeline})


def test_the_defaults_of_that_version_are_recognised_under_todays_defaults(old: Path) -> None:
    used = choose_settings(LocalStore(old / "ridge"), Profile(), ALL, update=False)
    assert stage1_key(used.profile) == used.stage1_key == OLD_KEY
    assert used.profile.models.detector == "megadetector-lite"
    assert used.profile.models.classifier == "efficientnet-lite3"
    assert used.profile.pipeline.stage2.auto_ok_threshold == 0.5
    assert used.notice is not None
    assert used.notice.startswith("5 media were analysed with megadetector-lite and ssd-mobilenet")
    assert "classified with auto_ok_threshold 0.5, and new media are too" in used.notice


@pytest.mark.parametrize(
    "pipeline",
    [
        {"stage1": {"conf_threshold": 0.3}},
        {"stage1": {"sampling": "every", "every_nth_frame": 7}},
        {"stage1": {"sampling": "keyframes", "motion_gate": False}},
        {"stage1": {"frames_per_second": 2.0, "motion_threshold": 0.1}},
        {"stage2": {"auto_ok_threshold": 0.9}},
    ],
)
def test_so_are_they_when_the_profile_has_changed_since(old: Path, pipeline: Any) -> None:
    used = choose_settings(LocalStore(old / "ridge"), profile(**pipeline), ALL, update=False)
    assert used.stage1_key == OLD_KEY
    assert used.profile.pipeline.stage2.auto_ok_threshold == 0.5


def test_the_journal_of_the_tables_counts_of_several(old: Path) -> None:
    """lake was analysed with --conf-threshold 0.3 once, and then with the defaults again."""
    journals = {path.name for path in (old / "lake/journal/stage1").iterdir()}
    assert len(journals) == 2
    for conf_threshold in (None, 0.3, 0.9):
        own = profile(stage1={"conf_threshold": conf_threshold})
        used = choose_settings(LocalStore(old / "lake"), own, ALL, update=False)
        assert used.stage1_key == OLD_KEY


def test_labels_from_predictions_stay(old: Path) -> None:
    """lake was classified with a file of SpeciesNet's, which is stored in its results."""
    lake = LocalStore(old / "lake")
    used = choose_settings(lake, Profile(), ["classifications"], update=False)
    [stored] = (old / "lake/predictions").iterdir()
    assert used.profile.models.classifier == f"predictions/{stored.name}"
    assert used.notice is not None
    assert "classified with SpeciesNet predictions, auto_ok_threshold 0.5, and" in used.notice


def test_an_update_says_what_it_replaces(old: Path) -> None:
    ridge = choose_settings(LocalStore(old / "ridge"), Profile(), ALL, update=True)
    assert ridge.profile == Profile()
    assert ridge.notice == (
        "5 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16 and classified "
        "with auto_ok_threshold 0.5; --update: analyse all media again with lite-ensemble and "
        "classify all boxes again with auto_ok_threshold 0.65"
    )
    lake = choose_settings(LocalStore(old / "lake"), Profile(), ALL, update=True)
    assert lake.notice is not None
    assert "classified with SpeciesNet predictions, auto_ok_threshold 0.5; --upd" in lake.notice
    assert lake.notice.endswith(
        "classify all boxes again with efficientnet-lite3, auto_ok_threshold 0.65"
    )


def test_a_profile_without_category_detector_keeps_the_results_it_made(tmp_path: Path) -> None:
    """Its detector was that version's default; today's needs a category detector."""
    made_with = Profile.model_validate(
        {"models": {"detector": "megadetector-lite", "category_detector": None}}
    )
    results = Results(tmp_path)
    results.add(made_with, record=False)
    for category_detector in (None, "auto"):
        own = Profile.model_validate({"models": {"category_detector": category_detector}})
        used = choose_settings(results.store, own, ALL, update=False)
        assert stage1_key(used.profile) == used.stage1_key == stage1_key(made_with)
        assert used.notice is not None


def test_settings_that_no_profile_names_are_an_error_not_a_bill(old: Path, tmp_path: Path) -> None:
    unpack(STORED / "v0_1_0" / "results.tar.xz", tmp_path)
    ridge = LocalStore(tmp_path / "ridge")
    (tmp_path / "ridge/journal/stage1" / OLD_KEY).rename(
        tmp_path / "ridge/journal/stage1/0123456789abcdef"
    )
    with pytest.raises(UsageError) as caught:
        choose_settings(ridge, Profile(), ALL, update=False)
    assert str(caught.value) == (
        "finished media were analysed with settings that are not recorded, and that this profile "
        "does not name (ssd-mobilenet-v2-cam16 and megadetector-lite); use the profile that they "
        "were made with, or pass --update to analyse all media again with lite-ensemble"
    )
    updated = choose_settings(ridge, Profile(), ALL, update=True)
    assert updated.profile == Profile()


def test_they_differ_from_todays_defaults(old: Path) -> None:
    ridge = LocalStore(old / "ridge")
    assert differ_from_profile(ridge, Profile())
    theirs = choose_settings(ridge, Profile(), ALL, update=False).profile
    assert not differ_from_profile(ridge, theirs)
    assert build.read_origin(ridge, layout.DETECTIONS_TABLE).journal_key == OLD_KEY
