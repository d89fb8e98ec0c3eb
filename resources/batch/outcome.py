"""The outcome of an AWS Batch job attempt, classified by its exit code and AWS's reasons.

AWS Batch spreads the reasons over the attempt, its container and the job. The texts matched here
are documented by AWS or handled by other workflow engines on AWS Batch (Nextflow, Cromwell,
miniwdl).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from resources.aws.batch_states import JobStatus

# Exit codes of a worker: done; failed with an error message; stopped on request, work saved.
EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 143
# SIGKILL by the kernel: on a healthy host, the container ran out of memory.
EXIT_KILLED = 137

HOST_LOST = "Host EC2"
TIME_LIMIT = "Job attempt duration exceeded timeout"
STATE_TIME_LIMIT = "Canceled by JobStateTimeLimit action"
CAPACITY = "CAPACITY:"
# Reasons of Docker or ECS for a container that did not start.
NOT_STARTED = (
    "CannotPullContainer",
    "CannotCreateContainer",
    "CannotStartContainer",
    "DockerTimeoutError",
    "ResourceInitializationError",
)


class AttemptOutcome(StrEnum):
    """The outcome of an attempt. The values are stored in launch records and ledgers."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # EC2 reclaimed the machine
    CANCELLED = "cancelled"  # on request, of the launcher or of a user
    NO_CAPACITY = "no capacity"  # cancelled by the queue's time limit: no machines available
    NEVER_PLACEABLE = "never placeable"  # cancelled by the queue's time limit: misconfigured
    TIME_LIMIT = "time limit"  # ran longer than the job definition allows
    OUT_OF_MEMORY = "out of memory"
    CANNOT_START = "cannot start"  # image not pulled, container not created
    FAILED = "failed"  # the worker reported an error
    CRASHED = "crashed"  # the worker ended without reporting an error


@dataclass(frozen=True)
class AttemptFacts:
    """The fields of DescribeJobs that describe the end of an attempt.

    Args:
        exit_code: attempts[i].container.exitCode; None if there is none, or no attempt.
        status_reason: attempts[i].statusReason.
        container_reason: attempts[i].container.reason.
        job_reason: the job's own statusReason; a cancelled job without an attempt has only this.
        stop_requested: the job's isCancelled or isTerminated.
    """

    exit_code: int | None = None
    status_reason: str = ""
    container_reason: str = ""
    job_reason: str = ""
    stop_requested: bool = False

    @property
    def reason(self) -> str:
        """The most specific of AWS's reasons."""
        return self.container_reason or self.status_reason or self.job_reason or "no reason given"


def attempt_facts(job: Mapping[str, Any]) -> AttemptFacts:
    """Return the facts of a job's last attempt.

    Args:
        job: a job as DescribeJobs returns it.
    """
    attempts = job.get("attempts") or [{}]
    last = attempts[-1]
    container = last.get("container", {})
    succeeded = job["status"] == JobStatus.SUCCEEDED
    return AttemptFacts(
        exit_code=container.get("exitCode", EXIT_DONE if succeeded else None),
        status_reason=last.get("statusReason", ""),
        container_reason=container.get("reason", ""),
        job_reason=job.get("statusReason", ""),
        stop_requested=bool(job.get("isCancelled") or job.get("isTerminated")),
    )


def classify_attempt(facts: AttemptFacts) -> AttemptOutcome:
    """Return the outcome of an attempt. The order of the checks matters.

    A cancelled job, a time limit and a spot interruption notice all end the worker with
    EXIT_STOPPED, and a host that is lost may have killed the container first.
    """
    if facts.exit_code == EXIT_DONE:
        return AttemptOutcome.DONE
    if facts.job_reason.startswith(STATE_TIME_LIMIT):
        no_capacity = CAPACITY in facts.job_reason
        return AttemptOutcome.NO_CAPACITY if no_capacity else AttemptOutcome.NEVER_PLACEABLE
    if TIME_LIMIT in (facts.status_reason, facts.job_reason):
        return AttemptOutcome.TIME_LIMIT
    stopped = facts.exit_code in (None, EXIT_KILLED, EXIT_STOPPED)
    if facts.status_reason.startswith(HOST_LOST) and stopped:
        return AttemptOutcome.INTERRUPTED
    if facts.stop_requested:
        return AttemptOutcome.CANCELLED
    return _classify_container(facts)


def _classify_container(facts: AttemptFacts) -> AttemptOutcome:
    if facts.container_reason.startswith(NOT_STARTED):
        return AttemptOutcome.CANNOT_START
    if facts.exit_code == EXIT_STOPPED:
        return AttemptOutcome.INTERRUPTED
    if facts.exit_code == EXIT_KILLED or facts.container_reason.startswith("OutOfMemory"):
        return AttemptOutcome.OUT_OF_MEMORY
    return AttemptOutcome.FAILED if facts.exit_code == EXIT_FAILED else AttemptOutcome.CRASHED
