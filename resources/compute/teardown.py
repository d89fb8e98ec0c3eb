"""Tearing down: takes away what a set-up made, in the only order that AWS allows.

Each step looks at what is there and does what is still to do, so that a teardown which was
stopped anywhere is finished by the next. Footage, results, roles and logs are never touched.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from resources.aws.clients import AwsClients
from resources.batch.names import Names
from resources.compute.parts import LIVE, ComputeParts, OnStep, Poller, describe_status
from resources.errors import RavneError

CHANGING = {"CREATING", "UPDATING", "DELETING"}
TERMINATION_REASON = "munin cost teardown --force"


class Teardown:
    """Takes compute away: queues, then environments, then what jobs were started from."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._batch, self._ec2 = clients.of("batch"), clients.of("ec2")
        self._parts = ComputeParts(clients, Names(name))
        self._waiting = Poller(clients.clock, on_step)
        self._on_step = on_step

    def everything(self, force: bool) -> None:
        """Take all away. See `take_away`."""
        names = self._parts.names
        self.take_away(names.queues, names.environments, force)
        self._job_definitions()
        self._launch_template()

    def take_away(self, queues: Sequence[str], environments: Sequence[str], force: bool) -> None:
        """Take some queues and environments away, and wait until they are gone.

        Args:
            force: terminate jobs that have not ended; otherwise they are a reason to refuse.

        Raises:
            RavneError: there are such jobs, or AWS does not let a part go.
        """
        # A queue that is on its way out vanishes under whoever asks for its jobs.
        for name in queues:
            self._settle(name, self._parts.queues)
        there = [name for name in queues if name in self._parts.queues()]
        if not force:
            self._refuse_if_busy(there)
        # A disabled queue takes no more jobs: what is counted or terminated now stays so.
        for name in there:
            self.disable_queue(name)
        if force:
            self._terminate_jobs(there)
        else:
            self._refuse_if_busy(there)
        for name in there:
            self._delete_queue(name)
        self._gone("queue", there, self._parts.queues)
        for name in environments:
            self._disable_environment(name)
        left = [name for name in environments if name in self._parts.environments()]
        for name in left:
            self._delete_environment(name)
        self._gone("environment", left, self._parts.environments)

    def _refuse_if_busy(self, queues: Sequence[str]) -> None:
        count = len(self._parts.jobs(queues, LIVE))
        if count:
            raise RavneError(
                f"{count} job{'s have' if count != 1 else ' has'} not ended in {', '.join(queues)} "
                "(`munin cost status` shows them); wait, or terminate them with `munin cost "
                "teardown --force`: what they finished is kept"
            )

    def disable_queue(self, name: str) -> None:
        """Let a queue take no more jobs, and wait until that is so; one that is gone stays so."""
        self._settle(name, self._parts.queues)
        there = self._parts.queues().get(name)
        if there is not None and there["state"] == "ENABLED":
            self._batch.update_job_queue(jobQueue=name, state="DISABLED")
            self._on_step(f"queue {name}: disabled")
            self._settle(name, self._parts.queues)

    def enable_queue(self, name: str) -> None:
        """Let a queue that was disabled take jobs again, and wait until it does."""
        self._settle(name, self._parts.queues)
        there = self._parts.queues().get(name)
        if there is not None and there["state"] == "DISABLED":
            self._batch.update_job_queue(jobQueue=name, state="ENABLED")
            self._on_step(f"queue {name}: enabled again")
            self._settle(name, self._parts.queues)

    def _terminate_jobs(self, queues: Sequence[str]) -> None:
        asked: set[str] = set()

        def alive() -> str | None:
            jobs = self._parts.jobs(queues, LIVE).keys()
            for job in jobs - asked:
                self._batch.terminate_job(jobId=job, reason=TERMINATION_REASON)
                asked.add(job)
            return f"{len(jobs)} not ended" if jobs else None

        self._waiting.until("jobs to end", alive)
        if asked:
            self._on_step(f"{len(asked)} job{'s' * (len(asked) != 1)}: terminated")

    def _delete_queue(self, name: str) -> None:
        self._settle(name, self._parts.queues)
        if name in self._parts.queues():
            self._batch.delete_job_queue(jobQueue=name)

    def _disable_environment(self, name: str) -> None:
        self._settle(name, self._parts.environments)
        there = self._parts.environments().get(name)
        if there is not None and there["state"] == "ENABLED":
            self._batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
            self._on_step(f"environment {name}: disabled")
            self._settle(name, self._parts.environments)

    def _delete_environment(self, name: str) -> None:
        self._settle(name, self._parts.environments)
        if name in self._parts.environments():
            self._batch.delete_compute_environment(computeEnvironment=name)

    def _settle(self, name: str, look: Callable[[], Mapping[str, Any]]) -> None:
        """Wait while AWS is changing a part: it refuses a second change meanwhile."""

        def in_the_way() -> str | None:
            part = look().get(name)
            return (
                describe_status(part) if part is not None and part["status"] in CHANGING else None
            )

        self._waiting.until(f"{name} to settle", in_the_way)

    def _gone(self, kind: str, names: Sequence[str], look: Callable[[], Mapping[str, Any]]) -> None:
        def in_the_way(name: str) -> str | None:
            part = look().get(name)
            if part is not None and part["status"] == "INVALID":
                raise RavneError(
                    f"{kind} {name} cannot be deleted, it is {describe_status(part)}; put right what it names "
                    "(a role that was deleted must be made again) and run teardown again"
                )
            return describe_status(part) if part is not None else None

        for name in names:
            self._waiting.until(f"{kind} {name} to be deleted", partial(in_the_way, name))
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
