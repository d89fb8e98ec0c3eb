"""A job of AWS Batch: request, status, attempts, and its descriptions in the API."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from resources.aws.batch_states import ENDED_STATUSES, JobStatus
from resources.sandbox.fleet.instances import Instance, ResourceNeeds
from resources.sandbox.jobs.processes import JobProcess
from resources.sandbox.model.config import ACCOUNT
from resources.sandbox.model.environments import JobDefinition, JobQueue, Request, arn

# A job that has one of these is on a machine.
PLACED_STATUSES = {JobStatus.STARTING, JobStatus.RUNNING}
REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


@dataclass
class StopRequest:
    """A CancelJob or TerminateJob, carried out at `due`, and by SIGKILL at `force_due`."""

    reason: str
    due: float
    terminate: bool
    force_due: float | None = None


class SandboxJob:
    """One job. Fields in `_ms` are milliseconds since 1970 UTC, as in the API.

    Args:
        request: that of SubmitJob.
        now: seconds since 1970 UTC.
    """

    def __init__(
        self, region: str, request: Request, queue: JobQueue, definition: JobDefinition, now: float
    ) -> None:
        self.id = str(uuid4())
        self.region = region
        self.arn = arn(region, "job", self.id)
        self.name: str = request["jobName"]
        self.request = request
        self.queue = queue
        self.definition = definition
        self.submitted = now
        self.status = JobStatus.SUBMITTED
        self.reason: str | None = None
        self.started_ms: int | None = None
        self.stopped_ms: int | None = None
        self.attempts: list[Request] = []
        self.exit_code: int | None = None
        self.container_reason: str | None = None
        self.is_cancelled = False
        self.is_terminated = False
        self.stop: StopRequest | None = None
        self.blocked_since: float | None = None
        self.instance: Instance | None = None
        self.process: JobProcess | None = None
        self.starts_at = 0.0
        self.logged_at = 0.0
        self.container: Request = {}
        self.tags: dict[str, str] = self._merged_tags()
        self.parameters: dict[str, str] = {
            **definition.request.get("parameters", {}), **request.get("parameters", {})
        }  # fmt: skip
        self.overrides: Request = request.get("containerOverrides", {})

    def _merged_tags(self) -> dict[str, str]:
        own: dict[str, str] = self.request.get("tags", {})
        propagates = self.request.get(
            "propagateTags", self.definition.request.get("propagateTags", False)
        )
        return {**self.definition.tags, **own} if propagates else dict(own)

    @property
    def ended(self) -> bool:
        return self.status in ENDED_STATUSES

    @property
    def command(self) -> list[str]:
        """The command with the values of its `Ref::` parameters; unknown ones stay."""
        raw = self.overrides.get("command") or self.definition.container.get("command", [])
        return [REFERENCE.sub(lambda m: self.parameters.get(m[1], m[0]), word) for word in raw]

    @property
    def environment(self) -> dict[str, str]:
        """The definition's variables, overridden by those of the request."""
        pairs = [
            *self.definition.container.get("environment", []),
            *self.overrides.get("environment", []),
        ]
        return {pair["name"]: pair.get("value", "") for pair in pairs}

    @property
    def requirements(self) -> dict[str, str]:
        """The resourceRequirements by type."""
        pairs = [
            *self.definition.container.get("resourceRequirements", []),
            *self.overrides.get("resourceRequirements", []),
        ]
        return {pair["type"]: pair["value"] for pair in pairs}

    @property
    def needs(self) -> ResourceNeeds:
        return {key: float(self.requirements.get(key, 0)) for key in ("VCPU", "MEMORY", "GPU")}

    @property
    def retry(self) -> Request:
        strategy: Request = (
            self.request.get("retryStrategy") or self.definition.request.get("retryStrategy") or {}
        )
        return {"attempts": 1, **strategy}

    @property
    def timeout(self) -> Request | None:
        return self.request.get("timeout") or self.definition.request.get("timeout")

    @property
    def log_group(self) -> str:
        options = self.definition.container.get("logConfiguration", {}).get("options", {})
        group: str = options.get("awslogs-group", "/aws/batch/job")
        return group

    def assign(self, instance: Instance, starts_at: float) -> None:
        """Begin an attempt on a machine: STARTING until `starts_at`."""
        self.instance, self.starts_at = instance, starts_at
        self.status, self.reason, self.blocked_since = JobStatus.STARTING, None, None
        task = uuid4().hex
        cluster = instance.environment.cluster
        prefix = self.definition.container.get("logConfiguration", {}).get("options", {})
        self.container = {
            "containerInstanceArn": instance.container_instance,
            "taskArn": f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{cluster}/{task}",
            "logStreamName": "/".join(
                (prefix.get("awslogs-stream-prefix", self.definition.name), "default", task)
            ),
            "networkInterfaces": [],
        }
        self.started_ms = self.exit_code = self.container_reason = None

    def close_attempt(
        self, now: float, reason: str, exit_code: int | None, container_reason: str | None
    ) -> None:
        """Add an attempt that has ended; without an exit code, its machine or start failed."""
        container = dict(self.container)
        if exit_code is not None:
            container["exitCode"] = exit_code
        if container_reason is not None:
            container["reason"] = container_reason
        attempt = {"container": container, "stoppedAt": int(now * 1000), "statusReason": reason}
        if self.started_ms is not None:
            attempt["startedAt"] = self.started_ms
        self.attempts.append(attempt)
        self.exit_code, self.container_reason = exit_code, container_reason

    def should_retry(self) -> bool:
        """True if the retry strategy asks for another attempt.

        AWS Batch user guide, "Automated job retries": the first rule whose conditions all match
        decides; if none of the rules matches, the job is retried.
        """
        if len(self.attempts) >= self.retry["attempts"]:
            return False
        last = self.attempts[-1]
        exit_code = last["container"].get("exitCode")
        facts = {
            "onStatusReason": last["statusReason"],
            "onReason": last["container"].get("reason", ""),
            "onExitCode": "" if exit_code is None else str(exit_code),
        }
        for rule in self.retry.get("evaluateOnExit", []):
            if all(_matches(rule[key], fact) for key, fact in facts.items() if key in rule):
                return bool(rule["action"].upper() == "RETRY")
        return True

    def summary(self) -> Request:
        """Return the entry of ListJobs."""
        end = {"exitCode": self.exit_code, "reason": self.container_reason}
        container = {key: value for key, value in end.items() if value is not None}
        facts: dict[str, Any] = {
            "jobId": self.id,
            "jobArn": self.arn,
            "jobName": self.name,
            "createdAt": int(self.submitted * 1000),
            "status": self.status,
            "statusReason": self.reason,
            "startedAt": self.started_ms,
            "stoppedAt": self.stopped_ms,
            "jobDefinition": self.definition.arn,
            "container": container or None,
        }
        return {key: value for key, value in facts.items() if value is not None}

    def describe(self) -> Request:
        """Return the entry of DescribeJobs."""
        container = {
            **self.definition.container,
            "command": self.command,
            "environment": [{"name": k, "value": v} for k, v in self.environment.items()],
            "resourceRequirements": [
                {"type": kind, "value": amount} for kind, amount in self.requirements.items()
            ],
            **self.container,
            **self.summary().get("container", {}),
        }
        timeout = {"timeout": self.timeout} if self.timeout else {}
        return {
            **self.summary(),
            **timeout,
            "jobQueue": self.queue.arn,
            "attempts": self.attempts,
            "retryStrategy": self.retry,
            "dependsOn": [],
            "parameters": self.parameters,
            "container": container,
            "tags": self.tags,
            "propagateTags": bool(self.request.get("propagateTags", False)),
            "platformCapabilities": ["EC2"],
            "isCancelled": self.is_cancelled,
            "isTerminated": self.is_terminated,
        }


def _matches(pattern: str, fact: str) -> bool:
    """Match a glob of Batch: the same text, or a prefix and an asterisk; case is ignored."""
    pattern, fact = pattern.lower(), fact.lower()
    if pattern.endswith("*"):
        return fact.startswith(pattern[:-1])
    return fact == pattern
