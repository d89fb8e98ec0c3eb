"""Submit the attempts of a launch: record the intent, open the Pipes session, submit the job."""

from dataclasses import dataclass, field

import dagster as dg

from resources.aws.clients import AwsClients
from resources.aws.errors import was_rejected
from resources.batch.jobs import find_job, submit_parameters
from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
from resources.batch.names import Names, Queue
from resources.launch.base import StepRequest
from resources.launch.hooks import LaunchHooks
from resources.launch.job_monitor import JobMonitor
from resources.launch.pipes import without_message_warnings
from resources.launch.recovery import UNKNOWN_JOB_SECONDS
from resources.settings.profile import Aws
from resources.storage.object_store import ObjectStore

# The most characters of a reason that AWS Batch stores.
REASON_LENGTH = 256


@dataclass(frozen=True)
class LaunchJobs:
    """The jobs of one launch: submits, resumes and terminates them, and records and logs it.

    Args:
        store: the folder `launches` of the camera's output, locked for this launch.
        request: the request to each worker, without its unit.
        hooks: called with progress of all units, warnings and lines of the log.
    """

    context: dg.AssetExecutionContext
    record: LaunchRecord
    store: ObjectStore
    clients: AwsClients
    aws: Aws
    request: StepRequest
    hooks: LaunchHooks
    asked: dict[str, float] = field(default_factory=dict)  # see `Attempt.age`

    def submit(self, unit: UnitRecord, queue: Queue, reason: str, after_crash: bool) -> JobMonitor:
        """Submit a unit's next job.

        Args:
            after_crash: True if the unit's last worker crashed.

        Raises:
            StoreError: S3 refused, or did not answer.
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer. If the
                job may have been submitted nevertheless, its intent remains in the record, and
                `resume` finds it.
        """
        number = len(unit.attempts) + 1
        name = f"{self.aws.name}-{self.request.camera_id[:40]}-{self.record.identity}"
        attempt = Attempt(
            f"{name}-u{unit.number}-a{number}", queue, reason, self.clients.clock.now()
        )
        unit.attempts.append(attempt)
        try:
            self.save()  # the intent, before the job
            monitor = self._open_session(unit, attempt, after_crash)
        except BaseException:
            # No job: a stored intent without one is deleted by the next save.
            unit.attempts.remove(attempt)
            raise
        try:
            attempt.job_id = self._submit_job(monitor)
            self.save()
            self.log(unit, f"submitted {attempt.name} to {queue}: {reason}")
        except BaseException as error:
            with without_message_warnings(self.context.log):
                monitor.close()  # `resume` opens another session, of the same messages
            if attempt.job_id is None and was_rejected(error):
                unit.attempts.remove(attempt)
                self.save()
            raise
        return monitor

    def resume(self, unit: UnitRecord, attempt: Attempt, after_crash: bool) -> JobMonitor | None:
        """Resume the session of a job that an earlier process submitted or intended.

        Returns:
            None if AWS knows no such job. After `UNKNOWN_JOB_SECONDS` it was never submitted, and
            its attempt is deleted from the record.
        """
        clients = self.clients
        if attempt.job_id is None:
            queue = Names(self.aws.name).queue(attempt.queue)
            attempt.job_id = find_job(clients.of("batch"), queue, attempt.name)
        if attempt.job_id is None:
            if attempt.age(clients.clock.now(), self.asked) > UNKNOWN_JOB_SECONDS:
                unit.attempts.remove(attempt)
                self.save()
            return None
        self.save()
        monitor = self._open_session(unit, attempt, after_crash)
        self.log(unit, f"resuming job {attempt.name} ({attempt.job_id})")
        return monitor

    def terminate(self, attempt: Attempt, reason: str) -> None:
        """Ask AWS Batch to terminate the job of an attempt.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
        """
        batch = self.clients.of("batch")
        batch.terminate_job(jobId=attempt.job_id or "", reason=reason[:REASON_LENGTH])

    def save(self) -> None:
        """Write the launch record."""
        self.record.save(self.store)

    def log(self, unit: UnitRecord, text: str) -> None:
        """Log a line about a unit, to the run's log and to `on_log`."""
        line = f"unit {unit.number}: {text}" if len(self.record.units) > 1 else text
        self.context.log.info(line)
        self.hooks.on_log(line)

    def _open_session(self, unit: UnitRecord, attempt: Attempt, after_crash: bool) -> JobMonitor:
        extras = self.request.extras(after_crash)
        if unit.start is not None:
            extras["unit"] = {"start": unit.start, "stop": unit.stop}
        monitor = JobMonitor(unit, attempt, self.clients.clock, self.hooks)
        folder = f"{self.record.identity}/{attempt.name}"
        monitor.open(self.context, self.store, folder, extras)
        return monitor

    def _submit_job(self, monitor: JobMonitor) -> str:
        names = Names(self.aws.name)
        params = submit_parameters(
            {
                "jobName": monitor.attempt.name,
                "jobQueue": names.queue(monitor.attempt.queue),
                "jobDefinition": names.worker,
                "tags": {"Project": self.aws.name, "Camera": self.request.camera_id},
            },
            {**monitor.pipes.get_bootstrap_env_vars(), "AWS_DEFAULT_REGION": self.aws.region},
            monitor.pipes.default_remote_invocation_info,
        )
        return str(self.clients.without_retries("batch").submit_job(**params)["jobId"])
