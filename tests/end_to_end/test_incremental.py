"""What was looked at is not looked at again, and what changed is all that is."""

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
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.munin.tables.journal import HashSet, withdraw_all_failures
from odins_ravne_assets.munin.workload import remaining_work
from odins_ravne_assets.munin.workload.remaining_work import engine_with_results
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import run_step
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore

DETECTOR, CLASSIFIER = "megadetector-lite on onnxruntime", "efficientnet-lite3 on onnxruntime"
ALL = ("footage", "detections", "classifications", "observations")


@dataclass
class Log:
    """Hears what a step says."""

    lines: list[str] = field(default_factory=list)

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


@dataclass(frozen=True)
class Pass:
    """What came of running a camera's stages once: the metadata in Dagster, and the log."""

    facts: Mapping[str, Mapping[str, Any]]  # of each stage
    log: list[str]

    @property
    def looked_at(self) -> int:
        return int(self.facts["detections"]["media/newly_looked_at"])

    def loaded(self, model: str) -> bool:
        return any(model in line for line in self.log)


class Card:
    """A camera's footage and its output."""

    def __init__(self, root: Path) -> None:
        self.footage, self.output = root / "card", root / "out"

    def run(self, *stages: str, **overrides: Any) -> Pass:
        """Run stages, all when none is named; `a__b` is the profile's key pipeline.a.b."""
        keys = {f"pipeline.{name.replace('__', '.')}": text for name, text in overrides.items()}
        log = Log()
        camera = Camera("card", self.footage.as_uri(), self.output.as_uri())
        context = StepContext(camera, load_profile("local", keys, {}), log, Event())
        results = dict(run_step(context, list(stages or ALL)))
        return Pass({stage: result.metadata for stage, result in results.items()}, log.lines)

    def takes_machine(self, *stages: str, **overrides: Any) -> bool:
        """Whether stages, all when none is named, need more than to write tables."""
        keys = {f"pipeline.{name.replace('__', '.')}": text for name, text in overrides.items()}
        stores = LocalStore(self.footage), LocalStore(self.output)
        profile = load_profile("local", keys, {})
        return engine_with_results("card", stages or ALL, *stores, profile) is None

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.output / "tables" / f"{name}.parquet")


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """The demo's footage, looked at once. Not to be changed: see `card`."""
    card = Card(tmp_path_factory.mktemp("looked-at"))
    make_demo_footage(card.footage)
    assert card.run().looked_at == 6
    return card


@pytest.fixture
def card(looked_at: Card, tmp_path: Path) -> Card:
    """A copy of what was looked at once, dates included."""
    copy = Card(tmp_path)
    shutil.copytree(looked_at.footage, copy.footage)
    shutil.copytree(looked_at.output, copy.output)
    return copy


def test_unchanged_footage_costs_no_inference_and_gives_the_same_bytes(card: Card) -> None:
    before = results(card.output)
    again = card.run()
    assert again.looked_at == 0
    assert again.facts["classifications"]["boxes/newly_labelled"] == 0
    assert not again.loaded("onnxruntime")
    assert results(card.output) == before


def test_what_is_finished_takes_no_machine(card: Card) -> None:
    assert not any(card.takes_machine(stage) for stage in ALL)
    assert not card.takes_machine(*ALL[1:])
    assert not card.takes_machine(*ALL[1:], stage3__compression_window=30)


def test_what_is_new_takes_a_machine(card: Card) -> None:
    assert card.takes_machine(*ALL[1:], stage1__conf_threshold=0.3)
    assert card.takes_machine(*ALL[1:], stage2__auto_ok_threshold=0.9)
    assert card.takes_machine("classifications", stage2__auto_ok_threshold=0.9)
    assert not card.takes_machine("detections", stage2__auto_ok_threshold=0.9)
    write_picture(card.footage / "new.jpg")
    assert card.takes_machine("footage")


def test_answers_of_an_engine_that_is_not_meant_do_not_count(card: Card) -> None:
    assert not card.takes_machine("detections", stage1__engine="auto")
    assert card.takes_machine("detections", stage1__engine="tensorrt")
    assert not card.takes_machine(
        "detections", stage1__engine="tensorrt", stage1__engine_fallback=True
    )


def test_before_anything_is_known_a_machine_is_taken(tmp_path: Path) -> None:
    card = Card(tmp_path)
    write_picture(card.footage / "IMG_0001.JPG")
    assert all(card.takes_machine(stage) for stage in ALL[:3])


def test_a_damaged_file_alone_takes_no_machine_unless_it_is_large(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card.footage / "damaged.jpg").write_bytes(b"no picture")
    assert card.takes_machine("footage")
    card.run("footage")
    assert not card.takes_machine("footage")
    monkeypatch.setattr(remaining_work, "MAX_RETRY_BYTES", 5)
    assert card.takes_machine("footage")


def test_an_added_file_costs_one_file(card: Card) -> None:
    write_picture(card.footage / "DCIM" / "100MEDIA" / "IMAG0007.JPG", (320, 240))
    assert card.run().looked_at == 1
    assert processed(card.output)["DCIM/100MEDIA/IMAG0007.JPG"] == ("done", None)
    assert len(processed(card.output)) == 7


def test_a_new_folder_on_the_card_costs_its_media_alone(card: Card) -> None:
    for number in range(3):
        still = card.footage / "DCIM" / "101MEDIA" / f"IMAG000{number}.JPG"
        write_picture(still, (320, 240), shift=number)
    assert card.run().looked_at == 3
    assert len(processed(card.output)) == 9


def test_a_renamed_file_costs_nothing_and_its_rows_have_the_new_name(card: Card) -> None:
    before = card.table("classifications")
    folder = card.footage / "DCIM" / "100MEDIA"
    (folder / "IMAG0001.JPG").rename(folder / "fox.jpg")
    again = card.run()
    assert again.looked_at == 0
    assert not again.loaded("onnxruntime")
    renamed = pl.col("path").replace("DCIM/100MEDIA/IMAG0001.JPG", "DCIM/100MEDIA/fox.jpg")
    expected = before.with_columns(renamed).sort("path", "frame_number", "box_number")
    assert card.table("classifications").equals(expected)
    assert "DCIM/100MEDIA/fox.jpg" in expected["path"]


def test_a_removed_file_takes_its_rows_along_and_costs_nothing_when_it_is_back(card: Card) -> None:
    before = results(card.output)
    still = card.footage / "DCIM" / "100MEDIA" / "IMAG0001.JPG"
    put_away = still.rename(card.output / "put-away")
    assert card.run().looked_at == 0
    for name in ("media", "processed", "frames", "detections", "classifications"):
        assert "DCIM/100MEDIA/IMAG0001.JPG" not in card.table(name)["path"]
    put_away.rename(still)
    assert card.run().looked_at == 0
    assert results(card.output) == before


def test_a_changed_file_is_looked_at_again(card: Card) -> None:
    still = card.footage / "DCIM" / "100MEDIA" / "IMAG0001.JPG"
    write_picture(still, (320, 240))
    assert card.run().looked_at == 1
    assert still.name not in {Path(path).name for path in card.table("detections")["path"]}


def test_a_second_copy_of_a_file_costs_nothing(card: Card) -> None:
    folder = card.footage / "DCIM" / "100MEDIA"
    shutil.copy(folder / "IMAG0001.JPG", folder / "IMAG0001 copy.JPG")
    assert card.run().looked_at == 0
    fates = processed(card.output)
    assert fates["DCIM/100MEDIA/IMAG0001.JPG"] == (
        "duplicate",
        "same content as DCIM/100MEDIA/IMAG0001 copy.JPG",
    )


def test_a_failed_medium_is_looked_at_again_when_that_is_asked_for(tmp_path: Path) -> None:
    card = Card(tmp_path)
    write_picture(card.footage / "IMG_0001.JPG", (4000, 3000))
    hasty = card.run(stage1__decode_timeout=1e-6)
    assert hasty.looked_at == 1
    assert card.table("processed")["status"].to_list() == ["failed"]
    assert card.run().looked_at == 0
    assert withdraw_all_failures(LocalStore(card.output)) == 1
    assert card.run().looked_at == 1
    assert card.table("processed")["status"].to_list() == ["done"]
    assert withdraw_all_failures(LocalStore(card.output)) == 0


def test_another_threshold_looks_at_everything_and_going_back_costs_nothing(card: Card) -> None:
    before = results(card.output)
    keys = {path.name for path in (card.output / "journal" / "stage1").iterdir()}
    assert card.run(stage1__conf_threshold=0.9).looked_at == 6
    assert len(list((card.output / "journal" / "stage1").iterdir())) == len(keys) + 1
    assert (card.table("detections")["confidence"] >= 0.9).all()
    back = card.run()
    assert back.looked_at == 0
    assert not back.loaded("onnxruntime")
    assert results(card.output) == before


def test_settings_that_change_no_answer_cost_nothing(card: Card) -> None:
    assert card.run(stage1__batch_size=3, stage1__decode_workers=2).looked_at == 0


def test_another_threshold_of_labels_needs_no_footage(card: Card) -> None:
    shutil.rmtree(card.footage)
    before = card.table("classifications")
    again = card.run("classifications", stage2__auto_ok_threshold=0.99)
    assert again.facts["classifications"]["boxes/newly_labelled"] > 0
    assert again.loaded(CLASSIFIER) and not again.loaded(DETECTOR)
    after = card.table("classifications")
    assert after.drop("auto_ok").equals(before.drop("auto_ok"))
    assert after["auto_ok"].sum() < before["auto_ok"].sum()


def test_stage_2_alone_labels_the_boxes_that_are_in_the_table(card: Card) -> None:
    card.run("footage", "detections", stage1__conf_threshold=0.6)
    # As `munin stage2` runs it: what Stage 1 was told is not said again.
    card.run("classifications")
    boxes, labels = card.table("detections"), card.table("classifications")
    assert labels["detection_id"].to_list() == boxes["detection_id"].to_list()


def test_another_window_runs_no_model(card: Card) -> None:
    shutil.rmtree(card.footage)
    shutil.rmtree(card.output / "journal")
    before = card.run("observations").facts["observations"]["visits/total"]
    again = card.run("observations", stage3__compression_window=0.1)
    assert [line.partition(":")[0] for line in again.log] == ["observations"]
    assert again.facts["observations"]["visits/total"] > before


@pytest.mark.parametrize("zeros", [0, 1, 2, 16])
def test_the_journal_knows_a_hash_whose_first_half_ends_in_zeros(zeros: int) -> None:
    content_hash = "ab" * (16 - zeros) + "00" * zeros + "cd" * 16
    other = "ab" * 15 + "01" + "cd" * 16
    finished = HashSet([pl.Series([content_hash])])
    assert content_hash in finished
    assert other not in finished
