"""What earlier launches of a camera have left running when a new one begins.

Their orchestrator was killed or cut off; their jobs know nothing of that and go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resources.aws.clients import AwsClients
from resources.batch.jobs import TERMINAL_STATES, describe_jobs, find_job
from resources.batch.launch_record import Attempt, LaunchRecord, load_records
from resources.clock import Clock
from resources.storage.object_store import ObjectStore

RECOVERY_POLL_SECONDS = 15.0
# A job just submitted may be unknown to DescribeJobs and ListJobs for a while.
UNKNOWN_JOB_SECONDS = 120.0


@dataclass(frozen=True)
class EarlierLaunches:
    """Those of one camera that are not finished.

    Args:
        store: the folder `launches` of the camera's output, held for the new launch alone.
        name: of the account's parts, see `Aws`.
        say: is told what is waited for.
    """

    store: ObjectStore
    clients: AwsClients
    clock: Clock
    name: str
    say: Callable[[str], None]

    def end(self, records: Sequence[LaunchRecord], why: str) -> None:
        """Terminate their jobs, see them ended, and close the records."""
        asked: set[str] = set()
        while living := self._living(records):
            for job in self._ids(living) - asked:
                self._terminate(job, why)
                asked.add(job)
            self.clock.sleep(RECOVERY_POLL_SECONDS)
        for record in records:
            record.finished = True
            record.save(self.store)

    def wait_for(self, records: Sequence[LaunchRecord]) -> None:
        """Wait until none of their jobs lives; whoever interrupts the waiting ends them."""
        living = self._living(records)
        if living:
            names = ", ".join(attempt.name for attempt in living)
            self.say(f"waiting for the end of what an earlier run has left running: {names}")
        try:
            while living:
                self.clock.sleep(RECOVERY_POLL_SECONDS)
                living = self._living(records)
        except BaseException:
            for job in self._ids(living):
                self._terminate(job, "the run that waited for it was stopped")
            raise

    def slots_of(self, run_id: str) -> set[str]:
        """The slots of a run whose jobs still live."""
        records = [each for each in load_records(self.store) if run_id in each.runs]
        living = self._living([each for each in records if not each.finished])
        return {unit.slot for each in records for unit in each.units if unit.active in living}

    def _living(self, records: Sequence[LaunchRecord]) -> list[Attempt]:
        """Their attempts whose jobs have not ended, or may yet turn out to exist."""
        batch = self.clients.of("batch")
        active = [each for record in records for each in record.attempts if each.active]
        for attempt in active:
            if attempt.job_id is None:
                attempt.job_id = find_job(batch, f"{self.name}-{attempt.queue}", attempt.name)
        jobs = describe_jobs(batch, sorted(self._ids(active)))
        now = self.clock.now()
        living = []
        for attempt in active:
            job = jobs.get(attempt.job_id or "")
            is_new = now - attempt.intended_at <= UNKNOWN_JOB_SECONDS
            if job["status"] not in TERMINAL_STATES if job else is_new:
                living.append(attempt)
        return living

    def _ids(self, attempts: Sequence[Attempt]) -> set[str]:
        return {attempt.job_id for attempt in attempts if attempt.job_id is not None}

    def _terminate(self, job: str, why: str) -> None:
        self.clients.of("batch").terminate_job(jobId=job, reason=why)
