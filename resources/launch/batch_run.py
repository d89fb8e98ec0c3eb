"""A launch on AWS Batch: the jobs of a camera's work units, from the first to the last.

A launch is cut into work units, each a job at a time: a unit's next job is submitted only when
the one before is seen ended. Everything that is decided is written down before it is done
(`launch_record.py`), and what is finished is in the worker's journal; so any process may die at any
moment, and the next launch of the same work takes up what is still running.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import dagster as dg
from dagster import PipesExecutionResult

from resources.aws.clients import AwsClients
from resources.aws.errors import NOT_ALLOWED, NOT_KNOWN, error_code, one_line, was_refused
from resources.batch.jobs import TERMINAL_STATES, Job, describe_jobs, find_job, to_seconds, submit_parameters
from resources.batch.launch_record import Attempt, LaunchRecord, Refusal, UnitRecord
from resources.batch.names import SPOT_QUEUES
from resources.batch.outcome import AttemptOutcome, classify_attempt, attempt_facts
from resources.batch.work_units import JOB_VCPUS
from resources.clock import Clock
from resources.errors import BudgetReachedError, LaunchError, StoreError
from resources.launch.base import StepRequest
from resources.launch.hooks import LaunchHooks
from resources.launch.job_monitor import JobMonitor
from resources.launch.pipes import without_message_warnings
from resources.launch.recovery import UNKNOWN_JOB_SECONDS
from resources.launch.slots import LaunchSlots
from resources.pricing.economics import Offer
from resources.settings.profile import Aws
from resources.spot.market import SpotEnvironment
from resources.spot.policy import (
    Fail,
    MoveToOnDemand,
    Priority,
    Queue,
    Resume,
    Rules,
    SetAside,
    Submit,
    UnitState,
    Wait,
    choose_queue,
    decide_while_queued,
)
from resources.spot.queue_state import QueueState, StarvationTimer
from resources.spot.retry import FailedJob, next_after_failure
from resources.storage.object_store import ObjectStore

# How often jobs are looked at, in seconds: a sweep is one call for each hundred jobs.
POLL_SECONDS = 15.0
# AWS's troubles are borne this long.
MAX_OUTAGE_SECONDS = 1800.0
# How a job ends that we asked to stop.
STOPPED_OUTCOMES = (AttemptOutcome.CANCELLED, AttemptOutcome.INTERRUPTED)
# Ends that say all there is to say: the worker had no chance to.
OUTCOMES_WITHOUT_MESSAGES = {
    *STOPPED_OUTCOMES,
    AttemptOutcome.NO_CAPACITY,
    AttemptOutcome.NEVER_PLACEABLE,
    AttemptOutcome.CANNOT_START,
}


class AwsUnreachableError(LaunchError):
    """AWS does not answer, or not to us. Nothing is terminated: nobody could be asked to."""


@dataclass
class Launch:
    """One launch, from its first job to its last.

    Args:
        store: the folder `launches` of the camera's output, held for this launch alone.
        offers: asks for the prices of now.
        refusal: asks the budgets: why a unit's next job is not submitted to a queue, if so.
        turn: held from that question until the job is submitted.
        slots: how many jobs run at once, over all launches.
        request: what each job is asked to do, but for its unit.
        hooks: called with progress, warnings and lines of the log.
        on_sweep: called after each look at the jobs.
    """

    context: dg.AssetExecutionContext
    record: LaunchRecord
    store: ObjectStore
    clients: AwsClients
    aws: Aws
    clock: Clock
    rules: Rules
    priority: Priority
    slots: LaunchSlots
    deadline: float | None
    offers: Callable[[], Sequence[Offer]]
    refusal: Callable[[UnitRecord, str], str | None]
    turn: Callable[[], AbstractContextManager[None]]
    request: StepRequest
    hooks: LaunchHooks
    on_sweep: Callable[[], None] = lambda: None
    results: list[PipesExecutionResult] = field(default_factory=list)
    _watched: dict[str, JobMonitor] = field(default_factory=dict)  # by name of the job
    _look_again: dict[int, float] = field(default_factory=dict)  # unit -> not before
    _after_crash: set[int] = field(default_factory=set)
    _refused: dict[int, str] = field(default_factory=dict)  # unit -> why
    _trouble_since: float | None = None
    _waits_for_slot: str | None = None
    _told_no_slot: bool = False

    def run(self) -> None:
        """Go on until every unit is done or set aside.

        Raises:
            dagster.Failure: a worker said why it could not go on.
            LaunchError: AWS is out of reach; the jobs go on by themselves.
            BudgetReachedError: no further job may be launched, and none runs any more.
        """
        try:
            while self._unfinished():
                self._look_round()
                self._stop_if_refused()
                self.on_sweep()
                if self._unfinished():
                    self.clock.sleep(self._pause())
        except AwsUnreachableError:
            raise
        except BaseException:
            self._terminate_all("the run that launched it was stopped")
            raise
        finally:
            self._close_sessions()

    def _unfinished(self) -> bool:
        return any(unit.outcome == "open" for unit in self.record.units)

    def _stop_if_refused(self) -> None:
        if self._refused and not any(unit.active for unit in self.record.units):
            why = next(iter(self._refused.values()))
            raise BudgetReachedError(
                f"{why}; what is finished is kept: raise "
                f"pipeline.cost_optimization.{why.partition(' ')[0]} and run again to go on"
            )

    def _look_round(self) -> None:
        """A sweep. AWS's passing troubles are borne: jobs do not need us from minute to minute."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._take_up()
            self._sweep()
            self._trouble_since = None
        except (ClientError, BotoCoreError, StoreError) as error:
            now = self.clock.now()
            if self._trouble_since is None:
                self._trouble_since = now
            self.context.log.warning(f"AWS is in trouble, trying again: {one_line(str(error))}")
            lasting = error_code(error) in NOT_ALLOWED | NOT_KNOWN
            if lasting or now - self._trouble_since > MAX_OUTAGE_SECONDS:
                raise AwsUnreachableError(
                    f"AWS is out of reach: {one_line(str(error))}; jobs that run go on by "
                    "themselves, run again to take them up"
                ) from error

    def _take_up(self) -> None:
        """Watch jobs that nobody watches: an earlier orchestrator's, or those only intended."""
        for unit in self.record.units:
            attempt = unit.active
            if attempt is None or attempt.name in self._watched:
                continue
            if attempt.job_id is None:
                queue = f"{self.aws.name}-{attempt.queue}"
                attempt.job_id = find_job(self.clients.of("batch"), queue, attempt.name)
            if attempt.job_id is not None:
                self._watched[attempt.name] = self._open_session(unit, attempt)
                self._say(unit, f"taking up job {attempt.name} ({attempt.job_id})")
            elif self.clock.now() - attempt.intended_at > UNKNOWN_JOB_SECONDS:
                unit.attempts.remove(attempt)  # it was never submitted
            else:
                continue
            self.record.save(self.store)

    # One look at everything

    def _sweep(self) -> None:
        batch = self.clients.of("batch")
        watched = list(self._watched.values())
        jobs = describe_jobs(batch, [w.attempt.job_id for w in watched if w.attempt.job_id])
        waiting: list[tuple[JobMonitor, Job]] = []
        for watch in watched:
            watch.read_new()
            job = jobs.get(watch.attempt.job_id or "")
            if job is None:
                self._miss(watch)
                continue
            watch.seen = True
            watch.attempt.started_at = to_seconds(job.get("startedAt")) or watch.attempt.started_at
            if job["status"] in TERMINAL_STATES:
                self._end(watch, job)
            elif job["status"] == "RUNNABLE" and watch.attempt.queue in SPOT_QUEUES:
                waiting.append((watch, job))
            else:
                watch.starved = StarvationTimer()
        self._consider_waiting(waiting)
        self._keep_slots()
        self._submit_ready()

    def _miss(self, watch: JobMonitor) -> None:
        """Batch does not know the job: it is new, or long gone."""
        age = self.clock.now() - watch.attempt.intended_at
        if watch.seen or age > UNKNOWN_JOB_SECONDS:
            self._finish(watch, AttemptOutcome.CRASHED, "AWS Batch does not know the job any more")

    def _consider_waiting(self, waiting: list[tuple[JobMonitor, Job]]) -> None:
        """Decide on the jobs that wait for a spot machine."""
        if not waiting:
            return
        market = SpotEnvironment(self.clients, self.aws, JOB_VCPUS)
        standing = market.standing_of(str(job["jobId"]) for _, job in waiting)
        now = self.clock.now()
        for watch, job in waiting:
            place = standing[str(job["jobId"])]
            watch.starved = watch.starved.update(now, place is QueueState.STARVING)
            if watch.attempt.moving is not None:
                continue  # cancelled already; it will be seen FAILED
            choice = decide_while_queued(
                self._state(watch.unit),
                place,
                watch.starved,
                self.rules,
                now,
                job.get("statusReason", ""),
            )
            if isinstance(choice, MoveToOnDemand):
                self._move(watch, choice.reason)
            elif place is not QueueState.MACHINE_COMING:
                self._say_once(watch, choice.reason.partition(";")[0])

    def _move(self, watch: JobMonitor, reason: str) -> None:
        """A job never changes queues: it is cancelled, seen FAILED, and submitted anew."""
        self._say(watch.unit, f"moving to on-demand: {reason}")
        watch.attempt.moving = reason
        self.record.save(self.store)
        self.clients.of("batch").terminate_job(jobId=watch.job_id, reason=reason[:256])

    # An attempt's end

    def _end(self, watch: JobMonitor, job: Job) -> None:
        facts = attempt_facts(job)
        watch.read_new()
        end = classify_attempt(facts)
        said = watch.error if end is AttemptOutcome.FAILED and watch.error else facts.said
        watch.attempt.ended_at = to_seconds(job.get("stoppedAt")) or self.clock.now()
        self._finish(watch, end, said)

    def _finish(self, watch: JobMonitor, end: AttemptOutcome, said: str) -> None:
        unit, attempt = watch.unit, watch.attempt
        attempt.end, attempt.said = end.value, said
        attempt.ended_at = attempt.ended_at or self.clock.now()
        del self._watched[attempt.name]
        self._refused.clear()  # it may have cost less than was expected
        with without_message_warnings(self.context.log) if end in OUTCOMES_WITHOUT_MESSAGES else nullcontext():
            watch.close()
        if end is AttemptOutcome.DONE:
            unit.outcome = "done"
            reported = watch.pipes.get_results(implicit_materializations=False)
            self.results += reported
            self._say(unit, f"job {attempt.name} is done")
            # What the whole camera's job has reported is known to this process alone: until it is
            # handed over, the job is written down as running, for the next one to ask again.
            if unit.start is not None:
                self.record.save(self.store)
            return
        if attempt.stopping and end in STOPPED_OUTCOMES:
            self.record.save(self.store)  # asked for by an earlier run; this one goes on
            return
        queue = _queue(attempt.queue)
        state = self._state(unit).after(end, queue, attempt.finished_media > 0)
        unit.interruptions = state.interruptions
        unit.fruitless_deaths = state.fruitless_deaths
        unit.failed_starts = state.failed_starts
        if end in (AttemptOutcome.CRASHED, AttemptOutcome.OUT_OF_MEMORY):
            self._after_crash.add(unit.number)
        ended = FailedJob(queue, end, said, attempt.moving)
        self._follow(
            unit, next_after_failure(state, ended, self.offers(), self.rules, self.clock.now())
        )

    def _follow(self, unit: UnitRecord, choice: Submit | Resume | Wait | SetAside | Fail) -> None:
        """Do what was decided on a unit that is in no queue."""
        if isinstance(choice, Submit | Resume):
            with self.turn():
                if refused := self.refusal(unit, choice.queue):
                    self._refuse(unit, choice.queue, refused)
                else:
                    self._submit(unit, choice.queue, choice.reason)
        elif isinstance(choice, Wait):
            self._look_again[unit.number] = self.clock.now() + choice.look_again_in
            self._say(unit, f"waiting: {choice.reason}")
            self.record.save(self.store)
        elif isinstance(choice, SetAside) and unit.start is not None:
            unit.outcome, unit.why = "set aside", choice.reason
            self._say(unit, f"set aside: {choice.reason}")
            self.record.save(self.store)
        else:
            # Whoever runs it again has done something about it.
            unit.fruitless_deaths = unit.failed_starts = 0
            self.record.save(self.store)
            raise dg.Failure(choice.reason, allow_retries=False)

    def _refuse(self, unit: UnitRecord, queue: str, why: str) -> None:
        """Leave a unit for when a running job has ended, or for a later run."""
        self._refused[unit.number] = why
        unit.refusals.append(Refusal(self.clock.now(), queue, why))
        self.record.save(self.store)
        self._say(unit, f"not submitted to {queue}: {why}")

    # Submitting

    def _submit_ready(self) -> None:
        """Submit units that are in no queue, up to as many at once as the profile allows."""
        now = self.clock.now()
        self._waits_for_slot = None
        for unit in self.record.units:
            if unit.outcome != "open" or unit.active or unit.number in self._refused:
                continue
            if now < self._look_again.get(unit.number, 0.0) or not self._may_begin(unit):
                continue
            if not self.slots.take(unit.slot):
                self._wait_for_slot(unit)
                return
            self._follow(unit, choose_queue(self._state(unit), self.offers(), self.rules, now))

    def _keep_slots(self) -> None:
        """Slots are for the jobs there are, and for the unit that waits for one."""
        living = {unit.slot for unit in self.record.units if unit.active}
        self.slots.keep(living | {self._waits_for_slot or ""})
        for job in living:
            self.slots.hold(job)  # a job that was taken up runs, whether or not there is one

    def _wait_for_slot(self, unit: UnitRecord) -> None:
        self._waits_for_slot = unit.slot
        if not self._watched and not self._told_no_slot:
            self._told_no_slot = True
            self._say(unit, self.slots.why_waiting)

    def _may_begin(self, unit: UnitRecord) -> bool:
        """The whole camera comes last: it makes the tables of what the units have finished."""
        if unit.start is not None:
            return True
        return all(other.outcome != "open" for other in self.record.units if other is not unit)

    def _submit(self, unit: UnitRecord, queue: str, reason: str) -> None:
        number = len(unit.attempts) + 1
        name = f"{self.aws.name}-{self.request.camera_id[:40]}-{self.record.identity}"
        attempt = Attempt(
            f"{name}-u{unit.number}-a{number}", queue, reason, intended_at=self.clock.now()
        )
        unit.attempts.append(attempt)
        self.record.save(self.store)  # the intent, before it is done
        watch = self._open_session(unit, attempt)
        try:
            attempt.job_id = self._submit_job(watch, queue)
        except BaseException as error:
            watch.close()
            if was_refused(error):
                unit.attempts.remove(attempt)
                self.record.save(self.store)
            raise  # submitted or not: if that is not known, `_take_up` finds out
        self._watched[attempt.name] = watch
        self._look_again.pop(unit.number, None)
        self.record.save(self.store)
        self._say(unit, f"submitted {attempt.name} to {queue}: {reason}")

    def _open_session(self, unit: UnitRecord, attempt: Attempt) -> JobMonitor:
        """A Pipes session for a job, under a name that a later process finds again."""
        extras = self.request.extras(unit.number in self._after_crash)
        if unit.start is not None:
            extras["unit"] = {"start": unit.start, "stop": unit.stop}
        folder = f"{self.record.identity}/{attempt.name}"
        watch = JobMonitor(unit, attempt, self.clock, self.hooks)
        watch.open(self.context, self.store, folder, extras)
        return watch

    def _submit_job(self, watch: JobMonitor, queue: str) -> str:
        params = submit_parameters(
            {
                "jobName": watch.attempt.name,
                "jobQueue": f"{self.aws.name}-{queue}",
                "jobDefinition": f"{self.aws.name}-worker",
                "tags": {"Project": self.aws.name, "Camera": self.request.camera_id},
            },
            {**watch.pipes.get_bootstrap_env_vars(), "AWS_DEFAULT_REGION": self.aws.region},
            watch.pipes.default_remote_invocation_info,
        )
        return str(self.clients.without_retries("batch").submit_job(**params)["jobId"])

    # What all share

    def _state(self, unit: UnitRecord) -> UnitState:
        return UnitState(
            work_seconds=unit.seconds,
            ready_since=self.record.began_at,
            priority=self.priority,
            deadline=self.deadline,
            interruptions=unit.interruptions,
            fruitless_deaths=unit.fruitless_deaths,
            failed_starts=unit.failed_starts,
        )

    def _pause(self) -> float:
        """Until the next sweep."""
        if self._watched or self._waits_for_slot:
            return POLL_SECONDS
        soonest = min(self._look_again.values(), default=self.clock.now())
        return max(1.0, soonest - self.clock.now())

    def _terminate_all(self, why: str) -> None:
        """Ask for the end of all jobs; one that cannot be asked leaves the others to be."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._watched:
            return
        for watch in self._watched.values():
            watch.attempt.stopping = why
            try:
                self.clients.of("batch").terminate_job(jobId=watch.job_id, reason=why)
                self._say(watch.unit, f"terminated {watch.attempt.name}: {why}")
            except (ClientError, BotoCoreError) as error:
                told = f"{watch.attempt.name} could not be terminated: {one_line(str(error))}"
                self.context.log.error(f"{told}; end it with munin cost teardown --force")
        self.record.save(self.store)

    def _close_sessions(self) -> None:
        with without_message_warnings(self.context.log):
            for watch in self._watched.values():
                watch.close()

    def _say(self, unit: UnitRecord, text: str) -> None:
        told = f"unit {unit.number}: {text}" if len(self.record.units) > 1 else text
        self.context.log.info(told)
        self.hooks.on_log(told)

    def _say_once(self, watch: JobMonitor, text: str) -> None:
        if watch.said_last != text:
            watch.said_last = text
            self._say(watch.unit, text)


def _queue(name: str) -> Queue:
    for queue in ("spot-high", "spot", "ondemand"):
        if name == queue:
            return queue
    raise LaunchError(f"{name}: no queue of ours")
