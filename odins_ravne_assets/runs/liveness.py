"""Liveness of runs: the process that executes a run, and the end of runs whose process died.

A process of this machine is asked for by its id. One of another machine, which may be lost, is
alive as long as the heartbeat of its run changes (`heartbeat.py`).
"""

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import dagster as dg
import psutil
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus, RunsFilter

from odins_ravne_assets.runs.heartbeat import (
    EXPIRY_SECONDS,
    WATCH,
    Heartbeat,
    HeartbeatWatch,
    RunHeartbeat,
    read_heartbeats,
    this_machine,
)
from resources.clock import Clock

# The process of a run that the command line started. The UI hides tags of this prefix: a process
# id means nothing to a user.
PROCESS_TAG = ".dagster/munin-process"
# The same for a run that the daemon launched: "RUN PROCESS", since a re-execution inherits tags.
LAUNCHED_TAG = ".dagster/munin-launched-process"

UNFINISHED_STATUSES = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

# Dagster's tag (Run retries): the retry makes only the assets and checks that are missing.
RETRY_TAGS = {"dagster/retry_strategy": "FROM_ASSET_FAILURE"}
KILLED = "The run's process was killed. Finished work is saved; run it again to continue."
LOST = (
    "The run's process on {host} has not renewed its heartbeat for {minutes:.0f} minutes: its "
    "machine was lost, or is asleep or disconnected. Finished work is saved; run it again to "
    "continue."
)
KILLED_WHEN_DONE = (
    "The run's process was killed after it had reported all of its assets and checks: the run has "
    "succeeded and is not retried."
)

PLANNED_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
REPORTED_EVENTS = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}


def is_ours(run: dg.DagsterRun) -> bool:
    """Return True if the tag is the run's own: Dagster copies tags to re-executions."""
    return PROCESS_TAG in run.tags and run.parent_run_id is None


def tag_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tag a run with this process, if it has no process yet."""
    if _process_of(run) is None:
        instance.add_run_tags(run.run_id, {LAUNCHED_TAG: f"{run.run_id} {this_process()}"})


def _process_of(run: dg.DagsterRun) -> str | None:
    run_id, _, process = run.tags.get(LAUNCHED_TAG, "").partition(" ")
    if run_id == run.run_id:
        return process
    return run.tags[PROCESS_TAG] if is_ours(run) else None


def this_process() -> str:
    """Return host, process id and start time, since process ids are reused."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def _start_time(pid: int) -> str:
    """Return a process's start in clock ticks since boot, as proc_pid_stat(5); empty if unknown.

    Stored in tags of runs. A change of the system's clock does not change it, but does change the
    times since 1970 that it is computed from.
    """
    try:
        while True:
            boot = _boot_time()
            created = psutil.Process(pid).create_time()
            if _boot_time() == boot:
                return str(round((created - boot) * os.sysconf("SC_CLK_TCK")))
    except psutil.Error:
        return ""


def _boot_time() -> float:
    """Return a time since 1970 that a change of the clock shifts as it shifts `create_time`."""
    if psutil.LINUX:
        return float(psutil.boot_time())
    # macOS does not shift the start times that it stores, so the boot time would not fit them.
    return float(psutil.Process(1).create_time())


def is_dead(process: str) -> bool:
    """Return True if a process that `this_process` named has certainly ended."""
    host, pid, started = process.rsplit(":", 2)
    if host != socket.gethostname() or not started:
        return False
    if not psutil.pid_exists(int(pid)):
        return True
    current = _start_time(int(pid))
    return current not in {"", started}


@contextmanager
def running_here(instance: dg.DagsterInstance, run: dg.DagsterRun, clock: Clock) -> Iterator[None]:
    """Show that a run is alive in this process, while the context lasts.

    If another process ends the run meanwhile, because this machine was asleep or disconnected, this
    process is interrupted.
    """
    tag_process(instance, run)
    with RunHeartbeat(instance, run.run_id, clock).beating():
        yield


def close_dead_runs(instance: dg.DagsterInstance, watch: HeartbeatWatch = WATCH) -> None:
    """End the runs whose process was killed or whose machine was lost, since nothing else does.

    A run that had reported all of its assets and checks succeeds, since Dagster retries failed
    runs. A run that was being canceled is canceled. Any other fails, and its retry leaves out the
    assets and checks that it had reported.

    Args:
        watch: of this process, which has to call this repeatedly to notice the loss of a machine.
    """
    runs = instance.get_runs(RunsFilter(statuses=UNFINISHED_STATUSES))
    processes = {run.run_id: process for run in runs if (process := _process_of(run))}
    heartbeats = read_heartbeats(instance, processes)
    elsewhere: dict[str, Heartbeat | None] = {}
    for run_id, process in processes.items():
        heartbeat = heartbeats.get(run_id)
        if not _is_of_this_machine(process, heartbeat):
            elsewhere[run_id] = heartbeat
        elif is_dead(process):
            _end(instance, run_id, KILLED)
    for run_id in watch.expired(elsewhere):
        host = processes[run_id].rsplit(":", 2)[0]
        _end(instance, run_id, LOST.format(host=host, minutes=EXPIRY_SECONDS / 60))


def _is_of_this_machine(process: str, heartbeat: Heartbeat | None) -> bool:
    """Return True if the process's id is one of this machine."""
    if heartbeat is not None:
        return heartbeat.machine == this_machine()
    return process.rsplit(":", 2)[0] == socket.gethostname()


def _end(instance: dg.DagsterInstance, run_id: str, reason: str) -> None:
    run = instance.get_run_by_id(run_id)
    # It may have succeeded since it was listed.
    if run is None or run.status not in UNFINISHED_STATUSES:
        return
    if has_reported_all(instance, run):
        done = DagsterEvent(
            DagsterEventType.RUN_SUCCESS.value, run.job_name, message=KILLED_WHEN_DONE
        )
        instance.report_dagster_event(done, run.run_id)
    elif run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(
            run, "The run's process was killed while the run was being canceled."
        )
    else:
        if has_reported_any(instance, run):
            # Dagster's default retries whole steps, and Stages 1 to 3 are one step.
            instance.add_run_tags(run.run_id, RETRY_TAGS)
        instance.report_run_failed(run, reason)


def has_reported_all(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return True if the event log has every planned asset and check of a run, for its partition.

    A run without a plan has reported nothing.
    """
    planned = _subjects(instance, run, PLANNED_EVENTS)
    return bool(planned) and planned <= _subjects(instance, run, REPORTED_EVENTS)


def has_reported_any(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return True if the event log has any asset or check of a run."""
    return bool(_subjects(instance, run, REPORTED_EVENTS))


def _subjects(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kinds: Collection[DagsterEventType]
) -> set[tuple[object, ...]]:
    """Return the asset and partition, or the check, of a run's events of some types."""
    entries = instance.all_logs(run.run_id, of_type=set(kinds))
    return {_subject(entry.get_dagster_event()) for entry in entries}


def _subject(event: dg.DagsterEvent) -> tuple[object, ...]:
    match event.event_type:
        case DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            return (event.asset_check_planned_data.asset_check_key,)
        case DagsterEventType.ASSET_CHECK_EVALUATION:
            return (event.asset_check_evaluation_data.asset_check_key,)
    return (event.asset_key, event.partition)
