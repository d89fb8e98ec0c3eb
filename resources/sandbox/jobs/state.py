"""The state of AWS Batch, under one lock."""

from collections.abc import Callable
from threading import RLock
from typing import TypeVar

from resources.aws.batch_states import ResourceStatus
from resources.sandbox.jobs.jobs import SandboxJob
from resources.sandbox.model.environments import (
    ARN_OF_BATCH,
    BatchResource,
    JobDefinition,
    JobQueue,
    SandboxEnvironment,
)

Tagged = SandboxEnvironment | JobQueue | JobDefinition | SandboxJob
NamedResource = TypeVar("NamedResource", bound=BatchResource)


class BatchState:
    """Environments and queues by name, definitions in order of registration, jobs by id.

    Hold `lock` to read or change it.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.environments: dict[str, SandboxEnvironment] = {}
        self.queues: dict[str, JobQueue] = {}
        self.definitions: list[JobDefinition] = []
        self.jobs: dict[str, SandboxJob] = {}
        self._live: dict[str, SandboxJob] = {}

    def environment(self, name_or_arn: str) -> SandboxEnvironment | None:
        return _find(self.environments, name_or_arn)

    def queue(self, name_or_arn: str) -> JobQueue | None:
        return _find(self.queues, name_or_arn)

    def definition(self, name_or_arn: str) -> JobDefinition | None:
        """Return a definition by ARN or NAME:REVISION, or the newest active one of a name."""
        for known in reversed(self.definitions):
            if name_or_arn in (known.arn, f"{known.name}:{known.revision}"):
                return known
            if name_or_arn == known.name and known.status == "ACTIVE":
                return known
        return None

    def by_arn(self, arn: str) -> Tagged | None:
        """Return the resource or job with this ARN."""
        found = ARN_OF_BATCH.fullmatch(arn)
        lookups: dict[str, Callable[[str], Tagged | None]] = {
            "compute-environment": self.environments.get,
            "job-queue": self.queues.get,
            "job-definition": self.definition,
            "job": self.jobs.get,
        }
        if found is None or found[1] not in lookups:
            return None
        return lookups[found[1]](found[2])

    def add_job(self, job: SandboxJob) -> None:
        self.jobs[job.id] = self._live[job.id] = job

    def live_jobs(self) -> list[SandboxJob]:
        """Return the jobs that have not ended, in order of submission."""
        self._live = {job.id: job for job in self._live.values() if not job.ended}
        return list(self._live.values())

    def update_statuses(self, now: float) -> list[BatchResource]:
        """End the changes that are due, and return the deleted resources."""
        deleted: list[BatchResource] = []
        for resources in (self.environments, self.queues):
            for resource in list(resources.values()):
                resource.update_status(now)
                if resource.status == ResourceStatus.DELETED:
                    del resources[resource.name]
                    deleted.append(resource)
        return deleted


def _find(resources: dict[str, NamedResource], name_or_arn: str) -> NamedResource | None:
    return resources.get(name_or_arn.rpartition("/")[2])
