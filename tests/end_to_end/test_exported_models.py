"""From a graph of each exporter, with random weights, to visits."""

import json
from pathlib import Path
from threading import Event

import exported_graphs as exported
import polars as pl
import pytest
from command_line import make_demo_footage
from in_process import MuninInProcess
from validators import megadetector_errors

from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import load_manifest
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import STAGES, run_step
from resources.settings.loader import load_profile

# Random scores are low in the demo's pictures.
SETTINGS = {"pipeline.stage1.conf_threshold": 0.25, "pipeline.stage1.engine": "onnxruntime"}
LABELS = {each.label for each in load_labels(exported.manifest(exported.CLASSIFIER))}


class SilentReporter:
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def progress(self, progress: StageProgress) -> None: ...


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_footage(tmp_path_factory.mktemp("footage"))


def path_of(name: str) -> str:
    return str(exported.FOLDER / f"{name}.toml")


def assert_visits(output: Path, name: str) -> None:
    """Check the tables of Stages 1 and 2, the visits, and the JSON export."""
    detections = pl.read_parquet(output / "tables" / "detections.parquet")
    assert detections.height > 10
    assert set(detections["category"]) <= {"animal", "person", "vehicle"}
    assert detections["confidence"].is_between(0.25, 1.0).all()
    labelled = pl.read_parquet(output / "tables" / "classifications.parquet")
    # People and vehicles have their category as label.
    assert set(labelled["label"]) <= LABELS | {"person", "vehicle"}
    assert "animal" in set(detections["category"])
    assert set(labelled["label"]) & LABELS
    visits = pl.read_parquet(output / "stage3" / "observations.parquet")
    assert visits.height > 0
    report = json.loads((output / "stage3" / "report.json").read_text("utf-8"))
    assert name in json.dumps(report)
    assert megadetector_errors(output / "stage3" / "megadetector.json") == []


@pytest.mark.parametrize("name", exported.DETECTORS)
def test_a_detector_of_each_exporter_and_speciesnets_form_give_visits(
    card: Path, tmp_path: Path, name: str
) -> None:
    models = {"models.detector": path_of(name), "models.classifier": path_of(exported.CLASSIFIER)}
    context = StepContext(
        Camera("random", card.as_uri(), tmp_path.as_uri()),
        load_profile("local", SETTINGS | models, {}),
        SilentReporter(),
        Event(),
    )
    dict(run_step(context, list(STAGES)))
    assert_visits(tmp_path, name)


def test_a_described_model_runs_with_munin_batch(card: Path, tmp_path: Path) -> None:
    """What an ecologist does with a file: describe, verify, batch."""
    name = "yolov9-mit"
    for each in (name, exported.CLASSIFIER):
        for path in exported.FOLDER.glob(f"{each}.*"):
            if path.suffix != ".toml":
                (tmp_path / path.name).write_bytes(path.read_bytes())
    plain = MuninInProcess(tmp_path / "home")
    manifests = {}
    for key, each in (("detector", name), ("classifier", exported.CLASSIFIER)):
        manifests[key] = tmp_path / f"{each}.toml"
        written = plain("models", "describe", tmp_path / f"{each}.onnx", "--write", manifests[key])
        assert written.code == 0, written.err
        assert f"{each}: OK, " in written.out
        assert f"models.{key}: {manifests[key]}" in written.out
    profile = tmp_path / "mine.yaml"
    lines = "".join(f"  {key}: {path}\n" for key, path in manifests.items())
    profile.write_text(f"models:\n{lines}pipeline: {{stage1: {{conf_threshold: 0.25}}}}\n")
    munin = MuninInProcess(tmp_path / "home", str(profile))
    assert munin("models", "verify").out.count(": OK, ") == 2
    ended = munin("batch", card, tmp_path / "out")
    assert ended.code == 0, ended.err
    assert_visits(tmp_path / "out", load_manifest(str(manifests["detector"])).name)
