"""A sandbox account in which Batch is set up by plain API calls."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from compute_rig import SharedClients, running_sandbox

from resources.aws.batch_states import ENDED_STATUSES
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws

REGION = "eu-north-1"
TIMEOUT_SECONDS = 30.0
ROLE = "arn:aws:iam::123456789012:role/ravne-job"
SLEEP = ["sleep", "60"]
CAPACITY_REASON = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
RETRY_RULES = {
    "attempts": 3,
    "evaluateOnExit": [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onExitCode": "143", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ],
}
ONCE = {"attempts": 1}
SPOT = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "bidPercentage": 70,
    "maxvCpus": 8,
    "instanceTypes": ["g4dn.xlarge", "g5.xlarge"],
    "instanceRole": "ravne-instance",
    "tags": {"Project": "ravne"},
}
ON_DEMAND = {
    **{key: value for key, value in SPOT.items() if key != "bidPercentage"},
    "type": "EC2",
    "allocationStrategy": "BEST_FIT_PROGRESSIVE",
}
CONTAINER = {
    "image": "worker",
    "command": SLEEP,
    "jobRoleArn": ROLE,
    "resourceRequirements": [
        {"type": "VCPU", "value": "4"},
        {"type": "MEMORY", "value": "14336"},
        {"type": "GPU", "value": "1"},
    ],
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/aws/batch/ravne"}},
}


def eventually(condition: Callable[[], Any]) -> Any:
    """Poll a condition, and return its first true result."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("the condition did not become true")


def check_response(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Check that a response of Batch has only members of AWS's service model."""
    if response_dict["status_code"] == 200:
        check_shape(json.loads(response_dict["body"]), operation_model.output_shape)


def check_shape(value: Any, shape: Any) -> None:
    if shape.type_name == "structure":
        unknown = set(value) - set(shape.members)
        assert not unknown, f"{shape.name} has no {unknown}"
        for key, inner in value.items():
            check_shape(inner, shape.members[key])
    elif shape.type_name == "list":
        for inner in value:
            check_shape(inner, shape.member)
    elif shape.type_name in ("string", "integer", "long", "boolean"):
        kinds = {"string": str, "boolean": bool}
        assert isinstance(value, kinds.get(shape.type_name, int)), f"{shape.name}: {value!r}"


class Account:
    """A sandbox with a foundation, environments, queues and a job definition."""

    sandbox: Sandbox

    def __init__(self, endpoint_url: str) -> None:
        self.clients = SharedClients(Aws(region=REGION, endpoint_url=endpoint_url))
        prepare_foundation(self.clients, "ravne", REGION)
        self.batch = self.clients.of("batch")
        self.batch.meta.events.register("before-parse.batch", check_response)
        ec2 = self.clients.of("ec2")
        [group] = ec2.describe_security_groups(GroupNames=["ravne"])["SecurityGroups"]
        self.network = {
            "subnets": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]],
            "securityGroupIds": [group["GroupId"]],
        }
        self.environment("ravne-spot", SPOT)
        self.environment("ravne-ondemand", ON_DEMAND)
        self.queue("ravne-spot-high", "ravne-spot", 100)
        self.queue("ravne-spot", "ravne-spot", 10)
        self.queue("ravne-ondemand", "ravne-ondemand", 10)
        self.definition("ravne-worker", retryStrategy=RETRY_RULES)

    def environment(self, name: str, resources: dict[str, Any]) -> dict[str, Any]:
        """Create an environment, and return its description after the creation."""
        self.batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={"minvCpus": 0, **self.network, **resources},
        )
        return self.stable_environment(name)

    def stable_environment(self, name: str) -> dict[str, Any]:
        """Wait until no change of an environment is in progress, and return its description."""

        def is_stable() -> Any:
            found = self.described_environment(name)
            return found if found["status"] in ("VALID", "INVALID") else None

        return eventually(is_stable)

    def described_environment(self, name: str) -> dict[str, Any]:
        answer = self.batch.describe_compute_environments(computeEnvironments=[name])
        return answer["computeEnvironments"][0]

    def queue(self, name: str, environment: str, priority: int = 1, **extra: Any) -> None:
        self.batch.create_job_queue(
            jobQueueName=name,
            priority=priority,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
            **extra,
        )
        self.wait_for_queue(name)

    def wait_for_queue(self, name: str) -> None:
        """Wait until no change of a queue is in progress."""

        def is_valid() -> bool:
            answer = self.batch.describe_job_queues(jobQueues=[name])
            return answer["jobQueues"][0]["status"] == "VALID"

        eventually(is_valid)

    def definition(self, name: str, **extra: Any) -> None:
        container = {**CONTAINER, **extra.pop("container", {})}
        self.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties=container, **extra
        )

    def submit(
        self,
        command: list[str],
        name: str = "job",
        queue: str = "ravne-ondemand",
        definition: str = "ravne-worker",
        overrides: dict[str, Any] | None = None,
        **extra: Any,
    ) -> str:
        answer = self.batch.submit_job(
            jobName=name,
            jobQueue=queue,
            jobDefinition=definition,
            containerOverrides={"command": command, **(overrides or {})},
            **extra,
        )
        return answer["jobId"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]

    def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Return a job when it has one of the statuses, or has ended if none are given."""

        def reached() -> Any:
            job = self.job(job_id)
            return job if job["status"] in (statuses or ENDED_STATUSES) else None

        return eventually(reached)

    def run(self, command: list[str], **extra: Any) -> dict[str, Any]:
        return self.wait(self.submit(command, **extra))

    def lines(self, job: dict[str, Any]) -> list[str]:
        """Return the log lines of a job's last attempt."""
        answer = self.clients.of("logs").get_log_events(
            logGroupName="/aws/batch/ravne",
            logStreamName=job["attempts"][-1]["container"]["logStreamName"],
            startFromHead=True,
        )
        return [event["message"] for event in answer["events"]]

    def machines(self, **facts: Any) -> list[dict[str, Any]]:
        """Return the machines with these facts that are not terminated."""
        return [
            machine
            for machine in self.sandbox.instances()
            if machine["state"] != "terminated" and facts.items() <= machine.items()
        ]

    def end_everything(self) -> None:
        """Remove all limits, terminate all jobs, and wait until no machine is left."""
        sandbox = self.sandbox
        sandbox.set_interruption_rate(0)
        for lifecycle in ("spot", "on-demand"):
            sandbox.set_capacity(lifecycle, None)
        sandbox.surge("g4dn.xlarge", 1)
        sandbox.surge("g5.xlarge", 1)
        sandbox.clear_faults()
        sandbox.set_describe_lag(0)
        for job in sandbox.jobs():
            if job["status"] not in ENDED_STATUSES:
                self.batch.terminate_job(jobId=job["jobId"], reason="end of the test")
        eventually(lambda: not self.machines())


@contextmanager
def running_account(**config: Any) -> Iterator[Account]:
    """Run a fast sandbox, with credentials in the environment."""
    fast = SandboxConfig(
        scale=200,
        boot_seconds=40,
        pull_seconds=10,
        idle_seconds=40,
        blocked_seconds=30,
        change_seconds=60,
        delete_seconds=60,
        billing_lag_seconds=20,
        tick_seconds=0.01,
        **config,
    )
    with running_sandbox(fast) as sandbox:
        account = Account(sandbox.endpoint_url)
        account.sandbox = sandbox
        yield account


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with running_account() as account:
        yield account


@pytest.fixture
def fresh(account: Account) -> Iterator[Account]:
    """The account for tests that change shared state: machines, prices, capacity, faults."""
    account.end_everything()
    yield account
    account.end_everything()
