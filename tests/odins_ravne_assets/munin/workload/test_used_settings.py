"""Finished work stays finished: which models and settings a run of a camera uses.

The cameras here have journals of a few empty stills; no model runs.
"""

from pathlib import Path

import pytest
from finished_camera import ALL, Results, profile
from model_files import copy_model

from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection import journal_key
from odins_ravne_assets.munin.detection.journal_key import (
    stage1_dependencies,
    stage1_key,
    stage1_keys,
)
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1, STAGE2
from odins_ravne_assets.munin.workload.used_settings import (
    UsedSettings,
    choose_settings,
    differ_from_profile,
)
from resources.errors import ModelError, UsageError
from resources.settings.profile import Models, Profile


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


DEFAULT = profile()
CHANGES = [
    profile(stage1__conf_threshold=0.3),
    profile(stage1__sampling="every"),
    profile(stage1__frames_per_second=0.5),
    profile(stage1__motion_gate=False),
    profile(stage1__motion_threshold=0.01),
    profile(models__detector="ssd-mobilenet-v2-cam16"),
    profile(models__category_detector=None),
    profile(stage2__auto_ok_threshold=0.9),
]


@pytest.mark.parametrize("own", CHANGES)
def test_a_run_keeps_the_settings_of_finished_work(results: Results, own: Profile) -> None:
    results.add(DEFAULT, media=3)
    used = results.choose(own)
    assert stage1_key(used.profile) == stage1_key(DEFAULT) == used.stage1_key
    assert stage2_key(used.profile, "boxes") == stage2_key(DEFAULT, "boxes")
    assert used.notice and used.notice.startswith("3 media were ")
    assert "new media are too; pass --update to " in used.notice


@pytest.mark.parametrize("own", CHANGES)
def test_an_update_uses_the_settings_of_the_profile(results: Results, own: Profile) -> None:
    results.add(DEFAULT)
    used = results.choose(own, update=True)
    assert used.profile == own
    assert used.notice and "; --update: " in used.notice


@pytest.mark.parametrize("own", CHANGES)
def test_the_first_run_uses_the_profile(results: Results, own: Profile) -> None:
    assert results.choose(own) == UsedSettings(own, stage1_key(own))


def test_settings_that_do_not_change_results_are_those_of_the_profile(results: Results) -> None:
    results.add(DEFAULT)
    own = profile(
        stage1__batch_size=2, stage1__engine="tensorrt", stage1__threads=1, stage2__batch_size=3
    )
    assert results.choose(own) == UsedSettings(own, stage1_key(DEFAULT))
    both = results.choose(
        profile(stage1__batch_size=2, stage1__conf_threshold=0.3, stage1__threads=1)
    )
    stage1 = both.profile.pipeline.stage1
    assert (stage1.batch_size, stage1.threads, stage1.conf_threshold) == (2, 1, None)


def test_the_line_names_what_differs_and_how_to_change_it(results: Results) -> None:
    results.add(profile(stage2__auto_ok_threshold=0.5), media=1204)
    own = profile(models__detector="lite-ensemble", stage2__auto_ok_threshold=0.65)
    assert results.choose(own).notice == (
        "1,204 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16 and "
        "classified with auto_ok_threshold 0.5, and new media are too; pass --update to analyse "
        "all media again with lite-ensemble and classify all boxes again with auto_ok_threshold "
        "0.65"
    )


def test_the_line_of_an_update_names_the_classifier_too(results: Results) -> None:
    results.add(profile(stage2__auto_ok_threshold=0.5), media=1204)
    own = profile(models__detector="lite-ensemble", stage2__auto_ok_threshold=0.65)
    assert results.choose(own, update=True).notice == (
        "1,204 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16 and "
        "classified with auto_ok_threshold 0.5; --update: analyse all media again with "
        "lite-ensemble and classify all boxes again with auto_ok_threshold 0.65"
    )


def test_one_medium_with_a_threshold_of_the_model(results: Results) -> None:
    results.add(DEFAULT)
    own = profile(stage1__conf_threshold=0.3)
    assert results.choose(own).notice == (
        "1 medium was analysed with conf_threshold of the model, and new media are too; pass "
        "--update to analyse all media again with conf_threshold 0.3"
    )


def test_another_threshold_of_stage_2_does_not_change_stage_1(results: Results) -> None:
    results.add(DEFAULT)
    used = results.choose(profile(stage2__auto_ok_threshold=0.9), update=True)
    assert used.stage1_key == stage1_key(DEFAULT)
    assert used.notice == (
        "1 medium was classified with auto_ok_threshold 0.65; --update: classify all boxes again "
        "with auto_ok_threshold 0.9"
    )


def test_an_update_that_was_begun_continues_without_being_asked_again(results: Results) -> None:
    own = profile(stage1__conf_threshold=0.3)
    results.add(DEFAULT, media=5)
    results.add(own, media=1)  # of 5: the update was interrupted
    assert results.choose(own) == UsedSettings(own, stage1_key(own))
    other = results.choose(profile(stage1__conf_threshold=0.7))
    assert stage1_key(other.profile) == stage1_key(own)


def test_going_back_to_earlier_settings_is_an_update(results: Results) -> None:
    results.add(DEFAULT)
    results.add(profile(stage1__conf_threshold=0.3))
    assert results.choose(DEFAULT).profile.pipeline.stage1.conf_threshold == 0.3
    assert results.choose(DEFAULT, update=True).profile == DEFAULT


def test_deleted_results_start_afresh(results: Results) -> None:
    results.add(DEFAULT)
    journal = results.store.root / "journal/stage1" / stage1_key(DEFAULT)
    for path in journal.iterdir():
        path.unlink()
    own = profile(stage1__conf_threshold=0.3)
    assert results.choose(own) == UsedSettings(own, stage1_key(own))


def test_stage_2_alone_keeps_or_updates_the_settings_of_labels_only(results: Results) -> None:
    results.add(DEFAULT)
    own = profile(stage1__conf_threshold=0.3, stage2__auto_ok_threshold=0.9)
    kept = results.choose(own, ["classifications"])
    assert kept.profile.pipeline.stage2.auto_ok_threshold == 0.65
    assert kept.notice and "analysed" not in kept.notice
    updated = results.choose(own, ["classifications"], update=True)
    assert updated.profile.pipeline.stage2.auto_ok_threshold == 0.9


def test_after_an_update_of_stage_1_alone_new_boxes_are_labelled_as_the_old_ones_were(
    results: Results,
) -> None:
    """`munin stage2 --model X` counts until Stage 2 is updated, whatever boxes there are."""
    results.add(DEFAULT)
    own = profile(stage1__conf_threshold=0.3, stage2__auto_ok_threshold=0.9)
    STAGE1.save(results.store, STAGE1.of_profile(own))  # munin stage1 --update
    journal = Stage1Journal(results.store, stage1_key(own))
    row = {"content_hash": "0" * 64, "status": "done", "reason": None}
    journal.append(row | {"frames_decoded": 1, "frames_skipped": 0, "boxes": 0}, [], [], [])
    journal.flush()
    used = results.choose(own)
    assert stage1_key(used.profile) == used.stage1_key == stage1_key(own)
    assert used.profile.pipeline.stage2.auto_ok_threshold == 0.65
    assert used.notice and "classified with auto_ok_threshold 0.65, and new media" in used.notice
    assert results.choose(own, update=True).profile == own


def test_an_update_of_stage_1_alone_labels_as_before(results: Results) -> None:
    results.add(DEFAULT)
    own = profile(stage1__conf_threshold=0.3, stage2__auto_ok_threshold=0.9)
    used = results.choose(own, ["footage", "detections"], update=True)
    assert used.profile.pipeline.stage1.conf_threshold == 0.3
    assert used.profile.pipeline.stage2.auto_ok_threshold == 0.65
    assert used.notice and "auto_ok_threshold" not in used.notice


# Updates that were interrupted between the record and the first result.


def test_an_update_of_stage_1_without_a_first_result_continues(results: Results) -> None:
    results.add(DEFAULT, media=6)
    STAGE1.save(results.store, STAGE1.of_profile(profile(stage1__conf_threshold=0.3)))
    used = results.choose(profile(stage1__conf_threshold=0.7))
    assert used.profile.pipeline.stage1.conf_threshold == 0.3
    assert used.notice == (
        "an update that was interrupted continues: analyse all media again with conf_threshold "
        "0.3; pass --update to analyse all media again with conf_threshold 0.7"
    )


def test_an_update_of_stage_2_without_a_first_result_continues(results: Results) -> None:
    results.add(DEFAULT, media=6)
    STAGE2.save(results.store, STAGE2.of_profile(profile(stage2__auto_ok_threshold=0.9)))
    used = results.choose(DEFAULT)
    assert used.profile.pipeline.stage2.auto_ok_threshold == 0.9
    assert used.notice == (
        "an update that was interrupted continues: classify all boxes again with "
        "auto_ok_threshold 0.9; pass --update to classify all boxes again with auto_ok_threshold "
        "0.65"
    )


def test_another_update_can_replace_one_that_was_interrupted(results: Results) -> None:
    results.add(DEFAULT, media=6)
    STAGE1.save(results.store, STAGE1.of_profile(profile(stage1__conf_threshold=0.3)))
    used = results.choose(DEFAULT, update=True)
    assert used.profile == DEFAULT
    assert used.notice == (
        "an update was interrupted that began to analyse all media again with conf_threshold 0.3; "
        "--update: analyse all media again with conf_threshold of the model"
    )


# Profiles that cannot be used.


def test_a_profile_that_cannot_be_used_leaves_finished_work_as_it_is(results: Results) -> None:
    results.add(DEFAULT, media=2)
    own = profile(models__detector="lite-ensemble", models__category_detector=None)
    used = results.choose(own)
    assert used.stage1_key == stage1_key(used.profile) == stage1_key(DEFAULT)
    assert used.notice and used.notice.startswith(
        "2 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16, and new media "
        "are too; pass --update to analyse all media again with a profile whose models can be used"
    )
    assert "a detector that is no ensemble, as megadetector-lite" in used.notice
    assert results.choose(own, ["classifications"]).stage1_key == stage1_key(DEFAULT)
    with pytest.raises(ModelError, match=r"models\.category_detector: auto, or models\.detector"):
        results.choose(own, update=True)


# The words for what differs.


@pytest.mark.parametrize(
    ("before", "own", "words"),
    [
        (
            {"models__category_detector": "auto"},
            {"models__category_detector": "ssd-mobilenet-v2-cam16"},
            ("auto)", "ssd-mobilenet-v2-cam16)"),
        ),
    ],
)
def test_both_sides_of_the_line_differ(
    results: Results, before: dict[str, str], own: dict[str, str], words: tuple[str, str]
) -> None:
    results.add(profile(models__detector="lite-ensemble", **before))
    notice = results.choose(profile(models__detector="lite-ensemble", **own)).notice
    assert notice == (
        f"1 medium was analysed with lite-ensemble (category_detector {words[0]}, and new media "
        "are too; pass --update to analyse all media again with lite-ensemble (category_detector "
        f"{words[1]}"
    )


def test_media_that_failed_are_not_counted_as_analysed(results: Results) -> None:
    results.add(DEFAULT, media=2)
    journal = Stage1Journal(results.store, stage1_key(DEFAULT))
    row = {"content_hash": "0" * 64, "status": "failed", "reason": "cannot be decoded"}
    journal.append(row | {"frames_decoded": 0, "frames_skipped": 0, "boxes": 0}, [], [], [])
    journal.flush()
    notice = results.choose(profile(stage1__conf_threshold=0.3)).notice
    assert notice and notice.startswith("2 media were analysed")


# Records of newer versions, or with values that nobody may use.


@pytest.mark.parametrize(
    ("key", "value"), [("sampling", "scene"), ("conf_threshold", 7.0), ("motion_gate", "maybe")]
)
def test_recorded_settings_that_are_not_allowed_are_an_error_with_a_way_out(
    results: Results, key: str, value: object
) -> None:
    results.add(DEFAULT)
    own = STAGE1.of_profile(DEFAULT)
    changed = own.model_copy(update={"depends_on": {**own.depends_on, key: value}})
    STAGE1.save(results.store, changed)
    with pytest.raises(ModelError, match=f"does not allow their setting {key} {value}; restore"):
        results.choose(DEFAULT)
    assert results.choose(DEFAULT, update=True).profile == DEFAULT


def test_results_of_version_0_1_0_on_a_gpu_keep_their_journal(results: Results) -> None:
    results.add(DEFAULT)
    today, older = stage1_keys(stage1_dependencies(DEFAULT))
    folder = results.store.root / "journal/stage1"
    (folder / today).rename(folder / older)
    used = results.choose(profile(stage1__conf_threshold=0.3), ["detections"])
    assert stage1_key(used.profile) == today


# Models that are not what they were.


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """The manifest of a copy of the shipped detector with another threshold."""
    return copy_model(tmp_path / "models", change=("threshold = 0.", "threshold = 0.1"))


def test_a_model_that_is_gone_is_an_error_with_both_ways_out(
    results: Results, own_model: Path
) -> None:
    results.add(profile(models__detector=str(own_model)), media=2)
    own_model.unlink()
    with pytest.raises(ModelError) as caught:
        results.choose(DEFAULT)
    message = str(caught.value)
    assert f"model manifest {own_model}: no such file" in message
    assert "restore megadetector-lite" in message
    assert "pass --update to analyse all media again with " in message
    assert "\n" not in message
    assert results.choose(DEFAULT, update=True).profile == DEFAULT


def test_a_model_that_has_changed_under_its_name_is_an_error(
    results: Results, own_model: Path
) -> None:
    own = profile(models__detector=str(own_model))
    results.add(own)
    own_model.write_text(own_model.read_text().replace("threshold = 0.1", "threshold = 0.2"))
    with pytest.raises(ModelError, match="have changed since; restore megadetector-lite"):
        results.choose(own)
    assert results.choose(own, update=True).profile == own


def test_a_new_version_of_the_code_that_gives_other_results_is_an_error(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.add(DEFAULT)
    monkeypatch.setattr(journal_key, "STAGE1_VERSION", 2)
    with pytest.raises(ModelError, match="this version of the program gives other results with"):
        results.choose(DEFAULT)
    assert results.choose(DEFAULT, update=True).profile == DEFAULT


def test_a_model_that_was_moved_is_found_by_the_name_in_the_profile(
    results: Results, own_model: Path, tmp_path: Path
) -> None:
    results.add(profile(models__detector=str(own_model)))
    moved = (tmp_path / "models").rename(tmp_path / "elsewhere") / own_model.name
    own = profile(models__detector=str(moved), stage1__conf_threshold=0.3)
    used = results.choose(own)
    assert used.profile.models.detector == str(moved)
    assert used.profile.pipeline.stage1.conf_threshold is None


def test_models_are_fetched_before_they_are_looked_for(results: Results, own_model: Path) -> None:
    results.add(profile(models__detector=str(own_model)))
    text = own_model.read_text()
    own_model.unlink()
    fetched: list[str] = []

    def fetch(models: Models) -> None:
        fetched.append(models.detector)
        own_model.write_text(text)

    used = choose_settings(results.store, DEFAULT, ALL, False, fetch)
    assert fetched == [str(own_model)] == [used.profile.models.detector]


def test_unknown_settings_of_an_older_version_are_never_silently_replaced(
    results: Results,
) -> None:
    results.add(profile(stage1__conf_threshold=0.123), media=2, record=False)
    with pytest.raises(UsageError, match="use the profile that they were made with, or pass --upd"):
        results.choose(DEFAULT)
    assert results.choose(DEFAULT, update=True) == UsedSettings(DEFAULT, stage1_key(DEFAULT))
    own = profile(stage1__conf_threshold=0.123)
    assert results.choose(own) == UsedSettings(own, stage1_key(own))


def test_results_without_tables_do_not_differ(results: Results) -> None:
    assert not differ_from_profile(results.store, DEFAULT)
