"""Attempts of jobs: start, progress and end of a local process instead of a container.

Unlike a container, a process has no image, no memory limit and no mount namespace: paths below a
job's mount points, in its command and variables, are replaced by paths in its scratch folder.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from resources.aws.batch_states import JobStatus
from resources.clock import Clock
from resources.sandbox.fleet.bill import AttemptInterval
from resources.sandbox.fleet.instances import Instance
from resources.sandbox.jobs.jobs import PLACED_STATUSES, SandboxJob
from resources.sandbox.jobs.processes import KILLED, JobProcess, Reaper
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.events import Events
from resources.sandbox.model.moto_services import MotoServices

EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
NO_ROLE = (
    "ECS was unable to assume the role '{role}' that was provided for this task. Please verify "
    "that the role being passed has the proper trust relationship and permissions and that your "
    "IAM user has permissions to pass this role."
)
NO_LOG_GROUP = (
    "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
    "failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group "
    "does not exist."
)
# Real seconds between two reads of a job's log.
LOG_SECONDS = 0.5


class CredentialSource(Protocol):
    """The source of the job roles' credentials."""

    def url_for(self, role_arn: str, session: str) -> str:
        """Return the URL of a container's credentials: AWS_CONTAINER_CREDENTIALS_FULL_URI."""


class Attempts:
    """Advances jobs that have not ended.

    Args:
        endpoint: URL of all services, for jobs.
        folder: parent of the jobs' scratch folders.
    """

    def __init__(
        self,
        config: SandboxConfig,
        clock: Clock,
        services: MotoServices,
        credentials: CredentialSource,
        events: Events,
        reaper: Reaper,
        endpoint: str,
        folder: Path,
    ) -> None:
        self._config = config
        self._clock = clock
        self._services = services
        self._credentials = credentials
        self._events = events
        self._reaper = reaper
        self._endpoint = endpoint
        self._folder = folder

    def begin(self, job: SandboxJob, instance: Instance) -> None:
        """Begin an attempt of a job on a machine."""
        now = self._clock.now()
        instance.reserve(job.id, job.needs, now)
        job.assign(instance, now + self._config.pull_seconds)

    def tick(self, job: SandboxJob) -> None:
        """Advance a job that has not ended to the present time."""
        now = self._clock.now()
        if job.stop is not None and now >= job.stop.due:
            self._stop(job, now)
        elif job.status == JobStatus.SUBMITTED:
            job.status = JobStatus.RUNNABLE
        elif job.status == JobStatus.STARTING and now >= job.starts_at:
            self._start(job, now)
        elif job.status == JobStatus.RUNNING:
            self._monitor(job, now)

    def lose_host(self, job: SandboxJob, instance: Instance) -> None:
        """End an attempt whose machine is terminated: without a signal or an exit code."""
        if job.process is not None:
            job.process.kill()
        self._end_attempt(job, f"Host EC2 (instance {instance.id}) terminated.", None, None)

    # start

    def _start(self, job: SandboxJob, now: float) -> None:
        role = job.definition.container.get("jobRoleArn")
        if role is not None and not self._services.has_role(role):
            self._end_attempt(job, NO_ROLE.format(role=role), None, None)
        elif not self._services.has_log_group(job.log_group):
            self._end_attempt(job, NOT_STARTED, None, NO_LOG_GROUP)
        else:
            self._run(job, now)

    def _run(self, job: SandboxJob, now: float) -> None:
        folder = self._folder / f"{job.id}-{len(job.attempts) + 1}"
        map_path = _path_mapper(job, folder)
        for path in [folder, *map(Path, map(map_path, _mount_points(job)))]:
            path.mkdir(parents=True)
        environment = {name: map_path(value) for name, value in job.environment.items()}
        environment |= self._environment(job, folder)
        try:
            job.process = JobProcess(
                [map_path(word) for word in job.command], environment, folder, self._reaper
            )
        except OSError as error:
            reason = f"CannotStartContainerError: Error response from daemon: {error}"
            self._end_attempt(job, NOT_STARTED, None, reason)
            return
        job.status, job.started_ms = JobStatus.RUNNING, int(now * 1000)

    def _environment(self, job: SandboxJob, folder: Path) -> Mapping[str, str]:
        """Return the variables that Batch, ECS and the machine add to a container's own."""
        instance = job.instance
        assert instance is not None and instance.metadata_service is not None
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
            "AWS_BATCH_JQ_NAME": job.queue.name,
            "AWS_BATCH_CE_NAME": instance.environment.name,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": instance.metadata_service.url,
        }
        role = job.definition.container.get("jobRoleArn")
        if role is not None:
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = self._credentials.url_for(
                role, job.id
            )
        return variables

    # progress

    def _monitor(self, job: SandboxJob, now: float) -> None:
        assert job.process is not None and job.started_ms is not None
        code = job.process.poll()
        timeout = job.timeout
        if code is not None:
            self._end_attempt(job, EXITED, code, OUT_OF_MEMORY if code == KILLED else None)
        elif timeout and now - job.started_ms / 1000 > timeout["attemptDurationSeconds"]:
            job.process.kill()
            self._close(job, TIMED_OUT, KILLED, None)
            self.finish(job, JobStatus.FAILED, TIMED_OUT)
        elif now - job.logged_at >= LOG_SECONDS * self._config.scale:
            self._write_log(job, final=False)

    def _write_log(self, job: SandboxJob, final: bool) -> None:
        assert job.process is not None
        job.logged_at = self._clock.now()
        lines = job.process.new_lines(final)
        if lines:
            stream = job.container["logStreamName"]
            self._services.write_log(job.log_group, stream, job.logged_at, lines)

    # end

    def _stop(self, job: SandboxJob, now: float) -> None:
        stop = job.stop
        assert stop is not None
        if job.status in PLACED_STATUSES and not stop.terminate:  # a cancel that is too late
            job.stop, job.is_cancelled = None, False
            return
        if job.process is None:
            if job.instance is not None:
                self._close(job, stop.reason, None, None)
            self.finish(job, JobStatus.FAILED, stop.reason)
            return
        if stop.force_due is None:
            stop.force_due = now + self._config.stop_grace_seconds
            job.process.terminate()
        code = job.process.poll()
        if code is None and now >= stop.force_due:
            job.process.kill()
            code = KILLED
        if code is not None:
            self._close(job, stop.reason, code, None)
            self.finish(job, JobStatus.FAILED, stop.reason)

    def _end_attempt(
        self, job: SandboxJob, reason: str, exit_code: int | None, container_reason: str | None
    ) -> None:
        """End an attempt; the job has succeeded, is retried, or has failed."""
        self._close(job, reason, exit_code, container_reason)
        if exit_code == 0:
            self.finish(job, JobStatus.SUCCEEDED, reason)
        elif job.stop is None and job.should_retry():
            job.status, job.reason = JobStatus.RUNNABLE, reason
        else:
            self.finish(job, JobStatus.FAILED, reason)

    def _close(
        self, job: SandboxJob, reason: str, exit_code: int | None, container_reason: str | None
    ) -> None:
        now = self._clock.now()
        if job.process is not None:
            self._write_log(job, final=True)
            job.process.close()
        job.close_attempt(now, reason, exit_code, container_reason)
        instance, job.instance, job.process = job.instance, None, None
        assert instance is not None
        if job.started_ms is not None:
            instance.attempts.append(
                AttemptInterval(job.id, job.started_ms / 1000, int(now * 1000) / 1000)
            )
        instance.release(job.id, now)
        self._events.add(
            "attempt", job=job.id, name=job.name, attempt=len(job.attempts), reason=reason,
            exit_code=exit_code, instance=instance.id,
        )  # fmt: skip

    def finish(self, job: SandboxJob, status: JobStatus, reason: str) -> None:
        """Set the final status of a job."""
        job.status, job.reason = status, reason
        job.stopped_ms = int(self._clock.now() * 1000)
        self._events.add("job", job=job.id, name=job.name, status=status, reason=reason)


def _path_mapper(job: SandboxJob, folder: Path) -> Callable[[str], str]:
    """Return a function from container paths to local paths; other text it returns unchanged."""
    mounts = _mount_points(job)

    def map_path(text: str) -> str:
        for mount in mounts:
            if PurePosixPath(text).is_relative_to(mount):
                return str(folder / "mounts" / text.lstrip("/"))
        return text

    return map_path


def _mount_points(job: SandboxJob) -> list[str]:
    return [mount["containerPath"] for mount in job.definition.container.get("mountPoints", [])]
