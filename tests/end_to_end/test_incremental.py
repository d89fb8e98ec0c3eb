"""Incremental runs: finished media are not processed again, changed ones are."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from command_line import make_demo_footage, processed, results
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_dependencies, stage1_keys
from odins_ravne_assets.munin.media.source_removal import remove_source
from odins_ravne_assets.munin.media.sources import Source, save_sources
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.munin.tables.journal import HashSet, withdraw_all_failures
from odins_ravne_assets.munin.workload import remaining_work
from odins_ravne_assets.munin.workload.remaining_work import needs_machine
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import run_step
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore

DETECTOR, CLASSIFIER = "megadetector-lite on onnxruntime", "efficientnet-lite3 on onnxruntime"
ALL = ("footage", "detections", "classifications", "observations")


@dataclass
class Log:
    """A reporter that records the log of a step."""

    lines: list[str] = field(default_factory=list)

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


@dataclass(frozen=True)
class Pass:
    """The metadata and the log of one run of a camera's stages."""

    metadata: Mapping[str, Mapping[str, Any]]  # by stage
    log: list[str]

    @property
    def newly_processed(self) -> int:
        return int(self.metadata["detections"]["media/newly_looked_at"])

    def loaded(self, model: str) -> bool:
        return any(model in line for line in self.log)


class Card:
    """A camera's footage and its output."""

    def __init__(self, root: Path) -> None:
        self.footage, self.output = root / "card", root / "out"

    def run(self, *stages: str, update: bool = True, **overrides: Any) -> Pass:
        """Run stages, by default all; `a__b` is the key pipeline.a.b of the profile.

        Args:
            update: see StepContext.
        """
        keys = {f"pipeline.{name.replace('__', '.')}": text for name, text in overrides.items()}
        log = Log()
        camera = Camera("card", self.footage.as_uri(), self.output.as_uri())
        context = StepContext(camera, load_profile("local", keys, {}), log, Event(), update=update)
        results = dict(run_step(context, list(stages or ALL)))
        return Pass({stage: result.metadata for stage, result in results.items()}, log.lines)

    def needs_machine(self, *stages: str, **overrides: Any) -> bool:
        """Return True if stages, by default all, need more than to write tables."""
        keys = {f"pipeline.{name.replace('__', '.')}": text for name, text in overrides.items()}
        stores = LocalStore(self.footage), LocalStore(self.output)
        profile = load_profile("local", keys, {})
        return needs_machine("card", stages or ALL, *stores, profile)

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.output / "tables" / f"{name}.parquet")


@pytest.fixture(scope="module")
def processed_card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """Process the demo's footage once. Read only: see `card`."""
    card = Card(tmp_path_factory.mktemp("processed"))
    make_demo_footage(card.footage)
    assert card.run().newly_processed == 6
    return card


@pytest.fixture
def card(processed_card: Card, tmp_path: Path) -> Card:
    """Return a copy of the processed card, dates included."""
    copy = Card(tmp_path)
    shutil.copytree(processed_card.footage, copy.footage)
    shutil.copytree(processed_card.output, copy.output)
    # The original is still there: without this, the copy would be a further source.
    save_sources(LocalStore(copy.output), "card", [Source("card", copy.footage.as_uri())])
    return copy


def test_unchanged_footage_runs_no_model_and_gives_the_same_bytes(card: Card) -> None:
    before = results(card.output)
    again = card.run()
    assert again.newly_processed == 0
    assert again.metadata["classifications"]["boxes/newly_labelled"] == 0
    assert not again.loaded("onnxruntime")
    assert results(card.output) == before


def test_finished_work_needs_no_machine(card: Card) -> None:
    assert not any(card.needs_machine(stage) for stage in ALL)
    assert not card.needs_machine(*ALL[1:])
    assert not card.needs_machine(*ALL[1:], stage3__compression_window=30)


def test_new_work_needs_a_machine(card: Card) -> None:
    assert card.needs_machine(*ALL[1:], stage1__conf_threshold=0.3)
    assert card.needs_machine(*ALL[1:], stage2__auto_ok_threshold=0.9)
    assert card.needs_machine("classifications", stage2__auto_ok_threshold=0.9)
    assert not card.needs_machine("detections", stage2__auto_ok_threshold=0.9)
    write_picture(card.footage / "new.jpg")
    assert card.needs_machine("footage")


def test_results_of_another_engine_count(card: Card) -> None:
    """Engines agree within a tolerance: a camera that a CPU has begun continues on a GPU."""
    assert not card.needs_machine("detections", stage1__engine="auto")
    assert not card.needs_machine("detections", stage1__engine="tensorrt")


def test_a_run_that_waited_for_an_update_keeps_the_new_settings(card: Card) -> None:
    """Its request was made before; it gets the lock when the update has ended."""
    updated = card.run(stage1__conf_threshold=0.9)
    assert updated.newly_processed == 6
    write_picture(card.footage / "new.jpg")
    waited = card.run(update=False)
    assert waited.newly_processed == 1
    assert any("another run has updated the results meanwhile: " in line for line in waited.log)
    record = json.loads((card.output / "journal/settings/stage1.json").read_text())
    assert record["depends_on"]["conf_threshold"] == 0.9


def test_a_journal_that_version_0_1_0_made_on_a_gpu_counts(card: Card) -> None:
    """Its key has the name of that engine: a GPU's results must not be billed again."""
    profile = load_profile("local", {}, {})
    ours, theirs = stage1_keys(stage1_dependencies(profile))
    before = results(card.output)
    (card.output / "journal/stage1" / ours).rename(card.output / "journal/stage1" / theirs)
    [labels] = (card.output / "journal/stage2").iterdir()
    labels.rename(labels.with_name(stage2_key(profile, theirs)))
    assert not card.needs_machine(*ALL[1:])
    write_picture(card.footage / "new.jpg")
    assert card.run().newly_processed == 1
    assert [each.name for each in (card.output / "journal/stage1").iterdir()] == [theirs]
    assert results(card.output).keys() == before.keys()


def test_the_first_run_needs_a_machine(tmp_path: Path) -> None:
    card = Card(tmp_path)
    write_picture(card.footage / "IMG_0001.JPG")
    assert all(card.needs_machine(stage) for stage in ALL[:3])


def test_a_damaged_file_alone_needs_no_machine_unless_it_is_large(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card.footage / "damaged.jpg").write_bytes(b"no picture")
    assert card.needs_machine("footage")
    card.run("footage")
    assert not card.needs_machine("footage")
    monkeypatch.setattr(remaining_work, "MAX_RETRY_BYTES", 5)
    assert card.needs_machine("footage")


def test_an_added_file_alone_is_processed(card: Card) -> None:
    write_picture(card.footage / "DCIM" / "100MEDIA" / "IMAG0007.JPG", (320, 240))
    assert card.run().newly_processed == 1
    assert processed(card.output)["DCIM/100MEDIA/IMAG0007.JPG"] == ("done", None)
    assert len(processed(card.output)) == 7


def test_the_media_of_a_new_folder_alone_are_processed(card: Card) -> None:
    for number in range(3):
        still = card.footage / "DCIM" / "101MEDIA" / f"IMAG000{number}.JPG"
        write_picture(still, (320, 240), shift=number)
    assert card.run().newly_processed == 3
    assert len(processed(card.output)) == 9


def test_a_renamed_file_is_not_processed_and_its_rows_have_the_new_name(card: Card) -> None:
    before = card.table("classifications")
    folder = card.footage / "DCIM" / "100MEDIA"
    (folder / "IMAG0001.JPG").rename(folder / "fox.jpg")
    again = card.run()
    assert again.newly_processed == 0
    assert not again.loaded("onnxruntime")
    renamed = pl.col("path").replace("DCIM/100MEDIA/IMAG0001.JPG", "DCIM/100MEDIA/fox.jpg")
    expected = before.with_columns(renamed).sort("path", "frame_number", "box_number")
    assert card.table("classifications").equals(expected)
    assert "DCIM/100MEDIA/fox.jpg" in expected["path"]


def test_a_removed_file_has_no_rows_and_is_not_processed_again_when_it_returns(card: Card) -> None:
    before = results(card.output)
    still = card.footage / "DCIM" / "100MEDIA" / "IMAG0001.JPG"
    moved = still.rename(card.output / "moved")
    assert card.run().newly_processed == 0
    for name in ("media", "processed", "frames", "detections", "classifications"):
        assert "DCIM/100MEDIA/IMAG0001.JPG" not in card.table(name)["path"]
    moved.rename(still)
    assert card.run().newly_processed == 0
    assert results(card.output) == before


def test_a_changed_file_is_processed_again(card: Card) -> None:
    still = card.footage / "DCIM" / "100MEDIA" / "IMAG0001.JPG"
    write_picture(still, (320, 240))
    assert card.run().newly_processed == 1
    assert still.name not in {Path(path).name for path in card.table("detections")["path"]}


def test_a_second_copy_of_a_file_is_not_processed(card: Card) -> None:
    folder = card.footage / "DCIM" / "100MEDIA"
    shutil.copy(folder / "IMAG0001.JPG", folder / "IMAG0001 copy.JPG")
    assert card.run().newly_processed == 0
    statuses = processed(card.output)
    assert statuses["DCIM/100MEDIA/IMAG0001.JPG"] == (
        "duplicate",
        "same content as DCIM/100MEDIA/IMAG0001 copy.JPG",
    )


def test_the_next_card_adds_and_its_removal_gives_the_results_of_before(
    card: Card, tmp_path: Path
) -> None:
    before, stills = results(card.output), processed(card.output)
    visits = card.output / "stage3" / "observations.parquet"
    known = set(pl.read_parquet(visits)["observation_id"])
    following = Card(tmp_path)
    following.footage = tmp_path / "20260601"
    write_picture(following.footage / "DCIM" / "100MEDIA" / "IMAG0001.JPG", (320, 240))
    added = following.run()
    assert added.newly_processed == 1
    assert "added source 20260601 (2 sources)" in "\n".join(added.log)
    new = "20260601/DCIM/100MEDIA/IMAG0001.JPG"
    assert set(processed(card.output)) == {new, *(f"card/{path}" for path in stills)}
    assert known <= set(pl.read_parquet(visits)["observation_id"])
    shutil.move(card.footage, tmp_path / "in a drawer")
    both = results(card.output)
    assert following.run().newly_processed == 0
    assert results(card.output) == both
    remove_source(LocalStore(card.output), "20260601", on_wait=lambda: None)
    card.run(*ALL[1:])
    assert results(card.output) == before


def test_a_failed_medium_is_retried_on_request(tmp_path: Path) -> None:
    card = Card(tmp_path)
    write_picture(card.footage / "IMG_0001.JPG", (4000, 3000))
    first = card.run(stage1__decode_timeout=1e-6)
    assert first.newly_processed == 1
    assert card.table("processed")["status"].to_list() == ["failed"]
    assert card.run().newly_processed == 0
    assert withdraw_all_failures(LocalStore(card.output)) == 1
    assert card.run().newly_processed == 1
    assert card.table("processed")["status"].to_list() == ["done"]
    assert withdraw_all_failures(LocalStore(card.output)) == 0


def test_another_threshold_processes_all_media_and_the_old_one_finds_its_results(
    card: Card,
) -> None:
    before = results(card.output)
    keys = {path.name for path in (card.output / "journal" / "stage1").iterdir()}
    assert card.run(stage1__conf_threshold=0.9).newly_processed == 6
    assert len(list((card.output / "journal" / "stage1").iterdir())) == len(keys) + 1
    assert (card.table("detections")["confidence"] >= 0.9).all()
    back = card.run()
    assert back.newly_processed == 0
    assert not back.loaded("onnxruntime")
    assert results(card.output) == before


def test_settings_that_change_no_result_process_nothing(card: Card) -> None:
    assert card.run(stage1__batch_size=3, stage1__decode_workers=2).newly_processed == 0


def test_another_threshold_of_labels_needs_no_footage(card: Card) -> None:
    shutil.rmtree(card.footage)
    before = card.table("classifications")
    again = card.run("classifications", stage2__auto_ok_threshold=0.99)
    assert again.metadata["classifications"]["boxes/newly_labelled"] > 0
    assert again.loaded(CLASSIFIER) and not again.loaded(DETECTOR)
    after = card.table("classifications")
    assert after.drop("auto_ok").equals(before.drop("auto_ok"))
    assert after["auto_ok"].sum() < before["auto_ok"].sum()


def test_stage_2_alone_labels_the_boxes_of_the_table(card: Card) -> None:
    card.run("footage", "detections", stage1__conf_threshold=0.6)
    # As `munin stage2` does, without the settings of Stage 1.
    card.run("classifications")
    boxes, labels = card.table("detections"), card.table("classifications")
    assert labels["detection_id"].to_list() == boxes["detection_id"].to_list()


def test_another_window_runs_no_model(card: Card) -> None:
    shutil.rmtree(card.footage)
    shutil.rmtree(card.output / "journal")
    before = card.run("observations").metadata["observations"]["visits/total"]
    again = card.run("observations", stage3__compression_window=0.1)
    assert [line.partition(":")[0] for line in again.log] == ["observations"]
    assert again.metadata["observations"]["visits/total"] > before


@pytest.mark.parametrize("zeros", [0, 1, 2, 16])
def test_a_hash_whose_first_half_ends_in_zeros_is_found(zeros: int) -> None:
    content_hash = "ab" * (16 - zeros) + "00" * zeros + "cd" * 16
    other = "ab" * 15 + "01" + "cd" * 16
    finished = HashSet([pl.Series([content_hash])])
    assert content_hash in finished
    assert other not in finished
