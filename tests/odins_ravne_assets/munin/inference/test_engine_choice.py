"""The engine of a camera's models: full TensorRT, then TensorRT-RTX, then the CPU.

The GPU is onnxruntime behind the kernels, on the device `cpu`; a machine says what each kind of
engine does there. Stages, models, check and stores are real.
"""

import json
from collections.abc import Collection
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine

from gpu_kernels.device.gpu import Gpu
from gpu_kernels.engines.engine import Engine, EngineKind, open_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import EngineRecord
from gpu_kernels.engines.tensorrt_api import NotInstalledError
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineBuildError, EngineKey
from gpu_kernels.models.manifest import ModelManifest
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.demo.footage import read_sample
from odins_ravne_assets.munin.progress import Metadata, StageProgress
from odins_ravne_assets.worker import models
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import run_step
from resources.errors import EngineError
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore

DETECTOR = "ssd-mobilenet-v2-cam16"
WORKS, MISSING, REFUSES, WRONG = "works", "missing", "refuses", "wrong"


class Zeros:
    """A network whose answers are zero."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, images: Any) -> list[Any]:
        return [np.zeros_like(each) for each in self._engine.run(images)]


class Machine:
    """A machine with a GPU.

    Args:
        full, rtx: what TensorRT and TensorRT-RTX do there.
        only: the model with which they do it; they run others. All if None.
    """

    def __init__(self, full: str, rtx: str, only: str | None = None) -> None:
        self._does, self._only = {"tensorrt": full, "tensorrt-rtx": rtx}, only
        self.opened: list[str] = []
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def open_engine(
        self,
        manifest: ModelManifest,
        kind: EngineKind,
        threads: int | None,
        engines: EngineCache | None,
        batches: BatchSizes,
        shared_by: Collection[str],
    ) -> Engine:
        self.opened.append(kind)
        does = self._does.get(kind)
        if does and self._only not in (None, manifest.name):
            does = WORKS
        if does is None:
            return open_engine(manifest, kind, threads, engines, batches, shared_by)
        if does == MISSING:
            raise NotInstalledError(f"{kind} is not installed")
        if does == REFUSES:
            raise EngineBuildError(f"model {manifest.name}: {kind} cannot build its engine")
        engine = OnnxRuntimeDeviceEngine(manifest, "cpu", batches.optimum, pytest.fail, threads)
        if does == WRONG:
            for slot in engine._queue._slots:
                slot._engine = Zeros(slot._engine)  # type: ignore[attr-defined]
        assert engines is not None
        key = EngineKey(manifest.sha256, "half", f"{kind} 1.0", "sm_75", batches)
        engine.opened.record = EngineRecord(engines, key, "sm_75")
        engine.opened.seconds = {"building engines": 41.0, "loading engines": 0.001}
        return engine

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_gpu", lambda: Gpu("NVIDIA T4", "sm_75", 1, 13000))


class CameraUnderTest:
    """A camera whose footage grows by a picture before each run."""

    def __init__(self, folder: Path) -> None:
        self._footage, self.output = folder / "footage", folder / "output"
        self._footage.mkdir()

    def run(
        self, machine: Machine, engine: str = "auto", detector: str = DETECTOR, **stage1: Any
    ) -> Metadata:
        import cv2

        count = len(list(self._footage.iterdir()))
        picture = read_sample("cat", (320 + count, 240))
        cv2.imwrite(str(self._footage / f"{count}.jpg"), picture)
        settings = {"engine": engine, "batch_size": 2, "threads": 1} | stage1
        overrides: dict[str, Any] = {f"pipeline.stage1.{k}": v for k, v in settings.items()}
        context = StepContext(
            Camera("a", self._footage.as_uri(), self.output.as_uri()),
            load_profile("local", overrides | {"models.detector": detector}, environ={}),
            machine,
            Event(),
            open_engine=machine.open_engine,
        )
        return dict(run_step(context, ["footage", "detections"]))["detections"].metadata

    @property
    def recorded(self) -> str | None:
        path = self.output / "journal" / "engine.json"
        return json.loads(path.read_text("utf-8"))["engine"] if path.exists() else None

    @property
    def media_with_boxes(self) -> int:
        boxes = pl.read_parquet(self.output / "tables" / "detections.parquet")
        return int(boxes.filter(pl.col("confidence") > 0.5)["content_hash"].n_unique())


@pytest.fixture
def camera(tmp_path: Path) -> CameraUnderTest:
    return CameraUnderTest(tmp_path)


@pytest.mark.parametrize(
    ("full", "rtx", "chosen", "warning"),
    [
        (WORKS, WORKS, "tensorrt", None),
        (MISSING, WORKS, "tensorrt-rtx", None),
        (REFUSES, WORKS, "tensorrt-rtx", "tensorrt cannot build its engine"),
        (WRONG, WORKS, "tensorrt-rtx", "are not those of the CPU: "),
        (REFUSES, WRONG, "onnxruntime", "the GPU is not used: "),
        (MISSING, MISSING, "onnxruntime", "the GPU is not used: tensorrt-rtx is not installed"),
    ],
)
def test_the_first_kind_that_builds_and_agrees_runs_the_models(
    camera: CameraUnderTest, full: str, rtx: str, chosen: str, warning: str | None
) -> None:
    machine = Machine(full, rtx)
    metadata = camera.run(machine)
    assert metadata["pipeline/engine"] == chosen
    assert camera.media_with_boxes == 1
    assert bool(machine.warnings) == bool(warning)
    if warning:
        assert len(machine.warnings) == 1 and warning in machine.warnings[0]
    # The CPU's results are not recorded: they would slow down each machine after this one.
    assert camera.recorded == (None if chosen == "onnxruntime" else chosen)


def test_the_warning_names_the_model_that_keeps_a_stage_from_the_gpu(
    camera: CameraUnderTest,
) -> None:
    """All models of a stage use one kind of engine."""
    machine = Machine(MISSING, REFUSES, only=DETECTOR)
    assert camera.run(machine, detector="megadetector-lite")["pipeline/engine"] == "onnxruntime"
    (warning,) = machine.warnings
    assert warning.startswith(
        f"the GPU is not used: model {DETECTOR}: tensorrt-rtx cannot build its engine "
        "(all models of a stage use one kind of engine, so megadetector-lite does not use "
        "tensorrt-rtx either)"
    )


def test_the_warning_of_the_cpu_names_every_reason_and_what_it_costs(
    camera: CameraUnderTest,
) -> None:
    machine = Machine(REFUSES, WRONG)
    camera.run(machine)
    (warning,) = machine.warnings
    assert "tensorrt cannot build" in warning and "are not those of the CPU" in warning
    assert "about 7.5 times as long" in warning and "costs 7.5 times as much" in warning
    assert "assumed, not measured" in warning


def test_tensorrt_by_name_is_an_error_where_it_cannot_run_unless_fallback_is_allowed(
    camera: CameraUnderTest,
) -> None:
    with pytest.raises(EngineError, match=r"tensorrt cannot build .*; .*not those of the CPU"):
        camera.run(Machine(REFUSES, WRONG), "tensorrt")
    machine = Machine(REFUSES, WRONG)
    metadata = camera.run(machine, "tensorrt", engine_fallback=True)
    assert metadata["pipeline/engine"] == "onnxruntime"
    assert "falling back to onnxruntime" in machine.warnings[-1]
    assert "7.5 times as long" in machine.warnings[-1]


def test_tensorrt_by_name_is_either_kind(camera: CameraUnderTest) -> None:
    assert camera.run(Machine(REFUSES, WORKS), "tensorrt")["pipeline/engine"] == "tensorrt-rtx"


def test_later_machines_use_the_engine_of_the_first(camera: CameraUnderTest) -> None:
    camera.run(Machine(MISSING, WORKS))
    assert camera.recorded == "tensorrt-rtx"
    second = Machine(WORKS, WORKS)
    assert camera.run(second)["pipeline/engine"] == "tensorrt-rtx"
    assert second.opened == ["tensorrt-rtx"] and second.warnings == []
    assert camera.media_with_boxes == 2


@pytest.mark.parametrize("full", [MISSING, REFUSES])
def test_a_later_machine_that_cannot_run_it_warns_and_uses_its_own(
    camera: CameraUnderTest, full: str
) -> None:
    camera.run(Machine(WORKS, WORKS))
    second = Machine(full, WORKS)
    assert camera.run(second)["pipeline/engine"] == "tensorrt-rtx"
    (warning,) = second.warnings
    assert warning.startswith("tensorrt-rtx runs the models, tensorrt ran them for this camera")
    assert camera.recorded == "tensorrt"
    assert camera.media_with_boxes == 2


def test_results_of_a_gpu_are_not_computed_again_by_a_machine_without_one(
    camera: CameraUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.run(Machine(WORKS, WORKS))
    monkeypatch.setattr(models, "find_gpu", lambda: None)
    without = Machine(MISSING, MISSING)
    metadata = camera.run(without)
    assert metadata["pipeline/engine"] == "onnxruntime"
    assert metadata["media/newly_looked_at"] == 1
    assert without.warnings == [] and without.opened == ["onnxruntime"]


def test_the_second_machine_does_not_repeat_the_check(camera: CameraUnderTest) -> None:
    first, second = Machine(WORKS, WORKS), Machine(WORKS, WORKS)
    camera.run(first)
    camera.run(second)
    assert first.opened == ["tensorrt", "onnxruntime"]
    assert second.opened == ["tensorrt"]


def test_a_wrong_engine_is_refused_by_the_second_machine_too_without_a_check(
    camera: CameraUnderTest,
) -> None:
    camera.run(Machine(WRONG, WRONG))
    second = Machine(WRONG, WRONG)
    camera.run(second)
    assert second.opened == ["tensorrt", "tensorrt-rtx", "onnxruntime"]
    assert second.warnings[0].count("are not those of the CPU") == 2


def test_what_the_start_costs_is_in_the_log_and_in_the_metadata(camera: CameraUnderTest) -> None:
    machine = Machine(WORKS, WORKS)
    metadata = camera.run(machine)
    assert metadata["pipeline/seconds_building_engines"] == 41.0
    assert metadata["pipeline/seconds_checking_engines"] > 0
    line = next(line for line in machine.infos if "start: " in line)
    assert line.startswith(f"{DETECTOR} on tensorrt, start: building engines 41.0 s")
    assert "checking engines" in line and "loading engines" not in line  # a millisecond


def test_units_that_start_at_the_same_time_agree_on_the_first_ones_engine(
    camera: CameraUnderTest,
) -> None:
    """The first unit records its choice while this one still chooses."""

    class Late(Machine):
        def open_engine(self, *arguments: Any) -> Engine:
            engine = super().open_engine(*arguments)
            store = LocalStore(camera.output)
            store.write_bytes("journal/engine.json", b'{"engine": "tensorrt-rtx"}')
            return engine

    machine = Late(WORKS, WORKS)
    assert camera.run(machine)["pipeline/engine"] == "tensorrt-rtx"
    assert machine.warnings == []


def test_a_damaged_record_of_the_engine_is_replaced(camera: CameraUnderTest) -> None:
    LocalStore(camera.output).write_bytes("journal/engine.json", b"{")
    assert camera.run(Machine(WORKS, WORKS))["pipeline/engine"] == "tensorrt"
    assert camera.recorded == "tensorrt"


def test_a_missing_gpu_is_reported_where_the_profile_expects_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find_gpu", lambda: None)
    footage = tmp_path / "footage"
    camera = CameraUnderTest(tmp_path)
    import cv2

    cv2.imwrite(str(footage / "0.jpg"), read_sample("cat", (320, 240)))
    machine = Machine(MISSING, MISSING)
    context = StepContext(
        Camera("a", footage.as_uri(), camera.output.as_uri()),
        load_profile("cloud", {"models.detector": DETECTOR}, environ={}),
        machine,
        Event(),
        open_engine=machine.open_engine,
    )
    dict(run_step(context, ["footage", "detections"]))
    (warning,) = machine.warnings
    assert warning.startswith("the machine types of the profile have a GPU, this machine has none")
    assert "7.5 times" in warning
