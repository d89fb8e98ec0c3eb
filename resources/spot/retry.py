"""The retry policy: what follows a job that failed. Pure decisions, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer
from resources.spot.policy import (
    Fail,
    Resume,
    Rules,
    SetAside,
    Submit,
    UnitState,
    Wait,
    choose_queue,
    may_fall_back,
    slack,
)

# A unit is set aside after this many crashes in a row without progress.
MAX_CRASHES_WITHOUT_PROGRESS = 5
# An image pull may fail for a temporary fault of the registry, but not this often in a row.
MAX_FAILED_STARTS = 3

NextStep = Submit | Resume | Wait | SetAside | Fail
# Outcomes after which a job that was cancelled to be moved is moved.
MOVED_OUTCOMES = (
    AttemptOutcome.CANCELLED,
    AttemptOutcome.INTERRUPTED,
    AttemptOutcome.NO_CAPACITY,
    AttemptOutcome.TIME_LIMIT,
)


@dataclass(frozen=True)
class FailedJob:
    """A job in the state FAILED.

    Args:
        queue: its queue.
        outcome: of its last attempt.
        reason: the reason of AWS or of the worker.
        moving: the reason for moving it to on-demand, if it was cancelled for that.
    """

    queue: Queue
    outcome: AttemptOutcome
    reason: str
    moving: str | None = None


def next_after_failure(
    unit: UnitState, job: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> NextStep:
    """Decide what follows once a job is FAILED, and not before: a unit never has two live jobs.

    Args:
        unit: its state after this attempt, see `UnitState.after`.
        offers: see `choose_queue`.

    Raises:
        ValueError: the attempt is done.
    """
    if job.moving is not None and job.outcome in MOVED_OUTCOMES:
        return Submit(Queue.ON_DEMAND, job.moving)
    match job.outcome:
        case AttemptOutcome.INTERRUPTED:
            return _after_interruption(unit, job, offers, rules, now)
        case AttemptOutcome.NO_CAPACITY:
            return _after_no_capacity(unit, job, offers, rules, now)
        case AttemptOutcome.CRASHED | AttemptOutcome.OUT_OF_MEMORY | AttemptOutcome.TIME_LIMIT:
            return _after_crash(unit, job)
        case AttemptOutcome.CANNOT_START:
            return _after_failed_start(unit, job)
        case AttemptOutcome.CANCELLED:
            return Fail(f"the job was cancelled, not by this run: {job.reason}")
        case AttemptOutcome.NEVER_PLACEABLE:
            return Fail(
                f"AWS Batch can never place this job: {job.reason}; see docs/troubleshooting.md "
                "and repeat the `cost setup` of the run's profile"
            )
        case AttemptOutcome.FAILED:
            return Fail(job.reason)
        case AttemptOutcome.DONE:
            raise ValueError("the attempt is done")
        case _:
            assert_never(job.outcome)


def _after_interruption(
    unit: UnitState, job: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> Resume | Wait:
    if job.queue == Queue.ON_DEMAND:
        return Resume(Queue.ON_DEMAND, f"the machine was lost: {job.reason}")
    limit = rules.cost.max_spot_interruptions
    times = _ordinal(unit.interruptions)
    reason = f"spot machine lost for the {times} time: {job.reason.rstrip('.')}"
    if may_fall_back(unit, rules, now):
        if unit.interruptions > limit:
            return Resume(
                Queue.ON_DEMAND, f"{reason}; {limit} are allowed (max_spot_interruptions)"
            )
        if slack(unit, now, rules.overheads) <= 0:
            return Resume(Queue.ON_DEMAND, f"{reason}; the deadline leaves no time to lose another")
    choice = choose_queue(unit, offers, rules, now)
    if isinstance(choice, Submit):
        return Resume(choice.queue, f"{reason}; {choice.reason}")
    return replace(choice, reason=f"{reason}; {choice.reason}")


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")


def _after_no_capacity(
    unit: UnitState, job: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> Submit | Wait:
    """The queue's own time limit cancelled the job: a safety net for the starvation timer."""
    if job.queue == Queue.ON_DEMAND:
        return Submit(Queue.ON_DEMAND, f"no on-demand machines available; retrying: {job.reason}")
    reason = f"no spot machines available: {job.reason}"
    if may_fall_back(unit, rules, now):
        return Submit(Queue.ON_DEMAND, reason)
    choice = choose_queue(unit, offers, rules, now)
    return replace(choice, reason=f"{reason}; {choice.reason}")


def _after_crash(unit: UnitState, job: FailedJob) -> Resume | SetAside:
    """The worker crashed on a healthy machine: another or a costlier machine does not help."""
    if unit.crashes_without_progress >= MAX_CRASHES_WITHOUT_PROGRESS:
        return SetAside(
            f"the worker crashed {unit.crashes_without_progress} times without progress; last "
            f"outcome: {job.outcome}: {job.reason}; its log is in CloudWatch"
        )
    reason = f"the worker ended: {job.outcome}: {job.reason}"
    return Resume(job.queue, f"{reason}; its finished work is in the journal")


def _after_failed_start(unit: UnitState, job: FailedJob) -> Resume | Fail:
    reason = f"the worker's container could not be started: {job.reason}"
    if unit.failed_starts >= MAX_FAILED_STARTS:
        return Fail(
            f"{reason}, {unit.failed_starts} times; check that the image is in its registry and "
            "that the execution role may read it"
        )
    return Resume(job.queue, reason)
