"""Which process runs a run, and whether it is still there."""

import os
import socket
from collections.abc import Collection

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus, RunsFilter

# Who runs a run of the command line, to tell later whether it can still be running. The UI hides
# tags of this prefix: a number of a process says nothing to anybody who looks at runs.
PROCESS_TAG = ".dagster/munin-process"
# The same of a run that the daemon launched: "RUN PROCESS", since its re-execution has the tag too.
LAUNCHED_TAG = ".dagster/munin-launched-process"

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

# A tag of Dagster's (Run retries): the next run makes the assets and checks that were not told.
RETRY_THE_REST = {"dagster/retry_strategy": "FROM_ASSET_FAILURE"}
KILLED = "Its process was killed. What it had finished is kept; run again to go on."
TOLD_ALL = (
    "Its process was killed when all that it was to make had been told: it is done, and not tried "
    "again."
)

PLANNED = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
TOLD = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}


def is_ours(run: dg.DagsterRun) -> bool:
    """Whether the process that the tag names runs it: Dagster gives the tag to re-executions."""
    return PROCESS_TAG in run.tags and run.parent_run_id is None


def name_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Say that this process runs a run, if its tags do not."""
    if _process_of(run) is None:
        instance.add_run_tags(run.run_id, {LAUNCHED_TAG: f"{run.run_id} {this_process()}"})


def _process_of(run: dg.DagsterRun) -> str | None:
    run_id, _, process = run.tags.get(LAUNCHED_TAG, "").partition(" ")
    if run_id == run.run_id:
        return process
    return run.tags[PROCESS_TAG] if is_ours(run) else None


def this_process() -> str:
    """This process, told apart from a later one of the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none, or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(process: str) -> bool:
    """Whether a process that `this_process` named is certain to have ended."""
    host, pid, started = process.rsplit(":", 2)
    if host != socket.gethostname() or not started:
        return False
    return _started(int(pid)) != started


def close_dead_runs(instance: dg.DagsterInstance) -> None:
    """End runs whose process was killed: nobody else ever will.

    One that had told all it was to make is done, and not tried again: Dagster tries again what has
    failed. One that was asked to end is canceled; any other has failed, and is tried again without
    the assets and checks that it had told.
    """
    for run in instance.get_runs(RunsFilter(statuses=UNFINISHED)):
        process = _process_of(run)
        if process and is_dead(process):
            _end(instance, run.run_id)


def _end(instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    # It may have ended well since it was listed: what is in the instance now is its last word.
    if run is None or run.status not in UNFINISHED:
        return
    if has_told_all(instance, run):
        done = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, run.job_name, message=TOLD_ALL)
        instance.report_dagster_event(done, run.run_id)
    elif run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, "Its process was killed while it was asked to end.")
    else:
        if has_told_something(instance, run):
            # Dagster's own way is by whole steps, and Stages 1 to 3 are one.
            instance.add_run_tags(run.run_id, RETRY_THE_REST)
        instance.report_run_failed(run, KILLED)


def has_told_all(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether each asset and each check of a run's plan is in the event log, for its partition.

    A run without a plan has told nothing.
    """
    planned = _subjects(instance, run, PLANNED)
    return bool(planned) and planned <= _subjects(instance, run, TOLD)


def has_told_something(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether an asset or a check of a run's plan is in the event log."""
    return bool(_subjects(instance, run, TOLD))


def _subjects(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kinds: Collection[DagsterEventType]
) -> set[tuple[object, ...]]:
    """What a run's events of some kinds are about."""
    entries = instance.all_logs(run.run_id, of_type=set(kinds))
    return {_subject(entry.get_dagster_event()) for entry in entries}


def _subject(event: dg.DagsterEvent) -> tuple[object, ...]:
    match event.event_type:
        case DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            return (event.asset_check_planned_data.asset_check_key,)
        case DagsterEventType.ASSET_CHECK_EVALUATION:
            return (event.asset_check_evaluation_data.asset_check_key,)
    return (event.asset_key, event.partition)
