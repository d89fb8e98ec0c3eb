"""A detector in each family of public layouts, from its graph to a visit."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import Munin
from in_process import MuninInProcess
from model_files import plain_manifest
from PIL import Image
from rectangle_graphs import EXPORTS, Options

# The class of the rectangle is the strongest channel: red is an animal, blue a vehicle.
RED, BLUE = (250, 0, 0), (0, 0, 250)


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    return MuninInProcess(tmp_path_factory.mktemp("munin"))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a red rectangle, of a blue one, and of nothing; landscape and portrait."""
    folder = tmp_path_factory.mktemp("card")
    for name, colour, size in (
        ("red", RED, (640, 480)),
        ("blue", BLUE, (480, 640)),
        ("nothing", (0, 0, 0), (640, 480)),
    ):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[120:360, 80:320] = colour
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    "name", ["end2end", "rtdetr-exporter", "rtdetr-hugging-face", "mit-yolo", "torchvision"]
)
def test_a_detector_of_each_family_gives_boxes_and_visits(
    munin: Munin, tmp_path: Path, card: Path, name: str
) -> None:
    export = EXPORTS[name]
    network = export.make(Options())
    plain_manifest(tmp_path / "model", export.input, export.output, export.classes, network)
    output = tmp_path / "out"
    ended = munin("batch", card, output, "--model", tmp_path / "model" / "plain.toml")
    assert ended.code == 0, ended.err
    boxes = pl.read_parquet(output / "tables" / "detections.parquet")
    assert sorted(boxes["category"]) == ["animal", "vehicle"]
    animal = boxes.filter(pl.col("category") == "animal").row(0, named=True)
    found = [animal[key] for key in ("x", "y", "w", "h")]
    assert found == pytest.approx([0.125, 0.25, 0.375, 0.5], abs=0.02)
    visits = pl.read_parquet(output / "stage3" / "observations.parquet")
    assert len(visits.filter(pl.col("category") == "animal")) == 1
