"""A model of a catalogue entry, from the download to the visits, here and in jobs of AWS."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from in_process import MuninInProcess
from media_files import write_picture
from model_server import (
    classifier_network,
    end2end_network,
    model_server,
    sha256_of,
    sparrow_detector,
    zip_of,
)
from paths import ROOT

from odins_ravne_assets.defs.assets import LAUNCHED_TOGETHER
from resources.sandbox.model.config import CREDENTIALS

BUCKET = "s3://ravne-data-123456789012"
LABELS = {"detector": "", "classifier": '\n[labels]\nmember = "Zoo/labels.txt"\n'}
CROP = {"detector": "", "classifier": '\n[manifest.crop]\nshape = "box"\nmargin = 0.0\n'}


def packages() -> dict[str, bytes]:
    """Return a package of a detector and one of a classifier, as a zoo would serve them."""
    classifier = sparrow_detector(classifier_network(3), method='"resize"', post='"softmax"')
    classifier["Zoo/labels.txt"] = b"Vulpes vulpes,0\nMeles meles,1\nblank,2\n"
    return {
        "detector": zip_of(sparrow_detector(end2end_network())),
        "classifier": zip_of(classifier),
    }


def entry(task: str, url: str, package: bytes) -> str:
    return f"""
name = "zoo-{task}"
task = "{task}"
finds = "foxes"
region = "world"
licence = "MIT"
input = "64 x 64"
speed = "fast"
description = "A {task} of a zoo."
limitations = "It finds foxes everywhere."
home = "https://example.org/zoo"

[download]
url = "{url}"
sha256 = "{sha256_of(package)}"
max_mb = 8
member = "Zoo/1/model.onnx"
package = "sparrow"
{LABELS[task]}
[manifest]
{CROP[task]}
[[facts]]
what = "all"
source = "https://example.org/zoo"
date = 2026-11-28
"""


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Catalogue entries whose files a server on this machine has."""
    folder, paths = tmp_path_factory.mktemp("entries"), []
    with model_server() as server:
        for task, package in packages().items():
            url = server.serve(f"/{task}.zip", package, break_after=[300])
            paths.append(folder / f"{task}.toml")
            paths[-1].write_text(entry(task, url, package))
        yield paths


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """One camera's footage, and where it was."""
    write_picture(tmp_path / "cards" / "hill" / "IMG_0001.JPG", (320, 240))
    (tmp_path / "cards" / "deployments.csv").write_text(
        "cameraID,latitude,longitude\nhill,59.32,17.12\n"
    )
    return tmp_path / "cards" / "hill"


def species(output: Path) -> list[str | None]:
    table = pl.read_parquet(output / "stage3" / "observations.parquet")
    return table["scientific_name"].to_list()


def test_models_are_installed_named_in_the_profile_and_used(
    tmp_path: Path, entries: list[Path], footage: Path
) -> None:
    munin = MuninInProcess(
        tmp_path / "here", "mine.yaml", {"XDG_DATA_HOME": str(tmp_path / "data")}
    )
    for path in entries:
        added = replace(munin, profile="local")("models", "add", path)
        assert added.code == 0, added.err
        used = replace(munin, profile="local")(
            "models", "use", f"zoo-{path.stem}", "--profile", "mine.yaml"
        )
        assert used.code == 0, used.err
    planned = munin("plan", footage)
    assert "models: detector zoo-detector, classifier zoo-classifier\n" in planned.out
    run = munin("batch", footage, "results")
    assert run.code == 0, run.err
    assert "munin models catalogue" not in run.err, "own models are in use"
    assert species(munin.folder / "results") == ["Vulpes vulpes"]
    with munin.instance() as instance:
        shown = {
            key: str(value.value)
            for asset in LAUNCHED_TOGETHER
            if (event := instance.get_latest_materialization_event(_key(asset)))
            and event.asset_materialization
            for key, value in event.asset_materialization.metadata.items()
            if key.startswith("models/")
        }
    assert shown["models/detector"].startswith("zoo-detector ")
    assert shown["models/classifier"].startswith("zoo-classifier ")


def _key(asset: str):  # type: ignore[no-untyped-def]
    import dagster as dg

    return dg.AssetKey(asset)


def test_the_first_run_with_the_defaults_names_the_catalogue_and_the_regions_classifier(
    tmp_path: Path, footage: Path
) -> None:
    munin = MuninInProcess(tmp_path / "here")
    line = (
        "These are demonstration models. For better ones: munin models catalogue; the classifier "
        "of the region of these cameras: munin models add deepfaune-europe --accept CC-BY-SA-4.0 "
        "(Europe)"
    )
    first = munin("batch", footage, "results")
    assert first.err.rstrip().endswith(line)
    assert line not in munin("batch", footage, "results").err


def test_jobs_on_aws_copy_the_models_from_the_bucket(
    tmp_path: Path, entries: list[Path], footage: Path
) -> None:
    environment = CREDENTIALS | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    munin = MuninInProcess(tmp_path / "here", "sandbox", environment)
    up = munin("sandbox", "up", "--port", "0", "--scale", "240")
    assert up.code == 0, up.err
    try:
        state = json.loads((munin.home / "sandbox.json").read_text())
        profile = yaml.safe_load((ROOT / "profiles" / "sandbox.yaml").read_text())
        profile["cloud"]["aws"] |= {key: state[key] for key in ("endpoint_url", "clock_url")}
        profile["models"] = {"folder": f"{BUCKET}/models"}
        (munin.folder / "mine.yaml").write_text(yaml.safe_dump(profile))
        munin = replace(munin, profile="mine.yaml")
        for path in entries:
            added = munin("models", "add", path)
            assert f"copied to {BUCKET}/models" in added.out, added.err
            assert munin("models", "use", f"zoo-{path.stem}").code == 0
        assert munin("cost", "setup", "--job-count", "1").code == 0
        shutil.rmtree(tmp_path / "cache")  # another computer with the same profile
        run = munin("batch", footage, f"{BUCKET}/results/hill", "--local-output", "hill")
        assert run.code == 0, run.err
        assert species(munin.folder / "hill") == ["Vulpes vulpes"]
        profile["models"] |= {"detector": "zoo-other"}
        (munin.folder / "mine.yaml").write_text(yaml.safe_dump(profile))
        missing = munin("batch", footage, f"{BUCKET}/results/other")
        assert missing.code == 1
        assert f"munin models add zoo-other --to {BUCKET}/models" in missing.errors[0]
    finally:
        munin("sandbox", "down")
