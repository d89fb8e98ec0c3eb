"""All that Batch knows, under one lock."""

from collections.abc import Callable
from threading import RLock
from typing import TypeVar

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

    Whoever reads or changes any of it holds `lock`.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.environments: dict[str, SandboxEnvironment] = {}
        self.queues: dict[str, JobQueue] = {}
        self.definitions: list[JobDefinition] = []
        self.jobs: dict[str, SandboxJob] = {}
        self.waiting: dict[str, SandboxJob] = {}

    def environment(self, name_or_arn: str) -> SandboxEnvironment | None:
        return _find(self.environments, name_or_arn)

    def queue(self, name_or_arn: str) -> JobQueue | None:
        return _find(self.queues, name_or_arn)

    def definition(self, name_or_arn: str) -> JobDefinition | None:
        """By ARN, by NAME:REVISION, or the newest active one of a name."""
        for known in reversed(self.definitions):
            if name_or_arn in (known.arn, f"{known.name}:{known.revision}"):
                return known
            if name_or_arn == known.name and known.status == "ACTIVE":
                return known
        return None

    def by_arn(self, arn: str) -> Tagged | None:
        """Whatever has this ARN."""
        found = ARN_OF_BATCH.fullmatch(arn)
        kept: dict[str, Callable[[str], Tagged | None]] = {
            "compute-environment": self.environments.get,
            "job-queue": self.queues.get,
            "job-definition": self.definition,
            "job": self.jobs.get,
        }
        return kept[found[1]](found[2]) if found is not None and found[1] in kept else None

    def add_job(self, job: SandboxJob) -> None:
        self.jobs[job.id] = self.waiting[job.id] = job

    def live_jobs(self) -> list[SandboxJob]:
        """Jobs that have not ended, in order of submission."""
        self.waiting = {job.id: job for job in self.waiting.values() if not job.ended}
        return list(self.waiting.values())

    def settle(self, now: float) -> list[BatchResource]:
        """End the changes whose time has come. Returns what was deleted."""
        gone: list[BatchResource] = []
        for kept in (self.environments, self.queues):
            for entry in list(kept.values()):
                entry.settle(now)
                if entry.status == "DELETED":
                    del kept[entry.name]
                    gone.append(entry)
        return gone


def _find(kept: dict[str, NamedResource], name_or_arn: str) -> NamedResource | None:
    return kept.get(name_or_arn.rpartition("/")[2])
