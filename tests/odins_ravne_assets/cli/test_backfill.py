"""`munin backfill`: stages again for many cameras."""

import shutil

import dagster as dg
import pytest
from command_line import Munin
from in_process import MuninInProcess
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog


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
