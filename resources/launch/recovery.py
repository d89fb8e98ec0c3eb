"""Jobs that earlier launches of a camera have left running, after their orchestrator died."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.batch.jobs import describe_jobs, find_job
from resources.batch.launch_record import Attempt, LaunchRecord, load_records
from resources.batch.names import Names
from resources.clock import Clock
from resources.launch.hooks import OnLog
from resources.storage.object_store import ObjectStore

RECOVERY_POLL_SECONDS = 15.0
# DescribeJobs and ListJobs may not return a job for this long after its submission.
UNKNOWN_JOB_SECONDS = 120.0


@dataclass(frozen=True)
class EarlierLaunches:
    """The unfinished launches of one camera.

    Args:
        store: the folder `launches` of the camera's output, locked for the new launch.
        name: the prefix of the account's resources, see `Aws`.
        on_log: called with a line while jobs are waited for.
        has_ended: return True if another process has ended this run, see `slots.has_ended`.
    """

    store: ObjectStore
    clients: AwsClients
    clock: Clock
    name: str
    on_log: OnLog
    has_ended: Callable[[], bool] = lambda: False
    _asked: dict[str, float] = field(default_factory=dict)  # see `Attempt.age`

    def take_over(self, records: Sequence[LaunchRecord], settings: str) -> None:
        """Make sure that no job of these launches is running.

        Jobs with other settings are terminated. Jobs with the same settings may end: if a run was
        killed during Stages 1 to 3, the next run begins with Stage 0, and uses the results of the
        jobs left running as soon as it comes to their stages.

        Args:
            settings: of the new launch, see `LaunchRecord`.
        """
        same = [each for each in records if each.settings == settings]
        self._end(
            [each for each in records if each not in same],
            "another launch of this camera, with other settings, took over",
        )
        self._wait_for(same)

    def _end(self, records: Sequence[LaunchRecord], reason: str) -> None:
        """Terminate the jobs of launches, wait for their end, and mark the launches finished."""
        terminated: set[str] = set()
        while live := self._live_attempts(records):
            for job in self._ids(live) - terminated:
                self._terminate(job, reason)
                terminated.add(job)
            self.clock.sleep(RECOVERY_POLL_SECONDS)
        for record in records:
            record.finished = True
            record.save(self.store)

    def _wait_for(self, records: Sequence[LaunchRecord]) -> None:
        """Wait for the end of the jobs of launches; an interrupt terminates the jobs."""
        live = self._live_attempts(records)
        if live:
            names = ", ".join(attempt.name for attempt in live)
            self.on_log(f"waiting for jobs that an earlier run has left running: {names}")
        try:
            while live:
                self.clock.sleep(RECOVERY_POLL_SECONDS)
                live = self._live_attempts(records)
        except BaseException:
            for job in self._ids(live) if not self.has_ended() else ():
                self._terminate(job, "the run that waited for it was stopped")
            raise

    def slots_of(self, run_id: str) -> set[str]:
        """Return the slots of a run whose jobs are still running."""
        records = [each for each in load_records(self.store) if run_id in each.runs]
        live = self._live_attempts([each for each in records if not each.finished])
        return {unit.slot for each in records for unit in each.units if unit.active in live}

    def _live_attempts(self, records: Sequence[LaunchRecord]) -> list[Attempt]:
        """Return the attempts whose jobs have not ended, or may exist without being listed yet."""
        batch = self.clients.of("batch")
        active = [each for record in records for each in record.attempts if each.active]
        for attempt in active:
            if attempt.job_id is None:
                queue = Names(self.name).queue(attempt.queue)
                attempt.job_id = find_job(batch, queue, attempt.name)
        jobs = describe_jobs(batch, sorted(self._ids(active)))
        now = self.clock.now()
        live = []
        for attempt in active:
            job = jobs.get(attempt.job_id or "")
            is_new = attempt.age(now, self._asked) <= UNKNOWN_JOB_SECONDS
            if job["status"] not in ENDED_STATUSES if job else is_new:
                live.append(attempt)
        return live

    def _ids(self, attempts: Sequence[Attempt]) -> set[str]:
        return {attempt.job_id for attempt in attempts if attempt.job_id is not None}

    def _terminate(self, job: str, reason: str) -> None:
        self.clients.of("batch").terminate_job(jobId=job, reason=reason)
