"""Cleanup of compute: tears down what is idle, and terminates orphaned jobs, safely for runs.

A run may begin at any moment, on this machine or another. The cleanup therefore disables the queues
before it checks a last time whether a run uses them, and enables them again if so; `usage_lease.py`
explains why no run is missed. It terminates jobs under the lease that a run of their camera needs
to resume them.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from resources.aws.batch_states import LIVE_STATUSES
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.jobs import describe_jobs
from resources.batch.launch_record import LaunchRecord, load_records
from resources.batch.names import Names
from resources.compute.foundation import find_foundation
from resources.compute.idle_rules import ComputeUsage
from resources.compute.parts import ComputeParts, OnStep
from resources.compute.teardown import Teardown
from resources.compute.usage_lease import lease_folder, list_leases
from resources.settings.profile import Aws
from resources.storage.layout import LAUNCHES_FOLDER, USAGE_LEASES_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Pause between disabling the queues and checking who uses them: AWS's answers may be a little old.
SETTLE_SECONDS = 15.0
ORPHANED_REASON = "no run monitors this job; its finished work is saved"


class _CameraInUseError(Exception):
    """A run holds the lease of the camera's launches."""


@dataclass(frozen=True)
class ComputeCleanup:
    """Checks the usage of a profile's compute, and removes what is idle.

    Args:
        outputs: id and output URL of the cameras known on this machine.
    """

    clients: AwsClients
    aws: Aws
    outputs: tuple[tuple[str, str], ...]

    def check(self) -> ComputeUsage:
        """Return the present usage.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        parts = ComputeParts(self.clients, Names(self.aws.name))
        with self._translate_errors():
            queues = parts.queues()
            live = parts.jobs(queues, LIVE_STATUSES)
            described = describe_jobs(self.clients.of("batch"), sorted(live))
            environments = parts.environments()
        names = {job: str(found["jobName"]) for job, found in described.items()}
        return ComputeUsage(
            at=self.clients.clock.now(),
            set_up=bool(queues or environments),
            live_jobs=names,
            leases=list_leases(self._leases()),
            launched_jobs=self._launched_jobs(names) if names else {},
        )

    def tear_down(self, expired: Mapping[str, int], on_step: OnStep) -> str | None:
        """Tear the compute down, unless it is in use after all.

        Args:
            expired: leases of runs that have died, as `usage_lease.list_leases` returned them.

        Returns:
            A description of the users if it is in use; None if it is torn down.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        parts = ComputeParts(self.clients, Names(self.aws.name))
        teardown = Teardown(self.clients, self.aws.name, on_step)
        with self._translate_errors():
            queues = sorted(parts.queues())
            users: str | None = "the check of its usage failed"
            try:
                for name in queues:
                    teardown.disable_queue(name)
                self.clients.clock.sleep(SETTLE_SECONDS)
                users = self._users(parts.jobs(queues, LIVE_STATUSES), expired)
            finally:
                if users is not None:
                    for name in queues:
                        teardown.enable_queue(name)
            if users is None:
                teardown.run(force=False)
        return users

    def end_jobs(self, jobs: Mapping[str, str], expired: Mapping[str, int], on_step: OnStep) -> int:
        """Terminate orphaned jobs, unless a run monitors them by now.

        Args:
            jobs: names by ids.
            expired: see `tear_down`.

        Returns:
            The number of terminated jobs.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        with self._translate_errors():
            return sum(
                self._end_jobs_of(output, set(jobs.values()), expired, on_step)
                for _, output in self.outputs
            )

    def _end_jobs_of(
        self, output: str, names: set[str], expired: Mapping[str, int], on_step: OnStep
    ) -> int:
        store = self._launches(output)
        if not any(_has_active_attempt(record, names) for record in _unfinished(store)):
            return 0
        try:
            with store.exclusive(_raise_in_use):
                if self._live_leases(expired, lease_folder(output)):
                    raise _CameraInUseError
                return self._terminate(store, names, on_step)
        except _CameraInUseError:
            on_step(f"{output}: a run monitors its jobs again; none is terminated")
            return 0

    def _terminate(self, store: ObjectStore, names: set[str], on_step: OnStep) -> int:
        """Terminate the jobs of a camera; a run that resumes the launch finds them cancelled."""
        terminated = 0
        for record in _unfinished(store):
            for attempt in record.attempts:
                if attempt.active and attempt.name in names and attempt.job_id:
                    attempt.stopping = ORPHANED_REASON
                    record.save(store)
                    batch = self.clients.of("batch")
                    batch.terminate_job(jobId=attempt.job_id, reason=ORPHANED_REASON)
                    on_step(f"job {attempt.name}: terminated, {ORPHANED_REASON}")
                    terminated += 1
        return terminated

    def _users(self, jobs: Mapping[str, str], expired: Mapping[str, int]) -> str | None:
        if jobs:
            return f"{len(jobs)} jobs have not ended"
        leases = self._live_leases(expired, "")
        return f"{len(leases)} runs use the queues" if leases else None

    def _live_leases(self, expired: Mapping[str, int], folder: str) -> list[str]:
        """Return the keys of leases that are not known to have expired."""
        leases = list_leases(self._leases())
        return [k for k, ns in leases.items() if k.startswith(folder) and expired.get(k) != ns]

    def _launched_jobs(self, live: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """Return the live jobs of unfinished launches, by the folder of their camera's leases."""
        found = {}
        for _, output in self.outputs:
            records = _unfinished(self._launches(output))
            active = {each.name for record in records for each in record.attempts if each.active}
            jobs = frozenset(job for job, name in live.items() if name in active)
            found[lease_folder(output)] = jobs
        return found

    def _launches(self, output: str) -> ObjectStore:
        return open_store(f"{output.rstrip('/')}/{LAUNCHES_FOLDER}", self.clients)

    def _leases(self) -> ObjectStore:
        with self._translate_errors():
            foundation, _ = find_foundation(self.clients, self.aws)
        return open_store(f"s3://{foundation.bucket}/{USAGE_LEASES_FOLDER}", self.clients)

    def _translate_errors(self) -> AbstractContextManager[None]:
        name = self.aws.name
        remedy = f"ask an administrator to attach the policies {name}-operator and {name}-runner"
        return translate_aws_errors("cleanup of idle compute", remedy)


def _unfinished(store: ObjectStore) -> list[LaunchRecord]:
    return [record for record in load_records(store) if not record.finished]


def _has_active_attempt(record: LaunchRecord, names: Iterable[str]) -> bool:
    return any(attempt.active and attempt.name in names for attempt in record.attempts)


def _raise_in_use() -> None:
    raise _CameraInUseError
