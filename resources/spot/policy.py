"""The spot policy: spot, on-demand or wait. Pure decisions, each with its reason.

No clock and no I/O: times are arguments, in seconds since 1970 UTC. Time decides, not money: since
finished work is journalled, spot is cheaper even with several interruptions per hour, and waiting
in a queue costs nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import ClassVar, Literal

from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer, Overheads, effective_saving
from resources.settings.profile import Compute, CostOptimization
from resources.spot.queue_state import QueueState, StarvationTimer

Priority = Literal["low", "normal", "high"]
# The tag of a run with its priority.
PRIORITY_TAG = "munin/priority"

# The share of its expected time that work may need in addition.
DEADLINE_MARGIN = 0.15
# Spot prices change over hours, environments over seconds.
PRICE_POLL_SECONDS = 300.0
QUEUE_POLL_SECONDS = 30.0
MIN_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Submit:
    """Submit the unit for the first time, or again after it was cancelled."""

    action: ClassVar[str] = "submit"
    queue: Queue
    reason: str


@dataclass(frozen=True)
class Resume:
    """Submit the unit again after an attempt ended; its finished work is in the journal."""

    action: ClassVar[str] = "resume"
    queue: Queue
    reason: str


@dataclass(frozen=True)
class Wait:
    """Do nothing, and decide again after `recheck_seconds` at the latest."""

    action: ClassVar[str] = "wait"
    reason: str
    recheck_seconds: float


@dataclass(frozen=True)
class MoveToOnDemand:
    """Cancel the waiting job; once it is FAILED, submit it to the on-demand queue."""

    action: ClassVar[str] = "move to on-demand"
    reason: str


@dataclass(frozen=True)
class SetAside:
    """Skip this unit; the others continue."""

    action: ClassVar[str] = "set aside"
    reason: str


@dataclass(frozen=True)
class Fail:
    """Fail the step: the other units would end in the same way."""

    action: ClassVar[str] = "fail"
    reason: str


@dataclass(frozen=True)
class Rules:
    """The settings of the profile that the policy depends on."""

    compute: Compute
    cost: CostOptimization
    overheads: Overheads = field(default_factory=Overheads)


@dataclass(frozen=True)
class UnitState:
    """The state of a work unit.

    Args:
        work_seconds: expected seconds of work left, without start-up.
        ready_since: the first time at which it could be submitted.
        deadline: when it should be done; None if there is no deadline.
        interruptions: spot machines that EC2 reclaimed from it.
        crashes_without_progress: crashes in a row of workers that had finished no medium.
        failed_starts: attempts in a row whose container did not start.
    """

    work_seconds: float
    ready_since: float
    priority: Priority = "normal"
    deadline: float | None = None
    interruptions: int = 0
    crashes_without_progress: int = 0
    failed_starts: int = 0

    @property
    def spot_queue(self) -> Queue:
        """The spot queue of its priority."""
        return Queue.SPOT_HIGH if self.priority == "high" else Queue.SPOT

    def after(self, outcome: AttemptOutcome, queue: Queue, made_progress: bool) -> "UnitState":
        """Return the state after an attempt.

        Args:
            made_progress: True if the attempt finished at least one medium.
        """
        crashed = outcome in (
            AttemptOutcome.CRASHED,
            AttemptOutcome.OUT_OF_MEMORY,
            AttemptOutcome.TIME_LIMIT,
        )
        crashes = 0 if made_progress else self.crashes_without_progress + crashed
        lost = outcome is AttemptOutcome.INTERRUPTED and queue != Queue.ON_DEMAND
        return replace(
            self,
            interruptions=self.interruptions + lost,
            crashes_without_progress=crashes,
            failed_starts=self.failed_starts + 1 if outcome is AttemptOutcome.CANNOT_START else 0,
        )


def slack(unit: UnitState, now: float, overheads: Overheads) -> float:
    """Return the seconds that the unit can wait before only on-demand meets its deadline."""
    if unit.deadline is None:
        return inf
    needed = unit.work_seconds + overheads.boot_seconds + overheads.start_seconds
    return unit.deadline - now - needed * (1 + DEADLINE_MARGIN)


def may_fall_back(unit: UnitState, rules: Rules, now: float) -> bool:
    """Return True if the profile and the unit's priority allow on-demand now."""
    if not rules.compute.fallback_to_ondemand:
        return False
    return unit.priority != "low" or slack(unit, now, rules.overheads) <= 0


def choose_queue(
    unit: UnitState, offers: Sequence[Offer], rules: Rules, now: float
) -> Submit | Wait:
    """Choose the queue of a unit that is in none, or wait for a better price.

    Args:
        offers: every allowed type and zone, at its current prices.
    """
    if not rules.compute.spot_instances:
        return Submit(Queue.ON_DEMAND, "the profile uses no spot machines (spot_instances: false)")
    if not rules.cost.spot_preferred and rules.compute.fallback_to_ondemand:
        return Submit(
            Queue.ON_DEMAND, "the profile prefers on-demand machines (spot_preferred: false)"
        )
    bid = rules.compute.bid_percentage
    affordable = [offer for offer in offers if offer.within_bid(bid)]
    if not affordable:
        return _without_spot(unit, _why_not_affordable(offers, bid), rules, now)
    saving, best = _best_offer(unit, affordable, offers, rules.overheads)
    reason = f"{best.instance_type} in {best.zone} at ${best.spot:.4f}/h saves {saving:.1%}"
    if not rules.cost.enabled:
        return Submit(unit.spot_queue, f"{reason}; prices are not compared (enabled: false)")
    threshold = rules.cost.cost_threshold
    if saving >= threshold:
        return Submit(
            unit.spot_queue, f"{reason} with start-up, cost_threshold asks for {threshold:.0%}"
        )
    reason = f"{reason} with start-up, less than the {threshold:.0%} of cost_threshold"
    return _with_poor_spot(unit, reason, rules, now)


def _best_offer(
    unit: UnitState, affordable: Iterable[Offer], offers: Sequence[Offer], overheads: Overheads
) -> tuple[float, Offer]:
    """Return the highest effective saving and its offer, the first of equals."""
    rated = [
        (effective_saving(offer, offers, unit.work_seconds, overheads), offer)
        for offer in affordable
    ]
    return max(rated, key=lambda pair: pair[0])


def _why_not_affordable(offers: Sequence[Offer], bid: int) -> str:
    if not offers:
        return "no spot offer is known for the types of the profile (instance_types)"
    nearest = min(offers, key=lambda offer: offer.spot / offer.on_demand)
    return (
        f"no spot offer is within {bid} % of on-demand (bid_percentage); the nearest is "
        f"{nearest.instance_type} in {nearest.zone} at {nearest.spot / nearest.on_demand:.0%}"
    )


def _seconds_to_wait(unit: UnitState, rules: Rules, now: float) -> float:
    """Return the seconds that a unit may still wait for a better price."""
    if not rules.cost.enabled:
        return 0.0
    timeout = rules.cost.fallback_timeout if unit.priority == "high" else inf
    left = unit.ready_since + timeout - now
    return max(0.0, min(left, slack(unit, now, rules.overheads)))


def _recheck_seconds(longest: float, *changes: float) -> float:
    """Return the seconds until the decision can change, at most `longest`.

    Args:
        changes: seconds until conditions of the decision change; negative if they are past.
    """
    return max(MIN_POLL_SECONDS, min([longest, *(left for left in changes if left > 0)]))


def _without_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _seconds_to_wait(unit, rules, now)
    recheck = _recheck_seconds(PRICE_POLL_SECONDS, left, slack(unit, now, rules.overheads))
    if left > 0:
        return Wait(f"{why}; waiting for a better price", recheck)
    if may_fall_back(unit, rules, now):
        return Submit(Queue.ON_DEMAND, f"{why}, and {_why_no_time(unit, rules, now)}")
    return Wait(f"{why}, and {_why_not_on_demand(unit, rules)}", recheck)


def _with_poor_spot(unit: UnitState, why: str, rules: Rules, now: float) -> Submit | Wait:
    left = _seconds_to_wait(unit, rules, now)
    if left > 0:
        recheck = _recheck_seconds(PRICE_POLL_SECONDS, left)
        return Wait(f"{why}; waiting for a better price", recheck)
    late = _why_no_time(unit, rules, now)
    if may_fall_back(unit, rules, now):
        return Submit(Queue.ON_DEMAND, f"{why}, and {late}")
    not_allowed = _why_not_on_demand(unit, rules)
    return Submit(unit.spot_queue, f"{why}, but {late} and {not_allowed}")


def _why_no_time(unit: UnitState, rules: Rules, now: float) -> str:
    if slack(unit, now, rules.overheads) <= 0:
        return "the deadline leaves no time to wait"
    if not rules.cost.enabled:
        return "waiting for prices is disabled (enabled: false)"
    return f"priority high waits {rules.cost.fallback_timeout} s at most (fallback_timeout)"


def _why_not_on_demand(unit: UnitState, rules: Rules) -> str:
    if not rules.compute.fallback_to_ondemand:
        return "on-demand is not allowed (fallback_to_ondemand: false)"
    return f"priority {unit.priority} does not pay for on-demand before a deadline"


def decide_while_queued(
    unit: UnitState,
    state: QueueState,
    starvation: StarvationTimer,
    rules: Rules,
    now: float,
    status_reason: str = "",
) -> Wait | MoveToOnDemand:
    """Decide on a job that is RUNNABLE in a spot queue.

    Args:
        starvation: updated with `state` at this poll.
        status_reason: the job's statusReason, for the log.
    """
    described = f"{state} (AWS Batch: {status_reason})" if status_reason else f"{state}"
    left = slack(unit, now, rules.overheads)
    recheck = _recheck_seconds(QUEUE_POLL_SECONDS, left)
    if state is QueueState.MACHINE_COMING:
        return Wait(described, recheck)
    if left <= 0 and may_fall_back(unit, rules, now):
        return MoveToOnDemand(f"{described}, and the deadline leaves no time to wait")
    if state is QueueState.FULL:
        return Wait(f"{described}; queueing", recheck)
    starved, timeout = starvation.seconds(now), rules.cost.fallback_timeout
    reason = f"{described}; starving for {starved:.0f} s of {timeout} s (fallback_timeout)"
    if not may_fall_back(unit, rules, now):
        return Wait(f"{reason}, but {_why_not_on_demand(unit, rules)}", recheck)
    if starvation.since is not None and starved >= timeout:
        return MoveToOnDemand(reason)
    return Wait(reason, _recheck_seconds(recheck, timeout - starved))
