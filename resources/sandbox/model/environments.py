"""Compute environments, job queues and job definitions, as Batch keeps them."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from resources.sandbox.model.config import ACCOUNT

Request = dict[str, Any]

# Its parts: the kind, as `job-queue`, and the name.
ARN_OF_BATCH = re.compile(r"arn:aws:batch:[^:]+:[^:]+:([^/]+)/(.+)")
HEALTHY = "ComputeEnvironment Healthy"


def arn(region: str, kind: str, name: str) -> str:
    """The ARN of something of Batch, as `job-queue` and its name."""
    return f"arn:aws:batch:{region}:{ACCOUNT}:{kind}/{name}"


@dataclass(eq=False)
class BatchResource:
    """What Batch makes, changes and deletes in its own time.

    `status` is CREATING, UPDATING or DELETING until `change_ends`, and then `next_status`, of
    which DELETED means gone.
    """

    name: str
    arn: str
    state: str
    tags: dict[str, str]
    status: str = field(default="CREATING", init=False)
    status_reason: str = field(default="", init=False)
    next_status: str = field(default="VALID", init=False)
    next_reason: str = field(default=HEALTHY, init=False)
    change_ends: float | None = field(default=None, init=False)

    def change(self, status: str, ends: float, then: str, reason: str = HEALTHY) -> None:
        """Begin a change that ends at a time."""
        self.status, self.change_ends = status, ends
        self.next_status, self.next_reason = then, reason

    def settle(self, now: float) -> None:
        """End the change if its time has come."""
        if self.change_ends is not None and now >= self.change_ends:
            self.status, self.status_reason = self.next_status, self.next_reason
            self.change_ends = None

    @property
    def is_changing(self) -> bool:
        return self.change_ends is not None


@dataclass(eq=False)
class SandboxEnvironment(BatchResource):
    """`resources` is the request's computeResources, with Batch's defaults.

    `unmet_vcpus` is what queued jobs wait for and could not be launched; `asked_vcpus` what a
    request named as desiredvCpus and is yet to be launched.
    """

    resources: Request
    service_role: str
    cluster_arn: str
    unmet_vcpus: int = field(default=0, init=False)
    asked_vcpus: int = field(default=0, init=False)
    uuid: str = field(default_factory=lambda: str(uuid4()), init=False)

    @property
    def is_spot(self) -> bool:
        return bool(self.resources["type"] == "SPOT")

    @property
    def can_run_jobs(self) -> bool:
        return self.state == "ENABLED" and self.status == "VALID"

    @property
    def cluster(self) -> str:
        """The name of its ECS cluster."""
        return self.cluster_arn.partition("/")[2]

    def describe(self, running_vcpus: int) -> Request:
        """DescribeComputeEnvironments' form.

        Args:
            running_vcpus: of its machines. Batch wishes for these and for what jobs wait for.
        """
        desired = running_vcpus + self.unmet_vcpus
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
    """`environments` in the order in which they are tried."""

    priority: int
    environments: list[SandboxEnvironment]
    time_limits: list[Request]

    def describe(self) -> Request:
        """DescribeJobQueues' form."""
        return {
            "jobQueueName": self.name,
            "jobQueueArn": self.arn,
            "state": self.state,
            "status": self.status,
            "statusReason": "JobQueue Healthy" if self.status == "VALID" else "",
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
    """One revision; `request` is what RegisterJobDefinition was given."""

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
        """DescribeJobDefinitions' form."""
        kept = ("type", "parameters", "retryStrategy", "timeout", "propagateTags",
                "platformCapabilities")  # fmt: skip
        return {
            **{key: self.request[key] for key in kept if key in self.request},
            "jobDefinitionName": self.name,
            "jobDefinitionArn": self.arn,
            "revision": self.revision,
            "status": self.status,
            "containerProperties": self.container,
            "containerOrchestrationType": "ECS",
            "tags": self.tags,
        }
