"""Liveness of runs: a run whose process was killed is ended, and retried where that makes sense."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
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
from odins_ravne_assets.runs.liveness import (
    close_dead_runs,
    is_dead,
    tag_process,
    this_process,
)
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.dagster_resource import RunSettings

TAG_RUN = """
import sys
import dagster as dg
from odins_ravne_assets.runs.liveness import tag_process
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    tag_process(instance, instance.get_run_by_id(sys.argv[2]))
"""
# A run of two assets and a check, whose process is killed after it has reported so many of them.
KILLED_RUN = """
import os, signal, sys
import dagster as dg
from odins_ravne_assets.runs.liveness import tag_process

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
    tag_process(context.instance, context.run)
    results = [
        dg.MaterializeResult(asset_key="observations"),
        dg.MaterializeResult(asset_key="exports"),
        dg.AssetCheckResult(asset_key="observations", check_name="sane", passed=True),
    ]
    for number, result in enumerate(results):
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

# A run whose process comes back after another process has ended it; it would work for a minute.
LATE_RUN = """
import sys, time
import dagster as dg
from odins_ravne_assets.runs import heartbeat
from odins_ravne_assets.runs.liveness import running_here
from resources.clock import system_clock

heartbeat.RENEWAL_SECONDS = 0.1

@dg.asset
def visits(context):
    with running_here(context.instance, context.run, system_clock()):
        print("started", flush=True)
        for _ in range(600):
            time.sleep(0.1)

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    dg.materialize([visits], instance=instance, raise_on_error=False)
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


def add_run(instance: dg.DagsterInstance, **facts: object) -> dg.DagsterRun:
    run = dg.DagsterRun("camera", **{"status": DagsterRunStatus.STARTED, **facts})  # type: ignore[arg-type]
    return instance.add_run(run)


def stored_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found


def test_a_run_whose_process_was_killed_fails(home: Path, instance: dg.DagsterInstance) -> None:
    killed, alive = add_run(instance), add_run(instance)
    subprocess.run([sys.executable, "-c", TAG_RUN, str(home), killed.run_id], check=True)
    tag_process(instance, alive)
    close_dead_runs(instance)
    assert stored_run(instance, killed).status == DagsterRunStatus.FAILURE
    assert stored_run(instance, alive).status == DagsterRunStatus.STARTED
    # Its re-execution inherits its tags and has no process yet.
    again = add_run(
        instance,
        tags=stored_run(instance, killed).tags,
        parent_run_id=killed.run_id,
        root_run_id=killed.run_id,
        status=DagsterRunStatus.STARTING,
    )
    close_dead_runs(instance)
    assert stored_run(instance, again).status == DagsterRunStatus.STARTING


def test_a_process_that_comes_back_after_its_run_was_ended_stops_and_changes_nothing(
    home: Path, instance: dg.DagsterInstance
) -> None:
    program = [sys.executable, "-W", "ignore", "-c", LATE_RUN, str(home)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as late:
        assert late.stdout and late.stdout.readline() == "started\n"
        [run] = instance.get_runs()
        instance.report_run_failed(run, "its machine was lost")
        late.wait(30)
    assert stored_run(instance, run).status == DagsterRunStatus.FAILURE
    assert not instance.get_latest_materialization_event(dg.AssetKey("visits"))


def killed_run(instance: dg.DagsterInstance, home: Path, reported: int) -> dg.DagsterRun:
    """A run that was killed after it had reported some of three results, and then closed."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED_RUN, str(home), str(reported)]
    )
    assert ended.returncode == -signal.SIGKILL
    close_dead_runs(instance)
    (run,) = instance.get_runs()
    return run


def test_a_run_that_was_killed_after_it_had_reported_everything_succeeds_and_is_not_retried(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_run(instance, home, reported=3)
    assert run.status == DagsterRunStatus.SUCCESS
    assert not should_retry(run, instance)
    log = [entry.message for entry in instance.all_logs(run.run_id)]
    assert any(
        "killed after it had reported all of its assets and checks: the run has succeeded" in m
        for m in log
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert cameras_done("1") == {"north"}


def retried_keys(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The assets and checks of the retry that Dagster's daemon would start."""
    strategy = get_reexecution_strategy(run, instance)
    assert strategy is ReexecutionStrategy.FROM_ASSET_FAILURE
    assert run.execution_plan_snapshot_id
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    assets, checks = instance.run_domain.get_keys_to_reexecute(run.run_id, plan)
    return {key.to_user_string() for key in assets} | {check.name for check in checks}


@pytest.mark.parametrize(("reported", "left"), [(1, {"exports", "sane"}), (2, {"sane"})])
def test_a_run_that_was_killed_halfway_is_retried_for_the_rest(
    reported: int, left: set[str], home: Path, instance: dg.DagsterInstance
) -> None:
    run = killed_run(instance, home, reported)
    assert run.status == DagsterRunStatus.FAILURE
    assert should_retry(run, instance)
    assert retried_keys(instance, run) == left


def test_a_retry_of_the_rest_reports_nothing_twice(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """For a run that was killed after it had reported `observations`."""
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
    reported = [event.asset_key for event in rest.get_asset_materialization_events()]
    assert reported == [dg.AssetKey("exports")]
    assert [each.asset_check_key for each in rest.get_asset_check_evaluations()] == [check]


def test_a_run_that_was_killed_before_it_had_reported_anything_is_retried_as_a_whole(
    home: Path, instance: dg.DagsterInstance
) -> None:
    run = killed_run(instance, home, reported=0)
    assert run.status == DagsterRunStatus.FAILURE
    assert should_retry(run, instance)
    assert get_reexecution_strategy(run, instance) is None


def test_a_run_that_was_killed_while_it_was_being_canceled_is_not_retried(
    home: Path, instance: dg.DagsterInstance
) -> None:
    killed = add_run(instance, status=DagsterRunStatus.CANCELING)
    subprocess.run([sys.executable, "-c", TAG_RUN, str(home), killed.run_id], check=True)
    close_dead_runs(instance)
    assert stored_run(instance, killed).status == DagsterRunStatus.CANCELED
    assert not should_retry(stored_run(instance, killed), instance)


def test_a_run_that_succeeds_during_the_check_has_not_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(instance)
    tag_process(instance, run)

    def ends_now(process: str) -> bool:
        succeeded = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, job_name="camera")
        instance.report_dagster_event(succeeded, run.run_id)
        return True

    monkeypatch.setattr(liveness, "is_dead", ends_now)
    close_dead_runs(instance)
    assert stored_run(instance, run).status == DagsterRunStatus.SUCCESS


def stored_by_an_older_version(pid: int) -> str:
    """The process of a run as versions before psutil stored it: field 22 of /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{socket.gethostname()}:{pid}:{fields[19]}"


@pytest.mark.skipif(sys.platform != "linux", reason="older versions ran on Linux")
def test_processes_stored_by_older_versions_are_understood_and_the_form_is_the_same() -> None:
    assert this_process() == stored_by_an_older_version(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        stored = stored_by_an_older_version(process.pid)
        assert not is_dead(stored)
        # The process id of an ended process, given to another one since.
        assert is_dead(f"{stored.rpartition(':')[0]}:1")
        process.kill()
    assert is_dead(stored)


def test_a_process_is_not_dead_without_certainty(monkeypatch: pytest.MonkeyPatch) -> None:
    host, pid, started = this_process().rsplit(":", 2)
    assert not is_dead(f"{host}:{pid}:")  # stored on a system without /proc
    assert not is_dead(f"another-{host}:{pid}:1")

    def deny(self: psutil.Process) -> float:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "create_time", deny)
    assert not is_dead(f"{host}:{pid}:{started}")


class Clock:
    """Changes of the system's clock, as psutil's times since 1970 show them.

    On Linux psutil adds the time of boot to a time since boot. On macOS it shifts the start times
    of processes by its own estimate, and the time of boot by another.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
        self.shift = 0.0
        boot_time, create_time = psutil.boot_time, psutil.Process.create_time
        boot_shift = {"linux": 1, "darwin": -1}[platform]
        monkeypatch.setattr(psutil, "LINUX", platform == "linux")
        monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + boot_shift * self.shift)
        monkeypatch.setattr(
            psutil.Process, "create_time", lambda process: create_time(process) + self.shift
        )


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_change_of_the_clock_ends_no_run(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, platform)
    stored = this_process()
    assert not stored.endswith(":")
    for clock.shift in (3600.0, -86_400.0):
        assert this_process() == stored
        assert not is_dead(stored)
    host_and_pid, _, started = stored.rpartition(":")
    assert is_dead(f"{host_and_pid}:{int(started) + 1}")


def test_a_change_of_the_clock_between_two_readings_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = this_process()
    clock = Clock(monkeypatch, "linux")
    create_time = psutil.Process.create_time

    def change_once(process: psutil.Process) -> float:
        clock.shift = 3600.0
        return float(create_time(process))

    monkeypatch.setattr(psutil.Process, "create_time", change_once)
    assert this_process() == stored
