"""Runs whose process was killed: who tells, and what becomes of them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    get_reexecution_strategy,
    should_retry,
)
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.backfill import cameras_done
from odins_ravne_assets.defs.assets import footage, stages_1_to_3
from odins_ravne_assets.instance_home import DAGSTER_YAML
from odins_ravne_assets.runs import liveness
from odins_ravne_assets.runs.liveness import close_dead_runs, name_process
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.dagster_resource import RunSettings

NAME = """
import sys
import dagster as dg
from odins_ravne_assets.runs.liveness import name_process
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    name_process(instance, instance.get_run_by_id(sys.argv[2]))
"""
# A camera's run, whose process is killed when it has told so many of its two assets and a check.
TELL = """
import os, signal, sys
import dagster as dg
from odins_ravne_assets.runs.liveness import name_process

cameras = dg.DynamicPartitionsDefinition(name="camera")
check = dg.AssetCheckSpec("sane", asset="observations", partitions_def=cameras)

@dg.multi_asset(
    name="stages",
    specs=[dg.AssetSpec("observations"), dg.AssetSpec("exports", deps=["observations"])],
    check_specs=[check],
    partitions_def=cameras,
    can_subset=True,
)
def stages(context):
    name_process(context.instance, context.run)
    told = [
        dg.MaterializeResult(asset_key="observations"),
        dg.MaterializeResult(asset_key="exports"),
        dg.AssetCheckResult(asset_key="observations", check_name="sane", passed=True),
    ]
    for number, result in enumerate(told):
        if number == int(sys.argv[2]):
            break
        yield result
    os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.add_dynamic_partitions("camera", ["north"])
    dg.materialize(
        [stages], instance=instance, partition_key="north", tags={"munin/backfill": "1"}
    )
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    return folder


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.wipe()
        yield instance


def a_run(instance: dg.DagsterInstance, **facts: object) -> dg.DagsterRun:
    run = dg.DagsterRun("camera", **{"status": DagsterRunStatus.STARTED, **facts})  # type: ignore[arg-type]
    return instance.add_run(run)


def as_it_is(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found


def test_a_run_whose_process_is_gone_is_marked_as_failed(
    home: Path, instance: dg.DagsterInstance
) -> None:
    killed, alive = a_run(instance), a_run(instance)
    subprocess.run([sys.executable, "-c", NAME, str(home), killed.run_id], check=True)
    name_process(instance, alive)
    close_dead_runs(instance)
    assert as_it_is(instance, killed).status == DagsterRunStatus.FAILURE
    assert as_it_is(instance, alive).status == DagsterRunStatus.STARTED
    # Its re-execution has its tags, and waits for a process of its own.
    again = a_run(
        instance,
        tags=as_it_is(instance, killed).tags,
        parent_run_id=killed.run_id,
        root_run_id=killed.run_id,
        status=DagsterRunStatus.STARTING,
    )
    close_dead_runs(instance)
    assert as_it_is(instance, again).status == DagsterRunStatus.STARTING


def killed_run(instance: dg.DagsterInstance, home: Path, told: int) -> dg.DagsterRun:
    """A run that was killed when it had told so much of three, as `killed_runs` has ended it."""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", TELL, str(home), str(told)])
    assert ended.returncode == -signal.SIGKILL
    close_dead_runs(instance)
    (run,) = instance.get_runs()
    return run


def test_a_run_that_was_killed_when_it_had_told_all_is_done_and_not_tried_again(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_run(instance, home, told=3)
    assert run.status == DagsterRunStatus.SUCCESS
    assert not should_retry(run, instance)
    log = [entry.message for entry in instance.all_logs(run.run_id)]
    assert any("killed when all that it was to make had been told: it is done" in m for m in log)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert cameras_done("1") == {"north"}


def still_to_make(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The assets and checks of the run that Dagster's daemon would start for a failed one."""
    strategy = get_reexecution_strategy(run, instance)
    assert strategy is ReexecutionStrategy.FROM_ASSET_FAILURE
    assert run.execution_plan_snapshot_id
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    assets, checks = instance.run_domain.get_keys_to_reexecute(run.run_id, plan)
    return {key.to_user_string() for key in assets} | {check.name for check in checks}


@pytest.mark.parametrize(("told", "left"), [(1, {"exports", "sane"}), (2, {"sane"})])
def test_a_run_that_was_killed_before_it_had_told_all_is_tried_again_for_the_rest(
    told: int, left: set[str], home: Path, instance: dg.DagsterInstance
) -> None:
    run = killed_run(instance, home, told)
    assert run.status == DagsterRunStatus.FAILURE
    assert should_retry(run, instance)
    assert still_to_make(instance, run) == left


def test_the_rest_of_a_camera_is_made_without_telling_again_what_was_told(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """Of a run that was killed between telling `observations` and what it makes after them."""
    write_picture(tmp_path / "card" / "IMG_0001.JPG", (320, 240))
    catalog = CameraCatalog(tmp_path / "catalog")
    catalog.put(Camera("card", (tmp_path / "card").as_uri(), (tmp_path / "out").as_uri()))
    instance.add_dynamic_partitions("camera", ["card"])
    launcher = LocalStepLauncher("odins_ravne_assets.worker")

    def make(selection: dg.AssetSelection) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [footage, stages_1_to_3],
            partition_key="card",
            instance=instance,
            selection=selection,
            resources={"settings": RunSettings(), "catalog": catalog, "launcher": launcher},
        )

    assert make(dg.AssetSelection.all() - dg.AssetSelection.assets("exports")).success
    check = dg.AssetCheckKey(dg.AssetKey("observations"), "rows_accounted_for")
    rest = make(dg.AssetSelection.assets("exports") | dg.AssetSelection.checks(check))
    assert rest.success
    told = [event.asset_key for event in rest.get_asset_materialization_events()]
    assert told == [dg.AssetKey("exports")]
    assert [each.asset_check_key for each in rest.get_asset_check_evaluations()] == [check]


def test_a_run_that_was_killed_before_it_had_told_anything_is_tried_again_as_it_was(
    home: Path, instance: dg.DagsterInstance
) -> None:
    run = killed_run(instance, home, told=0)
    assert run.status == DagsterRunStatus.FAILURE
    assert should_retry(run, instance)
    assert get_reexecution_strategy(run, instance) is None


def test_a_run_that_was_killed_while_it_was_asked_to_end_is_not_tried_again(
    home: Path, instance: dg.DagsterInstance
) -> None:
    killed = a_run(instance, status=DagsterRunStatus.CANCELING)
    subprocess.run([sys.executable, "-c", NAME, str(home), killed.run_id], check=True)
    close_dead_runs(instance)
    assert as_it_is(instance, killed).status == DagsterRunStatus.CANCELED
    assert not should_retry(as_it_is(instance, killed), instance)


def test_a_run_that_ends_well_while_it_is_looked_at_has_not_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(instance)
    name_process(instance, run)

    def ends_now(process: str) -> bool:
        succeeded = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, job_name="camera")
        instance.report_dagster_event(succeeded, run.run_id)
        return True

    monkeypatch.setattr(liveness, "is_dead", ends_now)
    close_dead_runs(instance)
    assert as_it_is(instance, run).status == DagsterRunStatus.SUCCESS
