"""The main loop of a launch on AWS Batch: poll its jobs, decide, submit, until all units are done.

Each work unit has at most one live job: the next is submitted only once the last is in a terminal
state. The launch record is written before each action (`launch_record.py`), and finished work is
in the worker's journal; so any process may die at any moment, and the next launch of the same work
resumes its running jobs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import dagster as dg
from dagster import PipesExecutionResult

from resources.aws.batch_states import ENDED_STATUSES, JobStatus
from resources.aws.errors import ACCESS_DENIED_CODES, CREDENTIAL_ERROR_CODES, error_code, one_line
from resources.batch.jobs import Job, describe_jobs, to_seconds
from resources.batch.launch_record import Refusal, UnitOutcome, UnitRecord
from resources.batch.names import SPOT_QUEUES, Queue
from resources.batch.outcome import AttemptOutcome
from resources.errors import BudgetReachedError, LaunchError, LeaseLostError, StoreError
from resources.launch.attempt_end import CRASH_OUTCOMES, OUTCOMES_WITHOUT_MESSAGES, AttemptEnd
from resources.launch.decisions import UnitDecisions
from resources.launch.job_monitor import JobMonitor
from resources.launch.outage import MAX_OUTAGE_SECONDS
from resources.launch.pipes import without_message_warnings
from resources.launch.recovery import UNKNOWN_JOB_SECONDS
from resources.launch.slots import LaunchSlots, has_ended
from resources.launch.spot_queue import SpotQueue
from resources.launch.submission import LaunchJobs
from resources.spot.policy import (
    Resume,
    SetAside,
    Submit,
    Wait,
)
from resources.spot.queue_state import StarvationTimer
from resources.spot.retry import NextStep

# Seconds between polls; a poll is one call for each hundred jobs.
POLL_SECONDS = 15.0


class AwsUnreachableError(LaunchError):
    """AWS does not answer, or denies access. The jobs are not terminated, since nothing can be."""


@dataclass
class Launch:
    """One launch, from its first job to its last.

    Args:
        refusal: check the budgets: return the reason why a unit's next job must not be submitted
            to a queue, or None.
        submission_lock: the lock from that check until the job is submitted.
        slots: limit of concurrent jobs, over all launches.
        on_poll: called after each poll.
    """

    jobs: LaunchJobs
    decisions: UnitDecisions
    slots: LaunchSlots
    refusal: Callable[[UnitRecord, Queue], str | None]
    submission_lock: Callable[[], AbstractContextManager[None]]
    on_poll: Callable[[], None] = lambda: None
    results: list[PipesExecutionResult] = field(default_factory=list)
    _monitors: dict[str, JobMonitor] = field(default_factory=dict)  # by name of the job
    _not_before: dict[int, float] = field(default_factory=dict)  # by number of the unit
    _after_crash: set[int] = field(default_factory=set)
    # What follows a failed job, by number of the unit, until it is done.
    _next_steps: dict[int, NextStep] = field(default_factory=dict)
    _refused: dict[int, str] = field(default_factory=dict)  # reasons, by number of the unit
    _outage_since: float | None = None
    _waiting_slot: str | None = None
    _logged_no_slot: bool = False

    def __post_init__(self) -> None:
        self._units = self.jobs.record.units
        self._clock = self.jobs.clients.clock
        self._run_log = self.jobs.context.log

    def run(self) -> None:
        """Run until every unit is done or set aside.

        Raises:
            dagster.Failure: a worker reported an error.
            LaunchError: AWS is unreachable; the jobs continue.
            LeaseLostError: another run has taken over; the jobs continue.
            BudgetReachedError: the budget allows no further job, and none is running.
        """
        try:
            while self._is_open():
                self._poll_or_retry()
                self._stop_if_refused()
                self.on_poll()
                if self._is_open():
                    self._clock.sleep(self._pause())
        except (AwsUnreachableError, LeaseLostError):
            raise
        except BaseException:
            # A run that another process has ended leaves the jobs to the next run.
            if not has_ended(self.jobs.context):
                self._terminate_all("the run that launched it was stopped")
            raise
        finally:
            self._close_all()

    def _close_all(self) -> None:
        """Close the sessions of jobs that have not ended, with the messages that can be read."""
        with without_message_warnings(self._run_log):
            for monitor in self._monitors.values():
                try:
                    monitor.read_new()
                except StoreError as error:
                    self._run_log.warning(f"last messages of {monitor.attempt.name}: {error}")
                monitor.close()

    def _is_open(self) -> bool:
        return any(unit.outcome is UnitOutcome.OPEN for unit in self._units)

    def _stop_if_refused(self) -> None:
        if self._refused and not any(unit.active for unit in self._units):
            reason = next(iter(self._refused.values()))
            raise BudgetReachedError(
                f"{reason}; finished work is saved: raise "
                f"pipeline.cost_optimization.{reason.partition(' ')[0]} and run again to continue"
            )

    def _poll_or_retry(self) -> None:
        """Poll, and tolerate a temporary outage of AWS, which does not affect the jobs."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._resume_jobs()
            self._poll()
            self._outage_since = None
        except LeaseLostError:
            raise
        except (ClientError, BotoCoreError, StoreError) as error:
            now = self._clock.now()
            if self._outage_since is None:
                self._outage_since = now
            self._run_log.warning(f"AWS request failed, retrying: {one_line(str(error))}")
            permanent = error_code(error) in ACCESS_DENIED_CODES | CREDENTIAL_ERROR_CODES
            if permanent or now - self._outage_since > MAX_OUTAGE_SECONDS:
                raise AwsUnreachableError(
                    f"AWS is unreachable: {one_line(str(error))}; running jobs continue, run again "
                    "to resume them"
                ) from error

    def _resume_jobs(self) -> None:
        """Monitor jobs that an earlier process submitted or intended."""
        for unit in self._units:
            attempt = unit.active
            if attempt is None or attempt.name in self._monitors:
                continue
            monitor = self.jobs.resume(unit, attempt, unit.number in self._after_crash)
            if monitor is not None:
                self._monitors[attempt.name] = monitor
                self._next_steps.pop(unit.number, None)  # it was the job's submission

    def _poll(self) -> None:
        monitors = list(self._monitors.values())
        ids = [each.attempt.job_id for each in monitors if each.attempt.job_id]
        jobs = describe_jobs(self.jobs.clients.of("batch"), ids)
        queued: list[tuple[JobMonitor, Job]] = []
        for monitor in monitors:
            monitor.read_new()
            attempt = monitor.attempt
            job = jobs.get(attempt.job_id or "")
            if job is None:
                self._end_if_unknown(monitor)
                continue
            monitor.is_known = True
            attempt.started_at = to_seconds(job.get("startedAt")) or attempt.started_at
            if job["status"] in ENDED_STATUSES:
                monitor.read_new()  # its last messages, before its end is recorded
                self._end(monitor, AttemptEnd.of_job(job, monitor.error, self._clock.now()))
            elif job["status"] == JobStatus.RUNNABLE and attempt.queue in SPOT_QUEUES:
                queued.append((monitor, job))
            else:
                monitor.starvation = StarvationTimer()
        SpotQueue(self.jobs, self.decisions).check(queued)
        self._update_slots()
        self._submit_ready()

    def _end_if_unknown(self, monitor: JobMonitor) -> None:
        """End an attempt whose job Batch does not return, unless it is new."""
        age = monitor.attempt.age(self._clock.now(), self.jobs.asked)
        if monitor.is_known or age > UNKNOWN_JOB_SECONDS:
            monitor.read_new()
            self._end(monitor, AttemptEnd.of_unknown_job(self._clock.now()))

    def _end(self, monitor: JobMonitor, end: AttemptEnd) -> None:
        """Record the end of an attempt whose messages have all been read, and do what follows.

        The end, its decision and its results are all in memory before the first request that may
        fail: a failed request is repeated by a later poll, and no decision is made twice.
        """
        unit, attempt = monitor.unit, monitor.attempt
        is_done, was_requested = end.outcome is AttemptOutcome.DONE, end.was_requested(attempt)
        if not (is_done or was_requested):
            self._next_steps[unit.number] = self.decisions.after_failure(unit, attempt, end)
        end.write_to(attempt)
        del self._monitors[attempt.name]
        self._refused.clear()  # it may have cost less than expected
        is_explained = end.outcome in OUTCOMES_WITHOUT_MESSAGES
        with without_message_warnings(self._run_log) if is_explained else nullcontext():
            monitor.close()
        if end.outcome in CRASH_OUTCOMES and not was_requested:
            self._after_crash.add(unit.number)
        if is_done:
            self._complete(monitor)
        elif was_requested:
            self.jobs.save()
        else:
            self._apply_next_step(unit)

    def _complete(self, monitor: JobMonitor) -> None:
        unit = monitor.unit
        unit.outcome = UnitOutcome.DONE
        self.results += monitor.pipes.get_results(implicit_materializations=False)
        self.jobs.log(unit, f"job {monitor.attempt.name} is done")
        # The results of the whole camera's job are only in this process. Until Dagster has them,
        # the record says that the job is running, so that the next process reads them again.
        if unit.start is not None:
            self.jobs.save()

    def _apply_next_step(self, unit: UnitRecord) -> None:
        """Apply the decision after a failed job; forget it only once it is applied."""
        self._apply(unit, self._next_steps[unit.number])
        if unit.number not in self._refused:
            del self._next_steps[unit.number]

    def _apply(self, unit: UnitRecord, choice: NextStep) -> None:
        """Apply a decision on a unit that is in no queue."""
        if isinstance(choice, Submit | Resume):
            with self.submission_lock():
                if refusal := self.refusal(unit, choice.queue):
                    self._refuse(unit, choice.queue, refusal)
                else:
                    self._submit(unit, choice.queue, choice.reason)
        elif isinstance(choice, Wait):
            self.jobs.save()
            self._not_before[unit.number] = self._clock.now() + choice.recheck_seconds
            self.jobs.log(unit, f"waiting: {choice.reason}")
        elif isinstance(choice, SetAside) and unit.start is not None:
            unit.outcome, unit.why = UnitOutcome.SET_ASIDE, choice.reason
            self.jobs.log(unit, f"set aside: {choice.reason}")
            self.jobs.save()
        else:
            # The user has fixed the cause before the next run.
            unit.fruitless_deaths = unit.failed_starts = 0
            self.jobs.save()
            raise dg.Failure(choice.reason, allow_retries=False)

    def _refuse(self, unit: UnitRecord, queue: Queue, reason: str) -> None:
        """Leave a unit until a running job has ended, or for a later run."""
        self._refused[unit.number] = reason
        unit.refusals.append(Refusal(self._clock.now(), queue, reason))
        self.jobs.save()
        self.jobs.log(unit, f"not submitted to {queue}: {reason}")

    def _submit(self, unit: UnitRecord, queue: Queue, reason: str) -> None:
        monitor = self.jobs.submit(unit, queue, reason, unit.number in self._after_crash)
        self._monitors[monitor.attempt.name] = monitor
        self._not_before.pop(unit.number, None)

    def _submit_ready(self) -> None:
        """Submit units that are in no queue, within the limit of concurrent jobs."""
        now = self._clock.now()
        self._waiting_slot = None
        for unit in self._units:
            if not self._is_ready(unit, now):
                continue
            if not self.slots.take(unit.slot):
                self._wait_for_slot(unit)
                return
            if unit.number in self._next_steps:  # a request failed
                self._apply_next_step(unit)
            else:
                self._apply(unit, self.decisions.queue_for(unit))

    def _is_ready(self, unit: UnitRecord, now: float) -> bool:
        """Return True if a unit is to be submitted. The whole camera comes last, for its tables."""
        if unit.outcome is not UnitOutcome.OPEN or unit.active or unit.number in self._refused:
            return False
        if now < self._not_before.get(unit.number, 0.0):
            return False
        others = (other for other in self._units if other is not unit)
        return unit.start is not None or all(
            other.outcome is not UnitOutcome.OPEN for other in others
        )

    def _update_slots(self) -> None:
        """Release all slots but those of live jobs and of the unit that waits for one."""
        live = {unit.slot for unit in self._units if unit.active}
        self.slots.retain(live | {self._waiting_slot or ""})
        for job in live:
            self.slots.take_running(job)  # a resumed job runs, with or without a slot

    def _wait_for_slot(self, unit: UnitRecord) -> None:
        self._waiting_slot = unit.slot
        if not self._monitors and not self._logged_no_slot:
            self._logged_no_slot = True
            self.jobs.log(unit, self.slots.waiting_message)

    def _pause(self) -> float:
        """Return the seconds until the next poll."""
        if self._monitors or self._waiting_slot:
            return POLL_SECONDS
        soonest = min(self._not_before.values(), default=self._clock.now())
        return max(1.0, soonest - self._clock.now())

    def _terminate_all(self, reason: str) -> None:
        """Terminate all jobs; an error for one does not affect the others.

        The reason is recorded first, so that the next run does not take the jobs for failed.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        active = [(unit, attempt) for unit in self._units if (attempt := unit.active)]
        if not active:
            return
        for _, attempt in active:
            attempt.stopping = reason
        try:
            self.jobs.save()
        except LeaseLostError:
            return  # the jobs are another run's
        except StoreError as error:
            self._run_log.warning(f"the launch record is not up to date: {error}")
        for unit, attempt in active:
            name = attempt.name
            if attempt.job_id is None:
                continue  # it may not exist; the next run looks for it
            try:
                self.jobs.terminate(attempt, reason)
                self.jobs.log(unit, f"terminated {name}: {reason}")
            except (ClientError, BotoCoreError) as error:
                self._run_log.error(
                    f"{name} could not be terminated: {one_line(str(error))}; terminate it with "
                    "munin cost teardown --force"
                )
