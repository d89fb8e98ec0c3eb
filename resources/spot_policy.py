"""When spot, when to wait, when on-demand: pure decisions, with their reasons in words.

No clock, no I/O: all that is known is handed in, times as seconds since 1970 UTC. What decides is
time, not money: with finished work journalled, spot stays the cheaper even if machines are taken
away several times an hour, and waiting in a queue costs nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import ClassVar, Literal, assert_never

from resources.attempt_ends import AttemptEnd
from resources.profile import Compute, CostOptimization
from resources.spot_economics import Offer, Overheads, effective_saving

Priority = Literal["low", "normal", "high"]
# Tag of a run that tells it.
PRIORITY_TAG = "munin/priority"
Queue = Literal["spot-high", "spot", "ondemand"]

# What is added to the time that work is expected to take, before a deadline is called safe.
DEADLINE_MARGIN = 0.15
# Spot prices move over hours, environments over seconds.
LOOK_AT_PRICES_SECONDS = 300.0
LOOK_AT_QUEUE_SECONDS = 30.0
LEAST_LOOK_SECONDS = 1.0
# A unit whose workers die one after the other without finishing anything is set aside.
MOST_FRUITLESS_DEATHS = 5
# An image that cannot be pulled may be a registry's bad moment; this often it is not.
MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class Submit:
    """Submit the unit for the first time, or anew after it was cancelled."""

    action: ClassVar[str] = "submit"
    queue: Queue
    reason: str


@dataclass(frozen=True)
class Resume:
    """Submit the unit again: an attempt ended, what it had finished is in the journal."""

    action: ClassVar[str] = "resume"
    queue: Queue
    reason: str


@dataclass(frozen=True)
class Wait:
    """Do nothing, and decide again after so many seconds at the latest."""

    action: ClassVar[str] = "wait"
    reason: str
    look_again_in: float


@dataclass(frozen=True)
class MoveToOnDemand:
    """Cancel the waiting job; once it is seen FAILED, submit it to the queue ondemand."""

    action: ClassVar[str] = "move to on-demand"
    reason: str


@dataclass(frozen=True)
class SetAside:
    """Leave this unit out; the others go on."""

    action: ClassVar[str] = "set aside"
    reason: str


@dataclass(frozen=True)
class Fail:
    """Give the step up: the other units would end as this one did."""

    action: ClassVar[str] = "fail"
    reason: str


@dataclass(frozen=True)
class Rules:
    """The profile's settings that decide."""

    compute: Compute
    cost: CostOptimization
    overheads: Overheads = field(default_factory=Overheads)


@dataclass(frozen=True)
class UnitState:
    """What is known of a work unit.

    Args:
        work_seconds: expected seconds of work left, without start-up.
        ready_since: when it could first have been submitted.
        deadline: when it should be done; None: time does not matter.
        interruptions: how often EC2 took its spot machine.
        fruitless_deaths: workers in a row that died without finishing anything.
        failed_starts: attempts in a row whose container never ran.
    """

    work_seconds: float
    ready_since: float
    priority: Priority = "normal"
    deadline: float | None = None
    interruptions: int = 0
    fruitless_deaths: int = 0
    failed_starts: int = 0

    @property
    def spot_queue(self) -> Queue:
        """The queue that its priority has on the spot environment."""
        return "spot-high" if self.priority == "high" else "spot"

    def after(self, end: AttemptEnd, queue: Queue, finished_anything: bool) -> "UnitState":
        """The same unit with an attempt's end counted."""
        died = end in (AttemptEnd.CRASHED, AttemptEnd.OUT_OF_MEMORY, AttemptEnd.TIME_LIMIT)
        fruitless = 0 if finished_anything else self.fruitless_deaths + died
        lost = end is AttemptEnd.INTERRUPTED and queue != "ondemand"
        return replace(
            self,
            interruptions=self.interruptions + lost,
            fruitless_deaths=fruitless,
            failed_starts=self.failed_starts + 1 if end is AttemptEnd.CANNOT_START else 0,
        )


@dataclass(frozen=True)
class Environment:
    """The spot compute environment, in vCPUs.

    Args:
        max_vcpus: what it may grow to.
        machine_vcpus: of the machines that it has, running or booting. Not what Batch wishes for
            (desiredvCpus): it keeps wishing when EC2 has no machine to give.
        busy_vcpus: taken by jobs that are starting or running, of all runs.
    """

    max_vcpus: int
    machine_vcpus: int
    busy_vcpus: int


class Standing(StrEnum):
    """Why a job is RUNNABLE and not yet starting."""

    MACHINE_COMING = "a machine is free or booting for it"
    FULL = "the environment is full"
    STARVING = "the environment could grow and does not"


def standings(environment: Environment, vcpus: Sequence[int]) -> list[Standing]:
    """Why each waiting job waits.

    Args:
        vcpus: those that each waiting job needs, in order of dispatch: all jobs of all queues on
            the environment, those of other runs as well.
    """
    spare = environment.machine_vcpus - environment.busy_vcpus
    room = environment.max_vcpus - environment.machine_vcpus
    found = []
    for need in vcpus:
        if spare >= need:
            spare -= need
            found.append(Standing.MACHINE_COMING)
        elif room >= need:
            room -= need
            found.append(Standing.STARVING)
        else:
            found.append(Standing.FULL)
    return found


@dataclass(frozen=True)
class StarvationTimer:
    """Since when a job starves without a break; None: it does not."""

    since: float | None = None

    def update(self, now: float, starving: bool) -> "StarvationTimer":
        """The timer after another look."""
        if not starving:
            return StarvationTimer()
        return self if self.since is not None else StarvationTimer(now)

    def seconds(self, now: float) -> float:
        """How long it has starved."""
        return 0.0 if self.since is None else max(0.0, now - self.since)


def slack(unit: UnitState, now: float, overheads: Overheads) -> float:
    """Seconds that the unit may still wait before only on-demand meets its deadline."""
    if unit.deadline is None:
        return inf
    needed = unit.work_seconds + overheads.boot_seconds + overheads.start_seconds
    return unit.deadline - now - needed * (1 + DEADLINE_MARGIN)


def may_fall_back(unit: UnitState, rules: Rules, now: float) -> bool:
    """Whether the profile and the unit's priority allow to pay for on-demand now."""
    if not rules.compute.fallback_to_ondemand:
        return False
    return unit.priority != "low" or slack(unit, now, rules.overheads) <= 0


def before_submit(
    unit: UnitState, offers: Sequence[Offer], rules: Rules, now: float
) -> Submit | Wait:
    """Where to submit a unit that is in no queue.

    Args:
        offers: every type and zone that may be used, at its prices now.
    """
    if not rules.compute.spot_instances:
        return Submit("ondemand", "the profile uses no spot machines (spot_instances: false)")
    if not rules.cost.spot_preferred and rules.compute.fallback_to_ondemand:
        return Submit("ondemand", "the profile prefers on-demand machines (spot_preferred: false)")
    bid = rules.compute.bid_percentage
    affordable = [offer for offer in offers if offer.within_bid(bid)]
    if not affordable:
        return _without_spot(unit, _why_nothing_is_affordable(offers, bid), rules, now)
    saving, best = _best_offer(unit, affordable, offers, rules.overheads)
    told = f"{best.instance_type} in {best.zone} at ${best.spot:.4f}/h saves {saving:.1%}"
    if not rules.cost.enabled:
        return Submit(unit.spot_queue, f"{told}; prices are not weighed (enabled: false)")
    wanted = rules.cost.cost_threshold
    if saving >= wanted:
        return Submit(unit.spot_queue, f"{told}, start-up included; {wanted:.0%} is asked for")
    told = f"{told}, start-up included, less than the {wanted:.0%} of cost_threshold"
    return _with_poor_spot(unit, told, rules, now)


def _best_offer(
    unit: UnitState, affordable: Iterable[Offer], offers: Sequence[Offer], overheads: Overheads
) -> tuple[float, Offer]:
    """The offer with the highest effective saving; the first of equals."""
    rated = [
        (effective_saving(offer, offers, unit.work_seconds, overheads), offer)
        for offer in affordable
    ]
    return max(rated, key=lambda pair: pair[0])


def _why_nothing_is_affordable(offers: Sequence[Offer], bid: int) -> str:
    if not offers:
        return "no spot offer is known for the types of the profile (instance_types)"
    nearest = min(offers, key=lambda offer: offer.spot / offer.on_demand)
    return (
        f"no spot offer is within {bid} % of on-demand (bid_percentage); the nearest is "
        f"{nearest.instance_type} in {nearest.zone} at {nearest.spot / nearest.on_demand:.0%}"
    )


def _patience_left(unit: UnitState, rules: Rules, now: float) -> float:
    """Seconds that a unit may still wait for a better price."""
    if not rules.cost.enabled:
        return 0.0
    patience = rules.cost.fallback_timeout if unit.priority == "high" else inf
    left = unit.ready_since + patience - now
    return max(0.0, min(left, slack(unit, now, rules.overheads)))


def _next_look(longest: float, *changes_in: float) -> float:
    """Seconds until the decision can change: by what comes first of all that lies ahead."""
    return max(LEAST_LOOK_SECONDS, min([longest, *(left for left in changes_in if left > 0)]))


def _without_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _patience_left(unit, rules, now)
    look = _next_look(LOOK_AT_PRICES_SECONDS, left, slack(unit, now, rules.overheads))
    if left > 0:
        return Wait(f"{why}; waiting for a better price", look)
    if may_fall_back(unit, rules, now):
        return Submit("ondemand", f"{why}, and {_why_no_time(unit, rules, now)}")
    return Wait(f"{why}, and {_why_not_on_demand(unit, rules)}", look)


def _with_poor_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _patience_left(unit, rules, now)
    if left > 0:
        look = _next_look(LOOK_AT_PRICES_SECONDS, left)
        return Wait(f"{why}; waiting for a better price", look)
    late = _why_no_time(unit, rules, now)
    if may_fall_back(unit, rules, now):
        return Submit("ondemand", f"{why}, and {late}")
    not_allowed = _why_not_on_demand(unit, rules)
    return Submit(unit.spot_queue, f"{why}, but {late} and {not_allowed}")


def _why_no_time(unit: UnitState, rules: Rules, now: float) -> str:
    if slack(unit, now, rules.overheads) <= 0:
        return "the deadline leaves no time to wait"
    if not rules.cost.enabled:
        return "prices are not waited for (enabled: false)"
    return f"priority high waits {rules.cost.fallback_timeout} s at most (fallback_timeout)"


def _why_not_on_demand(unit: UnitState, rules: Rules) -> str:
    if not rules.compute.fallback_to_ondemand:
        return "on-demand is not allowed (fallback_to_ondemand: false)"
    return f"priority {unit.priority} does not pay for on-demand before a deadline"


def while_runnable(
    unit: UnitState,
    standing: Standing,
    starved: StarvationTimer,
    rules: Rules,
    now: float,
    batch_says: str = "",
) -> Wait | MoveToOnDemand:
    """What to do with a job that is RUNNABLE in a spot queue.

    Args:
        starved: updated with `standing` at this look.
        batch_says: the job's statusReason, for the log.
    """
    said = f" (AWS Batch says: {batch_says})" if batch_says else ""
    left = slack(unit, now, rules.overheads)
    look = _next_look(LOOK_AT_QUEUE_SECONDS, left)
    if standing is Standing.MACHINE_COMING:
        return Wait(f"{standing}{said}", look)
    if left <= 0 and may_fall_back(unit, rules, now):
        late = "and the deadline leaves no time to wait"
        return MoveToOnDemand(f"{standing}{said}, {late}")
    if standing is Standing.FULL:
        return Wait(f"{standing}{said}; queueing", look)
    hungry, timeout = starved.seconds(now), rules.cost.fallback_timeout
    told = f"{standing}{said}; starving for {hungry:.0f} s of {timeout} s (fallback_timeout)"
    if not may_fall_back(unit, rules, now):
        return Wait(f"{told}, but {_why_not_on_demand(unit, rules)}", look)
    if starved.since is not None and hungry >= timeout:
        return MoveToOnDemand(told)
    return Wait(told, _next_look(look, timeout - hungry))


AfterEnd = Submit | Resume | Wait | SetAside | Fail
# Ends that leave a job that was to be moved where it should go.
ON_THE_WAY = (
    AttemptEnd.CANCELLED,
    AttemptEnd.INTERRUPTED,
    AttemptEnd.NO_CAPACITY,
    AttemptEnd.TIME_LIMIT,
)


@dataclass(frozen=True)
class JobEnd:
    """A job that is seen FAILED.

    Args:
        queue: the one that it was in.
        how: how its last attempt ended.
        said: AWS's or the worker's own words on that.
        moving: the reason, if it was cancelled to be moved to on-demand.
    """

    queue: Queue
    how: AttemptEnd
    said: str
    moving: str | None = None


def after_end(
    unit: UnitState, ended: JobEnd, offers: Sequence[Offer], rules: Rules, now: float
) -> AfterEnd:
    """What to do once a job is seen FAILED, and not before: no unit may run twice at once.

    Args:
        unit: with this end counted, see `UnitState.after`.
        offers: see `before_submit`.

    Raises:
        ValueError: the attempt is done; there is nothing to decide.
    """
    if ended.moving is not None and ended.how in ON_THE_WAY:
        return Submit("ondemand", ended.moving)
    match ended.how:
        case AttemptEnd.INTERRUPTED:
            return _after_interruption(unit, ended, offers, rules, now)
        case AttemptEnd.NO_CAPACITY:
            return _after_no_capacity(unit, ended, offers, rules, now)
        case AttemptEnd.CRASHED | AttemptEnd.OUT_OF_MEMORY | AttemptEnd.TIME_LIMIT:
            return _after_death(unit, ended)
        case AttemptEnd.CANNOT_START:
            return _after_failed_start(unit, ended)
        case AttemptEnd.CANCELLED:
            return Fail(f"the job was cancelled, not by this run: {ended.said}")
        case AttemptEnd.NEVER_PLACEABLE:
            return Fail(
                f"AWS Batch can never place this job: {ended.said}; see docs/troubleshooting.md "
                "and run munin cost setup again"
            )
        case AttemptEnd.FAILED:
            return Fail(ended.said)
        case AttemptEnd.DONE:
            raise ValueError("the attempt is done")
        case _:
            assert_never(ended.how)


def _after_interruption(
    unit: UnitState, ended: JobEnd, offers: Sequence[Offer], rules: Rules, now: float
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
    choice = before_submit(unit, offers, rules, now)
    if isinstance(choice, Submit):
        return Resume(choice.queue, f"{told}; {choice.reason}")
    return replace(choice, reason=f"{told}; {choice.reason}")


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")


def _after_no_capacity(
    unit: UnitState, ended: JobEnd, offers: Sequence[Offer], rules: Rules, now: float
) -> Submit | Wait:
    """The queue's own time limit struck: a net below the starvation timer."""
    if ended.queue == "ondemand":
        return Submit("ondemand", f"there were no on-demand machines; trying again: {ended.said}")
    told = f"there were no spot machines: {ended.said}"
    if may_fall_back(unit, rules, now):
        return Submit("ondemand", told)
    choice = before_submit(unit, offers, rules, now)
    return replace(choice, reason=f"{told}; {choice.reason}")


def _after_death(unit: UnitState, ended: JobEnd) -> Resume | SetAside:
    """The worker died on a healthy machine: another machine, or a dearer one, does not help."""
    if unit.fruitless_deaths >= MOST_FRUITLESS_DEATHS:
        return SetAside(
            f"the worker ended {unit.fruitless_deaths} times without finishing anything, lastly "
            f"so: {ended.how}: {ended.said}; its log is in CloudWatch"
        )
    told = f"the worker ended: {ended.how}: {ended.said}"
    return Resume(ended.queue, f"{told}; what is finished is in the journal")


def _after_failed_start(unit: UnitState, ended: JobEnd) -> Resume | Fail:
    told = f"the worker's container could not be started: {ended.said}"
    if unit.failed_starts >= MOST_FAILED_STARTS:
        return Fail(
            f"{told}, {unit.failed_starts} times; see that the image is in its registry and that "
            "the execution role may read it"
        )
    return Resume(ended.queue, told)
