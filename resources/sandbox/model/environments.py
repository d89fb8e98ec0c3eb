"""Compute environments, job queues and job definitions of AWS Batch."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from resources.aws.batch_states import ResourceState, ResourceStatus
from resources.sandbox.model.config import ACCOUNT

Request = dict[str, Any]

# Groups: the kind, as `job-queue`, and the name.
ARN_OF_BATCH = re.compile(r"arn:aws:batch:[^:]+:[^:]+:([^/]+)/(.+)")
HEALTHY = "ComputeEnvironment Healthy"


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a resource of Batch, of a kind such as `job-queue`."""
    return f"arn:aws:batch:{region}:{ACCOUNT}:{kind}/{name}"


@dataclass(eq=False)
class BatchResource:
    """A resource that Batch creates, updates and deletes asynchronously.

    `status` is CREATING, UPDATING or DELETING until `change_ends`, and then `next_status`.
    """

    name: str
    arn: str
    state: ResourceState
    tags: dict[str, str]
    status: ResourceStatus = field(default=ResourceStatus.CREATING, init=False)
    status_reason: str = field(default="", init=False)
    next_status: ResourceStatus = field(default=ResourceStatus.VALID, init=False)
    next_reason: str = field(default=HEALTHY, init=False)
    change_ends: float | None = field(default=None, init=False)

    def begin_change(
        self,
        status: ResourceStatus,
        ends: float,
        next_status: ResourceStatus,
        reason: str = HEALTHY,
    ) -> None:
        """Begin a change that ends at a given time."""
        self.status, self.change_ends = status, ends
        self.next_status, self.next_reason = next_status, reason

    def update_status(self, now: float) -> None:
        """End the change if it is due."""
        if self.change_ends is not None and now >= self.change_ends:
            self.status, self.status_reason = self.next_status, self.next_reason
            self.change_ends = None

    @property
    def is_changing(self) -> bool:
        return self.change_ends is not None


@dataclass(eq=False)
class SandboxEnvironment(BatchResource):
    """`resources` is the request's computeResources, with Batch's defaults.

    `pending_vcpus` are vCPUs for queued jobs that could not be launched; `requested_vcpus` is the
    desiredvCpus of a request until they are launched.
    """

    resources: Request
    service_role: str
    cluster_arn: str
    pending_vcpus: int = field(default=0, init=False)
    requested_vcpus: int = field(default=0, init=False)
    uuid: str = field(default_factory=lambda: str(uuid4()), init=False)

    @property
    def is_spot(self) -> bool:
        return bool(self.resources["type"] == "SPOT")

    @property
    def can_run_jobs(self) -> bool:
        return self.state == ResourceState.ENABLED and self.status == ResourceStatus.VALID

    @property
    def cluster(self) -> str:
        """The name of the ECS cluster."""
        return self.cluster_arn.partition("/")[2]

    def describe(self, running_vcpus: int) -> Request:
        """Return the entry of DescribeComputeEnvironments.

        Args:
            running_vcpus: of its machines; desiredvCpus are these and those that jobs wait for.
        """
        desired = running_vcpus + self.pending_vcpus
        return {
            "computeEnvironmentName": self.name,
            "computeEnvironmentArn": self.arn,
            "ecsClusterArn": self.cluster_arn,
            "tags": self.tags,
            "type": "MANAGED",
            "state": self.state,
            "status": self.status,
            "statusReason": self.status_reason,
            "computeResources": {
                **self.resources,
                "desiredvCpus": min(desired, self.resources["maxvCpus"]),
            },
            "serviceRole": self.service_role,
            "containerOrchestrationType": "ECS",
            "uuid": self.uuid,
        }


@dataclass(eq=False)
class JobQueue(BatchResource):
    """A job queue, with its environments in the order in which they are tried."""

    priority: int
    environments: list[SandboxEnvironment]
    time_limits: list[Request]

    def describe(self) -> Request:
        """Return the entry of DescribeJobQueues."""
        return {
            "jobQueueName": self.name,
            "jobQueueArn": self.arn,
            "state": self.state,
            "status": self.status,
            "statusReason": "JobQueue Healthy" if self.status == ResourceStatus.VALID else "",
            "priority": self.priority,
            "computeEnvironmentOrder": [
                {"order": order, "computeEnvironment": environment.arn}
                for order, environment in enumerate(self.environments, start=1)
            ],
            "tags": self.tags,
            "jobStateTimeLimitActions": self.time_limits,
            "jobQueueType": "ECS",
        }


@dataclass(eq=False)
class JobDefinition:
    """One revision of a job definition; `request` is that of RegisterJobDefinition."""

    name: str
    revision: int
    arn: str
    request: Request
    tags: dict[str, str]
    status: str = "ACTIVE"

    @property
    def container(self) -> Request:
        container: Request = self.request["containerProperties"]
        return container

    def describe(self) -> Request:
        """Return the entry of DescribeJobDefinitions."""
        copied = ("type", "parameters", "retryStrategy", "timeout", "propagateTags",
                "platformCapabilities")  # fmt: skip
        return {
            **{key: self.request[key] for key in copied if key in self.request},
            "jobDefinitionName": self.name,
            "jobDefinitionArn": self.arn,
            "revision": self.revision,
            "status": self.status,
            "containerProperties": self.container,
            "containerOrchestrationType": "ECS",
            "tags": self.tags,
        }
