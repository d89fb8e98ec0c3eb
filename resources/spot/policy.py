"""When spot, when to wait, when on-demand: pure decisions, with their reasons in words.

No clock, no I/O: all that is known is handed in, times as seconds since 1970 UTC. What decides is
time, not money: with finished work journalled, spot stays the cheaper even if machines are taken
away several times an hour, and waiting in a queue costs nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import ClassVar, Literal

from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer, Overheads, effective_saving
from resources.settings.profile import Compute, CostOptimization
from resources.spot.queue_state import QueueState, StarvationTimer

Priority = Literal["low", "normal", "high"]
# Tag of a run that tells it.
PRIORITY_TAG = "munin/priority"
Queue = Literal["spot-high", "spot", "ondemand"]

# What is added to the time that work is expected to take, before a deadline is called safe.
DEADLINE_MARGIN = 0.15
# Spot prices move over hours, environments over seconds.
PRICE_POLL_SECONDS = 300.0
QUEUE_POLL_SECONDS = 30.0
MIN_POLL_SECONDS = 1.0


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

    def after(self, end: AttemptOutcome, queue: Queue, finished_anything: bool) -> "UnitState":
        """The same unit with an attempt's end counted."""
        died = end in (
            AttemptOutcome.CRASHED,
            AttemptOutcome.OUT_OF_MEMORY,
            AttemptOutcome.TIME_LIMIT,
        )
        fruitless = 0 if finished_anything else self.fruitless_deaths + died
        lost = end is AttemptOutcome.INTERRUPTED and queue != "ondemand"
        return replace(
            self,
            interruptions=self.interruptions + lost,
            fruitless_deaths=fruitless,
            failed_starts=self.failed_starts + 1 if end is AttemptOutcome.CANNOT_START else 0,
        )


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


def choose_queue(
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
    return max(MIN_POLL_SECONDS, min([longest, *(left for left in changes_in if left > 0)]))


def _without_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _patience_left(unit, rules, now)
    look = _next_look(PRICE_POLL_SECONDS, left, slack(unit, now, rules.overheads))
    if left > 0:
        return Wait(f"{why}; waiting for a better price", look)
    if may_fall_back(unit, rules, now):
        return Submit("ondemand", f"{why}, and {_why_no_time(unit, rules, now)}")
    return Wait(f"{why}, and {_why_not_on_demand(unit, rules)}", look)


def _with_poor_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _patience_left(unit, rules, now)
    if left > 0:
        look = _next_look(PRICE_POLL_SECONDS, left)
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


def decide_while_queued(
    unit: UnitState,
    standing: QueueState,
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
    look = _next_look(QUEUE_POLL_SECONDS, left)
    if standing is QueueState.MACHINE_COMING:
        return Wait(f"{standing}{said}", look)
    if left <= 0 and may_fall_back(unit, rules, now):
        late = "and the deadline leaves no time to wait"
        return MoveToOnDemand(f"{standing}{said}, {late}")
    if standing is QueueState.FULL:
        return Wait(f"{standing}{said}; queueing", look)
    hungry, timeout = starved.seconds(now), rules.cost.fallback_timeout
    told = f"{standing}{said}; starving for {hungry:.0f} s of {timeout} s (fallback_timeout)"
    if not may_fall_back(unit, rules, now):
        return Wait(f"{told}, but {_why_not_on_demand(unit, rules)}", look)
    if starved.since is not None and hungry >= timeout:
        return MoveToOnDemand(told)
    return Wait(told, _next_look(look, timeout - hungry))
