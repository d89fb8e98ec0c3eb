"""Which process runs a run, and whether it is still there."""

import os
import socket

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

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
    """Mark runs as failed whose process was killed: nobody else will ever end them."""
    for run in instance.get_runs(RunsFilter(statuses=UNFINISHED)):
        process = _process_of(run)
        # It may have ended well since it was listed: what is in the instance now is its last word.
        if process and is_dead(process) and _is_unfinished(instance, run):
            instance.report_run_failed(
                run, "Its process was killed. What it had finished is kept; run again to go on."
            )


def _is_unfinished(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    now = instance.get_run_by_id(run.run_id)
    return now is not None and now.status in UNFINISHED
