"""Deletion of old runs: what is deleted, and what later work needs."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from odins_ravne_assets.defs.old_runs import old_runs
from odins_ravne_assets.runs import run_history
from odins_ravne_assets.runs.run_history import prune_runs
from odins_ravne_assets.runs.tags import BACKFILL_TAG
from resources.settings.dagster_resource import RunSettings

KEEP_DAYS = 30
CAMERAS = dg.DynamicPartitionsDefinition(name="cameras")


@dg.asset(partitions_def=CAMERAS)
def footage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    print("in the log")
    return dg.MaterializeResult(metadata={"media/files": 7})


@dg.asset_check(asset=footage)
def readable() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(run_history, "PAGE_SIZE", 2)
    with dg.DagsterInstance.get() as instance:
        yield instance


def finished(instance: dg.DagsterInstance, camera: str) -> str:
    """Execute a run, and return its id."""
    instance.add_dynamic_partitions("cameras", [camera])
    job = dg.Definitions(
        assets=[footage],
        asset_checks=[readable],
        jobs=[dg.define_asset_job("camera", selection="*", partitions_def=CAMERAS)],
    ).resolve_job_def("camera")
    return job.execute_in_process(instance=instance, partition_key=camera).run_id


def add(
    instance: dg.DagsterInstance,
    camera: str,
    status: DagsterRunStatus = DagsterRunStatus.SUCCESS,
    **tags: str,
) -> str:
    """Add a run without events."""
    all_tags = {"dagster/partition": camera, **{k.replace("__", "/"): v for k, v in tags.items()}}
    parent = all_tags.get("dagster/parent_run_id")
    run = dg.DagsterRun(
        "camera", tags=all_tags, status=status, parent_run_id=parent, root_run_id=parent
    )
    instance.add_run(run)
    return run.run_id


def prune(instance: dg.DagsterInstance, days: float = 100, **options: float) -> set[str]:
    """Prune so many days from now; return the remaining runs."""
    prune_runs(instance, KEEP_DAYS, datetime.now(UTC) + timedelta(days=days), **options)
    return {run.run_id for run in instance.get_runs()}


def files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    root = Path(instance.root_directory)
    return [path for path in root.rglob(f"*{run_id}*") if "before" not in str(path)]


def test_an_old_run_and_its_files_are_deleted_and_the_latest_metadata_stays(
    instance: dg.DagsterInstance,
) -> None:
    first, latest = finished(instance, "north"), finished(instance, "north")
    other = finished(instance, "south")
    assert files(instance, first)
    assert prune(instance) == {latest, other}
    assert files(instance, first) == []
    wanted = dg.AssetRecordsFilter(dg.AssetKey("footage"), asset_partitions=["north"])
    (record,) = instance.fetch_materializations(wanted, limit=5).records
    event = record.asset_materialization
    assert record.run_id == latest
    assert event is not None and event.metadata["media/files"].value == 7
    check = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("footage"), "readable"), limit=1
    )
    assert check[0].run_id == other
    assert prune(instance) == {latest, other}


def test_a_young_run_stays(instance: dg.DagsterInstance) -> None:
    runs = {add(instance, "north") for _ in range(3)}
    assert prune(instance, days=KEEP_DAYS - 1) == runs


def test_the_run_of_the_latest_materialization_stays_though_later_runs_made_nothing(
    instance: dg.DagsterInstance,
) -> None:
    made = finished(instance, "north")
    later = [add(instance, "north") for _ in range(3)]
    assert prune(instance) == {made, later[-1]}


def test_the_latest_run_and_the_latest_success_of_each_camera_stay(
    instance: dg.DagsterInstance,
) -> None:
    add(instance, "north")
    success = add(instance, "north")
    add(instance, "north", DagsterRunStatus.FAILURE)
    failure = add(instance, "north", DagsterRunStatus.FAILURE)
    assert prune(instance) == {success, failure}


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
def test_a_run_that_has_not_ended_stays_and_so_does_what_it_retries(
    instance: dg.DagsterInstance, status: DagsterRunStatus
) -> None:
    retried = add(instance, "north", DagsterRunStatus.FAILURE)
    running = add(instance, "north", status, dagster__parent_run_id=retried)
    gone, latest = (add(instance, "north") for _ in range(2))
    assert prune(instance) == {retried, running, latest}
    assert gone not in prune(instance)


def test_runs_of_a_backfill_that_can_be_resumed_stay(instance: dg.DagsterInstance) -> None:
    folder = Path(instance.root_directory) / "backfills"
    folder.mkdir()
    for number, cameras in {"1": ["north", "south"], "2": ["north"]}.items():
        (folder / f"{number}.json").write_text(json.dumps({"cameras": cameras}))
    open_backfill = add(instance, "north", **{BACKFILL_TAG: "1"})
    ended = add(instance, "north", **{BACKFILL_TAG: "2"})
    without_request = add(instance, "north", **{BACKFILL_TAG: "3"})
    latest = add(instance, "north")
    assert prune(instance) == {open_backfill, latest}
    assert {ended, without_request}.isdisjoint(prune(instance))


def test_a_run_that_occupies_a_slot_stays(instance: dg.DagsterInstance) -> None:
    """Its job on AWS may be running."""
    holder, latest = add(instance, "north", DagsterRunStatus.FAILURE), add(instance, "north")
    add(instance, "north", DagsterRunStatus.FAILURE)
    storage = instance.event_log_storage
    storage.set_concurrency_slots("pool", 1)
    storage.claim_concurrency_slot("pool", holder, "step")
    failure = add(instance, "north", DagsterRunStatus.FAILURE)
    assert prune(instance) == {holder, latest, failure}
    assert storage.get_concurrency_info("pool").claimed_slots[0].run_id == holder


def test_a_deletion_is_bounded_in_time_and_continues_with_the_oldest(
    instance: dg.DagsterInstance,
) -> None:
    runs = [add(instance, "north") for _ in range(4)]
    later = datetime.now(UTC) + timedelta(days=100)
    pruned = prune_runs(instance, KEEP_DAYS, later, seconds=-1)
    assert str(pruned) == (
        "runs deleted: 0; old runs kept for later work: 1, 3 more remain to be deleted"
    )
    assert prune(instance) == {runs[-1]}


def test_the_database_of_a_run_whose_deletion_was_killed_is_deleted_later(
    instance: dg.DagsterInstance,
) -> None:
    finished(instance, "north")
    killed, latest = finished(instance, "north"), finished(instance, "north")
    instance.run_storage.delete_run(killed)  # the first step of Dagster's deletion
    (database,) = Path(instance.root_directory).rglob(f"{killed}.db")
    assert prune(instance, days=0) >= {latest}
    assert database.exists()  # a run that begins may have one
    os.utime(database, (0, 0))
    prune(instance)
    assert not database.exists()


def test_the_sensor_deletes_old_runs_and_asks_for_none(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add(instance, "north")
    for overrides, said in (
        ({}, "runs deleted: 0; old runs kept for later work: 0"),
        ({"history.keep_days": ""}, "history.keep_days is empty: runs are kept"),
    ):
        settings = RunSettings(profile="local", overrides=overrides)
        with dg.build_sensor_context(instance=instance, resources={"settings": settings}) as given:
            result = old_runs(given)
        assert isinstance(result, dg.SkipReason)
        assert result.skip_message == said
    assert instance.has_run(run)
