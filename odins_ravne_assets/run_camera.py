"""One camera's Dagster run as a process: `python -m odins_ravne_assets.run_camera REQUEST`.

The command line starts one for each camera. It executes an ordinary run of a job in the instance,
with the camera as its partition. REQUEST is JSON: camera_id, job, profile, overrides, tags. The end
of standard input cancels the run: the parent has closed it, or has died. So does "Terminate" in the
UI.
"""

import json
import os
import select
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from odins_ravne_assets import definitions
from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.register import CameraRegister
from odins_ravne_assets.databases.locked import locked_database
from odins_ravne_assets.instance_home import catalog_folder, home
from odins_ravne_assets.runs.event_stream import emit_event
from odins_ravne_assets.runs.execute_in_location import execute_in_location
from odins_ravne_assets.runs.liveness import (
    PROCESS_TAG,
    UNFINISHED_STATUSES,
    close_dead_runs,
    is_ours,
    this_process,
)

# Seconds between two checks for a termination in the UI.
POLL_SECONDS = 2.0
# SQLite's message of SQLITE_FULL (https://sqlite.org/rescode.html#full).
SQLITE_FULL = "database or disk is full"
LITTLE_SPACE = 2**20  # bytes
NO_SPACE = (
    "DAGSTER_HOME {home}: no space left for Dagster's records; free some space and run again: "
    "finished work is saved"
)

JOBS = {
    "camera": definitions.camera_job,
    "tables": definitions.tables_job,
    "stage1": definitions.stage1_job,
    "stage2": definitions.stage2_job,
    "stages2and3": definitions.stages2and3_job,
    "stage3": definitions.stage3_job,
}


def main() -> int:
    try:
        return _run_request()
    except Exception as error:
        full = NO_SPACE.format(home=home()) if is_home_full(error) else None
        message = locked_database(error) or full
        if message is None:
            raise
        # The run's end cannot be recorded either: the next run does that.
        emit_event({"run": _outcome(None, DagsterRunStatus.FAILURE, message, expected=True)})
        return 1


def _run_request() -> int:
    # Shells start background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = json.loads(sys.argv[1])
    with dg.DagsterInstance.get() as instance:
        threading.Thread(target=_cancel_on_request, args=[instance], daemon=True).start()
        try:
            outcome = _run(instance, request)
        except KeyboardInterrupt:  # before Dagster handles interrupts
            outcome = _outcome(None, DagsterRunStatus.CANCELED)
        for run in _runs_of_this_process(instance):
            instance.report_run_canceled(run)
            outcome = _outcome(run.run_id, DagsterRunStatus.CANCELED)
        emit_event({"run": outcome})
    return 0 if outcome["status"] == DagsterRunStatus.SUCCESS.value else 1


def is_home_full(error: BaseException | None) -> bool:
    """Return True if an error, or one of its causes, is that of a full disk of DAGSTER_HOME."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError) and SQLITE_FULL in str(error):
            return True
        # SQLite calls it an input/output error where a file that it maps cannot grow.
        if isinstance(error, (OSError, sqlite3.OperationalError)):
            return shutil.disk_usage(home()).free < LITTLE_SPACE
        error = error.__cause__ or error.__context__
    return False


def _run(instance: dg.DagsterInstance, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the job and return its outcome."""
    camera_id = request["camera_id"]
    CameraRegister(CameraCatalog(catalog_folder()), instance).add_partition(camera_id)
    close_dead_runs(instance)
    result = execute_in_location(
        instance,
        dg.reconstructable(JOBS[request["job"]]),
        run_config=_run_config(request),
        tags={
            **request["tags"],
            "dagster/partition": camera_id,
            PROCESS_TAG: this_process(),
            # A killed command's run must not be retried by the daemon of an open UI.
            "dagster/max_retries": "0",
        },
    )
    run = instance.get_run_by_id(result.run_id)
    status = run.status if run else DagsterRunStatus.FAILURE
    error, expected = error_of(result) if status == DagsterRunStatus.FAILURE else (None, False)
    return _outcome(result.run_id, status, error, expected)


def _outcome(
    run_id: str | None, status: DagsterRunStatus, error: str | None = None, expected: bool = False
) -> dict[str, Any]:
    """Return the event that ends the run, for `process_pool.CameraRun`."""
    return {"run_id": run_id, "status": status.value, "error": error, "expected": expected}


def _cancel_on_request(instance: dg.DagsterInstance) -> None:
    while not _input_ended() and not _terminated(instance):
        pass
    # Dagster records an interrupt as a failure, unless the run is being canceled.
    for run in _runs_of_this_process(instance):
        if run.status != DagsterRunStatus.CANCELING:
            instance.report_run_canceling(run)
    os.kill(os.getpid(), signal.SIGINT)


def _input_ended() -> bool:
    """Wait for standard input, at most POLL_SECONDS; return True if it has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
    try:
        return bool(readable) and not os.read(sys.stdin.fileno(), 1024)
    except OSError:
        return True


def _terminated(instance: dg.DagsterInstance) -> bool:
    runs = _runs_of_this_process(instance)
    return any(run.status == DagsterRunStatus.CANCELING for run in runs)


def _runs_of_this_process(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    filters = RunsFilter(tags={PROCESS_TAG: this_process()}, statuses=UNFINISHED_STATUSES)
    return [run for run in instance.get_runs(filters) if is_ours(run)]


def _run_config(request: Mapping[str, Any]) -> dict[str, Any]:
    config = {"profile": request["profile"], "overrides": request["overrides"]}
    return {"resources": {"settings": {"config": config}}}


def error_of(
    result: dg.JobExecutionResult | dg.ExecuteInProcessResult,
) -> tuple[str | None, bool]:
    """Return the message of the run's first error, and whether it is an expected one.

    Steps raise an expected error, of whatever class, as a `dagster.Failure`, whose description is
    the message. Anything else is a crash, which the run's log explains.
    """
    for event in result.all_events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description, True
            cause = failure.error
            while cause and cause.cause:
                cause = cause.cause
            if cause:
                return _without_class(cause.message), False
    return None, False


def _without_class(message: str) -> str:
    """Return an error's text without the class name that Dagster puts before it."""
    name, colon, text = message.strip().partition(": ")
    return text if colon and name.rpartition(".")[2].isidentifier() and " " not in name else message


if __name__ == "__main__":
    sys.exit(main())
