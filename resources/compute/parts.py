"""The parts of the short-lived cloud as AWS describes them now, and waiting for them to change."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.batch.names import Names
from resources.clock import Clock
from resources.errors import RavneError

if TYPE_CHECKING:
    from mypy_boto3_batch.literals import JobStatusType
    from mypy_boto3_batch.type_defs import (
        ComputeEnvironmentDetailTypeDef,
        JobDefinitionTypeDef,
        JobQueueDetailTypeDef,
    )
    from mypy_boto3_ec2.type_defs import LaunchTemplateVersionTypeDef

# States of a job that has not ended, in order; and those of one that has.
LIVE: "tuple[JobStatusType, ...]" = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
ENDED: "tuple[JobStatusType, ...]" = ("SUCCEEDED", "FAILED")

# A change takes AWS from seconds to minutes; an environment that still has machines the longest.
POLL_SECONDS = (2.0, 20.0)  # the first pause and the longest
TIMEOUT_SECONDS = 1800.0
LOG_SECONDS = 30.0

OnStep = Callable[[str], None]


class ComputeParts:
    """Looks up what is there by the names that a set-up gives."""

    def __init__(self, clients: AwsClients, names: Names) -> None:
        self._clients = clients
        self.names = names

    def environments(self) -> "dict[str, ComputeEnvironmentDetailTypeDef]":
        """Compute environments by name; those that are gone are left out."""
        found = self._clients.of("batch").describe_compute_environments(
            computeEnvironments=list(self.names.environments)
        )["computeEnvironments"]
        return {
            each["computeEnvironmentName"]: each for each in found if each["status"] != "DELETED"
        }

    def queues(self) -> "dict[str, JobQueueDetailTypeDef]":
        """Job queues by name; those that are gone are left out."""
        found = self._clients.of("batch").describe_job_queues(jobQueues=list(self.names.queues))
        return {
            each["jobQueueName"]: each for each in found["jobQueues"] if each["status"] != "DELETED"
        }

    def job_definitions(self) -> "list[JobDefinitionTypeDef]":
        """The active revisions, the latest first."""
        pages = (
            self._clients.of("batch")
            .get_paginator("describe_job_definitions")
            .paginate(jobDefinitionName=self.names.worker, status="ACTIVE")
        )
        found = [each for page in pages for each in page["jobDefinitions"]]
        return sorted(found, key=lambda each: -each["revision"])

    def launch_template(self) -> "LaunchTemplateVersionTypeDef | None":
        """The latest version of the launch template."""
        from botocore.exceptions import ClientError

        try:
            found = self._clients.of("ec2").describe_launch_template_versions(
                LaunchTemplateName=self.names.worker, Versions=["$Latest"]
            )
        except ClientError as error:
            if error_code(error) in {
                "InvalidLaunchTemplateName.NotFoundException",
                "InvalidLaunchTemplateId.NotFound",
            }:
                return None
            raise
        version: LaunchTemplateVersionTypeDef = found["LaunchTemplateVersions"][0]
        return version

    def jobs(self, queues: Iterable[str], states: "Iterable[JobStatusType]") -> dict[str, str]:
        """Jobs of some queues that are in some states: the state of each, by its id.

        Args:
            states: in the order in which jobs go through them. A job that moves on while it is
                looked for is then met twice, and counted once, but never missed.
        """
        listing = self._clients.of("batch").get_paginator("list_jobs")
        found: dict[str, str] = {}
        for queue in queues:
            for state in states:
                for page in listing.paginate(jobQueue=queue, jobStatus=state):
                    found |= {job["jobId"]: state for job in page["jobSummaryList"]}
        return found


class Poller:
    """Waits for AWS to finish changing something."""

    def __init__(self, clock: Clock, on_step: OnStep) -> None:
        self._clock = clock
        self._on_step = on_step

    def until(self, what: str, look: Callable[[], str | None]) -> None:
        """Look again and again, at growing intervals, until there is nothing to wait for.

        Args:
            what: is waited for, as `queue ravne-spot to be deleted`.
            look: what is still in the way, or None.

        Raises:
            RavneError: it is still in the way after half an hour.
        """
        pause, longest = POLL_SECONDS
        began = self._clock.now()
        tell_at = began + LOG_SECONDS
        while (reason := look()) is not None:
            now = self._clock.now()
            if now >= tell_at:
                self._on_step(f"waiting for {what}: {reason}")
                tell_at = now + LOG_SECONDS
            if now >= began + TIMEOUT_SECONDS:
                minutes = int(TIMEOUT_SECONDS / 60)
                raise RavneError(
                    f"waited {minutes} minutes for {what}: {reason}; run the same command again "
                    "to go on, and see docs/troubleshooting.md"
                )
            self._clock.sleep(pause)
            pause = min(longest, pause * 1.5)


def describe_status(part: Any) -> str:
    """A part's state with AWS's reason for it, as one phrase."""
    reason = " ".join(str(part.get("statusReason", "")).split())
    return f"{part['status']}: {reason}" if reason else str(part["status"])


def differences(wanted: Any, there: Any) -> dict[str, Any]:
    """The keys of `wanted` whose values differ from what is there.

    AWS adds keys of its own, which are not compared, and gives lists of names in any order.
    """
    return {key: value for key, value in wanted.items() if not _same(value, there.get(key))}


def _same(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(there, dict) and not differences(wanted, there)
    if isinstance(wanted, list):
        return isinstance(there, list) and _same_items(wanted, there)
    return bool(wanted == there)


def _same_items(wanted: list[Any], there: list[Any]) -> bool:
    if len(wanted) != len(there):
        return False
    return all(any(_same(one, other) for other in there) for one in wanted)
