"""Teardown: deletes what a setup created, in the only order that AWS allows.

Each step checks what exists and does what is left to do, so the next teardown completes one that
was interrupted at any point. Footage, results, roles and logs are never deleted.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from resources.aws.batch_states import LIVE_STATUSES, ResourceState, ResourceStatus
from resources.aws.clients import AwsClients
from resources.batch.names import Names
from resources.compute.parts import ComputeParts, OnStep, Poller, describe_status
from resources.errors import RavneError

TERMINATION_REASON = "munin cost teardown --force"

Described = Callable[[], Mapping[str, Mapping[str, Any]]]


class Teardown:
    """Deletes compute: queues, then environments, then job definitions and launch template."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._batch, self._ec2 = clients.of("batch"), clients.of("ec2")
        self._parts = ComputeParts(clients, Names(name))
        self._poller = Poller(clients.clock, on_step)
        self._on_step = on_step

    def run(self, force: bool) -> None:
        """Delete all parts. See `delete`."""
        names = self._parts.names
        self.delete(names.queues, names.environments, force)
        self._job_definitions()
        self._launch_template()

    def delete(self, queues: Sequence[str], environments: Sequence[str], force: bool) -> None:
        """Delete some queues and environments, and wait until they are deleted.

        Args:
            force: terminate jobs that have not ended, instead of refusing.

        Raises:
            RavneError: there are such jobs, or AWS cannot delete a part.
        """
        # A queue that is being deleted may vanish while its jobs are listed.
        for name in queues:
            self._poller.wait_until_stable(name, partial(self._queue, name))
        existing = [name for name in queues if self._queue(name) is not None]
        if not force:
            self._refuse_if_busy(existing)
        # A disabled queue takes no more jobs: from here on, no job is missed.
        for name in existing:
            self.disable_queue(name)
        if force:
            self._terminate_jobs(existing)
        else:
            self._refuse_if_busy(existing)
        for name in existing:
            self._delete_queue(name)
        self._wait_until_deleted("queue", existing, self._parts.queues)
        for name in environments:
            self._disable_environment(name)
        existing = [name for name in environments if self._environment(name) is not None]
        for name in existing:
            self._delete_environment(name)
        self._wait_until_deleted("environment", existing, self._parts.environments)

    def _queue(self, name: str) -> Mapping[str, Any] | None:
        return self._parts.queues().get(name)

    def _environment(self, name: str) -> Mapping[str, Any] | None:
        return self._parts.environments().get(name)

    def _refuse_if_busy(self, queues: Sequence[str]) -> None:
        count = len(self._parts.jobs(queues, LIVE_STATUSES))
        if count:
            raise RavneError(
                f"{count} job{'s have' if count != 1 else ' has'} not ended in {', '.join(queues)} "
                "(`munin cost status` shows them); wait, or terminate them with `munin cost "
                "teardown --force`: their finished work is saved"
            )

    def disable_queue(self, name: str) -> None:
        """Disable a queue and wait until it takes no more jobs; do nothing if it is deleted."""
        self._set_queue_state(name, ResourceState.DISABLED, "disabled")

    def enable_queue(self, name: str) -> None:
        """Enable a disabled queue and wait until it takes jobs; do nothing if it is deleted."""
        self._set_queue_state(name, ResourceState.ENABLED, "enabled again")

    def _set_queue_state(self, name: str, state: ResourceState, change: str) -> None:
        get = partial(self._queue, name)
        self._poller.wait_until_stable(name, get)
        queue = get()
        if queue is not None and queue["state"] != state:
            self._batch.update_job_queue(jobQueue=name, state=state.value)
            self._on_step(f"queue {name}: {change}")
            self._poller.wait_until_stable(name, get)

    def _terminate_jobs(self, queues: Sequence[str]) -> None:
        terminated: set[str] = set()

        def terminate() -> str | None:
            jobs = self._parts.jobs(queues, LIVE_STATUSES).keys()
            for job in jobs - terminated:
                self._batch.terminate_job(jobId=job, reason=TERMINATION_REASON)
                terminated.add(job)
            return f"{len(jobs)} not ended" if jobs else None

        self._poller.wait("jobs to end", terminate)
        if terminated:
            self._on_step(f"{len(terminated)} job{'s' * (len(terminated) != 1)}: terminated")

    def _delete_queue(self, name: str) -> None:
        self._poller.wait_until_stable(name, partial(self._queue, name))
        if self._queue(name) is not None:
            self._batch.delete_job_queue(jobQueue=name)

    def _disable_environment(self, name: str) -> None:
        get = partial(self._environment, name)
        self._poller.wait_until_stable(name, get)
        environment = get()
        if environment is not None and environment["state"] == ResourceState.ENABLED:
            self._batch.update_compute_environment(
                computeEnvironment=name, state=ResourceState.DISABLED.value
            )
            self._on_step(f"environment {name}: disabled")
            self._poller.wait_until_stable(name, get)

    def _delete_environment(self, name: str) -> None:
        self._poller.wait_until_stable(name, partial(self._environment, name))
        if self._environment(name) is not None:
            self._batch.delete_compute_environment(computeEnvironment=name)

    def _wait_until_deleted(self, kind: str, names: Sequence[str], described: Described) -> None:
        def check(name: str) -> str | None:
            part = described().get(name)
            if part is not None and part["status"] == ResourceStatus.INVALID:
                raise RavneError(
                    f"{kind} {name} cannot be deleted, it is {describe_status(part)}; correct what "
                    "it names (a deleted role must be created again) and run teardown again"
                )
            return describe_status(part) if part is not None else None

        for name in names:
            self._poller.wait(f"{kind} {name} to be deleted", partial(check, name))
            self._on_step(f"{kind} {name}: deleted")

    def _job_definitions(self) -> None:
        for revision in self._parts.job_definitions():
            self._batch.deregister_job_definition(jobDefinition=revision["jobDefinitionArn"])
            name = f"{revision['jobDefinitionName']}:{revision['revision']}"
            self._on_step(f"job definition {name}: deregistered")

    def _launch_template(self) -> None:
        if self._parts.launch_template() is not None:
            self._ec2.delete_launch_template(LaunchTemplateName=self._parts.names.worker)
            self._on_step(f"launch template {self._parts.names.worker}: deleted")
