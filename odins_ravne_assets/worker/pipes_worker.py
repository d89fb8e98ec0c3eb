"""Run a launched step and report on it over Dagster Pipes, the only part of Dagster imported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from dagster_pipes import (
    PipesContext,
    PipesContextData,
    PipesContextLoader,
    PipesParams,
    open_dagster_pipes,
)

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StageResult, StepContext, StepStopped, Unit
from odins_ravne_assets.worker.host import Host, current_host
from odins_ravne_assets.worker.step import run_step
from odins_ravne_assets.worker.work_counters import WorkCounters
from resources.batch.outcome import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED
from resources.errors import RavneError
from resources.printable import printable
from resources.settings.profile import Profile

PROGRESS_INTERVAL = 0.5  # seconds between messages
WORK_INTERVAL = 5.0
# Prefixes of metadata keys, see worker/asset_metadata.py: types of Dagster Pipes.
METADATA_TYPES = ("md", "path")


class PipesReporter:
    """Sends log lines, progress and work counters to the launcher, over Pipes."""

    def __init__(self, pipes: PipesContext, host: Host) -> None:
        self._pipes = pipes
        self._host = host
        self.counters = WorkCounters()
        self._last_progress = 0.0
        self._last_work = monotonic()
        self._state = ("", False)

    def info(self, message: str) -> None:
        self._pipes.log.info(printable(message, lines=True))

    def warning(self, message: str) -> None:
        self._pipes.log.warning(printable(message, lines=True))
        self._pipes.report_custom_message({"warning": printable(message, lines=True)})

    def progress(self, progress: StageProgress) -> None:
        now = monotonic()
        last = progress.done == progress.total
        # The first finished medium of a stage is reported at once: if the next one crashes the
        # worker, the launcher must know that there was progress.
        state = (progress.stage, progress.done > 0)
        if last or state != self._state or now - self._last_progress >= PROGRESS_INTERVAL:
            self._last_progress, self._state = now, state
            self._pipes.report_custom_message({"progress": progress._asdict()})
        if now - self._last_work >= WORK_INTERVAL:
            self.report_work()

    def report_work(self) -> None:
        """Send the counters to the cost ledger, so that it has those of crashed workers too."""
        self._last_work = monotonic()
        work = {**self.counters.as_work(), **self._host.traffic.as_work()}
        self._pipes.report_custom_message({"work": work})


class AllStagesContextLoader(PipesContextLoader):
    """A context loader that lets the worker report on every stage that it runs.

    Pipes refuses reports on assets that the run has not selected, but a run of an asset check
    needs the stage of its asset. The orchestrator drops reports on assets outside the selection.
    """

    def __init__(self, loader: PipesContextLoader) -> None:
        self._loader = loader

    @contextmanager
    def load_context(self, params: PipesParams) -> Iterator[PipesContextData]:
        """See PipesContextLoader."""
        with self._loader.load_context(params) as context:
            stages = (context["extras"] or {})["stages"]
            yield {**context, "asset_keys": list(stages)}


def run_worker() -> int:
    """Run the step of this process's Pipes session; return the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host = current_host()
    with open_dagster_pipes(
        context_loader=AllStagesContextLoader(host.context_loader),
        message_writer=host.message_writer,
    ) as pipes:
        profile = Profile.model_validate(pipes.extras["profile"])
        host.watch(profile, stop, lambda reason: pipes.log.warning(printable(reason)))
        pipes.report_custom_message({"host": host.describe(profile)})
        reporter = PipesReporter(pipes, host)
        try:
            _run(pipes, profile, host, reporter, stop)
        except StepStopped:
            return EXIT_STOPPED
        except RavneError as error:
            pipes.report_custom_message({"error": str(error)})
            return EXIT_FAILED
        finally:
            reporter.report_work()
    return EXIT_DONE


def _run(
    pipes: PipesContext,
    profile: Profile,
    host: Host,
    reporter: PipesReporter,
    stop: threading.Event,
) -> None:
    extras = pipes.extras
    context = StepContext(
        camera=Camera(
            extras["camera_id"],
            extras["footage_url"],
            extras["output_url"],
            tuple(extras.get("earlier_footage", ())),
        ),
        origin=extras.get("origin"),
        profile=profile,
        reporter=reporter,
        stop=stop,
        counters=reporter.counters,
        after_crash=extras["after_crash"],
        unit=Unit(**extras["unit"]) if extras.get("unit") else None,
        update=extras.get("update", True),
        open_store=host.store_opener(profile),
    )
    for asset, result in run_step(context, extras["stages"]):
        _report(pipes, asset, result)


def _report(pipes: PipesContext, asset: str, result: StageResult) -> None:
    pipes.report_asset_materialization(
        asset_key=asset,
        metadata=dict(_typed(key, value) for key, value in result.metadata.items()),
        data_version=result.data_version,
    )
    for check in result.check_results:
        pipes.report_asset_check(
            asset_key=asset,
            check_name=check.name,
            passed=check.passed,
            severity=check.severity,  # type: ignore[arg-type]
            metadata=dict(check.counts),
        )


def _typed(key: str, value: Any) -> tuple[str, Any]:
    """Return an entry of the metadata with the type in its key's prefix, if it has one."""
    if isinstance(value, str):
        value = printable(value, lines=True)
    prefix, _, name = key.partition(":")
    if prefix in METADATA_TYPES:
        return name, {"raw_value": value, "type": prefix}
    return key, value
