"""The timing of Stages 1 and 2, and runs whose GPU cannot be used."""

from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from gpu_kernels.device.gpu import find_gpu
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import (
    ENGINE_BUSY,
    ENGINE_WAIT,
    INFERENCE,
    INPUT_WAIT,
    SAVING,
    STAGE1_STEPS,
    STAGE2_STEPS,
    StageTiming,
)
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.step import run_step
from resources.errors import EngineError
from resources.settings.loader import load_profile


class RecordingReporter:
    """Records the log of a step."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


@pytest.fixture(scope="module")
def footage_folder(
    tmp_path_factory: pytest.TempPathFactory, make_picture: Any, make_video: Any
) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    make_picture(folder / "still.jpg")
    make_video(folder / "clip.mp4")
    return folder


def run(footage: Path, output: Path, reporter: RecordingReporter, **stage1: Any) -> StageResult:
    overrides = {f"pipeline.stage1.{key}": value for key, value in stage1.items()}
    context = StepContext(
        Camera("a", footage.as_uri(), output.as_uri()),
        load_profile("local", overrides, environ={}),
        reporter,
        Event(),
    )
    return dict(run_step(context, ["footage", "detections"]))["detections"]


def test_a_stage_reports_seconds_by_step_and_queue_depths(
    footage_folder: Path, tmp_path: Path
) -> None:
    reporter = RecordingReporter()
    metadata = run(footage_folder, tmp_path, reporter, batch_size=4).metadata
    seconds = {key: metadata[key] for key in metadata if key.startswith("pipeline/seconds_")}
    assert len(seconds) == 8
    assert metadata["pipeline/seconds_fitting_pictures"] > 0  # type: ignore[operator]
    assert 1 <= metadata["pipeline/fitted_pictures_waiting_most"] <= 2  # type: ignore[operator]
    assert metadata["pipeline/seconds_decoding"] > 0
    assert all(isinstance(value, float) and value >= 0 for value in seconds.values())
    assert metadata["pipeline/seconds_in_engines"] > 0  # type: ignore[operator]
    assert 0 < metadata["pipeline/engine_busy_share"] <= 1  # type: ignore[operator]
    assert metadata["pipeline/frames_that_may_wait"] == 8
    assert 1 <= metadata["pipeline/frames_waiting_most"] <= 8  # type: ignore[operator]
    (line,) = [line for line in reporter.infos if line.startswith("time by step: ")]
    assert "% waiting for engines" in line and "% waiting for frames" in line
    assert "% fitting pictures" in line and line.endswith("% cutting crops")
    assert reporter.warnings == []


def test_stage_2_reports_its_seconds_and_the_depth_of_its_queue_of_crops() -> None:
    timing = StageTiming(STAGE2_STEPS)
    with BackgroundWorker(str.upper, 2, timing.crops) as reader:
        assert list(reader.map("abc")) == ["A", "B", "C"]
    timing.add(ENGINE_BUSY, 1.0)
    timing.add(ENGINE_WAIT, 1.0)
    metadata = timing.metadata()
    assert metadata["pipeline/crop_batches_that_may_wait"] == 2
    assert 1 < metadata["pipeline/crop_batches_waiting_mean"] <= 2
    assert metadata["pipeline/seconds_reading_crops"] >= 0
    assert metadata["pipeline/engine_busy_share"] == 1.0
    assert not any(key.startswith("pipeline/frames") for key in metadata)
    # A GPU fits pictures itself, without a queue.
    assert not any("fit" in key for key in metadata)


def test_a_stage_without_new_media_reports_no_times(footage_folder: Path, tmp_path: Path) -> None:
    run(footage_folder, tmp_path, RecordingReporter())
    again = run(footage_folder, tmp_path, RecordingReporter()).metadata
    assert not [key for key in again if key.startswith("pipeline/")]


def test_preparing_is_the_time_of_inference_without_the_engines() -> None:
    timing = StageTiming(STAGE1_STEPS)
    timing.frames.record(3)
    timing.frames.record(8)
    for step, seconds in ((INFERENCE, 5.0), (ENGINE_WAIT, 3.0), (INPUT_WAIT, 2.0), (SAVING, 3.0)):
        timing.add(step, seconds)
    timing.add(ENGINE_BUSY, 4.0)  # a GPU computes in parallel
    metadata = timing.metadata()
    assert metadata["pipeline/seconds_preparing_pictures"] == 2.0
    assert metadata["pipeline/seconds_waiting_for_engines"] == 3.0
    assert metadata["pipeline/engine_busy_share"] == 0.4
    assert metadata["pipeline/frames_waiting_mean"] == 5.5
    assert metadata["pipeline/frames_waiting_most"] == 8
    assert str(timing).startswith("time by step: 20% waiting for frames, 30% waiting for eng")


def test_the_time_of_a_context_is_added_to_its_step() -> None:
    timing = StageTiming(STAGE2_STEPS)
    with timing.timed(INPUT_WAIT):
        sleep(0.02)
    with timing.crops.timed():
        sleep(0.02)
    assert timing.seconds[INPUT_WAIT] >= 0.02 and timing.crops.seconds >= 0.02


def test_a_gpu_that_cannot_be_used_fails_the_run_with_the_way_out(
    footage_folder: Path, tmp_path: Path
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"no GPU: .*engine: onnxruntime"):
        run(footage_folder, tmp_path, RecordingReporter(), engine="tensorrt")


def test_with_engine_fallback_the_run_continues_on_the_cpu_with_a_warning(
    footage_folder: Path, tmp_path: Path
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    reporter = RecordingReporter()
    result = run(footage_folder, tmp_path, reporter, engine="tensorrt", engine_fallback=True)
    assert result.metadata["media/done"] == 2
    (warning,) = reporter.warnings
    assert warning.startswith("no GPU: ") and "falling back to onnxruntime" in warning
    # The results are in the CPU's journal: a run on the CPU has nothing left to do.
    again = run(footage_folder, tmp_path, RecordingReporter(), engine="onnxruntime")
    assert again.metadata["media/newly_looked_at"] == 0
