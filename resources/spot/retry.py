"""What follows the end of a job that is not done: pure decisions, as those of `policy.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer
from resources.spot.policy import (
    Fail,
    Queue,
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

# A unit whose workers die one after the other without finishing anything is set aside.
MAX_CRASHES_WITHOUT_PROGRESS = 5
# An image that cannot be pulled may be a registry's bad moment; this often it is not.
MAX_FAILED_STARTS = 3

NextStep = Submit | Resume | Wait | SetAside | Fail
# Ends that leave a job that was to be moved where it should go.
MOVED_OUTCOMES = (
    AttemptOutcome.CANCELLED,
    AttemptOutcome.INTERRUPTED,
    AttemptOutcome.NO_CAPACITY,
    AttemptOutcome.TIME_LIMIT,
)


@dataclass(frozen=True)
class FailedJob:
    """A job that is seen FAILED.

    Args:
        queue: the one that it was in.
        how: how its last attempt ended.
        said: AWS's or the worker's own words on that.
        moving: the reason, if it was cancelled to be moved to on-demand.
    """

    queue: Queue
    how: AttemptOutcome
    said: str
    moving: str | None = None


def next_after_failure(
    unit: UnitState, ended: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> NextStep:
    """What to do once a job is seen FAILED, and not before: no unit may run twice at once.

    Args:
        unit: with this end counted, see `UnitState.after`.
        offers: see `choose_queue`.

    Raises:
        ValueError: the attempt is done; there is nothing to decide.
    """
    if ended.moving is not None and ended.how in MOVED_OUTCOMES:
        return Submit("ondemand", ended.moving)
    match ended.how:
        case AttemptOutcome.INTERRUPTED:
            return _after_interruption(unit, ended, offers, rules, now)
        case AttemptOutcome.NO_CAPACITY:
            return _after_no_capacity(unit, ended, offers, rules, now)
        case AttemptOutcome.CRASHED | AttemptOutcome.OUT_OF_MEMORY | AttemptOutcome.TIME_LIMIT:
            return _after_death(unit, ended)
        case AttemptOutcome.CANNOT_START:
            return _after_failed_start(unit, ended)
        case AttemptOutcome.CANCELLED:
            return Fail(f"the job was cancelled, not by this run: {ended.said}")
        case AttemptOutcome.NEVER_PLACEABLE:
            return Fail(
                f"AWS Batch can never place this job: {ended.said}; see docs/troubleshooting.md "
                "and run munin cost setup again"
            )
        case AttemptOutcome.FAILED:
            return Fail(ended.said)
        case AttemptOutcome.DONE:
            raise ValueError("the attempt is done")
        case _:
            assert_never(ended.how)


def _after_interruption(
    unit: UnitState, ended: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> Resume | Wait:
    if ended.queue == "ondemand":
        return Resume("ondemand", f"the machine was lost: {ended.said}")
    most = rules.cost.max_spot_interruptions
    said = ended.said.rstrip(".")
    told = f"spot machine lost for the {_ordinal(unit.interruptions)} time: {said}"
    if may_fall_back(unit, rules, now):
        if unit.interruptions > most:
            return Resume("ondemand", f"{told}; {most} are borne (max_spot_interruptions)")
        if slack(unit, now, rules.overheads) <= 0:
            return Resume("ondemand", f"{told}; the deadline leaves no time to lose another")
    choice = choose_queue(unit, offers, rules, now)
    if isinstance(choice, Submit):
        return Resume(choice.queue, f"{told}; {choice.reason}")
    return replace(choice, reason=f"{told}; {choice.reason}")


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")


def _after_no_capacity(
    unit: UnitState, ended: FailedJob, offers: Sequence[Offer], rules: Rules, now: float
) -> Submit | Wait:
    """The queue's own time limit struck: a net below the starvation timer."""
    if ended.queue == "ondemand":
        return Submit("ondemand", f"there were no on-demand machines; trying again: {ended.said}")
    told = f"there were no spot machines: {ended.said}"
    if may_fall_back(unit, rules, now):
        return Submit("ondemand", told)
    choice = choose_queue(unit, offers, rules, now)
    return replace(choice, reason=f"{told}; {choice.reason}")


def _after_death(unit: UnitState, ended: FailedJob) -> Resume | SetAside:
    """The worker died on a healthy machine: another machine, or a dearer one, does not help."""
    if unit.fruitless_deaths >= MAX_CRASHES_WITHOUT_PROGRESS:
        return SetAside(
            f"the worker ended {unit.fruitless_deaths} times without finishing anything, lastly "
            f"so: {ended.how}: {ended.said}; its log is in CloudWatch"
        )
    told = f"the worker ended: {ended.how}: {ended.said}"
    return Resume(ended.queue, f"{told}; what is finished is in the journal")


def _after_failed_start(unit: UnitState, ended: FailedJob) -> Resume | Fail:
    told = f"the worker's container could not be started: {ended.said}"
    if unit.failed_starts >= MAX_FAILED_STARTS:
        return Fail(
            f"{told}, {unit.failed_starts} times; see that the image is in its registry and that "
            "the execution role may read it"
        )
    return Resume(ended.queue, told)
