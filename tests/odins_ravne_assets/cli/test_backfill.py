"""`munin backfill`: stages again for many cameras."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from command_line import Munin
from in_process import MuninInProcess
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.backfill import Backfill, numbered, read_request
from resources.errors import StoreError


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    """Three known cameras; only the first has been run, so Stage 3 of the others fails."""
    command = MuninInProcess(tmp_path_factory.mktemp("munin"))
    cards, results = command.folder / "cards", command.folder / "results"
    write_picture(cards / "north-1" / "IMG_1.JPG", (64, 48))
    ended = command("batch", cards / "north-1", results / "north-1")
    assert ended.code == 0
    catalog = CameraCatalog(command.home / "cameras")
    for name in ("north-2", "south-1"):
        catalog.put(Camera(name, (cards / name).as_uri(), (results / name).as_uri()))
    return command


def stage3_runs(munin: Munin, camera: str) -> list[str]:
    filters = dg.RunsFilter(job_name="stage3", tags={"dagster/partition": camera})
    with munin.instance() as instance:
        return [run.status.value for run in instance.get_runs(filters)]


def test_a_camera_that_fails_does_not_affect_the_others_and_can_be_resumed(
    munin: Munin,
) -> None:
    ended = munin("backfill", "--cameras", "north-*", "--stages", "3")
    assert ended.code == 1
    assert "backfill 1: stage3 for 2 of 2 cameras" in ended.out
    assert "to continue: munin backfill --resume 1" in ended.err
    assert stage3_runs(munin, "north-1") == ["SUCCESS"]
    assert stage3_runs(munin, "north-2") == ["FAILURE"]
    assert stage3_runs(munin, "south-1") == []
    results = munin.folder / "results"
    shutil.copytree(results / "north-1" / "tables", results / "north-2" / "tables")
    resumed = munin("backfill", "--resume", "1")
    assert resumed.code == 0
    assert "backfill 1: stage3 for 1 of 2 cameras" in resumed.out
    assert stage3_runs(munin, "north-1") == ["SUCCESS"]
    assert stage3_runs(munin, "north-2") == ["SUCCESS", "FAILURE"]


def test_a_pattern_that_matches_no_camera_is_refused(munin: Munin) -> None:
    ended = munin("backfill", "--cameras", "west-*")
    assert ended.code == 2
    assert "--cameras west-*: matches no known camera" in ended.err


def test_unknown_stages_and_numbers_are_refused(munin: Munin) -> None:
    assert "--stages 4: must be one of 1-3, 1, 2, 2-3, 3" in munin("backfill", "--stages", "4").err
    assert "no such backfill" in munin("backfill", "--resume", "99").err


def test_backfills_that_begin_together_get_different_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    request = Backfill("", "local", "stage3", ("a",), {})
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: numbered(request).number, range(16)))
    assert sorted(map(int, numbers)) == list(range(1, 17))


def test_other_files_in_the_folder_of_backfills_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "backfills").mkdir()
    for name in ("notes.txt", "1 (copy).json", "x.json", "7.json~", "0x9.json"):
        (tmp_path / "backfills" / name).write_text("?")
    assert numbered(Backfill("", "local", "stage3", ("a",), {})).number == "1"


def test_a_request_of_another_version_is_read_and_a_damaged_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "backfills").mkdir()
    stored = {"number": "3", "profile": "p", "job": "stage3", "cameras": ["a"], "overrides": {}}
    (tmp_path / "backfills" / "3.json").write_text(json.dumps(stored | {"from_a_newer": 1}))
    assert read_request("3") == Backfill("3", "p", "stage3", ("a",), {})
    (tmp_path / "backfills" / "4.json").write_text(json.dumps(stored)[:-9])
    with pytest.raises(StoreError, match=r"4\.json: is damaged .*; start the backfill anew"):
        read_request("4")
