"""Finished work stays finished until `--update`: a camera through changes of its profile.

The tests of this file change one camera's results, one after the other.
"""

import json
import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from command_line import CompletedCommand, Munin
from in_process import MuninInProcess
from media_files import write_picture
from model_files import copy_model
from stored_data import hashes

from odins_ravne_assets.munin.tables import build
from resources.storage import layout
from resources.storage.local_store import LocalStore

OLD = """\
models: {detector: DETECTOR}
pipeline:
  stage2: {auto_ok_threshold: 0.5}
"""
NEW = """\
models: {detector: DETECTOR}
pipeline:
  stage1: {conf_threshold: 0.3}
  stage2: {auto_ok_threshold: 0.65}
"""
KEPT = (
    "3 media were analysed with conf_threshold of the model and classified with auto_ok_threshold "
    "0.5, and new media are too; pass --update to analyse all media again with conf_threshold 0.3 "
    "and classify all boxes again with auto_ok_threshold 0.65"
)


class Camera:
    """A camera with three stills, analysed with the profile old.yaml."""

    def __init__(self, root: Path) -> None:
        self.card, self.output = root / "ridge", root / "results" / "ridge"
        for number in range(3):
            write_picture(self.card / f"IMG_{number}.JPG", (320, 240), shift=number)
        self.model = copy_model(root / "models", change=("threshold = 0.25", "threshold = 0.24"))
        for name, text in {
            "old": OLD,
            "new": NEW,
            "other": "models: {detector: lite-ensemble}",
        }.items():
            (root / f"{name}.yaml").write_text(text.replace("DETECTOR", str(self.model)))
        self.old, self.new, self.other = (
            MuninInProcess(root, str(root / f"{name}.yaml")) for name in ("old", "new", "other")
        )

    def journals(self) -> dict[str, int]:
        """Return the number of media in each of Stage 1's journals."""
        folders = (self.output / "journal/stage1").iterdir()
        return {
            folder.name: sum(pl.read_parquet(each).height for each in folder.glob("*.media.*"))
            for folder in folders
        }

    def settings(self) -> tuple[float | None, float]:
        """Return the recorded conf_threshold and auto_ok_threshold."""
        stages = (self.output / f"journal/settings/stage{number}.json" for number in (1, 2))
        boxes, labels = (json.loads(path.read_text())["depends_on"] for path in stages)
        return boxes["conf_threshold"], labels["auto_ok_threshold"]

    def classifier(self) -> str:
        """Return the classifier in the report."""
        report = json.loads((self.output / "stage3/report.json").read_text())
        return str(report["models"]["classifier"])

    def code_version(self, asset: str) -> str:
        """Return the code version of the latest materialization."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=["ridge"])
        with self.new.instance() as instance:
            [record] = instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization and record.asset_materialization.tags
        return record.asset_materialization.tags["dagster/code_version"]


def status_of(munin: Munin) -> str:
    """Return the cell `settings` of the only camera."""
    [row] = [line for line in done(munin("status")).splitlines() if "SUCCESS" in line]
    return row.strip("│").split("│")[5].strip()


def done(ended: CompletedCommand) -> str:
    assert ended.code == 0, ended.out + ended.err
    return ended.out + ended.err


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Camera:
    camera = Camera(tmp_path_factory.mktemp("update"))
    assert "--update" not in done(camera.old("batch", camera.card, camera.output))
    assert list(camera.journals().values()) == [3]
    assert camera.settings() == (None, 0.5)
    return camera


def test_the_status_shows_results_that_are_older_than_the_profile(camera: Camera) -> None:
    assert status_of(camera.old) == ""
    assert status_of(camera.new) == "older"
    assert "munin plan --update shows the cost" in done(camera.new("status"))


def test_the_plan_prices_the_run_as_it_will_happen_or_the_update(camera: Camera) -> None:
    plan = json.loads(camera.new("plan", camera.card, camera.output, "--json").out)
    assert plan["frames"] == 0
    assert plan["settings"] == [f"ridge: {KEPT}"]
    assert KEPT in done(camera.new("plan", camera.card, camera.output))
    update = json.loads(camera.new("plan", camera.card, camera.output, "--update", "--json").out)
    assert update["frames"] == 3
    assert update["likely"]["seconds"] > plan["likely"]["seconds"]


def test_a_new_picture_is_analysed_as_the_others_were(camera: Camera) -> None:
    before = hashes(camera.output / "journal")
    write_picture(camera.card / "IMG_3.JPG", (320, 240), shift=3)
    ended = done(camera.new("batch", camera.card, camera.output))
    assert f"ridge: {KEPT}" in ended.splitlines()
    assert list(camera.journals().values()) == [4]
    assert camera.settings() == (None, 0.5)
    assert hashes(camera.output / "journal").items() >= before.items()
    report = json.loads((camera.output / "stage3/report.json").read_text())
    assert report["models"]["detector"].startswith("megadetector-lite ")


def test_a_camera_with_older_settings_stays_stale_in_dagster(camera: Camera) -> None:
    """Its materialization has the code version of its settings, not of the profile's."""
    [journal] = camera.journals()
    assert camera.code_version("detections") == journal[:12]


def test_stage_2_alone_keeps_its_threshold(camera: Camera) -> None:
    ended = done(camera.new("stage2", camera.output))
    assert "4 media were classified with auto_ok_threshold 0.5, and new media are too" in ended
    assert camera.settings() == (None, 0.5)


def test_a_model_of_the_results_that_is_gone_stops_the_run(camera: Camera) -> None:
    journals, hidden = camera.journals(), camera.model.with_suffix(".hidden")
    camera.model.rename(hidden)
    try:
        [gone] = camera.other("batch", camera.card, camera.output).errors
        camera.model.write_text(hidden.read_text().replace("threshold = 0.24", "threshold = 0.26"))
        [changed] = camera.other("batch", camera.card, camera.output).errors
        [same] = camera.other("plan", camera.card, camera.output).errors
    finally:
        hidden.rename(camera.model)
    assert f"model manifest {camera.model}: no such file" in gone
    assert "their files or manifests have changed since" in changed
    assert same == changed
    for error in (gone, changed):
        assert "restore megadetector-lite" in error
        assert "or pass --update to analyse all media again with lite-ensemble" in error
    assert camera.journals() == journals


def test_an_update_of_stage_2_analyses_nothing_again(camera: Camera) -> None:
    before = camera.journals()
    done(camera.new("stage2", camera.output, "--update"))
    assert camera.settings() == (None, 0.65)
    assert camera.journals() == before
    assert status_of(camera.new) == "older"  # Stage 1 still is


def test_an_update_that_was_killed_before_its_first_result_continues(camera: Camera) -> None:
    """It has written its record and no part: neither the profile nor the results have 0.9."""
    output = camera.output.with_name("killed") / "ridge"
    shutil.copytree(camera.output, output)
    record = output / "journal/settings/stage1.json"
    settings = json.loads(record.read_text())
    settings["depends_on"]["conf_threshold"] = 0.9
    record.write_text(json.dumps(settings))
    plan = json.loads(camera.new("plan", camera.card, output, "--json").out)
    line = (
        "ridge: an update that was interrupted continues: analyse all media again with "
        "conf_threshold 0.9; pass --update to analyse all media again with conf_threshold 0.3"
    )
    assert plan["frames"] == 4
    assert plan["settings"] == [line]
    assert line in done(camera.new("batch", camera.card, output)).splitlines()
    assert json.loads(record.read_text())["depends_on"]["conf_threshold"] == 0.9
    origin = build.read_origin(LocalStore(output), layout.DETECTIONS_TABLE)
    assert origin.journal_key not in camera.journals()
    # The catalogue has one place of results per camera: that of the other tests again.
    done(camera.new("batch", camera.card, camera.output))


def test_an_update_analyses_all_media_with_the_profile(camera: Camera) -> None:
    before = camera.journals()
    ended = done(camera.new("batch", camera.card, camera.output, "--update"))
    assert "4 media were analysed with conf_threshold of the model; --update: analyse all" in ended
    assert sorted(camera.journals().values()) == [4, 4]
    assert camera.journals().items() >= before.items()
    assert camera.settings() == (0.3, 0.65)
    assert status_of(camera.new) == ""
    assert camera.code_version("detections") not in {key[:12] for key in before}


def test_after_an_update_nothing_is_left_to_say_or_to_do(camera: Camera) -> None:
    journal = hashes(camera.output / "journal")
    assert "--update" not in done(camera.new("batch", camera.card, camera.output))
    assert hashes(camera.output / "journal") == journal


def test_going_back_finds_the_old_journal(camera: Camera) -> None:
    journals = camera.journals()
    kept = done(camera.old("batch", camera.card, camera.output))
    assert "4 media were analysed with conf_threshold 0.3" in kept
    assert camera.settings() == (0.3, 0.65)
    done(camera.old("backfill", "--cameras", "ridge", "--update"))
    assert camera.settings() == (None, 0.5)
    assert camera.journals() == journals
    assert status_of(camera.old) == ""


def test_a_backfill_that_began_without_update_does_not_become_one(camera: Camera) -> None:
    done(camera.old("backfill", "--stages", "3"))
    ended = camera.old("backfill", "--resume", "2", "--update")
    assert ended.code == 2
    assert "--update: backfill 2 began without it" in ended.errors[0]
    resumed = done(camera.old("backfill", "--resume", "1", "--update"))
    assert "backfill 1: camera for 0 of 1 cameras" in resumed


def test_naming_a_classifier_updates_the_labels_and_later_runs_keep_it(camera: Camera) -> None:
    own = copy_model(camera.model.parent / "own", "efficientnet-lite3", ("margin", "margin"))
    own.write_text(
        own.read_text().replace('name = "efficientnet-lite3"', 'name = "own-classifier"')
    )
    margin = next(line for line in own.read_text().splitlines() if line.startswith("margin"))
    own.write_text(own.read_text().replace(margin, "margin = 0.5"))
    ended = done(camera.old("stage2", camera.output, "--model", own))
    assert "4 media were classified with efficientnet-lite3; --update: classify all boxes" in ended
    write_picture(camera.card / "IMG_4.JPG", (320, 240), shift=4)
    kept = done(camera.old("batch", camera.card, camera.output))
    assert "media were classified with own-classifier, and new media are too" in kept
    assert camera.classifier().startswith("own-classifier ")
    done(camera.new("stage1", camera.card, camera.output, "--update"))
    kept = done(camera.new("batch", camera.card, camera.output))
    assert "media were classified with own-classifier, auto_ok_threshold 0.5, and new" in kept
    assert camera.classifier().startswith("own-classifier ")


def test_a_camera_whose_journal_is_deleted_starts_with_the_profile(camera: Camera) -> None:
    shutil.rmtree(camera.output / "journal")
    assert "--update" not in done(camera.new("batch", camera.card, camera.output))
    assert list(camera.journals().values()) == [5]
    assert camera.settings() == (0.3, 0.65)
