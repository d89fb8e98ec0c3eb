"""`munin rename` and `munin forget`: all that is known of a camera follows, or goes."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import polars as pl
import pytest
from in_process import MuninInProcess
from stored_data import STORED, done, hashes, unpack, usd

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.register import CameraRegister
from odins_ravne_assets.defs.silent_cameras import _newest
from odins_ravne_assets.results import renamed_camera

RELEASED = STORED / "v0_1_0"
TABLES = ("media", "processed", "frames", "detections", "classifications")


class Interrupted(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What version 0.1.0 has stored of the cameras `ridge` and `lake`."""
    root = tmp_path_factory.mktemp("released")
    unpack(RELEASED / "results.tar.xz", root / "results")
    unpack(RELEASED / "dagster_home.tar.xz", root / "dagster")
    shutil.copytree(RELEASED / "footage", root / "footage")
    shutil.copy(RELEASED / "profile.yaml", root)
    return root


@pytest.fixture
def munin(packed: Path, tmp_path: Path) -> MuninInProcess:
    root = tmp_path / "machine"
    shutil.copytree(packed, root)
    for path in (root / "profile.yaml", *(root / "dagster").glob("*/*.json")):
        path.write_text(path.read_text().replace("/tmp/results_v0_1_0", str(root)))
    return MuninInProcess(root, str(root / "profile.yaml"))


def catalog(munin: MuninInProcess) -> CameraCatalog:
    return CameraCatalog(munin.home / "cameras")


def journal(results: Path) -> dict[str, str]:
    return hashes(results / "journal")


def ids(table: Path) -> set[str]:
    return set(pl.read_parquet(table, glob=False)["camera_id"])


def partitions(munin: MuninInProcess) -> set[str]:
    with munin.instance() as instance:
        return set(instance.get_dynamic_partitions("camera"))


def test_everything_follows_a_renamed_camera(munin: MuninInProcess, tmp_path: Path) -> None:
    folder = munin.folder / "results"
    before, costs = journal(folder / "ridge"), usd(folder / "ridge" / "ledger")
    filled = filled_table(folder / "ridge" / "stage3" / "observations.csv", tmp_path, "red deer")
    with munin.instance() as instance:
        newest = _newest(instance, "ridge")
    done(munin("rename", "ridge", "north-ridge"))

    results = folder / "north-ridge"
    assert not (folder / "ridge").exists()
    assert journal(results) == before
    named = [results / "tables" / f"{name}.parquet" for name in TABLES]
    named += [results / "stage3" / "observations.parquet", *(results / "ledger").glob("*.parquet")]
    assert {each for table in named for each in ids(table)} == {"north-ridge"}
    assert "north-ridge" in (results / "stage3" / "report.html").read_text()
    assert partitions(munin) == {"lake", "north-ridge"}
    with munin.instance() as instance:
        assert newest is not None
        assert _newest(instance, "north-ridge") == newest  # the check for silent cameras
    status = json.loads(done(munin("status", "--json")))["cameras"]
    assert [each["camera"] for each in status] == ["lake", "north-ridge"]
    assert status[1]["last_run"]["status"] == "SUCCESS"
    report = json.loads(done(munin("cost", "costs", "--json")))
    assert "ridge" not in {each["name"] for each in report["by_camera"]}
    assert [plan["camera_id"] for plan in report["plans"]] == ["north-ridge"]
    assert usd(results / "ledger") >= costs
    # A table that a reviewer filled before.
    imported = munin("correct", results, filled, "--by", "Cleo Ek")
    assert "1 changed" in done(imported)
    # And one that was filled between two renames.
    again = filled_table(results / "stage3" / "observations.csv", tmp_path, "moose")
    with patch("odins_ravne_assets.cli.job.Job.run") as stage3:
        done(munin("rename", "north-ridge", "top"))
        results = folder / "top"
        assert "1 changed" in done(munin("correct", results, again, "--by", "Dan Li"))
    assert stage3.call_count == 2
    # The next run reads the footage of the folder `ridge`, and does nothing again.
    done(munin("batch", munin.folder / "footage", folder, "--cameras"))
    assert journal(results).items() >= before.items()
    assert partitions(munin) == {"lake", "top"}


def filled_table(table: Path, folder: Path, species: str) -> Path:
    """Fill the label of the first visit, as a reviewer does."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["confirmed_species"] = species
    filled = folder / "filled.csv"
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return filled


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (renamed_camera, "move_results"),
        (renamed_camera, "rename_results"),
        (renamed_camera, "_rename_in_plan"),
        (CameraRegister, "add_partition"),
        (CameraRegister, "_copy_materialization"),
        (CameraCatalog, "remove"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_interrupted_rename_is_completed(
    munin: MuninInProcess, owner: object, step: str
) -> None:
    ridge = munin.folder / "results" / "ridge"
    before = journal(ridge)
    with patch.object(owner, step, side_effect=Interrupted), pytest.raises(Interrupted):
        munin("rename", "ridge", "hill")
    with patch("odins_ravne_assets.cli.job.Job.run") as stage3:
        done(munin("rename", "ridge", "hill"))
    assert stage3.called
    assert [each.camera_id for each in catalog(munin).list()] == ["hill", "lake"]
    assert partitions(munin) == {"hill", "lake"}
    assert not ridge.exists()
    assert ids(ridge.with_name("hill") / "tables" / "media.parquet") == {"hill"}
    assert journal(ridge.with_name("hill")) == before
    [plan] = ridge.with_name("hill").glob("plans/*.json")
    assert json.loads(plan.read_text())["camera_id"] == "hill"


def occupied(munin: MuninInProcess) -> None:
    (munin.folder / "results" / "hill").mkdir()


def running(munin: MuninInProcess) -> None:
    with munin.instance() as instance:
        tags = {"dagster/partition": "ridge"}
        run = dg.DagsterRun("camera", tags=tags, status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)


def nothing(munin: MuninInProcess) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "words", "error"),
    [
        (nothing, ["rename", "ridge", "lake"], "lake: is another camera's id"),
        (nothing, ["rename", "ridge", "LAKE"], "LAKE: is another camera's id"),
        (nothing, ["rename", "ridge", "Ridge"], "Ridge: differs from ridge by case alone"),
        (nothing, ["rename", "ridge", "ridge"], "ridge: is the camera's id already"),
        (nothing, ["rename", "ridge", "a/b"], "camera id 'a/b' is not allowed"),
        (nothing, ["rename", "shore", "hill"], "camera shore: not in the catalog"),
        (nothing, ["forget", "shore"], "camera shore: not in the catalog"),
        (occupied, ["rename", "ridge", "hill"], "/results/hill: exists already"),
        (running, ["rename", "ridge", "hill"], "is active; end it, or wait for its end"),
        (running, ["forget", "ridge", "--delete-results"], "is active; end it"),
    ],
)
def test_what_cannot_be_renamed_or_forgotten_stays(
    munin: MuninInProcess,
    prepare: Callable[[MuninInProcess], None],
    words: list[str],
    error: str,
) -> None:
    prepare(munin)
    before = hashes(munin.folder / "results")
    ended = munin(*words)
    assert ended.code == 2
    assert error in ended.errors[-1]
    assert [each.camera_id for each in catalog(munin).list()] == ["lake", "ridge"]
    assert partitions(munin) == {"lake", "ridge"}
    assert hashes(munin.folder / "results") == before


def test_a_forgotten_camera_leaves_its_results(munin: MuninInProcess) -> None:
    results = munin.folder / "results" / "ridge"
    before = hashes(results)
    ended = munin("forget", "ridge")
    done(ended)
    assert f"its results and costs stay in {results}" in ended.err
    assert hashes(results) == before
    assert partitions(munin) == {"lake"}
    assert [each["camera"] for each in json.loads(done(munin("status", "--json")))["cameras"]] == [
        "lake"
    ]
    done(munin("sources", results))  # adds it again, as the message says
    assert [each.camera_id for each in catalog(munin).list()] == ["lake", "ridge"]
    assert not catalog(munin).is_forgotten("ridge")


def test_results_are_deleted_when_asked(munin: MuninInProcess) -> None:
    footage = hashes(munin.folder / "footage")
    done(munin("forget", "ridge", "--delete-results"))
    assert hashes(munin.folder / "results" / "ridge").keys() <= {".lock"}
    assert hashes(munin.folder / "results" / "lake")
    assert hashes(munin.folder / "footage") == footage


def test_a_partition_that_was_deleted_stays_deleted(munin: MuninInProcess) -> None:
    with munin.instance() as instance:
        instance.delete_dynamic_partition("camera", "ridge")
        register = CameraRegister(catalog(munin), instance)
        assert register.forget_deleted() == ["ridge"]
        assert register.forget_deleted() == []
    assert [each.camera_id for each in catalog(munin).list()] == ["lake"]
    assert catalog(munin).is_forgotten("ridge")


def test_a_new_database_forgets_no_camera(munin: MuninInProcess) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert CameraRegister(catalog(munin), instance).forget_deleted() == []
    assert [each.camera_id for each in catalog(munin).list()] == ["lake", "ridge"]
