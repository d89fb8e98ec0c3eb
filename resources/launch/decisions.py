"""Decisions on the units of one launch, by the spot and retry policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resources.batch.launch_record import Attempt, UnitRecord
from resources.clock import Clock
from resources.launch.attempt_end import AttemptEnd
from resources.pricing.economics import Offer
from resources.spot.policy import (
    MoveToOnDemand,
    Priority,
    Rules,
    Submit,
    UnitState,
    Wait,
    choose_queue,
    decide_while_queued,
)
from resources.spot.queue_state import QueueState, StarvationTimer
from resources.spot.retry import FailedJob, NextStep, next_after_failure


@dataclass(frozen=True)
class UnitDecisions:
    """Applies the policies to the units of one launch.

    Args:
        ready_since: the start of the launch.
        deadline: of the launch; None if there is none.
        offers: return the current prices.
    """

    rules: Rules
    priority: Priority
    ready_since: float
    deadline: float | None
    offers: Callable[[], Sequence[Offer]]
    clock: Clock

    def queue_for(self, unit: UnitRecord) -> Submit | Wait:
        """Choose the queue of a unit that is in none."""
        return choose_queue(self._state(unit), self.offers(), self.rules, self.clock.now())

    def while_queued(
        self,
        unit: UnitRecord,
        state: QueueState,
        starvation: StarvationTimer,
        status_reason: str,
    ) -> Wait | MoveToOnDemand:
        """Decide on a job that is RUNNABLE in a spot queue, see `decide_while_queued`."""
        now = self.clock.now()
        return decide_while_queued(
            self._state(unit), state, starvation, self.rules, now, status_reason
        )

    def after_failure(self, unit: UnitRecord, attempt: Attempt, end: AttemptEnd) -> NextStep:
        """Count a failed attempt in its unit's record, and decide what follows."""
        offers = self.offers()  # first, since it may fail
        state = end.count(unit, attempt, self._state(unit))
        job = FailedJob(attempt.queue, end.outcome, end.reason, attempt.moving)
        return next_after_failure(state, job, offers, self.rules, self.clock.now())

    def _state(self, unit: UnitRecord) -> UnitState:
        return UnitState(
            work_seconds=unit.seconds,
            ready_since=self.ready_since,
            priority=self.priority,
            deadline=self.deadline,
            interruptions=unit.interruptions,
            crashes_without_progress=unit.fruitless_deaths,
            failed_starts=unit.failed_starts,
        )
