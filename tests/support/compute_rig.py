"""A sandbox account for tests of compute: recording clients, jobs, and the remaining parts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

from resources.aws.clients import AwsClients
from resources.batch.names import Names
from resources.compute.environment import ComputeEnvironment
from resources.compute.parts import ComputeParts
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute

# Shared, since each session reads the service models again, which takes most of a test's time.
SESSION = boto3.Session(aws_access_key_id="sandbox", aws_secret_access_key="sandbox")


@contextmanager
def running_sandbox(config: SandboxConfig, **environment: str) -> Iterator[Sandbox]:
    """Run a sandbox, with its credentials and other variables in this process's environment."""
    with pytest.MonkeyPatch.context() as patch, Sandbox(config) as sandbox:
        for name, value in {**CREDENTIALS, **environment}.items():
            patch.setenv(name, value)
        yield sandbox


class SharedClients(AwsClients):
    """Clients of one shared session."""

    _session = SESSION


class Changes(list[str]):
    """An `on_step` callback that records the steps that are changes."""

    def __call__(self, step: str) -> None:
        if not step.startswith(("waiting for ", "the image ")):
            self.append(step)


class KilledError(BaseException):
    """Stands for the end of the process: no code catches it."""


class RecordingClients(SharedClients):
    """Clients that record calls that change something, and can fail after one as if killed."""

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws)
        self.changes: list[str] = []
        self.kill_after: int | None = None

    def _create(self, service: str, options: Any = None) -> Any:
        client = super()._create(service, options)
        client.meta.events.register("after-call", self._record)
        return client

    def _record(self, model: Any, **_: Any) -> None:
        if re.match("Describe|List|Get|Head", model.name):
            return
        self.changes.append(model.name)
        if self.kill_after is not None and len(self.changes) > self.kill_after:
            raise KilledError


def aws_settings(where: Sandbox | Aws, **compute: Any) -> Aws:
    if isinstance(where, Aws):
        return where
    return Aws(
        endpoint_url=where.endpoint_url,
        clock_url=where.clock_url,
        compute=Compute(**compute),
    )


def recorded_environment(
    sandbox: Sandbox, **compute: Any
) -> tuple[ComputeEnvironment, RecordingClients]:
    aws = aws_settings(sandbox, **compute)
    clients = RecordingClients(aws)
    return ComputeEnvironment(aws, clients), clients


def remaining_parts(where: Sandbox | Aws) -> list[str]:
    """Return the names of a setup's parts that still exist."""
    parts = ComputeParts(SharedClients(aws_settings(where)), Names("ravne"))
    template = parts.launch_template()
    return [
        *parts.environments(),
        *parts.queues(),
        *(each["jobDefinitionName"] for each in parts.job_definitions()),
        *([template["LaunchTemplateName"]] if template else []),
    ]


def submit(where: Sandbox | Aws, seconds: float, queue: str = "ravne-spot") -> str:
    """Submit a job that sleeps for real seconds, and return its id."""
    batch = SharedClients(aws_settings(where)).of("batch")
    job = batch.submit_job(
        jobName="sleeper",
        jobQueue=queue,
        jobDefinition="ravne-worker",
        containerOverrides={"command": ["python", "-c", f"import time; time.sleep({seconds})"]},
    )
    return str(job["jobId"])


def wait_for_state(sandbox: Sandbox, job: str, *states: str) -> None:
    batch = SharedClients(aws_settings(sandbox)).of("batch")
    for _ in range(500):
        if batch.describe_jobs(jobs=[job])["jobs"][0]["status"] in states:
            return
        sandbox.clock.sleep(20)
    raise AssertionError(f"the job did not become {states}")


def wait_until(sandbox: Sandbox, condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        sandbox.clock.sleep(20)
    raise AssertionError("the condition did not become true")
