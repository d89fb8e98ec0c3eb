"""States of jobs, job queues and compute environments, as the API of AWS Batch names them."""

from enum import StrEnum


class JobStatus(StrEnum):
    """The status of a job, in the order in which a job passes through them."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


ENDED_STATUSES = (JobStatus.SUCCEEDED, JobStatus.FAILED)
LIVE_STATUSES = tuple(status for status in JobStatus if status not in ENDED_STATUSES)


class ResourceState(StrEnum):
    """The state that a user gives a queue or an environment."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class ResourceStatus(StrEnum):
    """The status that Batch reports of a queue or an environment."""

    CREATING = "CREATING"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    DELETED = "DELETED"
    VALID = "VALID"
    INVALID = "INVALID"


# Batch refuses a second change of a resource that has one of these.
CHANGING_STATUSES = frozenset(
    {ResourceStatus.CREATING, ResourceStatus.UPDATING, ResourceStatus.DELETING}
)
