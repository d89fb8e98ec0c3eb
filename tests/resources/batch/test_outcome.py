"""The outcome of a Batch attempt, from its exit code and AWS's reasons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.batch.outcome import AttemptFacts, AttemptOutcome, classify_attempt

ESSENTIAL = "Essential container in task exited"
HOST = "Host EC2 (instance i-0f9ba794c) terminated."
TIMEOUT = "Job attempt duration exceeded timeout"
STATE_LIMIT = "Canceled by JobStateTimeLimit action due to reason: "


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (AttemptFacts(0, ESSENTIAL), AttemptOutcome.DONE),
        (AttemptFacts(None, HOST), AttemptOutcome.INTERRUPTED),
        (AttemptFacts(143, ESSENTIAL), AttemptOutcome.INTERRUPTED),
        (AttemptFacts(137, HOST), AttemptOutcome.INTERRUPTED),
        (AttemptFacts(143, HOST), AttemptOutcome.INTERRUPTED),
        (AttemptFacts(137, ESSENTIAL), AttemptOutcome.OUT_OF_MEMORY),
        (
            AttemptFacts(137, ESSENTIAL, "OutOfMemoryError: Container killed due to memory usage"),
            AttemptOutcome.OUT_OF_MEMORY,
        ),
        (
            AttemptFacts(None, "Task failed to start", "CannotPullContainerError: not found"),
            AttemptOutcome.CANNOT_START,
        ),
        (
            AttemptFacts(None, "Task failed to start", "DockerTimeoutError: transition timed out"),
            AttemptOutcome.CANNOT_START,
        ),
        (AttemptFacts(1, ESSENTIAL), AttemptOutcome.FAILED),
        (AttemptFacts(139, ESSENTIAL), AttemptOutcome.CRASHED),
        (AttemptFacts(2, ESSENTIAL), AttemptOutcome.CRASHED),
        (AttemptFacts(None, "something new"), AttemptOutcome.CRASHED),
        (
            AttemptFacts(job_reason=STATE_LIMIT + "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"),
            AttemptOutcome.NO_CAPACITY,
        ),
        (
            AttemptFacts(job_reason=STATE_LIMIT + "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
            AttemptOutcome.NEVER_PLACEABLE,
        ),
        (AttemptFacts(job_reason="moved", stop_requested=True), AttemptOutcome.CANCELLED),
    ],
)
def test_an_attempt_is_classified(facts: AttemptFacts, outcome: AttemptOutcome) -> None:
    assert classify_attempt(facts) is outcome


def test_a_worker_that_stops_on_request_was_not_interrupted() -> None:
    stopped = AttemptFacts(143, ESSENTIAL, job_reason="moved", stop_requested=True)
    assert classify_attempt(stopped) is AttemptOutcome.CANCELLED


@pytest.mark.parametrize("exit_code", [143, 137, None])
def test_a_time_limit_is_not_an_interruption(exit_code: int | None) -> None:
    assert classify_attempt(AttemptFacts(exit_code, TIMEOUT)) is AttemptOutcome.TIME_LIMIT
    of_job = AttemptFacts(exit_code, ESSENTIAL, job_reason=TIMEOUT)
    assert classify_attempt(of_job) is AttemptOutcome.TIME_LIMIT


def test_a_host_lost_after_a_stop_was_requested_is_an_interruption() -> None:
    lost = AttemptFacts(None, HOST, job_reason="moved", stop_requested=True)
    assert classify_attempt(lost) is AttemptOutcome.INTERRUPTED


def test_a_failure_before_the_host_was_lost_is_a_failure() -> None:
    assert classify_attempt(AttemptFacts(1, HOST)) is AttemptOutcome.FAILED


def test_an_attempt_that_was_done_before_it_was_cancelled_is_done() -> None:
    assert classify_attempt(AttemptFacts(0, HOST, stop_requested=True)) is AttemptOutcome.DONE


REASONS = st.sampled_from(["", ESSENTIAL, HOST, TIMEOUT, "OutOfMemoryError", "no such reason"])


@given(st.integers(1, 255), REASONS, REASONS, REASONS, st.booleans())
def test_only_exit_code_0_is_done(code: int, status: str, of: str, job: str, stop: bool) -> None:
    assert classify_attempt(AttemptFacts(code, status, of, job, stop)) is not AttemptOutcome.DONE


def test_the_most_specific_reason_is_used() -> None:
    assert AttemptFacts(1, "status", "container", "job").reason == "container"
    assert AttemptFacts(1, "status", job_reason="job").reason == "status"
    assert AttemptFacts(job_reason="job").reason == "job"
    assert AttemptFacts().reason == "no reason given"
