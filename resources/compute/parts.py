"""The parts of a compute environment as AWS describes them, and a poller for their changes."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from resources.aws.batch_states import CHANGING_STATUSES, JobStatus, ResourceStatus
from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.batch.names import Names
from resources.clock import Clock
from resources.errors import RavneError

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import (
        ComputeEnvironmentDetailTypeDef,
        JobDefinitionTypeDef,
        JobQueueDetailTypeDef,
    )
    from mypy_boto3_ec2.type_defs import LaunchTemplateVersionTypeDef

# A change takes AWS seconds to minutes, longest for an environment that still has machines.
POLL_SECONDS = (2.0, 20.0)  # the first pause and the longest
TIMEOUT_SECONDS = 1800.0
LOG_SECONDS = 30.0

OnStep = Callable[[str], None]


class ComputeParts:
    """Lookup of the existing parts by the names that a setup gives."""

    def __init__(self, clients: AwsClients, names: Names) -> None:
        self._clients = clients
        self.names = names

    def environments(self) -> "dict[str, ComputeEnvironmentDetailTypeDef]":
        """Return the compute environments by name, without deleted ones."""
        found = self._clients.of("batch").describe_compute_environments(
            computeEnvironments=list(self.names.environments)
        )["computeEnvironments"]
        return {
            each["computeEnvironmentName"]: each
            for each in found
            if each["status"] != ResourceStatus.DELETED
        }

    def queues(self) -> "dict[str, JobQueueDetailTypeDef]":
        """Return the job queues by name, without deleted ones."""
        found = self._clients.of("batch").describe_job_queues(jobQueues=list(self.names.queues))
        return {
            each["jobQueueName"]: each
            for each in found["jobQueues"]
            if each["status"] != ResourceStatus.DELETED
        }

    def job_definitions(self) -> "list[JobDefinitionTypeDef]":
        """Return the active revisions, latest first."""
        pages = (
            self._clients.of("batch")
            .get_paginator("describe_job_definitions")
            .paginate(jobDefinitionName=self.names.worker, status="ACTIVE")
        )
        found = [each for page in pages for each in page["jobDefinitions"]]
        return sorted(found, key=lambda each: -each["revision"])

    def launch_template(self) -> "LaunchTemplateVersionTypeDef | None":
        """Return the latest version of the launch template, or None if there is none."""
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

    def jobs(self, queues: Iterable[str], statuses: Iterable[JobStatus]) -> dict[str, JobStatus]:
        """Return the jobs of some queues that have one of the statuses: status by job id.

        Args:
            statuses: in the order in which jobs pass through them. A job that moves on during the
                listing is then listed twice and counted once, but never missed.
        """
        listing = self._clients.of("batch").get_paginator("list_jobs")
        found: dict[str, JobStatus] = {}
        for queue in queues:
            for status in statuses:
                for page in listing.paginate(jobQueue=queue, jobStatus=status.value):
                    found |= {job["jobId"]: status for job in page["jobSummaryList"]}
        return found


class Poller:
    """Polls AWS until a change is complete."""

    def __init__(self, clock: Clock, on_step: OnStep) -> None:
        self._clock = clock
        self._on_step = on_step

    def wait(self, change: str, check: Callable[[], str | None]) -> None:
        """Poll at growing intervals until a change is complete.

        Args:
            change: its description, as `queue ravne-spot to be deleted`.
            check: returns the reason why it is not complete, or None if it is.

        Raises:
            RavneError: it is not complete after half an hour.
        """
        pause, longest = POLL_SECONDS
        started = self._clock.now()
        log_at = started + LOG_SECONDS
        while (reason := check()) is not None:
            now = self._clock.now()
            if now >= log_at:
                self._on_step(f"waiting for {change}: {reason}")
                log_at = now + LOG_SECONDS
            if now >= started + TIMEOUT_SECONDS:
                minutes = int(TIMEOUT_SECONDS / 60)
                raise RavneError(
                    f"waited {minutes} minutes for {change}: {reason}; run the same command again "
                    "to continue, and see docs/troubleshooting.md"
                )
            self._clock.sleep(pause)
            pause = min(longest, pause * 1.5)

    def wait_until_stable(self, name: str, get: Callable[[], Any]) -> None:
        """Poll while AWS changes a part: it refuses a second change meanwhile.

        Args:
            get: returns the part as AWS describes it, or None if there is none.
        """

        def check() -> str | None:
            part = get()
            is_changing = part is not None and part["status"] in CHANGING_STATUSES
            return describe_status(part) if is_changing else None

        self.wait(f"{name} to become stable", check)


def describe_status(part: Any) -> str:
    """Return a part's status with AWS's reason for it, in one line."""
    reason = " ".join(str(part.get("statusReason", "")).split())
    return f"{part['status']}: {reason}" if reason else str(part["status"])


def differences(wanted: Any, existing: Any) -> dict[str, Any]:
    """Return the items of `wanted` that `existing` lacks or has with another value.

    Keys that AWS adds are not compared, and neither is the order of lists.
    """
    return {key: value for key, value in wanted.items() if not _same(value, existing.get(key))}


def _same(wanted: Any, existing: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(existing, dict) and not differences(wanted, existing)
    if isinstance(wanted, list):
        return isinstance(existing, list) and _same_items(wanted, existing)
    return bool(wanted == existing)


def _same_items(wanted: list[Any], existing: list[Any]) -> bool:
    if len(wanted) != len(existing):
        return False
    return all(any(_same(one, other) for other in existing) for one in wanted)
