"""A damaged file that a stage meets is named, deleted and made again."""

from pathlib import Path
from threading import Event

import pytest
from finished_camera import Results, profile

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker import step
from odins_ravne_assets.worker.context import StageResult, StepContext
from resources.errors import StoreError
from resources.storage.parquet_files import read_parquet


class Warnings(list[str]):
    """A reporter that records warnings."""

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        self.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


class Stage:
    """A stage that reads all files of the journal, as on S3, where no file is checked before."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, context: StepContext) -> StageResult:
        self.runs += 1
        for stored in context.output.list("journal"):
            if stored.key.endswith(".parquet"):
                with context.output.reading(stored.key) as path:
                    read_parquet(path)
        return StageResult({}, [], "1")


@pytest.fixture
def finished(tmp_path: Path) -> tuple[StepContext, Warnings]:
    """The context of a camera with a finished part."""
    (tmp_path / "card").mkdir()
    Results(tmp_path / "out").add(profile())
    camera = Camera("a", (tmp_path / "card").as_uri(), (tmp_path / "out").as_uri())
    warnings = Warnings()
    return StepContext(camera, profile(), warnings, Event()), warnings


def damage(context: StepContext, kind: str) -> str:
    """Overwrite the pages of a file in the journal, but not its footer; return its key."""
    (key,) = (each.key for each in context.output.list("journal") if f".{kind}." in each.key)
    data = bytearray(context.output.read_bytes(key))
    data[:60] = bytes(60)
    context.output.write_bytes(key, bytes(data))
    return key


@pytest.mark.parametrize(
    ("stage", "kind"), [("detections", "media"), ("classifications", "labels")]
)
def test_the_stage_that_made_a_damaged_part_makes_it_again(
    finished: tuple[StepContext, Warnings],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    kind: str,
) -> None:
    context, warnings = finished
    reads = Stage()
    monkeypatch.setitem(step.STAGES, stage, reads)
    key = damage(context, kind)
    assert [name for name, _ in step.run_step(context, [stage])] == [stage]
    assert reads.runs == 2
    (warning,) = warnings
    assert warning.startswith(f"{key} (") and warning.endswith("is damaged: it is made again")
    assert not context.output.exists(key)


def test_another_stage_names_the_part_and_the_next_run_makes_it_again(
    finished: tuple[StepContext, Warnings], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = finished
    reads = Stage()
    monkeypatch.setitem(step.STAGES, "observations", reads)
    key = damage(context, "media")
    with pytest.raises(StoreError, match=r"damaged and deleted: .*; run again to make it again"):
        list(step.run_step(context, ["observations"]))
    assert reads.runs == 1
    assert not context.output.exists(key)
    assert list(step.run_step(context, ["observations"]))


def test_an_error_without_a_damaged_file_is_raised_once(
    finished: tuple[StepContext, Warnings], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, warnings = finished

    def fail(context: StepContext) -> StageResult:
        read_parquet(Path(__file__))
        raise AssertionError

    monkeypatch.setitem(step.STAGES, "detections", fail)
    with pytest.raises(StoreError, match=r"test_step\.py: is damaged"):
        list(step.run_step(context, ["detections"]))
    assert warnings == []
