"""One step of one camera on AWS Batch: prepare, launch, report costs."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesExecutionResult

from resources.aws.clients import AwsClients
from resources.aws.errors import one_line, translate_aws_errors
from resources.batch.launch_record import (
    LaunchRecord,
    UnitRecord,
    identity_hash,
    load_records,
    records_of_run,
)
from resources.batch.work_units import WorkUnit, cut_work_units
from resources.compute.usage_lease import lease_compute
from resources.errors import StoreError
from resources.launch.attempt_metadata import launch_metadata
from resources.launch.base import StepRequest
from resources.launch.batch_run import Launch
from resources.launch.budget import BUDGET_SETTINGS, LaunchBudget
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.launch.local_launcher import LocalStepLauncher
from resources.launch.readiness import check_archived, wait_for_queues
from resources.launch.recovery import EarlierLaunches
from resources.launch.running_cost import CostReporter
from resources.launch.slots import LaunchSlots, priority_of
from resources.ledger.asset_metadata import stage_cost_metadata, stage_of
from resources.ledger.orchestrator_traffic import OrchestratorTraffic
from resources.ledger.table import read_ledger
from resources.ledger.writer import LedgerWriter, open_camera_ledger
from resources.planning.throughput import assumed_seconds_per_frame
from resources.pricing.economics import Offer, Overheads
from resources.pricing.sources import price_source
from resources.settings.profile import Aws, Profile
from resources.spot.policy import Rules
from resources.storage.layout import LAUNCHES_FOLDER, MEDIA_TABLE
from resources.storage.layout import USAGE_LEASES_FOLDER as HOLDS
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

if TYPE_CHECKING:
    from resources.storage.transfer.footage_upload import UploadProgress

# Expected work of a job whose media are not counted: reading headers, labelling, tables.
DEFAULT_JOB_SECONDS = 600.0
# Below what is kept on this machine: whose lock is held while a job is submitted under a budget.
BUDGET_LOCK_FOLDER = "budget"
# The ledger of a launch that runs is written this often, in seconds.
LEDGER_INTERVAL_SECONDS = 300.0
# Prices are asked for anew after this many seconds.
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
        self._hooks = hooks
        self._local = local
        self._home = home
        self._request = request
        self._profile = profile
        self._aws = aws
        self._clients = AwsClients(aws)
        self._clock = self._clients.clock
        self._output = open_store(request.output_url, self._clients)
        self._launches = open_store(
            f"{request.output_url.rstrip('/')}/{LAUNCHES_FOLDER}", self._clients
        )
        self._waiting = False
        self._remedy = f"ask an administrator to attach the policy {aws.name}-runner"
        self._prices = price_source(self._clients, aws, home)
        self._keeper = LedgerWriter(self._clients, aws, self._prices)
        self._books = open_camera_ledger(request.camera_id, request.output_url, self._clients)
        self._own = OrchestratorTraffic(request.camera_id, aws.region, "launching", self._clock)
        self._own.traffic.attach(self._clients.of("s3"))
        self._books_written = self._clock.now()
        self._seen_running: set[str] = set()
        self._offers: tuple[float, list[Offer]] = (float("-inf"), [])
        at_once = profile.pipeline.cost_optimization.max_parallel_jobs
        self._cost = CostReporter(context, self._clock, self._offers_now, at_once, hooks.on_cost)

    def run(self) -> Iterator[PipesExecutionResult]:
        if easy := self._done_here():
            yield from easy
            return
        with self._compute_held():  # before the queues are looked at, and until nothing needs them
            wait_for_queues(self._clients, self._aws, self._remedy, self._say)
            self._tell_archived()
            record, launch = self._launched()
        metadata = launch_metadata(record, self._aws.region, self._clock)
        costs = stage_cost_metadata(read_ledger([self._books.ledger]), record.identity)
        for result in launch.results:
            if isinstance(result, dg.MaterializeResult):
                told = {**(result.metadata or {}), **metadata, **costs(stage_of(result))}
                yield result._replace(metadata=told)
            else:
                yield result

    def _done_here(self) -> list[PipesExecutionResult]:
        """What comes of a step that takes no machine; nothing, if it takes one."""
        with self._launches.exclusive(self._say_waiting):
            easy = self._without_machine()
            if easy is None:
                return []
            self._say("nothing new to look at: no job is submitted, this machine does the rest")
            return list(self._local.launch(self._context, easy))

    def _without_machine(self) -> StepRequest | None:
        """The step as this machine can do it, unless an earlier launch has left one working."""
        if not all(record.finished for record in load_records(self._launches)):
            return None
        footage = open_store(self._request.footage_url, self._clients)
        return self._hooks.footage.without_machine(
            self._request, footage, self._output, self._profile
        )

    def _compute_held(self) -> AbstractContextManager[None]:
        output = self._request.output_url
        holds = open_store(f"s3://{urlsplit(output).netloc}/{HOLDS}", self._clients)
        return lease_compute(holds, output, self._context.run.run_id, self._clock)

    def _launched(self) -> tuple[LaunchRecord, Launch]:
        with self._launches.exclusive(self._say_waiting):
            request = self._staged()
            record = self._record(request)
            self._own.launch = record.identity
            self._cost.begin(record)
            slots = self._slots()
            launch = self._launch(record, request, slots)
            try:
                with slots.given_back():
                    launch.run()
                record.finished = True
                record.save(self._launches)
            finally:
                self._write_books(record)
                self._cost.sweep(record)
                self._write_own()
        return record, launch

    def _keep_books(self, record: LaunchRecord) -> None:
        """Write the ledger now and then, since EC2 forgets a machine within an hour of its end;
        and when a job is first seen to run, since ECS tells its machine only while that lives."""
        running = {each.name for each in record.attempts if each.active and each.started_at}
        is_new = bool(running - self._seen_running)
        self._seen_running |= running
        if is_new or self._clock.now() - self._books_written > LEDGER_INTERVAL_SECONDS:
            self._write_books(record)
        self._cost.sweep(record)

    def _write_books(self, record: LaunchRecord) -> None:
        """Write the ledger. A launch bears that it cannot: whoever asks for costs reconciles."""
        from botocore.exceptions import BotoCoreError, ClientError

        self._books_written = self._clock.now()
        try:
            self._cost.written(self._keeper.write(self._books, record))
        except (BotoCoreError, ClientError, StoreError) as error:
            self._context.log.warning(
                f"the cost ledger is not up to date: {one_line(str(error))}; munin cost costs "
                "brings it up to date"
            )

    def _write_own(self) -> None:
        """Write down what this machine asked of S3, footage copied up among the rest."""
        try:
            self._own.write(self._books.ledger, f"{self._own.launch}-{self._context.run.run_id}")
        except StoreError as error:
            self._context.log.warning(f"requests of this machine are in no ledger: {error}")

    def _tell_archived(self) -> None:
        url, stages = self._request.footage_url, set(self._request.stages)
        if urlsplit(url).scheme == "s3" and {"footage", "detections"} & stages:
            check_archived(
                self._clients,
                url,
                self._hooks.footage.is_media,
                lambda: self._output.exists(MEDIA_TABLE),
                self._say,
            )

    def _say_waiting(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._say("another launch of this camera is going on; waiting for its end")

    def _say(self, text: str) -> None:
        self._context.log.info(text)
        self._hooks.on_log(text)

    def _staged(self) -> StepRequest:
        """The request with footage that jobs can reach: what lies here is copied up first."""
        from resources.storage.s3.store import S3Store  # boto3 is needed for the cloud alone
        from resources.storage.transfer.footage_upload import upload_footage, uploaded_footage_url

        request = self._request
        needs_media = {"footage", "detections"} & set(request.stages)
        if urlsplit(request.footage_url).scheme != "file" or not needs_media:
            return request
        url = uploaded_footage_url(request.camera_id, request.output_url)
        self._say(f"copying the footage to {url}; what is there already is skipped")
        staged = upload_footage(
            open_store(request.footage_url),
            S3Store(url, self._clients, clock=self._clock),
            self._tell_staged,
            Event(),  # an interrupt is raised here, in this thread, and ends the copy
            self._hooks.footage.is_media,
        )
        for failure in staged.failures:
            self._context.log.warning(f"{failure.key}: not copied: {failure.reason}")
        self._context.log.info(
            f"copied {staged.uploaded} files ({staged.uploaded_bytes / 1e6:.1f} MB), "
            f"{staged.present} were there"
        )
        return replace(request, footage_url=url)

    def _tell_staged(self, staged: "UploadProgress") -> None:
        done = staged.uploaded + staged.present
        told = {"stage": "staging", "done": done, "total": staged.total_files, "unit": "files"}
        self._hooks.on_progress(told)

    def _record(self, request: StepRequest) -> LaunchRecord:
        """The record of this launch: one that an earlier process left open, or a new one."""
        units = _work_units(self._hooks.footage, self._output, self._profile, request.stages)
        places = {"footage": request.footage_url, "output": request.output_url}
        settings = identity_hash({"profile": without_budgets(request.profile), **places})
        cuts = [(unit.first_path, unit.last_path, unit.frames) for unit in units]
        work = identity_hash({"settings": settings, "stages": request.stages, "units": cuts})
        records = load_records(self._launches)
        same = [each for each in records if each.work == work]
        self._settle([each for each in records if not (each.finished or each in same)], settings)
        for left in same:
            if not left.finished:
                self._say("taking up a launch that was left unfinished")
                left.runs.append(self._context.run.run_id)
                return left
        # A number of its own: jobs and messages of an earlier launch are not this one's.
        return LaunchRecord(
            work,
            settings,
            len(same) + 1,
            self._clock.now(),
            _unit_records(units),
            runs=[self._context.run.run_id],
        )

    def _settle(self, others: list[LaunchRecord], settings: str) -> None:
        """No two launches of a camera run at once.

        A run that was killed while Stages 1 to 3 ran is followed by one that begins with Stage 0:
        the jobs left running may end, and are this run's as soon as it comes to their stages.
        """
        earlier = EarlierLaunches(
            self._launches, self._clients, self._clock, self._aws.name, self._say
        )
        with translate_aws_errors("ending what earlier launches have left", self._remedy):
            kept = [each for each in others if each.settings == settings]
            earlier.end(
                [each for each in others if each not in kept],
                "another launch of this camera, with other settings, took over",
            )
            earlier.wait_for(kept)

    def _launch(self, record: LaunchRecord, request: StepRequest, slots: LaunchSlots) -> Launch:
        pipeline = self._profile.pipeline
        compute = self._aws.compute
        budget = self._budget(record)
        return Launch(
            context=self._context,
            record=record,
            store=self._launches,
            clients=self._clients,
            aws=self._aws,
            clock=self._clock,
            rules=Rules(compute, pipeline.cost_optimization),
            priority=priority_of(self._context.run),
            slots=slots,
            deadline=None,
            offers=self._offers_now,
            refusal=budget.refusal,
            turn=budget.turn,
            request=request,
            hooks=self._hooks,
            on_sweep=lambda: self._keep_books(record),
        )

    def _budget(self, record: LaunchRecord) -> LaunchBudget:
        records = [*load_records(self._launches), record]
        same_run = records_of_run(records, self._context.run.run_id)
        clients = self._clients
        return LaunchBudget(
            self._profile.pipeline.cost_optimization,
            self._keeper,
            self._books,
            record,
            frozenset(each.identity for each in same_run),
            lambda: [open_camera_ledger(*known, clients) for known in self._hooks.known_outputs()],
            LocalStore(self._home / BUDGET_LOCK_FOLDER),
            self._offers_now,
        )

    def _slots(self) -> LaunchSlots:
        return LaunchSlots(
            self._context.instance,
            self._context.run.run_id,
            f"{self._aws.name}-jobs-on-aws",
            self._profile.pipeline.cost_optimization.max_parallel_jobs,
            priority_of(self._context.run),
            self._hooks.close_dead_runs,
            self._left_running,
        )

    def _left_running(self, run: dg.DagsterRun) -> set[str]:
        """The slots of a run that was killed whose jobs go on, until another run takes them up."""
        output = dict(self._hooks.known_outputs()).get(run.tags.get("dagster/partition", ""))
        if output is None:
            return set()
        launches = open_store(f"{output.rstrip('/')}/{LAUNCHES_FOLDER}", self._clients)
        name = self._aws.name
        return EarlierLaunches(launches, self._clients, self._clock, name, self._say).slots_of(
            run.run_id
        )

    def _offers_now(self) -> list[Offer]:
        at, offers = self._offers
        now = self._clock.now()
        if now - at > PRICE_MAX_AGE_SECONDS:
            book = self._prices.book(now - PRICE_MAX_AGE_SECONDS, now)
            offers = book.offers(self._aws.compute.instance_types, now)
            self._offers = (now, offers)
        return offers


def without_budgets(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile as JSON, without what a run that was stopped by a budget is resumed with."""
    pipeline = dict(profile["pipeline"])
    cost: Mapping[str, Any] = pipeline["cost_optimization"]
    budgets = set(BUDGET_SETTINGS.values())
    pipeline["cost_optimization"] = {key: cost[key] for key in cost if key not in budgets}
    return {**profile, "pipeline": pipeline}


def _work_units(
    footage: FootageQueries, output: ObjectStore, profile: Profile, stages: tuple[str, ...]
) -> list[WorkUnit]:
    """Cut a camera into work units; no units if the stages analyse no media."""
    if "detections" not in stages:
        return []
    return cut_work_units(
        lambda: footage.count_media(output, profile),
        assumed_seconds_per_frame(profile),
        Overheads(),
        profile.pipeline.cost_optimization,
    )


def _unit_records(units: list[WorkUnit]) -> list[UnitRecord]:
    """A job for each unit, and one for the whole camera, which makes the tables."""
    if len(units) <= 1:
        seconds = units[0].seconds if units else DEFAULT_JOB_SECONDS
        return [UnitRecord(0, None, None, seconds)]
    parts = [UnitRecord(unit.number, unit.start, unit.stop, unit.seconds) for unit in units]
    return [*parts, UnitRecord(len(parts), None, None, DEFAULT_JOB_SECONDS)]
