"""The end of an attempt: its outcome and reason, written and counted in the record. No I/O."""

from dataclasses import dataclass

from resources.batch.jobs import Job, to_seconds
from resources.batch.launch_record import Attempt, UnitRecord
from resources.batch.outcome import AttemptOutcome, attempt_facts, classify_attempt
from resources.spot.policy import UnitState

# Outcomes of a job that was asked to stop.
STOPPED_OUTCOMES = (AttemptOutcome.CANCELLED, AttemptOutcome.INTERRUPTED)
# Outcomes that explain missing messages: the worker could not send any.
OUTCOMES_WITHOUT_MESSAGES = {
    *STOPPED_OUTCOMES,
    AttemptOutcome.NO_CAPACITY,
    AttemptOutcome.NEVER_PLACEABLE,
    AttemptOutcome.CANNOT_START,
}
CRASH_OUTCOMES = (AttemptOutcome.CRASHED, AttemptOutcome.OUT_OF_MEMORY)


@dataclass(frozen=True)
class AttemptEnd:
    """The end of an attempt.

    Args:
        reason: as AWS Batch or the worker reported it.
        at: its time, in seconds since 1970 UTC.
    """

    outcome: AttemptOutcome
    reason: str
    at: float

    @classmethod
    def of_job(cls, job: Job, error: str | None, now: float) -> "AttemptEnd":
        """Return the end of a job in a terminal state.

        Args:
            error: the error that the worker reported, if any.
        """
        facts = attempt_facts(job)
        outcome = classify_attempt(facts)
        reason = facts.reason
        if outcome is AttemptOutcome.FAILED:
            reason = error or f"the worker crashed: {reason}; its log is in CloudWatch"
        return cls(outcome, reason, to_seconds(job.get("stoppedAt")) or now)

    @classmethod
    def of_unknown_job(cls, now: float) -> "AttemptEnd":
        """Return the end of a job that AWS Batch does not know any more."""
        return cls(AttemptOutcome.CRASHED, "AWS Batch does not know the job any more", now)

    def write_to(self, attempt: Attempt) -> None:
        """Write the end into an attempt's record."""
        attempt.end, attempt.said, attempt.ended_at = self.outcome, self.reason, self.at

    def was_requested(self, attempt: Attempt) -> bool:
        """Return True if an earlier run asked the job to stop: its end counts for nothing."""
        return bool(attempt.stopping) and self.outcome in STOPPED_OUTCOMES

    def count(self, unit: UnitRecord, attempt: Attempt, state: UnitState) -> UnitState:
        """Count a failed attempt in its unit's record, and return the unit's new state."""
        after = state.after(self.outcome, attempt.queue, attempt.finished_media > 0)
        unit.interruptions = after.interruptions
        unit.fruitless_deaths = after.crashes_without_progress
        unit.failed_starts = after.failed_starts
        return after
