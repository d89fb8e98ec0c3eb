"""Setting up: makes what a plan holds, changes in place what differs, touches nothing else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from resources.aws.clients import AwsClients
from resources.aws.errors import exists_already
from resources.batch.names import Names
from resources.compute.parts import ComputeParts, OnStep, Poller, describe_status, differences
from resources.compute.plan import Plan, fingerprint
from resources.errors import RavneError

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import (
        ComputeEnvironmentDetailTypeDef,
        CreateComputeEnvironmentRequestTypeDef,
        CreateJobQueueRequestTypeDef,
    )

# Changes that AWS makes by replacing machines: those at work may finish their jobs first.
UPDATE_TIMEOUT_MINUTES = 6 * 60
# Batch itself moves this number with its jobs: it is given once, at the beginning.
INITIAL_KEY = "desiredvCpus"


class Setup:
    """Brings what is there to what is planned. Every change is told."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._batch, self._ec2 = clients.of("batch"), clients.of("ec2")
        self._parts = ComputeParts(clients, Names(name))
        self._clock = clients.clock
        self._waiting = Poller(clients.clock, on_step)
        self._on_step = on_step
        self._changes = 0

    def bring_about(self, plan: Plan) -> int:
        """Make it so, in the order in which one part needs another; gives the number of changes.

        Raises:
            RavneError: AWS finds an environment or a queue INVALID.
        """
        version = self._launch_template(plan)
        for environment in plan.environments:
            self._environment(_with_version(environment, version))
        self._environments_are_valid()
        for queue in plan.queues:
            self._queue(queue)
        self._queues_are_valid()
        self._job_definition(plan)
        return self._changes

    def _changed(self, what: str) -> None:
        self._changes += 1
        self._on_step(what)

    def _create(self, call: Callable[..., Any], parameters: Mapping[str, Any]) -> bool:
        """Tells whether it was made now.

        It was made before if the answer to a first try was lost, and by a set-up of the same
        profile beside this one; both made it as it is wanted.
        """
        from botocore.exceptions import ClientError

        try:
            call(**parameters)
        except ClientError as error:
            if not exists_already(error):
                raise
            return False
        return True

    def _launch_template(self, plan: Plan) -> str:
        """The number of the version that is wanted: `$Latest` would be read only at times."""
        name, mark = self._parts.names.worker, fingerprint(plan.launch_template)
        there = self._parts.launch_template()
        if there is not None and there.get("VersionDescription") == mark:
            return str(there["VersionNumber"])
        wanted: dict[str, Any] = {
            "LaunchTemplateName": name,
            "VersionDescription": mark,
            "LaunchTemplateData": plan.launch_template,
        }
        if there is None:
            tags = [{"Key": "Project", "Value": self._parts.names.name}]
            tagged = {"TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}]}
            if self._create(self._ec2.create_launch_template, {**wanted, **tagged}):
                self._changed(f"launch template {name}: created")
            return "1"
        made = self._ec2.create_launch_template_version(**wanted)
        number = str(made["LaunchTemplateVersion"]["VersionNumber"])
        self._changed(f"launch template {name}: version {number}")
        return number

    def _environment(self, wanted: "CreateComputeEnvironmentRequestTypeDef") -> None:
        name = wanted["computeEnvironmentName"]
        self._settled(f"environment {name}", lambda: self._parts.environments().get(name))
        there = self._parts.environments().get(name)
        if there is None:
            tags = {**wanted["tags"], "SetUpAt": _iso(self._clock.now())}
            resources = wanted["computeResources"]
            if self._create(self._batch.create_compute_environment, {**wanted, "tags": tags}):
                least, most = resources["minvCpus"], resources["maxvCpus"]
                self._changed(f"environment {name}: created, {least} to {most} vCPUs")
            return
        self._update_environment(wanted, there)

    def _update_environment(
        self,
        wanted: "CreateComputeEnvironmentRequestTypeDef",
        there: "ComputeEnvironmentDetailTypeDef",
    ) -> None:
        name = wanted["computeEnvironmentName"]
        resources = {
            key: value
            for key, value in differences(
                wanted["computeResources"], there["computeResources"]
            ).items()
            if key != INITIAL_KEY
        }
        if there["status"] == "INVALID" and not resources:
            # AWS looks again at what was wrong only when it is told something.
            resources = {"maxvCpus": wanted["computeResources"]["maxvCpus"]}
        changes: dict[str, Any] = {"computeResources": resources} if resources else {}
        if there["state"] != wanted["state"]:
            changes["state"] = wanted["state"]
        if not changes:
            return
        # Only what differs is sent: a change of size alone replaces no machines.
        if set(resources) - {"minvCpus", "maxvCpus"}:
            changes["updatePolicy"] = {
                "terminateJobsOnUpdate": False,
                "jobExecutionTimeoutMinutes": UPDATE_TIMEOUT_MINUTES,
            }
        self._batch.update_compute_environment(computeEnvironment=name, **changes)
        what = ", ".join(sorted([*resources, *(changes.keys() & {"state"})]))
        self._changed(f"environment {name}: changed {what}")

    def _queue(self, wanted: "CreateJobQueueRequestTypeDef") -> None:
        name = wanted["jobQueueName"]
        self._settled(f"queue {name}", lambda: self._parts.queues().get(name))
        there = self._parts.queues().get(name)
        if there is None:
            if self._create(self._batch.create_job_queue, wanted):
                self._changed(f"queue {name}: created, priority {wanted['priority']}")
            return
        arns = {
            each["computeEnvironmentName"]: each["computeEnvironmentArn"]
            for each in self._parts.environments().values()
        }
        # Queues are described with the ARNs of their environments.
        order = [
            {**each, "computeEnvironment": arns[each["computeEnvironment"]]}
            for each in wanted["computeEnvironmentOrder"]
        ]
        compared = {**wanted, "computeEnvironmentOrder": order}
        del compared["tags"]
        changes = differences(compared, there)
        if changes:
            self._batch.update_job_queue(jobQueue=name, **changes)
            self._changed(f"queue {name}: changed {', '.join(sorted(changes))}")

    def _job_definition(self, plan: Plan) -> None:
        wanted = plan.job_definition
        there = self._parts.job_definitions()
        mark = wanted["tags"]["Fingerprint"]
        if there and there[0].get("tags", {}).get("Fingerprint") == mark:
            return
        made = self._batch.register_job_definition(**wanted)
        self._changed(f"job definition {self._parts.names.worker}: revision {made['revision']}")

    def _settled(self, what: str, look: Any) -> None:
        """Wait while AWS is changing a part: it takes one change at a time."""
        changing = {"CREATING", "UPDATING", "DELETING"}

        def in_the_way() -> str | None:
            part = look()
            return (
                describe_status(part) if part is not None and part["status"] in changing else None
            )

        self._waiting.until(f"{what} to settle", in_the_way)

    def _environments_are_valid(self) -> None:
        for name in self._parts.environments():
            self._valid(f"environment {name}", name, self._parts.environments)

    def _queues_are_valid(self) -> None:
        for name in self._parts.queues():
            self._valid(f"queue {name}", name, self._parts.queues)

    def _valid(self, what: str, name: str, look: Any) -> None:
        self._settled(what, lambda: look().get(name))
        part = look().get(name)
        if part is None:
            raise RavneError(f"{what} is gone: somebody is tearing down; run setup again")
        if part["status"] != "VALID":
            raise RavneError(
                f"{what} is {describe_status(part)}; put right what it names and run setup again, or start "
                "anew with `munin cost teardown`"
            )


def _with_version(
    environment: "CreateComputeEnvironmentRequestTypeDef", version: str
) -> "CreateComputeEnvironmentRequestTypeDef":
    resources: Any = dict(environment["computeResources"])
    resources["launchTemplate"] = {**resources["launchTemplate"], "version": version}
    return {**environment, "computeResources": resources}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
