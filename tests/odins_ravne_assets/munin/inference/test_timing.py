"""Where Stage 1's time goes, and what becomes of a run whose GPU cannot be used."""

from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from gpu_kernels.device.gpu import find_gpu
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import (
    ENGINE_WAIT,
    ENGINE_BUSY,
    SAVING,
    STAGE2_STEPS,
    INFERENCE,
    STAGE1_STEPS,
    INPUT_WAIT,
    StageTiming,
)
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.step import run_step
from resources.errors import EngineError
from resources.settings.loader import load_profile


class Heard:
    """Keeps what a step says."""

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


def run(footage: Path, output: Path, heard: Heard, **stage1: Any) -> StageResult:
    overrides = {f"pipeline.stage1.{key}": value for key, value in stage1.items()}
    context = StepContext(
        Camera("a", footage.as_uri(), output.as_uri()),
        load_profile("local", overrides, environ={}),
        heard,
        Event(),
    )
    return dict(run_step(context, ["footage", "detections"]))["detections"]


def test_a_stage_tells_where_its_time_went_and_how_many_frames_waited(
    footage_folder: Path, tmp_path: Path
) -> None:
    heard = Heard()
    facts = run(footage_folder, tmp_path, heard, batch_size=4).metadata
    seconds = {key: facts[key] for key in facts if key.startswith("pipeline/seconds_")}
    assert len(seconds) == 8
    assert facts["pipeline/seconds_fitting_pictures"] > 0  # type: ignore[operator]
    assert 1 <= facts["pipeline/fitted_pictures_waiting_most"] <= 2  # type: ignore[operator]
    assert facts["pipeline/seconds_decoding"] > 0
    assert all(isinstance(value, float) and value >= 0 for value in seconds.values())
    assert facts["pipeline/seconds_in_engines"] > 0  # type: ignore[operator]
    assert 0 < facts["pipeline/engine_busy_share"] <= 1  # type: ignore[operator]
    assert facts["pipeline/frames_that_may_wait"] == 8
    assert 1 <= facts["pipeline/frames_waiting_most"] <= 8  # type: ignore[operator]
    (line,) = [line for line in heard.infos if line.startswith("where the time went: ")]
    assert "% waiting for engines" in line and "% waiting for frames" in line
    assert "% fitting pictures" in line and line.endswith("% cutting crops")
    assert heard.warnings == []


def test_labelling_tells_its_time_and_how_many_batches_of_crops_were_read_ahead() -> None:
    pace = StageTiming(STAGE2_STEPS)
    with BackgroundWorker(str.upper, 2, pace.crops) as reading:
        assert list(reading.through("abc")) == ["A", "B", "C"]
    pace.add(ENGINE_BUSY, 1.0)
    pace.add(ENGINE_WAIT, 1.0)
    facts = pace.facts()
    assert facts["pipeline/crop_batches_that_may_wait"] == 2
    assert 1 < facts["pipeline/crop_batches_waiting_mean"] <= 2
    assert facts["pipeline/seconds_reading_crops"] >= 0
    assert facts["pipeline/engine_busy_share"] == 1.0
    assert not any(key.startswith("pipeline/frames") for key in facts)
    # A GPU fits pictures itself: there is no such queue.
    assert not any("fit" in key for key in facts)


def test_a_stage_with_nothing_new_to_look_at_tells_no_times(
    footage_folder: Path, tmp_path: Path
) -> None:
    run(footage_folder, tmp_path, Heard())
    again = run(footage_folder, tmp_path, Heard()).metadata
    assert not [key for key in again if key.startswith("pipeline/")]


def test_preparing_is_what_looking_takes_beside_the_engines() -> None:
    pace = StageTiming(STAGE1_STEPS)
    pace.frames.seen(3)
    pace.frames.seen(8)
    for step, seconds in ((INFERENCE, 5.0), (ENGINE_WAIT, 3.0), (INPUT_WAIT, 2.0), (SAVING, 3.0)):
        pace.add(step, seconds)
    pace.add(ENGINE_BUSY, 4.0)  # a GPU went on while something else was done
    facts = pace.facts()
    assert facts["pipeline/seconds_preparing_pictures"] == 2.0
    assert facts["pipeline/seconds_waiting_for_engines"] == 3.0
    assert facts["pipeline/engine_busy_share"] == 0.4
    assert facts["pipeline/frames_waiting_mean"] == 5.5
    assert facts["pipeline/frames_waiting_most"] == 8
    assert str(pace).startswith("where the time went: 20% waiting for frames, 30% waiting for eng")


def test_what_happens_inside_a_step_is_timed() -> None:
    pace = StageTiming(STAGE2_STEPS)
    with pace.timed(INPUT_WAIT):
        sleep(0.02)
    with pace.crops.timed():
        sleep(0.02)
    assert pace.seconds[INPUT_WAIT] >= 0.02 and pace.crops.seconds >= 0.02


def test_a_gpu_that_cannot_be_used_fails_the_run_with_the_way_out(
    footage_folder: Path, tmp_path: Path
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"no GPU: .*engine: onnxruntime"):
        run(footage_folder, tmp_path, Heard(), engine="tensorrt")


def test_with_engine_fallback_the_cpu_goes_on_and_it_is_said(
    footage_folder: Path, tmp_path: Path
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    heard = Heard()
    result = run(footage_folder, tmp_path, heard, engine="tensorrt", engine_fallback=True)
    assert result.metadata["media/done"] == 2
    (warning,) = heard.warnings
    assert warning.startswith("no GPU: ") and "falling back to onnxruntime" in warning
    # Its answers are those of the CPU, in their journal: asked for the CPU, nothing is left to do.
    again = run(footage_folder, tmp_path, Heard(), engine="onnxruntime")
    assert again.metadata["media/newly_looked_at"] == 0
