"""Setup of a plan: creates missing parts, and updates in place the parts that differ."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from resources.aws.batch_states import ResourceStatus
from resources.aws.clients import AwsClients
from resources.aws.errors import is_already_exists_error
from resources.batch.names import Names
from resources.compute.desired_state import Plan, fingerprint
from resources.compute.parts import ComputeParts, OnStep, Poller, describe_status, differences
from resources.errors import RavneError

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import (
        ComputeEnvironmentDetailTypeDef,
        CreateComputeEnvironmentRequestTypeDef,
        CreateJobQueueRequestTypeDef,
    )

# When an update replaces machines, those with jobs may finish them first.
UPDATE_TIMEOUT_MINUTES = 6 * 60
# Batch itself changes this number with its jobs, so it is set at creation only.
INITIAL_KEY = "desiredvCpus"


class Setup:
    """Applies a plan, and reports every change to `on_step`."""

    def __init__(self, clients: AwsClients, name: str, on_step: OnStep) -> None:
        self._batch, self._ec2 = clients.of("batch"), clients.of("ec2")
        self._parts = ComputeParts(clients, Names(name))
        self._clock = clients.clock
        self._poller = Poller(clients.clock, on_step)
        self._on_step = on_step
        self._changes = 0

    def apply(self, plan: Plan) -> int:
        """Create or update all parts, in the order of their dependencies.

        Returns:
            The number of changes.

        Raises:
            RavneError: AWS finds an environment or a queue INVALID.
        """
        version = self._launch_template(plan)
        for environment in plan.environments:
            self._environment(_with_version(environment, version))
        for name in self._parts.environments():
            self._require_valid(f"environment {name}", name, self._parts.environments)
        for queue in plan.queues:
            self._queue(queue)
        for name in self._parts.queues():
            self._require_valid(f"queue {name}", name, self._parts.queues)
        self._job_definition(plan)
        return self._changes

    def _report(self, change: str) -> None:
        self._changes += 1
        self._on_step(change)

    def _create(self, call: Callable[..., Any], parameters: Mapping[str, Any]) -> bool:
        """Make the call; True if it created the part.

        The part exists already if the response to an earlier attempt was lost, or if another setup
        of the same profile runs in parallel. Both create it as planned.
        """
        from botocore.exceptions import ClientError

        try:
            call(**parameters)
        except ClientError as error:
            if not is_already_exists_error(error):
                raise
            return False
        return True

    def _launch_template(self, plan: Plan) -> str:
        """Return the number of the planned version: Batch does not always re-read `$Latest`."""
        name, checksum = self._parts.names.worker, fingerprint(plan.launch_template)
        existing = self._parts.launch_template()
        if existing is not None and existing.get("VersionDescription") == checksum:
            return str(existing["VersionNumber"])
        wanted: dict[str, Any] = {
            "LaunchTemplateName": name,
            "VersionDescription": checksum,
            "LaunchTemplateData": plan.launch_template,
        }
        if existing is None:
            tags = [{"Key": "Project", "Value": self._parts.names.name}]
            tagged = {"TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}]}
            if self._create(self._ec2.create_launch_template, {**wanted, **tagged}):
                self._report(f"launch template {name}: created")
            return "1"
        created = self._ec2.create_launch_template_version(**wanted)
        number = str(created["LaunchTemplateVersion"]["VersionNumber"])
        self._report(f"launch template {name}: version {number}")
        return number

    def _environment(self, wanted: "CreateComputeEnvironmentRequestTypeDef") -> None:
        name = wanted["computeEnvironmentName"]
        self._poller.wait_until_stable(
            f"environment {name}", lambda: self._parts.environments().get(name)
        )
        existing = self._parts.environments().get(name)
        if existing is None:
            tags = {**wanted["tags"], "SetUpAt": _iso(self._clock.now())}
            resources = wanted["computeResources"]
            if self._create(self._batch.create_compute_environment, {**wanted, "tags": tags}):
                least, most = resources["minvCpus"], resources["maxvCpus"]
                self._report(f"environment {name}: created, {least} to {most} vCPUs")
            return
        self._update_environment(wanted, existing)

    def _update_environment(
        self,
        wanted: "CreateComputeEnvironmentRequestTypeDef",
        existing: "ComputeEnvironmentDetailTypeDef",
    ) -> None:
        name = wanted["computeEnvironmentName"]
        resources = {
            key: value
            for key, value in differences(
                wanted["computeResources"], existing["computeResources"]
            ).items()
            if key != INITIAL_KEY
        }
        if existing["status"] == ResourceStatus.INVALID and not resources:
            # AWS validates an environment again only when it is updated.
            resources = {"maxvCpus": wanted["computeResources"]["maxvCpus"]}
        changes: dict[str, Any] = {"computeResources": resources} if resources else {}
        if existing["state"] != wanted["state"]:
            changes["state"] = wanted["state"]
        if not changes:
            return
        # Only differences are sent: an update of the size alone replaces no machines.
        if set(resources) - {"minvCpus", "maxvCpus"}:
            changes["updatePolicy"] = {
                "terminateJobsOnUpdate": False,
                "jobExecutionTimeoutMinutes": UPDATE_TIMEOUT_MINUTES,
            }
        self._batch.update_compute_environment(computeEnvironment=name, **changes)
        keys = ", ".join(sorted([*resources, *(changes.keys() & {"state"})]))
        self._report(f"environment {name}: changed {keys}")

    def _queue(self, wanted: "CreateJobQueueRequestTypeDef") -> None:
        name = wanted["jobQueueName"]
        self._poller.wait_until_stable(f"queue {name}", lambda: self._parts.queues().get(name))
        existing = self._parts.queues().get(name)
        if existing is None:
            if self._create(self._batch.create_job_queue, wanted):
                self._report(f"queue {name}: created, priority {wanted['priority']}")
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
        changes = differences(compared, existing)
        if changes:
            self._batch.update_job_queue(jobQueue=name, **changes)
            self._report(f"queue {name}: changed {', '.join(sorted(changes))}")

    def _job_definition(self, plan: Plan) -> None:
        wanted = plan.job_definition
        existing = self._parts.job_definitions()
        checksum = wanted["tags"]["Fingerprint"]
        if existing and existing[0].get("tags", {}).get("Fingerprint") == checksum:
            return
        created = self._batch.register_job_definition(**wanted)
        self._report(f"job definition {self._parts.names.worker}: revision {created['revision']}")

    def _require_valid(
        self, part: str, name: str, parts: Callable[[], Mapping[str, Mapping[str, Any]]]
    ) -> None:
        self._poller.wait_until_stable(part, lambda: parts().get(name))
        found = parts().get(name)
        if found is None:
            raise RavneError(f"{part} is deleted: a teardown runs in parallel; run setup again")
        if found["status"] != ResourceStatus.VALID:
            raise RavneError(
                f"{part} is {describe_status(found)}; correct what it names and run setup again, "
                "or start over with `munin cost teardown`"
            )


def _with_version(
    environment: "CreateComputeEnvironmentRequestTypeDef", version: str
) -> "CreateComputeEnvironmentRequestTypeDef":
    resources: Any = dict(environment["computeResources"])
    resources["launchTemplate"] = {**resources["launchTemplate"], "version": version}
    return {**environment, "computeResources": resources}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
