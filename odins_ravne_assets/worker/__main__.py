"""What a launched step runs: `python -m odins_ravne_assets.worker`.

Reads what to do from Dagster Pipes, reports results there, and imports no more of Dagster than
that. Exit codes: 0 done, 1 failed (the reason is reported), 143 stopped with its work saved.
"""

import signal
import sys
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
from odins_ravne_assets.worker.host import Host, current_host
from odins_ravne_assets.worker.step import StageResult, Step, StepStopped, Unit
from odins_ravne_assets.worker.work_counters import WorkCounters
from resources.batch.outcome import DONE, FAILED, STOPPED
from resources.errors import RavneError
from resources.settings.profile import Profile

TELL_PROGRESS_EVERY = 0.5  # seconds
TELL_WORK_EVERY = 5.0
# What may stand before a fact's key, see worker/asset_metadata.py: types of Dagster Pipes.
TYPES = ("md", "path")


class PipesReporter:
    """Tells the launcher, over Pipes."""

    def __init__(self, pipes: PipesContext, host: Host) -> None:
        self._pipes = pipes
        self._host = host
        self.tally = WorkCounters()
        self._told = 0.0
        self._told_work = monotonic()
        self._news = ("", False)

    def info(self, message: str) -> None:
        self._pipes.log.info(message)

    def warning(self, message: str) -> None:
        self._pipes.log.warning(message)
        self._pipes.report_custom_message({"warning": message})

    def progress(self, progress: StageProgress) -> None:
        now = monotonic()
        last = progress.done == progress.total
        # The first medium of a stage is told at once too: should this worker die of the next one,
        # the launcher must know that it did something.
        news = (progress.stage, progress.done > 0)
        if last or news != self._news or now - self._told >= TELL_PROGRESS_EVERY:
            self._told, self._news = now, news
            self._pipes.report_custom_message({"progress": progress._asdict()})
        if now - self._told_work >= TELL_WORK_EVERY:
            self.tell_work()

    def tell_work(self) -> None:
        """What was done so far, for the cost ledger: also of a worker that dies later."""
        self._told_work = monotonic()
        work = {**self.tally.as_work(), **self._host.traffic.as_work()}
        self._pipes.report_custom_message({"work": work})


class OfAllStages(PipesContextLoader):
    """Lets the worker tell of every stage that it runs.

    Pipes refuses what is told of an asset that the run has not selected; a run of a check needs its
    asset's stage all the same. What was not asked for, the orchestrator leaves out.
    """

    def __init__(self, loader: PipesContextLoader) -> None:
        self._loader = loader

    @contextmanager
    def load_context(self, params: PipesParams) -> Iterator[PipesContextData]:
        """See PipesContextLoader."""
        with self._loader.load_context(params) as context:
            stages = (context["extras"] or {})["stages"]
            yield {**context, "asset_keys": list(stages)}


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host = current_host()
    with open_dagster_pipes(
        context_loader=OfAllStages(host.context_loader), message_writer=host.message_writer
    ) as pipes:
        profile = Profile.model_validate(pipes.extras["profile"])
        host.watch(profile, stop, lambda why: pipes.log.warning(why))
        pipes.report_custom_message({"host": host.facts(profile)})
        reporter = PipesReporter(pipes, host)
        try:
            _run(pipes, profile, host, reporter, stop)
        except StepStopped:
            return STOPPED
        except RavneError as error:
            pipes.report_custom_message({"error": str(error)})
            return FAILED
        finally:
            reporter.tell_work()
    return DONE


def _run(
    pipes: PipesContext,
    profile: Profile,
    host: Host,
    reporter: PipesReporter,
    stop: threading.Event,
) -> None:
    asked = pipes.extras
    step = Step(
        camera=Camera(asked["camera_id"], asked["footage_url"], asked["output_url"]),
        profile=profile,
        reporter=reporter,
        stop=stop,
        tally=reporter.tally,
        after_crash=asked["after_crash"],
        unit=Unit(**asked["unit"]) if asked.get("unit") else None,
        open_store=host.stores(profile),
    )
    for asset, result in step.run(asked["stages"]):
        _report(pipes, asset, result)


def _report(pipes: PipesContext, asset: str, result: StageResult) -> None:
    pipes.report_asset_materialization(
        asset_key=asset,
        metadata=dict(_typed(key, value) for key, value in result.facts.items()),
        data_version=result.data_version,
    )
    for finding in result.findings:
        pipes.report_asset_check(
            asset_key=asset,
            check_name=finding.check,
            passed=finding.passed,
            severity=finding.severity,  # type: ignore[arg-type]
            metadata=dict(finding.numbers),
        )


def _typed(key: str, value: Any) -> tuple[str, Any]:
    """A fact as metadata: a kind before a key says its type; the rest is typed by what it is."""
    kind, _, name = key.partition(":")
    return (name, {"raw_value": value, "type": kind}) if kind in TYPES else (key, value)


if __name__ == "__main__":
    sys.exit(main())
