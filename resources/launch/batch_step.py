"""One step of one camera on AWS Batch: prepare the launch, run it, report its costs."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesExecutionResult

from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.launch_record import (
    LaunchRecord,
    UnitRecord,
    identity_hash,
    load_records,
    records_of_run,
)
from resources.batch.work_units import WorkUnit, cut_work_units
from resources.compute.usage_lease import lease_compute
from resources.launch.attempt_metadata import launch_metadata
from resources.launch.base import StepRequest
from resources.launch.batch_run import Launch
from resources.launch.budget import BUDGET_SETTINGS, LaunchBudget
from resources.launch.decisions import UnitDecisions
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.launch.launch_ledger import LaunchLedger
from resources.launch.local_launcher import LocalStepLauncher
from resources.launch.outage import OutageRetry
from resources.launch.readiness import check_archived, upload_local_footage, wait_for_queues
from resources.launch.recovery import EarlierLaunches
from resources.launch.running_cost import CostReporter
from resources.launch.slots import LaunchSlots, has_ended, priority_of
from resources.launch.submission import LaunchJobs
from resources.ledger.asset_metadata import stage_cost_metadata, stage_of
from resources.ledger.orchestrator_traffic import OrchestratorTraffic
from resources.ledger.table import read_ledger
from resources.ledger.writer import LedgerWriter, open_camera_ledger
from resources.planning.throughput import assumed_seconds_per_frame
from resources.pricing.economics import Offer, Overheads
from resources.pricing.sources import price_source
from resources.settings.loader import profile_label
from resources.settings.profile import Aws, Profile
from resources.spot.policy import Rules
from resources.storage.layout import (
    BUDGET_LOCK_FOLDER,
    LAUNCHES_FOLDER,
    MEDIA_TABLE,
    USAGE_LEASES_FOLDER,
)
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Expected work of a job whose media are not counted: it reads headers, classifies or writes tables.
DEFAULT_JOB_SECONDS = 600.0
PRICE_MAX_AGE_SECONDS = 300.0


class BatchStep:
    """One step of one camera on AWS.

    Args:
        local: the launcher for a step that needs no machine on AWS.
        home: a folder of this machine, for cached prices and the lock of the monthly budget.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        request: StepRequest,
        profile: Profile,
        aws: Aws,
        hooks: LaunchHooks,
        local: LocalStepLauncher,
        home: Path,
    ) -> None:
        self._context = context
        self._request = request
        self._profile = profile
        self._aws = aws
        self._hooks = hooks
        self._local = local
        self._home = home
        self._clients = AwsClients(aws)
        self._clock = self._clients.clock
        self._outage = OutageRetry(self._clock, self._log)
        self._output = open_store(request.output_url, self._clients)
        self._launches = open_store(
            f"{request.output_url.rstrip('/')}/{LAUNCHES_FOLDER}", self._clients
        )
        self._logged_waiting = False
        self._remedy = f"ask an administrator to attach the policy {aws.name}-runner"
        self._prices = price_source(self._clients, aws, home)
        self._ledger_writer = LedgerWriter(self._clients, aws, self._prices)
        self._camera_ledger = open_camera_ledger(
            request.camera_id, request.output_url, self._clients
        )
        self._traffic = OrchestratorTraffic(request.camera_id, aws.region, "launching", self._clock)
        self._traffic.traffic.attach(self._clients.of("s3"))
        self._offers: tuple[float, list[Offer]] = (float("-inf"), [])

    def run(self) -> Iterator[PipesExecutionResult]:
        """Run the step to its end and yield its results."""
        if results := self._run_without_machine():
            yield from results
            return
        with self._outage.entered(self._lease_compute):  # from before the queues are checked
            wait_for_queues(self._clients, self._aws, self._profile_name(), self._remedy, self._log)
            self._outage.through(self._check_archived)
            record, results = self._run_launch()
        metadata = launch_metadata(record, self._aws.region, self._clock)
        remarks: list[str] = []
        rows = self._outage.through(lambda: read_ledger([self._camera_ledger.ledger], remarks))
        for remark in remarks:
            self._log(remark)
        costs = stage_cost_metadata(rows, record.identity)
        for result in results:
            if isinstance(result, dg.MaterializeResult):
                added = {**metadata, **costs(stage_of(result))}
                yield result._replace(metadata={**(result.metadata or {}), **added})
            else:
                yield result

    def _profile_name(self) -> str:
        """Return the name or path of the run's profile, for commands in messages."""
        config: Any = self._context.run.run_config
        for key in ("resources", "settings", "config", "profile"):
            config = config.get(key) if isinstance(config, Mapping) else None
        return profile_label(config) if isinstance(config, str) else "cloud"

    def _run_without_machine(self) -> list[PipesExecutionResult]:
        """Return the results of a step that only writes tables; none if it needs a machine."""
        with self._locked():
            if self._outage.through(self._needs_machine):
                return []
            self._log("no new media to analyse: no job is submitted, the step runs on this machine")
            return list(self._local.launch(self._context, self._request))

    def _needs_machine(self) -> bool:
        """Return True if an earlier launch is unfinished, or the step does more than tables."""
        if not all(record.finished for record in load_records(self._launches)):
            return True
        footage = open_store(self._request.footage_url, self._clients)
        return self._hooks.footage.needs_machine(
            self._request, footage, self._output, self._profile
        )

    def _lease_compute(self) -> AbstractContextManager[None]:
        output = self._request.output_url
        leases = open_store(f"s3://{urlsplit(output).netloc}/{USAGE_LEASES_FOLDER}", self._clients)
        return lease_compute(leases, output, self._context.run.run_id, self._clock)

    def _check_archived(self) -> None:
        url, stages = self._request.footage_url, set(self._request.stages)
        if urlsplit(url).scheme == "s3" and {"footage", "detections"} & stages:
            check_archived(
                self._clients,
                url,
                self._hooks.footage.is_media,
                lambda: self._output.exists(MEDIA_TABLE),
                self._log,
            )

    def _run_launch(self) -> tuple[LaunchRecord, list[PipesExecutionResult]]:
        with self._locked():
            request = self._outage.through(self._request_on_s3)
            record = self._outage.through(lambda: self._record(request))
            ledger = self._ledger()
            ledger.start(record)
            slots = self._slots()
            launch = self._outage.through(lambda: self._launch(record, request, slots, ledger))
            try:
                with slots.released():
                    launch.run()
                record.finished = True
                self._outage.through(lambda: record.save(self._launches))
            finally:
                ledger.close(record)
        return record, launch.results

    def _locked(self) -> AbstractContextManager[None]:
        """Lock the camera's launches."""
        return self._outage.entered(lambda: self._launches.exclusive(self._log_waiting))

    def _request_on_s3(self) -> StepRequest:
        """Return the request with footage on S3; local footage is uploaded first."""
        request = self._request
        reads_media = {"footage", "detections"} & set(request.stages)
        if urlsplit(request.footage_url).scheme != "file" or not reads_media:
            return request
        url = self._hooks.footage.copy_url(request, self._output, self._profile)
        upload_local_footage(self._context, request, url, self._clients, self._hooks, self._log)
        return replace(request, footage_url=url, origin=request.footage_url)

    def _record(self, request: StepRequest) -> LaunchRecord:
        """Return the record of this launch: an unfinished one of the same work, or a new one."""
        units = _work_units(self._hooks.footage, self._output, self._profile, self._request.stages)
        urls = {"footage": request.footage_url, "output": request.output_url}
        settings = identity_hash({"profile": without_budgets(request.profile), **urls})
        cuts = [(unit.first_path, unit.last_path, unit.frames) for unit in units]
        work = identity_hash({"settings": settings, "stages": request.stages, "units": cuts})
        records = load_records(self._launches)
        same = [each for each in records if each.work == work]
        others = [each for each in records if not (each.finished or each in same)]
        with translate_aws_errors("ending jobs of earlier launches", self._remedy):
            self._earlier_launches(self._launches).take_over(others, settings)
        run_id = self._context.run.run_id
        for unfinished in same:
            if not unfinished.finished:
                self._log("resuming an unfinished launch")
                unfinished.runs.append(run_id)
                return unfinished
        # A new number, so that jobs and messages of an earlier launch of the same work differ.
        number = len(same) + 1
        return LaunchRecord(
            work, settings, number, self._clock.now(), _unit_records(units), runs=[run_id]
        )

    def _launch(
        self,
        record: LaunchRecord,
        request: StepRequest,
        slots: LaunchSlots,
        ledger: LaunchLedger,
    ) -> Launch:
        budget = self._budget(record)
        return Launch(
            LaunchJobs(
                self._context,
                record,
                self._launches,
                self._clients,
                self._aws,
                request,
                self._hooks,
            ),
            UnitDecisions(
                Rules(self._aws.compute, self._profile.pipeline.cost_optimization),
                priority_of(self._context.run),
                # The time may have been set back since an earlier process began the launch.
                ready_since=min(record.began_at, self._clock.now()),
                deadline=None,
                offers=self._current_offers,
                clock=self._clock,
            ),
            slots,
            budget.refusal,
            budget.submission_lock,
            on_poll=lambda: ledger.update(record),
        )

    def _ledger(self) -> LaunchLedger:
        limit = self._profile.pipeline.cost_optimization.max_parallel_jobs
        return LaunchLedger(
            self._context,
            self._camera_ledger,
            self._ledger_writer,
            self._traffic,
            CostReporter(
                self._context, self._clock, self._current_offers, limit, self._hooks.on_cost
            ),
            self._clock,
        )

    def _budget(self, record: LaunchRecord) -> LaunchBudget:
        records = [*load_records(self._launches), record]
        same_run = records_of_run(records, self._context.run.run_id)
        clients = self._clients
        return LaunchBudget(
            self._profile.pipeline.cost_optimization,
            self._ledger_writer,
            self._camera_ledger,
            record,
            frozenset(each.identity for each in same_run),
            lambda: [open_camera_ledger(*each, clients) for each in self._hooks.known_outputs()],
            LocalStore(self._home / BUDGET_LOCK_FOLDER),
            self._current_offers,
        )

    def _slots(self) -> LaunchSlots:
        return LaunchSlots(
            self._context.instance,
            self._context.run.run_id,
            f"{self._aws.name}-jobs-on-aws",
            self._profile.pipeline.cost_optimization.max_parallel_jobs,
            priority_of(self._context.run),
            self._hooks.close_dead_runs,
            self._running_slots,
        )

    def _running_slots(self, run: dg.DagsterRun) -> set[str]:
        """Return the slots of a killed run whose jobs are running and not resumed yet."""
        output = dict(self._hooks.known_outputs()).get(run.tags.get("dagster/partition", ""))
        if output is None:
            return set()
        launches = open_store(f"{output.rstrip('/')}/{LAUNCHES_FOLDER}", self._clients)
        return self._earlier_launches(launches).slots_of(run.run_id)

    def _earlier_launches(self, store: ObjectStore) -> EarlierLaunches:
        context = self._context
        return EarlierLaunches(
            store,
            self._clients,
            self._clock,
            self._aws.name,
            self._log,
            lambda: has_ended(context),
        )

    def _current_offers(self) -> list[Offer]:
        at, offers = self._offers
        now = self._clock.now()
        if now - at > PRICE_MAX_AGE_SECONDS:
            book = self._prices.book(now - PRICE_MAX_AGE_SECONDS, now)
            offers = book.offers(self._aws.compute.instance_types, now)
            self._offers = (now, offers)
        return offers

    def _log_waiting(self) -> None:
        if not self._logged_waiting:
            self._logged_waiting = True
            self._log("another launch of this camera is running; waiting for its end")

    def _log(self, text: str) -> None:
        self._context.log.info(text)
        self._hooks.on_log(text)


def without_budgets(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile as JSON without settings that may change before a launch is resumed.

    Budgets, which a user may raise for it, and the history of runs.
    """
    pipeline = dict(profile["pipeline"])
    cost: Mapping[str, Any] = pipeline["cost_optimization"]
    budgets = set(BUDGET_SETTINGS.values())
    pipeline["cost_optimization"] = {key: cost[key] for key in cost if key not in budgets}
    others = {key: value for key, value in profile.items() if key != "history"}
    return {**others, "pipeline": pipeline}


def _work_units(
    footage: FootageQueries, output: ObjectStore, profile: Profile, stages: tuple[str, ...]
) -> list[WorkUnit]:
    """Cut a camera into work units; no units if the stages analyse no media."""
    if "detections" not in stages:
        return []
    return cut_work_units(
        lambda: footage.expected_media(output, profile),
        assumed_seconds_per_frame(profile),
        Overheads(),
        profile.pipeline.cost_optimization,
    )


def _unit_records(units: list[WorkUnit]) -> list[UnitRecord]:
    """Return a record for each unit, and one for the whole camera, whose job writes the tables."""
    if len(units) <= 1:
        seconds = units[0].seconds if units else DEFAULT_JOB_SECONDS
        return [UnitRecord(0, None, None, seconds)]
    parts = [UnitRecord(unit.number, unit.start, unit.stop, unit.seconds) for unit in units]
    return [*parts, UnitRecord(len(parts), None, None, DEFAULT_JOB_SECONDS)]
