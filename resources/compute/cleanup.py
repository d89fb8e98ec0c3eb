"""Taking away compute that nobody uses, and ending jobs whose run is gone, without harm to others.

A run may begin at any moment, here or on another machine. Queues are disabled before it is looked
once more whether anything uses them, and opened again if so; see `usage_lease.py` for why no run
is missed. Jobs are ended under the lease that a run of their camera would need to take them up.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.jobs import describe_jobs
from resources.batch.launch_record import LaunchRecord, load_records
from resources.batch.names import Names
from resources.compute.foundation import find_foundation
from resources.compute.idle_rules import ComputeUsage
from resources.compute.parts import LIVE, ComputeParts, OnStep
from resources.compute.teardown import Teardown
from resources.compute.usage_lease import lease_folder, list_leases
from resources.settings.profile import Aws
from resources.storage.layout import LAUNCHES_FOLDER as LAUNCHES
from resources.storage.layout import USAGE_LEASES_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Between seeing queues disabled and looking for who uses them: AWS's answers may be a little old.
SETTLE_SECONDS = 15.0
ORPHANED_REASON = "no run has watched this job for long; what it finished is kept"


class _CameraInUseError(Exception):
    """A run holds the camera's launches."""


@dataclass(frozen=True)
class ComputeCleanup:
    """Looks at the compute of a profile, and takes away what nobody uses.

    Args:
        outputs: id and output URL of the cameras that are known here.
    """

    clients: AwsClients
    aws: Aws
    outputs: tuple[tuple[str, str], ...]

    def look(self) -> ComputeUsage:
        """What there is now.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        parts = ComputeParts(self.clients, Names(self.aws.name))
        with self._explained():
            queues = parts.queues()
            live = parts.jobs(queues, LIVE)
            described = describe_jobs(self.clients.of("batch"), sorted(live))
            environments = parts.environments()
        names = {job: str(found["jobName"]) for job, found in described.items()}
        return ComputeUsage(
            at=self.clients.clock.now(),
            set_up=bool(queues or environments),
            live_jobs=names,
            holds=list_leases(self._holds()),
            launches=self._launches(names) if names else {},
        )

    def tear_down(self, dead: Mapping[str, int], on_step: OnStep) -> str | None:
        """Take the compute away, unless something uses it after all.

        Args:
            dead: holds of runs that are gone, as `compute_hold.list_leases` told them.

        Returns:
            What uses it; None: it is gone.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        parts = ComputeParts(self.clients, Names(self.aws.name))
        teardown = Teardown(self.clients, self.aws.name, on_step)
        with self._explained():
            queues = sorted(parts.queues())
            used_by: str | None = "it could not be told what uses them"
            try:
                for name in queues:
                    teardown.disable_queue(name)
                self.clients.clock.sleep(SETTLE_SECONDS)
                used_by = self._used_by(parts.jobs(queues, LIVE), dead)
            finally:
                if used_by is not None:
                    for name in queues:
                        teardown.enable_queue(name)
            if used_by is None:
                teardown.everything(force=False)
        return used_by

    def end_jobs(self, jobs: Mapping[str, str], dead: Mapping[str, int], on_step: OnStep) -> int:
        """Terminate jobs whose runs are gone, unless a run has come to watch them.

        Args:
            jobs: names by ids.
            dead: see `tear_down`.

        Returns:
            How many were terminated.

        Raises:
            RavneError: AWS refuses, or cannot be reached.
        """
        with self._explained():
            return sum(
                self._end_jobs_of(output, set(jobs.values()), dead, on_step)
                for _, output in self.outputs
            )

    def _end_jobs_of(
        self, output: str, names: set[str], dead: Mapping[str, int], on_step: OnStep
    ) -> int:
        store = self._store(output)
        if not any(_named(record, names) for record in _unfinished(store)):
            return 0
        try:
            with store.exclusive(_is_held):
                if self._living(dead, lease_folder(output)):
                    raise _CameraInUseError
                return self._terminate(store, names, on_step)
        except _CameraInUseError:
            on_step(f"{output}: a run has come to watch its jobs; nothing is ended")
            return 0

    def _terminate(self, store: ObjectStore, names: set[str], on_step: OnStep) -> int:
        """End them; whoever takes the launch up finds that they were stopped, and goes on."""
        ended = 0
        for record in _unfinished(store):
            for attempt in record.attempts:
                if attempt.active and attempt.name in names and attempt.job_id:
                    attempt.stopping = ORPHANED_REASON
                    record.save(store)
                    batch = self.clients.of("batch")
                    batch.terminate_job(jobId=attempt.job_id, reason=ORPHANED_REASON)
                    on_step(f"job {attempt.name}: terminated, {ORPHANED_REASON}")
                    ended += 1
        return ended

    def _used_by(self, jobs: Mapping[str, str], dead: Mapping[str, int]) -> str | None:
        if jobs:
            return f"{len(jobs)} jobs have not ended"
        living = self._living(dead, "")
        return f"{len(living)} runs use the queues" if living else None

    def _living(self, dead: Mapping[str, int], place: str) -> list[str]:
        """Holds that are not known to be those of runs that are gone."""
        holds = list_leases(self._holds())
        return [k for k, ns in holds.items() if k.startswith(place) and dead.get(k) != ns]

    def _launches(self, live: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """Live jobs of unfinished launches, by the folder of their camera's holds."""
        found = {}
        for _, output in self.outputs:
            records = _unfinished(self._store(output))
            ours = {each.name for record in records for each in record.attempts if each.active}
            found[lease_folder(output)] = frozenset(
                job for job, name in live.items() if name in ours
            )
        return found

    def _store(self, output: str) -> ObjectStore:
        return open_store(f"{output.rstrip('/')}/{LAUNCHES}", self.clients)

    def _holds(self) -> ObjectStore:
        with self._explained():
            foundation, _ = find_foundation(self.clients, self.aws)
        return open_store(f"s3://{foundation.bucket}/{USAGE_LEASES_FOLDER}", self.clients)

    def _explained(self) -> AbstractContextManager[None]:
        name = self.aws.name
        remedy = f"ask an administrator to attach the policies {name}-operator and {name}-runner"
        return translate_aws_errors("tidying up compute", remedy)


def _unfinished(store: ObjectStore) -> list[LaunchRecord]:
    return [record for record in load_records(store) if not record.finished]


def _named(record: LaunchRecord, names: Iterable[str]) -> bool:
    return any(attempt.active and attempt.name in names for attempt in record.attempts)


def _is_held() -> None:
    raise _CameraInUseError
