"""How an attempt of a Batch job ended, and whose doing that was.

What AWS Batch says of it is spread over the attempt, its container and the job; the wordings are
those that workflow engines on AWS Batch have met (Nextflow, Cromwell, miniwdl) and AWS documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# A worker's exit codes: done, failed with a message, stopped on request with its work saved.
DONE, FAILED, STOPPED = 0, 1, 143
# The kernel ended it (SIGKILL): of a container on a healthy host, for want of memory.
KILLED = 137

HOST_LOST = "Host EC2"
TIME_LIMIT = "Job attempt duration exceeded timeout"
STATE_TIME_LIMIT = "Canceled by JobStateTimeLimit action"
CAPACITY = "CAPACITY:"
# Before the container ran: Docker or ECS could not make one.
NOT_STARTED = (
    "CannotPullContainer",
    "CannotCreateContainer",
    "CannotStartContainer",
    "DockerTimeoutError",
    "ResourceInitializationError",
)


class AttemptOutcome(StrEnum):
    """How it ended; the values go into the attempts table."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # EC2 took the machine
    CANCELLED = "cancelled"  # somebody asked for it, we or a person
    NO_CAPACITY = "no capacity"  # cancelled by the queue's time limit, for want of machines
    NEVER_PLACEABLE = "never placeable"  # cancelled by the queue's time limit: wrongly set up
    TIME_LIMIT = "time limit"  # worked longer than the job definition allows
    OUT_OF_MEMORY = "out of memory"
    CANNOT_START = "cannot start"  # image not pulled, container not made
    FAILED = "failed"  # the worker said why
    CRASHED = "crashed"  # the worker died without a word


@dataclass(frozen=True)
class AttemptFacts:
    """What DescribeJobs tells of an attempt and its job.

    Args:
        exit_code: attempts[i].container.exitCode; None when there is none, or no attempt.
        status_reason: attempts[i].statusReason.
        container_reason: attempts[i].container.reason.
        job_reason: the job's own statusReason; that of a cancelled job has no attempt.
        stop_requested: the job's isCancelled or isTerminated.
    """

    exit_code: int | None = None
    status_reason: str = ""
    container_reason: str = ""
    job_reason: str = ""
    stop_requested: bool = False

    @property
    def said(self) -> str:
        """The most telling of AWS's words."""
        return self.container_reason or self.status_reason or self.job_reason or "no reason given"


def facts_of(job: Mapping[str, Any]) -> AttemptFacts:
    """What DescribeJobs tells of a job's last attempt."""
    attempts = job.get("attempts") or [{}]
    last = attempts[-1]
    container = last.get("container", {})
    return AttemptFacts(
        exit_code=container.get("exitCode", DONE if job["status"] == "SUCCEEDED" else None),
        status_reason=last.get("statusReason", ""),
        container_reason=container.get("reason", ""),
        job_reason=job.get("statusReason", ""),
        stop_requested=bool(job.get("isCancelled") or job.get("isTerminated")),
    )


def classify_attempt(facts: AttemptFacts) -> AttemptOutcome:
    """How the attempt ended. The order of the questions matters.

    A stop that somebody asked for and a time limit end the worker as an interruption's notice
    does, with STOPPED; a host that goes may have killed the container first.
    """
    if facts.exit_code == DONE:
        return AttemptOutcome.DONE
    if facts.job_reason.startswith(STATE_TIME_LIMIT):
        short = CAPACITY in facts.job_reason
        return AttemptOutcome.NO_CAPACITY if short else AttemptOutcome.NEVER_PLACEABLE
    if TIME_LIMIT in (facts.status_reason, facts.job_reason):
        return AttemptOutcome.TIME_LIMIT
    if facts.status_reason.startswith(HOST_LOST) and facts.exit_code in (None, KILLED, STOPPED):
        return AttemptOutcome.INTERRUPTED
    if facts.stop_requested:
        return AttemptOutcome.CANCELLED
    return _by_container(facts)


def _by_container(facts: AttemptFacts) -> AttemptOutcome:
    if facts.container_reason.startswith(NOT_STARTED):
        return AttemptOutcome.CANNOT_START
    if facts.exit_code == STOPPED:
        return AttemptOutcome.INTERRUPTED
    if facts.exit_code == KILLED or facts.container_reason.startswith("OutOfMemory"):
        return AttemptOutcome.OUT_OF_MEMORY
    return AttemptOutcome.FAILED if facts.exit_code == FAILED else AttemptOutcome.CRASHED
