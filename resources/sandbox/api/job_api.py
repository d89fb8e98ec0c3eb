"""The API of AWS Batch for jobs."""

from collections.abc import Callable
from typing import Any

from resources.aws.batch_states import JobStatus, ResourceState, ResourceStatus
from resources.clock import Clock
from resources.sandbox.api import validation
from resources.sandbox.jobs.jobs import PLACED_STATUSES, SandboxJob, StopRequest
from resources.sandbox.jobs.state import BatchState
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.environments import Request
from resources.sandbox.model.events import Events
from resources.sandbox.wire.errors import BatchClientError
from resources.sandbox.wire.paging import page

Content = dict[str, Any]

MAXIMUM_DESCRIBED = 100
FRONT_OF_QUEUE = 100


class JobApi:
    """Handles the requests for jobs; the caller holds the state's lock."""

    def __init__(
        self, config: SandboxConfig, clock: Clock, state: BatchState, events: Events
    ) -> None:
        self._config = config
        self._clock = clock
        self._state = state
        self._events = events
        self.describe_lag_seconds = config.describe_lag_seconds
        self.operations: dict[str, Callable[[Request], Content]] = {
            "SubmitJob": self._submit,
            "DescribeJobs": self._describe,
            "ListJobs": self._list,
            "CancelJob": self._cancel,
            "TerminateJob": self._terminate,
            "GetJobQueueSnapshot": self._snapshot,
        }

    def _submit(self, request: Request) -> Content:
        validation.check_submission(request)
        queue = self._state.queue(request["jobQueue"])
        if queue is None:
            raise BatchClientError(f"Job Queue {request['jobQueue']} does not exist.")
        validation.reject_if(
            queue.state != ResourceState.ENABLED or queue.status == ResourceStatus.DELETING,
            f"Job Queue {queue.name} is not enabled.",
        )
        definition = self._state.definition(request["jobDefinition"])
        if definition is None or definition.status != "ACTIVE":
            raise BatchClientError(f"JobDefinition {request['jobDefinition']} is not ACTIVE.")
        job = SandboxJob(self._config.region, request, queue, definition, self._clock.now())
        validation.reject_if(not job.command, "a command is required: the sandbox has no image")
        self._state.add_job(job)
        self._events.add("submit", job=job.id, name=job.name, queue=queue.name)
        return {"jobId": job.id, "jobName": job.name, "jobArn": job.arn}

    def _is_visible(self, job: SandboxJob) -> bool:
        """False for a new job within the lag: Batch is eventually consistent."""
        return self._clock.now() - job.submitted >= self.describe_lag_seconds

    def _describe(self, request: Request) -> Content:
        wanted = request["jobs"]
        validation.reject_if(
            len(wanted) > MAXIMUM_DESCRIBED,
            f"at most {MAXIMUM_DESCRIBED} jobs can be described at once.",
        )
        found = [self._state.jobs.get(name.rpartition("/")[2]) for name in wanted]
        return {"jobs": [job.describe() for job in found if job and self._is_visible(job)]}

    def _list(self, request: Request) -> Content:
        queue = self._state.queue(request.get("jobQueue", ""))
        if queue is None:
            raise BatchClientError(f"Job Queue {request.get('jobQueue')} does not exist.")
        jobs = [
            job
            for job in reversed(self._state.jobs.values())
            if job.queue is queue and self._is_visible(job)
        ]
        filters = request.get("filters", [])
        if filters:
            jobs = [job for job in jobs if _matches(job, filters)]
        else:
            status = request.get("jobStatus", JobStatus.RUNNING)
            jobs = [job for job in jobs if job.status == status]
        return page(request, "jobSummaryList", [job.summary() for job in jobs])

    def _cancel(self, request: Request) -> Content:
        self._request_stop(request, terminate=False)
        return {}

    def _terminate(self, request: Request) -> Content:
        self._request_stop(request, terminate=True)
        return {}

    def _request_stop(self, request: Request, terminate: bool) -> None:
        job = self._state.jobs.get(request["jobId"].rpartition("/")[2])
        if job is None:
            raise BatchClientError(f"Job {request['jobId']} does not exist.")
        due = self._clock.now() + self._config.stop_latency_seconds
        self.request_stop(job, request["reason"], due, terminate)

    @staticmethod
    def request_stop(job: SandboxJob, reason: str, due: float, terminate: bool) -> None:
        """Request the end of a job. Canceling a job that is on a machine has no effect."""
        if job.ended or (job.status in PLACED_STATUSES and not terminate):
            return
        if job.stop is not None and (job.stop.terminate or not terminate):
            return
        job.stop = StopRequest(reason, due, terminate)
        if terminate:
            job.is_terminated = True
        else:
            job.is_cancelled = True

    def _snapshot(self, request: Request) -> Content:
        queue = self._state.queue(request["jobQueue"])
        if queue is None:
            raise BatchClientError(f"Job Queue {request['jobQueue']} does not exist.")
        now_ms = int(self._clock.now() * 1000)
        front = [
            {"jobArn": job.arn, "earliestTimeAtPosition": int(job.submitted * 1000)}
            for job in self._state.live_jobs()
            if job.queue is queue and job.status == JobStatus.RUNNABLE
        ]
        return {"frontOfQueue": {"jobs": front[:FRONT_OF_QUEUE], "lastUpdatedAt": now_ms}}


def _matches(job: SandboxJob, filters: list[Request]) -> bool:
    """True if a job matches the one filter of ListJobs.

    The filter is a list of names or prefixes with an asterisk, in any case, or the earliest time of
    creation in milliseconds.
    """
    validation.reject_if(len(filters) != 1, "only one filter can be used.")
    [chosen] = filters
    if chosen["name"] == "AFTER_CREATED_AT":
        return int(job.submitted * 1000) > int(chosen["values"][0])
    validation.reject_if(
        chosen["name"] != "JOB_NAME", f"the sandbox does not support the filter {chosen['name']}"
    )
    name = job.name.lower()
    return any(
        name.startswith(value[:-1]) if value.endswith("*") else name == value
        for value in map(str.lower, chosen["values"])
    )
