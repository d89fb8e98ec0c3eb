"""Results that are recomputed locally equal those that the cloud computes."""

# ruff: noqa: F811 (fixtures)

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cloud_rig import Cloud, RunResult
from command_line import Munin, make_demo_footage, results
from in_process import MuninInProcess

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.download import RUNNER, write_runner
from odins_ravne_assets.results.download import download_results, find_results
from tests.resources.launch.test_batch_launcher import ALL_STAGES, account  # noqa: F401

OTHER_WINDOWS = ("--compression-window", "1440", "--min-confidence", "0.7")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat twice, and an astronaut."""
    demo = make_demo_footage(tmp_path_factory.mktemp("demo"))
    few = tmp_path_factory.mktemp("footage") / "card"
    few.mkdir()
    for number in (1, 2, 4):
        shutil.copy(demo / "DCIM" / "100MEDIA" / f"IMAG{number:04d}.JPG", few)
    return few


@pytest.fixture(scope="module")
def first_run(account: Cloud, card: Path) -> tuple[Camera, RunResult]:
    """A camera on S3, and the run that made all of its results."""
    camera = account.camera(card)
    return camera, account.run(camera, ALL_STAGES)


@pytest.fixture(scope="module")
def munin(
    account: Cloud, first_run: tuple[Camera, RunResult], tmp_path_factory: pytest.TempPathFactory
) -> Munin:
    """The command on the machine that launched the camera."""
    camera, ran = first_run
    assert ran.success, ran.error
    where = {
        "MUNIN_CLOUD__AWS__ENDPOINT_URL": account.sandbox.endpoint_url,
        "MUNIN_CLOUD__AWS__CLOCK_URL": account.sandbox.clock_url,
    }
    munin = MuninInProcess(tmp_path_factory.mktemp("home"), "sandbox", where)
    CameraCatalog(munin.home / "cameras").put(camera)
    return munin


def downloaded(account: Cloud, camera: Camera, root: Path) -> Path:
    """Download a camera's results, with the script that recomputes them; return the folder."""
    store = account.store(camera.output_url)
    (found,) = find_results(store)
    download_results(store, found, root / camera.camera_id, lambda progress: None)
    write_runner(root / camera.camera_id)
    return root / camera.camera_id


@pytest.fixture(scope="module")
def home(
    account: Cloud, first_run: tuple[Camera, RunResult], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The downloaded results of the first run."""
    return downloaded(account, first_run[0], tmp_path_factory.mktemp("downloaded"))


def recomputed(folder: Path, *words: str) -> dict[str, Any]:
    """Run the script of a folder; return its results by name."""
    command = [sys.executable, str(folder / RUNNER), "--no-browser", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return results(folder / "rerun")


def visits(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "stage3" / "observations.parquet")


def test_with_the_same_settings_every_file_equals_the_cloud_s(
    account: Cloud, first_run: tuple[Camera, RunResult], home: Path
) -> None:
    there = {
        name: data
        for name, data in results(account.results(first_run[0])).items()
        if name.startswith("stage3/") and not name.endswith((".html", "thumbnails.parquet"))
    }
    assert {"stage3/observations.parquet", "stage3/megadetector.json"} <= there.keys()
    here = recomputed(home)
    assert {name: here.get(name) for name in there} == there


def test_with_other_windows_visits_equal_those_of_munin_stage3_on_s3(
    account: Cloud, munin: Munin, first_run: tuple[Camera, RunResult], home: Path
) -> None:
    camera = first_run[0]
    recomputed(home, *OTHER_WINDOWS)
    ended = munin("stage3", camera.output_url, *OTHER_WINDOWS)
    assert ended.code == 0, ended.err
    there = visits(account.results(camera))
    assert visits(home / "rerun").equals(there)
    assert there.height < visits(home).height, "other windows than before"


def test_a_reviewer_s_labels_on_s3_apply_there_and_in_downloads(
    account: Cloud, munin: Munin, first_run: tuple[Camera, RunResult]
) -> None:
    camera = first_run[0]
    with (account.results(camera) / "stage3" / "observations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["confirmed_species"] = "lynx" if row["category"] == "animal" else ""
    with (munin.folder / "filled.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    ended = munin("correct", camera.output_url, "filled.csv", "--by", "Anna Ek")
    assert ended.code == 0, ended.err
    assert " of Anna Ek: " in ended.out
    there = visits(account.results(camera))
    named = there.filter(pl.col("category") == "animal").select("reviewed_by", "machine_species")
    assert set(named.rows()) == {("Anna Ek", "domestic cat")}
    after = downloaded(account, camera, munin.folder / "after")
    recomputed(after)
    assert visits(after / "rerun").equals(there)
    exported = (after / "stage3" / "observations.csv").read_text("utf-8")
    assert "Anna Ek" in exported, "exports have the labels"
