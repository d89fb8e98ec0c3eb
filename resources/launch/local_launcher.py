"""The step launcher for this machine: each step is a subprocess."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from time import monotonic, sleep
from typing import Any, cast

import dagster as dg
from dagster import PipesExecutionResult, PipesMessageHandler
from dagster_pipes import PipesMessage, PipesParams

from resources.aws.clients import AwsClients
from resources.batch.outcome import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, AttemptOutcome
from resources.errors import StoreError, WorkerCrashError
from resources.launch.base import StepLauncher, StepRequest
from resources.launch.hooks import LaunchHooks
from resources.launch.pipes import OnMessage
from resources.launch.slots import LaunchSlots, priority_of
from resources.ledger.asset_metadata import stage_cost_metadata, stage_of
from resources.ledger.local_writer import LocalLedgerWriter
from resources.ledger.table import read_ledger
from resources.settings.profile import Profile
from resources.spot.retry import MAX_CRASHES_WITHOUT_PROGRESS
from resources.storage.layout import LEDGER_FOLDER
from resources.storage.open_store import open_store
from resources.storage.temporary_folder import temporary_folder

# A worker that is asked to stop finishes its current work; after this time it is killed.
STOP_SECONDS = 30.0
# Any other exit code is a crash.
OUTCOME_BY_EXIT_CODE = {
    EXIT_DONE: AttemptOutcome.DONE,
    EXIT_FAILED: AttemptOutcome.FAILED,
    EXIT_STOPPED: AttemptOutcome.CANCELLED,
}
# Seconds between two lines of progress in the run's log.
PROGRESS_LOG_SECONDS = 30.0
# The concurrency pool of jobs on this machine, and seconds between two claims of a slot.
LOCAL_POOL = "jobs-on-this-machine"
SLOT_POLL_SECONDS = 1.0


class LocalStepLauncher(StepLauncher):
    """Runs steps as subprocesses of this machine.

    A worker that crashes is restarted, since its finished work is in its journal. A worker ends
    when this process ends, even by SIGKILL: it reads an end of file on its standard input.

    Args:
        worker_module: the module to run as the worker.
        hooks: callbacks and queries; by default, none.
    """

    def __init__(self, worker_module: str, hooks: LaunchHooks | None = None) -> None:
        self._worker_module = worker_module
        self._hooks = hooks or LaunchHooks()

    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        """See StepLauncher."""
        slots = LaunchSlots(
            context.instance,
            context.run.run_id,
            LOCAL_POOL,
            request.profile["pipeline"]["cost_optimization"]["max_parallel_jobs"],
            priority_of(context.run),
            self._hooks.close_dead_runs,
        )
        with slots.released():
            _wait_for_slot(context, slots)
            yield from self._run_workers(context, request)

    def _run_workers(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        crashes = 0  # in a row, without progress
        after_crash = False
        stages = ", ".join(request.stages)
        context.log.info(f"camera {request.camera_id}: a worker on this machine runs {stages}")
        ledger = _open_ledger(context, request)
        while True:
            attempt = _Attempt(context, self._hooks, ledger, after_crash)
            results = attempt.run(self._worker_module, request.extras(after_crash))
            if attempt.exit_code == EXIT_DONE:
                yield from _with_costs(results, ledger, context.log.warning)
                return
            if attempt.exit_code == EXIT_FAILED and attempt.error:
                raise dg.Failure(attempt.error, allow_retries=False)
            if attempt.exit_code == EXIT_FAILED:
                raise WorkerCrashError("the worker crashed; its log has the traceback")
            crashes = 0 if attempt.made_progress else crashes + 1
            end = _describe_end(attempt.exit_code)
            if crashes >= MAX_CRASHES_WITHOUT_PROGRESS:
                raise WorkerCrashError(
                    f"camera {request.camera_id}: the worker {end} {crashes} times without "
                    "progress; its log is in this run's stderr"
                )
            context.log.warning(
                f"The worker {end}. Restarting it; its finished work is in the journal."
            )
            after_crash = True


def _wait_for_slot(context: dg.AssetExecutionContext, slots: LaunchSlots) -> None:
    logged = False
    while not slots.take("step"):
        if not logged:
            logged = True
            context.log.info(slots.waiting_message)
        sleep(SLOT_POLL_SECONDS)


class _Attempt:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        hooks: LaunchHooks,
        ledger: LocalLedgerWriter,
        after_crash: bool,
    ) -> None:
        reason = "the previous worker crashed" if after_crash else "requested"
        self._context = context
        self._ledger = ledger
        self._entry = ledger.start_attempt(reason)
        self._hooks = hooks
        self._logged_at = monotonic()
        self.exit_code: int = EXIT_FAILED
        self.error: str | None = None
        self.made_progress = False

    def run(self, module: str, extras: Mapping[str, Any]) -> Sequence[PipesExecutionResult]:
        """Run a worker and wait for its end; an interrupt stops it first."""
        with temporary_folder("step") as folder:
            reader = _Reader(str(folder / "messages"), self._on_message)
            injector = dg.PipesFileContextInjector(str(folder / "context"))
            end = AttemptOutcome.CANCELLED
            try:
                with dg.open_pipes_session(
                    self._context, injector, reader, dict(extras)
                ) as session:
                    self.exit_code = _run_to_end(module, session.get_bootstrap_env_vars())
                end = OUTCOME_BY_EXIT_CODE.get(self.exit_code, AttemptOutcome.CRASHED)
            finally:  # all messages are read once the session is closed
                self._ledger.end_attempt(self._entry, end, self.error)
                self._write_ledger()
        return session.get_results(implicit_materializations=False)

    def _write_ledger(self) -> None:
        """Write the ledger. An error is logged only: the next call writes all rows again."""
        try:
            self._ledger.write()
        except StoreError as error:
            self._context.log.warning(f"the cost ledger is not up to date: {error}")

    def _on_message(self, payload: Mapping[str, Any]) -> None:
        """Handle a custom message: error (a line for the user), warning, work or progress."""
        if "error" in payload:
            self.error = payload["error"]
        if "warning" in payload:
            self._hooks.on_warning(payload["warning"])
        if "work" in payload:
            self._entry.work = payload["work"]
        if "progress" in payload:
            progress = payload["progress"]
            self.made_progress = self.made_progress or progress["done"] > 0
            self._hooks.on_progress(progress)
            if monotonic() - self._logged_at >= PROGRESS_LOG_SECONDS:
                self._logged_at = monotonic()
                self._write_ledger()  # in case this process is killed
                of = f" of {progress['total']}" if progress["total"] is not None else ""
                self._context.log.info(
                    f"{progress['stage']}: {progress['done']}{of} {progress['unit']}"
                )


def _open_ledger(context: dg.AssetExecutionContext, request: StepRequest) -> LocalLedgerWriter:
    profile = Profile.model_validate(request.profile)
    clients = AwsClients(profile.cloud.aws) if profile.cloud else None
    store = open_store(f"{request.output_url.rstrip('/')}/{LEDGER_FOLDER}", clients)
    launch = f"local-{context.run.run_id}-{request.stages[0]}"
    usd_per_hour = Decimal(str(profile.pipeline.local_usd_per_hour))
    return LocalLedgerWriter(store, request.camera_id, launch, usd_per_hour)


def _with_costs(
    results: Sequence[PipesExecutionResult],
    ledger: LocalLedgerWriter,
    warn: Callable[[str], None],
) -> Iterator[PipesExecutionResult]:
    remarks: list[str] = []
    costs = stage_cost_metadata(read_ledger([ledger.store], remarks), ledger.launch)
    for remark in remarks:
        warn(remark)
    for result in results:
        if isinstance(result, dg.MaterializeResult):
            yield result._replace(metadata={**(result.metadata or {}), **costs(stage_of(result))})
        else:
            yield result


def _run_to_end(module: str, environment: Mapping[str, str]) -> int:
    """Start a worker and wait for its end; an interrupt stops the worker.

    Returns:
        Its exit code, negative for a signal.
    """
    worker = subprocess.Popen(
        [sys.executable, "-m", module],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches it only through this process
    )
    try:
        return worker.wait()
    except BaseException:
        worker.terminate()
        try:
            worker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        raise


def _describe_end(exit_code: int) -> str:
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    if exit_code == EXIT_STOPPED:
        return "was stopped"
    return f"ended with exit code {exit_code}"


class _Reader(dg.PipesFileMessageReader):
    """Dagster's reader of message files, with a callback for custom messages.

    Dagster retains custom messages until the session ends. Progress is needed immediately, and a
    long step sends more of it than should stay in memory.
    """

    def __init__(self, path: str, on_message: OnMessage) -> None:
        super().__init__(path)
        self._on_message = on_message

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        """See PipesMessageReader."""
        filtered = cast("PipesMessageHandler", _MessageFilter(handler, self._on_message))
        with super().read_messages(filtered) as params:
            yield params


class _MessageFilter:
    """A message handler that passes custom messages to a callback, and others on."""

    def __init__(self, handler: PipesMessageHandler, on_message: OnMessage) -> None:
        self._handler = handler
        self._on_message = on_message

    def handle_message(self, message: PipesMessage) -> None:
        params = message["params"]
        if message["method"] == "report_custom_message" and params is not None:
            self._on_message(params["payload"])
        else:
            self._handler.handle_message(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)
