"""AWS on one machine: what its Batch does, refuses, interrupts and charges."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import moto
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from moto.backends import get_backend

from resources.aws_clients import AwsClients
from resources.clock import clock_at
from resources.profile import Aws
from resources.sandbox.bill import Price, charge
from resources.sandbox.config import ACCOUNT, CREDENTIALS, SandboxConfig
from resources.sandbox.faults import Kind
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.moto_services import INTERNALS, MOTO_VERSION
from resources.sandbox.sandbox import Sandbox

REGION = "eu-north-1"
PATIENCE = 30.0
ROLE = "arn:aws:iam::123456789012:role/ravne-job"
ENDED = ("SUCCEEDED", "FAILED")
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
    """What the condition gives, once it gives something."""
    given_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < given_up_at:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def check_answer(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Every answer of Batch that any test gets holds only what AWS's own model knows."""
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
    """A sandbox with a foundation, and Batch as it would be set up on it."""

    sandbox: Sandbox

    def __init__(self, endpoint_url: str) -> None:
        self.clients = AwsClients(Aws(region=REGION, endpoint_url=endpoint_url))
        prepare_foundation(self.clients, "ravne", REGION)
        self.batch = self.clients.of("batch")
        self.batch.meta.events.register("before-parse.batch", check_answer)
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
        """Make an environment. Returns what it is once it is made."""
        self.batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={"minvCpus": 0, **self.network, **resources},
        )
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        """An environment at rest."""

        def at_rest() -> Any:
            found = self.described_environment(name)
            return found if found["status"] in ("VALID", "INVALID") else None

        return eventually(at_rest)

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
        self.settled_queue(name)

    def settled_queue(self, name: str) -> None:
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
        """A job once it has one of these states, or has ended when none are given."""

        def arrived() -> Any:
            job = self.job(job_id)
            return job if job["status"] in (statuses or ENDED) else None

        return eventually(arrived)

    def run(self, command: list[str], **extra: Any) -> dict[str, Any]:
        return self.wait(self.submit(command, **extra))

    def lines(self, job: dict[str, Any]) -> list[str]:
        """What a job's last attempt wrote."""
        answer = self.clients.of("logs").get_log_events(
            logGroupName="/aws/batch/ravne",
            logStreamName=job["attempts"][-1]["container"]["logStreamName"],
            startFromHead=True,
        )
        return [event["message"] for event in answer["events"]]

    def machines(self, **facts: Any) -> list[dict[str, Any]]:
        """Machines that are not gone, and of which these facts are true."""
        return [
            machine
            for machine in self.sandbox.instances()
            if machine["state"] != "terminated" and facts.items() <= machine.items()
        ]

    def end_everything(self) -> None:
        """Lift all limits, end all jobs, and wait until no machine is left."""
        sandbox = self.sandbox
        sandbox.set_interruption_rate(0)
        for lifecycle in ("spot", "on-demand"):
            sandbox.set_capacity(lifecycle, None)
        sandbox.surge("g4dn.xlarge", 1)
        sandbox.surge("g5.xlarge", 1)
        sandbox.clear_faults()
        sandbox.set_describe_lag(0)
        for job in sandbox.jobs():
            if job["status"] not in ENDED:
                self.batch.terminate_job(jobId=job["jobId"], reason="the test is over")
        eventually(lambda: not self.machines())


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    config = SandboxConfig(
        scale=200,
        boot_seconds=40,
        pull_seconds=10,
        idle_seconds=40,
        blocked_seconds=30,
        change_seconds=60,
        delete_seconds=60,
        tick_seconds=0.01,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with Sandbox(config) as sandbox:
            account = Account(sandbox.endpoint_url)
            account.sandbox = sandbox
            yield account


@pytest.fixture
def fresh(account: Account) -> Iterator[Account]:
    """For tests that change what all share: machines, prices, capacity, faults."""
    account.end_everything()
    yield account
    account.end_everything()


# What stands: clock, door, moto


def test_the_clock_goes_as_fast_as_its_url_tells(account: Account) -> None:
    told = clock_at(account.sandbox.clock_url)
    assert told.scale == 200
    before = account.sandbox.clock.now()
    now = told.now()
    assert before <= now <= account.sandbox.clock.now()


def test_only_this_machine_can_reach_it(account: Account) -> None:
    port = int(account.sandbox.endpoint_url.rpartition(":")[2])
    listening = [
        connection.laddr
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert port in {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_taken_port_is_an_error(account: Account) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Sandbox(SandboxConfig(port=taken.getsockname()[1]))


def test_moto_is_the_one_whose_inside_is_known(account: Account) -> None:
    assert moto.__version__ == MOTO_VERSION
    for service, names in INTERNALS.items():
        region = "aws" if service in ("iam", "sts") else REGION
        backend = get_backend(service)[ACCOUNT][region]
        missing = [name for name in names if not hasattr(backend, name)]
        assert not missing, f"moto's {service} has lost {missing}"


def test_an_answer_with_a_field_that_aws_does_not_have_would_be_noticed() -> None:
    model = botocore.session.Session().get_service_model("batch")
    shape = model.operation_model("SubmitJob").output_shape
    check_shape({"jobId": "a", "jobName": "b"}, shape)
    with pytest.raises(AssertionError, match="jobColour"):
        check_shape({"jobColour": "red"}, shape)


# What Batch refuses

REFUSALS = {
    "an environment that is enabled is not deleted": (
        "delete_compute_environment",
        {"computeEnvironment": "ravne-spot"},
        "state should be set to DISABLED",
    ),
    "a queue that is enabled is not deleted": (
        "delete_job_queue",
        {"jobQueue": "ravne-spot"},
        "state should be set to DISABLED",
    ),
    "a name is used once": (
        "create_job_queue",
        {"jobQueueName": "ravne-spot", "priority": 1, "computeEnvironmentOrder": []},
        "Object already exists",
    ),
    "a queue needs environments that are there": (
        "create_job_queue",
        {
            "jobQueueName": "new",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "nowhere"}],
        },
        "nowhere does not exist",
    ),
    "a time limit below ten minutes": (
        "update_job_queue",
        {
            "jobQueue": "ravne-spot",
            "jobStateTimeLimitActions": [
                {
                    "reason": CAPACITY_REASON,
                    "state": "RUNNABLE",
                    "maxTimeSeconds": 300,
                    "action": "CANCEL",
                }
            ],
        },
        "between 600 and 86400",
    ),
    "a job needs a queue that is there": (
        "submit_job",
        {"jobName": "a", "jobQueue": "nowhere", "jobDefinition": "ravne-worker"},
        "Job Queue nowhere does not exist",
    ),
    "a job needs a definition that is there": (
        "submit_job",
        {"jobName": "a", "jobQueue": "ravne-spot", "jobDefinition": "nothing"},
        "JobDefinition nothing is not ACTIVE",
    ),
    "a job's name has no spaces": (
        "submit_job",
        {"jobName": "a b", "jobQueue": "ravne-spot", "jobDefinition": "ravne-worker"},
        "jobName a b",
    ),
    "Batch's own variables are its own": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]},
        },
        "cannot start with AWS_BATCH",
    ),
    "an attempt may last a minute at least": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "timeout": {"attemptDurationSeconds": 59},
        },
        "at least 60",
    ),
    "what is not emulated is told": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "arrayProperties": {"size": 2},
        },
        "the sandbox has no arrayProperties",
    ),
    "a hundred jobs are described at once": (
        "describe_jobs",
        {"jobs": ["x"] * 101},
        "at most 100 jobs",
    ),
    "six rules of retrying": (
        "register_job_definition",
        {
            "jobDefinitionName": "new",
            "type": "container",
            "containerProperties": CONTAINER,
            "retryStrategy": {"evaluateOnExit": [{"onReason": "*", "action": "EXIT"}] * 6},
        },
        "at most 5 rules",
    ),
}


@pytest.mark.parametrize(("operation", "request_", "words"), REFUSALS.values(), ids=list(REFUSALS))
def test_batch_refuses(
    account: Account, operation: str, request_: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        getattr(account.batch, operation)(**request_)
    assert refused.value.response["Error"]["Code"] == "ClientException"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"type": "EC2", "bidPercentage": 50}, "bidPercentage is only valid for SPOT"),
        ({"allocationStrategy": "BEST_FIT"}, "spotIamFleetRole is required"),
        ({"bidPercentage": 101}, "between 1 and 100"),
        ({"allocationStrategy": "BEST_FIT_PROGRESSIVE_ORDERED"}, "not valid for SPOT"),
        ({"minvCpus": 9}, "between 0 and maxvCpus"),
        ({"instanceTypes": ["p9.huge"]}, "p9.huge is not known"),
        ({"instanceRole": ""}, "instanceRole is required"),
    ],
)
def test_batch_refuses_an_environment_with(
    account: Account, changed: dict[str, Any], words: str
) -> None:
    resources = {"minvCpus": 0, **SPOT, **account.network, **changed}
    if resources["type"] == "EC2":
        resources["allocationStrategy"] = "BEST_FIT_PROGRESSIVE"
    with pytest.raises(ClientError, match=words):
        account.batch.create_compute_environment(
            computeEnvironmentName="new", type="MANAGED", computeResources=resources
        )


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("subnets", ["subnet-0"], "subnet-0"),
        ("securityGroupIds", ["sg-0"], "sg-0"),
        ("instanceRole", "nobody", "nobody"),
        ("launchTemplate", {"launchTemplateName": "none"}, "launch template"),
    ],
)
def test_an_environment_with_something_missing_becomes_invalid(
    account: Account, part: str, value: Any, words: str
) -> None:
    made = account.environment(f"missing-{part}", {**SPOT, part: value})
    assert made["status"] == "INVALID"
    assert words in made["statusReason"]
    with pytest.raises(ClientError, match="is not valid"):
        account.queue("never", made["computeEnvironmentArn"])


def test_an_environment_lives_through_its_states_in_awss_order(account: Account) -> None:
    batch, name = account.batch, "short-lived"
    seen = []

    def status() -> Any:
        found = batch.describe_compute_environments(computeEnvironments=[name])
        answer = [e["status"] for e in found["computeEnvironments"]]
        if answer and answer[0] not in seen:
            seen.extend(answer)
        return answer

    def change(**wanted: Any) -> None:
        batch.update_compute_environment(computeEnvironment=name, **wanted)

    resources = {"minvCpus": 0, **SPOT, **account.network}
    batch.create_compute_environment(
        computeEnvironmentName=name, type="MANAGED", computeResources=resources
    )
    status()
    with pytest.raises(ClientError, match="being modified"):
        change(state="DISABLED")
    eventually(lambda: status() == ["VALID"])
    account.queue("short-lived", name)
    change(computeResources={"bidPercentage": 90})
    status()
    assert account.settled(name)["computeResources"]["bidPercentage"] == 90
    change(state="DISABLED")
    account.settled(name)
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        batch.delete_compute_environment(computeEnvironment=name)
    batch.update_job_queue(jobQueue=name, state="DISABLED")
    account.settled_queue(name)
    batch.delete_job_queue(jobQueue=name)
    eventually(lambda: not batch.describe_job_queues(jobQueues=[name])["jobQueues"])
    batch.delete_compute_environment(computeEnvironment=name)
    status()
    eventually(lambda: status() == [])
    assert seen == ["CREATING", "VALID", "UPDATING", "DELETING"]


def test_an_environment_whose_service_role_is_gone_cannot_be_deleted(account: Account) -> None:
    iam, name = account.clients.of("iam"), "roleless"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    account.batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        state="DISABLED",
        serviceRole=role,
        computeResources={"minvCpus": 0, **SPOT, **account.network},
    )
    account.settled(name)
    iam.delete_role(RoleName=name)
    account.batch.delete_compute_environment(computeEnvironment=name)
    stuck = account.settled(name)
    assert stuck["status"] == "INVALID"
    assert "not authorized to perform: sts:AssumeRole" in stuck["statusReason"]


# Jobs


def test_a_job_is_a_process_with_batchs_variables_and_its_roles_credentials(
    account: Account,
) -> None:
    code = (
        "import boto3, json, os, sys; "
        "arn = boto3.client('sts', region_name='eu-north-1').get_caller_identity()['Arn']; "
        "print(json.dumps([arn, sys.executable, os.getcwd(), dict(os.environ)]))"
    )
    job = account.run(
        ["python", "-c", code],
        overrides={"environment": [{"name": "CAMERA", "value": "camera7"}]},
    )
    assert job["status"] == "SUCCEEDED"
    arn, interpreter, folder, variables = json.loads(account.lines(job)[0])
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/ravne-job/{job['jobId']}"
    assert interpreter == sys.executable
    assert variables["CAMERA"] == "camera7"
    assert variables["AWS_BATCH_JOB_ID"] == job["jobId"]
    assert variables["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert variables["AWS_BATCH_JQ_NAME"] == "ravne-ondemand"
    assert variables["AWS_BATCH_CE_NAME"] == "ravne-ondemand"
    assert variables["AWS_ENDPOINT_URL"] == account.sandbox.endpoint_url
    assert "AWS_ACCESS_KEY_ID" not in variables, "nothing is inherited"
    assert not Path(folder).exists(), "its scratch folder goes with it"


def test_parameters_fill_the_command_and_mounts_lie_in_the_scratch_folder(
    account: Account,
) -> None:
    account.definition(
        "mounted",
        parameters={"camera": "none"},
        container={
            "command": ["sh", "-c", 'echo "$1"; echo x > "$SCRATCH/a" && cat "$2"', "-",
                        "Ref::camera", "/scratch/a"],
            "environment": [{"name": "SCRATCH", "value": "/scratch"}],
            "volumes": [{"name": "disk", "host": {"sourcePath": "/mnt/disk"}}],
            "mountPoints": [{"sourceVolume": "disk", "containerPath": "/scratch"}],
        },
    )  # fmt: skip
    answer = account.batch.submit_job(
        jobName="mounted",
        jobQueue="ravne-ondemand",
        jobDefinition="mounted",
        parameters={"camera": "camera7"},
    )
    assert account.lines(account.wait(answer["jobId"])) == ["camera7", "x"]


def test_a_job_passes_through_its_states_in_order(account: Account) -> None:
    job_id = account.submit(["sleep", "0.2"])
    seen: list[str] = []

    def ended() -> bool:
        status = account.job(job_id)["status"]
        if status not in seen:
            seen.append(status)
        return status in ENDED

    eventually(ended)
    order = ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert seen == [status for status in order if status in seen]
    assert seen[-1] == "SUCCEEDED" and "RUNNING" in seen
    [attempt] = account.job(job_id)["attempts"]
    assert attempt["stoppedAt"] - attempt["startedAt"] >= 40_000, "0.2 s are 40 s here"


def test_the_machine_of_a_job_that_runs_can_be_looked_up(account: Account) -> None:
    job_id = account.submit(SLEEP)
    job = account.wait(job_id, "RUNNING")
    container_instance = job["container"]["containerInstanceArn"]
    [joined] = account.clients.of("ecs").describe_container_instances(
        cluster=container_instance.split("/")[1], containerInstances=[container_instance]
    )["containerInstances"]
    found = account.clients.of("ec2").describe_instances(InstanceIds=[joined["ec2InstanceId"]])
    [machine] = found["Reservations"][0]["Instances"]
    assert machine["InstanceType"] == "g4dn.xlarge"
    assert "InstanceLifecycle" not in machine, "on demand"
    assert {"Key": "Project", "Value": "ravne"} in machine["Tags"]
    assert machine["LaunchTime"].timestamp() <= job["startedAt"] / 1000
    account.batch.terminate_job(jobId=job_id, reason="seen")


@pytest.mark.parametrize(
    ("command", "strategy", "status", "exit_codes"),
    [
        (["sh", "-c", "exit 1"], RETRY_RULES, "FAILED", [1]),
        (["sh", "-c", "exit 143"], RETRY_RULES, "FAILED", [143, 143, 143]),
        (
            ["sh", "-c", "test $AWS_BATCH_JOB_ATTEMPT = 2 || exit 143"],
            RETRY_RULES,
            "SUCCEEDED",
            [143, 0],
        ),
        (["sh", "-c", "exit 1"], {"attempts": 1}, "FAILED", [1]),
        (
            ["sh", "-c", "exit 1"],
            {"attempts": 2, "evaluateOnExit": [{"onExitCode": "143", "action": "RETRY"}]},
            "FAILED",
            [1, 1],
        ),
        (["sh", "-c", "kill -SEGV $$"], {"attempts": 1}, "FAILED", [139]),
    ],
    ids=[
        "a rule says EXIT",
        "a rule says RETRY until the attempts are used up",
        "a retry can succeed",
        "one attempt is one attempt",
        "no rule that fits means RETRY",
        "a signal is 128 and its number",
    ],
)
def test_retries(
    account: Account,
    command: list[str],
    strategy: dict[str, Any],
    status: str,
    exit_codes: list[int],
) -> None:
    job = account.run(command, retryStrategy=strategy)
    assert job["status"] == status
    assert [a["container"]["exitCode"] for a in job["attempts"]] == exit_codes
    assert job["statusReason"] == "Essential container in task exited"


def test_an_attempt_that_lasts_too_long_is_killed_and_not_retried(account: Account) -> None:
    job = account.run(SLEEP, timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3})
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert [a["container"]["exitCode"] for a in job["attempts"]] == [137]


def test_terminate_asks_first_and_kills_after_the_grace(account: Account) -> None:
    polite = ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"]
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.01; done"]
    jobs = {137: account.submit(deaf, queue="ravne-spot"), 7: account.submit(polite)}
    for job_id in jobs.values():
        account.wait(job_id, "RUNNING")
    time.sleep(0.3)  # until the shells have set their traps
    for job_id in jobs.values():
        account.batch.terminate_job(jobId=job_id, reason="enough")
        assert account.job(job_id)["isTerminated"]
    for exit_code, job_id in jobs.items():
        job = account.wait(job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", "enough")
        assert [a["container"]["exitCode"] for a in job["attempts"]] == [exit_code]


def test_cancel_ends_a_job_that_waits_and_leaves_one_that_runs(fresh: Account) -> None:
    running = fresh.submit(["sleep", "1.5"])
    fresh.wait(running, "RUNNING")
    fresh.sandbox.set_capacity("spot", 0)
    waiting = fresh.submit(SLEEP, queue="ravne-spot")
    fresh.wait(waiting, "RUNNABLE")
    for job_id in (running, waiting):
        fresh.batch.cancel_job(jobId=job_id, reason="not now")
    cancelled = fresh.wait(waiting)
    assert (cancelled["status"], cancelled["statusReason"]) == ("FAILED", "not now")
    assert cancelled["isCancelled"] and cancelled["attempts"] == []
    assert fresh.wait(running)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"jobRoleArn": ROLE + "x"}, "unable to assume the role"),
        (
            {
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "/aws/batch/none"},
                }
            },
            "The specified log group does not exist",
        ),
        ({"command": ["no-such-program"]}, "no-such-program"),
    ],
    ids=["no role", "no log group", "no program"],
)
def test_a_job_that_cannot_start_has_no_exit_code(
    account: Account, container: dict[str, Any], words: str
) -> None:
    account.definition("broken", container=container)
    answer = account.batch.submit_job(
        jobName="broken", jobQueue="ravne-ondemand", jobDefinition="broken"
    )
    job = account.wait(answer["jobId"])
    assert job["status"] == "FAILED"
    [attempt] = job["attempts"]
    assert "exitCode" not in attempt["container"]
    assert words in attempt["statusReason"] + attempt["container"].get("reason", "")


def test_jobs_are_listed_by_status_or_by_name_in_pages(account: Account) -> None:
    ended = [account.submit(["true"], name=f"listed-{number}") for number in range(3)]
    for job_id in ended:
        account.wait(job_id)
    in_status = account.batch.list_jobs(jobQueue="ravne-ondemand", jobStatus="SUCCEEDED")
    assert set(ended) <= {job["jobId"] for job in in_status["jobSummaryList"]}
    by_name = account.batch.list_jobs(
        jobQueue="ravne-ondemand", filters=[{"name": "JOB_NAME", "values": ["LISTED-1"]}]
    )
    assert [job["jobId"] for job in by_name["jobSummaryList"]] == [ended[1]]
    pages = account.batch.get_paginator("list_jobs").paginate(
        jobQueue="ravne-ondemand",
        filters=[{"name": "JOB_NAME", "values": ["listed-*"]}],
        PaginationConfig={"PageSize": 2},
    )
    found = [[job["jobId"] for job in page["jobSummaryList"]] for page in pages]
    assert found == [[ended[2], ended[1]], [ended[0]]]


def test_tags_are_kept_and_those_of_the_definition_propagate(account: Account) -> None:
    account.definition("tagged", tags={"Project": "ravne"}, propagateTags=True)
    job_id = account.submit(["true"], definition="tagged", tags={"camera": "camera7"})
    assert account.wait(job_id)["tags"] == {"Project": "ravne", "camera": "camera7"}
    arn = account.described_environment("ravne-spot")["computeEnvironmentArn"]
    account.batch.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    account.batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert account.batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}


def test_a_new_revision_replaces_the_old_and_a_deregistered_one_is_not_used(
    account: Account,
) -> None:
    for word in ("first", "second"):
        account.definition("revised", container={"command": ["echo", word]})

    def run(definition: str) -> list[str]:
        answer = account.batch.submit_job(
            jobName="revised", jobQueue="ravne-ondemand", jobDefinition=definition
        )
        return account.lines(account.wait(answer["jobId"]))

    assert run("revised") == ["second"]
    assert run("revised:1") == ["first"]
    account.batch.deregister_job_definition(jobDefinition="revised:2")
    assert run("revised") == ["first"]
    described = account.batch.describe_job_definitions(jobDefinitionName="revised", status="ACTIVE")
    assert [d["revision"] for d in described["jobDefinitions"]] == [1]


def test_a_submitted_job_may_be_unknown_for_a_while(fresh: Account) -> None:
    fresh.sandbox.set_describe_lag(100)
    job_id = fresh.submit(["true"], name="lagging")
    name = [{"name": "JOB_NAME", "values": ["lagging"]}]
    assert fresh.batch.describe_jobs(jobs=[job_id])["jobs"] == []
    listed = fresh.batch.list_jobs(jobQueue="ravne-ondemand", filters=name)
    assert listed["jobSummaryList"] == []
    eventually(lambda: fresh.batch.describe_jobs(jobs=[job_id])["jobs"])


# Machines


def test_machines_come_with_jobs_and_go_when_idle(fresh: Account) -> None:
    def desired() -> int:
        environment = fresh.described_environment("ravne-spot")
        return environment["computeResources"]["desiredvCpus"]

    assert desired() == 0
    jobs = [fresh.submit(["sleep", "0.5"], queue="ravne-spot") for _ in range(4)]
    eventually(lambda: desired() == 8)
    assert len(fresh.machines()) == 2, "maxvCpus is 8"
    assert [fresh.wait(job_id)["status"] for job_id in jobs] == ["SUCCEEDED"] * 4
    eventually(lambda: desired() == 0)
    assert not fresh.machines()
    states = {
        instance["State"]["Name"]
        for reservation in fresh.clients.of("ec2").describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert states == {"terminated"}


def test_the_queue_of_higher_priority_goes_first(fresh: Account) -> None:
    fresh.sandbox.set_capacity("spot", 1)
    first = fresh.submit(SLEEP, queue="ravne-spot")
    fresh.wait(first, "RUNNING")
    low = [fresh.submit(["true"], queue="ravne-spot") for _ in range(2)]
    high = [fresh.submit(["true"], queue="ravne-spot-high") for _ in range(2)]
    fresh.batch.terminate_job(jobId=first, reason="make room")
    started = {job_id: fresh.wait(job_id)["startedAt"] for job_id in low + high}
    assert sorted(started, key=lambda job_id: started[job_id]) == high + low


def test_without_capacity_the_head_of_the_queue_says_why_and_batch_keeps_wishing(
    fresh: Account,
) -> None:
    fresh.sandbox.set_capacity("spot", 0)
    head, behind = (fresh.submit(["true"], queue="ravne-spot") for _ in range(2))
    reason = eventually(lambda: fresh.job(head).get("statusReason"))
    assert reason.startswith(f"{CAPACITY_REASON} - ")
    assert "statusReason" not in fresh.job(behind)
    wished = fresh.described_environment("ravne-spot")["computeResources"]["desiredvCpus"]
    assert wished == 8, "desiredvCpus is what Batch wants, not what it has"
    assert not fresh.machines()
    assert fresh.run(["true"])["status"] == "SUCCEEDED", "on demand there is room"
    fresh.sandbox.set_capacity("spot", None)
    assert fresh.wait(behind)["status"] == "SUCCEEDED"


def test_capacity_can_lack_in_one_zone_or_of_one_type(fresh: Account) -> None:
    fresh.sandbox.set_capacity("spot", 0, zone="eu-north-1a")
    fresh.wait(fresh.submit(SLEEP, queue="ravne-spot"), "RUNNING")
    [machine] = fresh.machines()
    assert (machine["instance_type"], machine["zone"]) == ("g4dn.xlarge", "eu-north-1c")
    fresh.sandbox.set_capacity("spot", 1, kind="g4dn.xlarge")
    fresh.wait(fresh.submit(SLEEP, queue="ravne-spot"), "RUNNING")
    assert fresh.machines(instance_type="g5.xlarge")
    fresh.sandbox.set_capacity("spot", None, zone="eu-north-1a")
    fresh.sandbox.set_capacity("spot", None, kind="g4dn.xlarge")


def test_a_time_limit_cancels_a_job_that_starves(fresh: Account) -> None:
    limit = {
        "reason": CAPACITY_REASON,
        "state": "RUNNABLE",
        "maxTimeSeconds": 600,
        "action": "CANCEL",
    }
    fresh.batch.update_job_queue(jobQueue="ravne-spot", jobStateTimeLimitActions=[limit])
    fresh.settled_queue("ravne-spot")
    fresh.sandbox.set_capacity("spot", 0)
    job = fresh.run(SLEEP, queue="ravne-spot")
    assert job["statusReason"] == (
        f"Canceled by JobStateTimeLimit action due to reason: {CAPACITY_REASON}"
    )
    assert job["stoppedAt"] - job["createdAt"] >= 600_000
    assert job["attempts"] == []
    fresh.batch.update_job_queue(jobQueue="ravne-spot", jobStateTimeLimitActions=[])
    fresh.settled_queue("ravne-spot")


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"type": "GPU", "value": "8"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        ({"type": "MEMORY", "value": "16384"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
    ],
    ids=["more GPUs than a machine has", "all of a machine's memory"],
)
def test_a_job_that_fits_no_machine_waits_for_ever(
    fresh: Account, needs: dict[str, str], reason: str
) -> None:
    job_id = fresh.submit(["true"], overrides={"resourceRequirements": [needs]})
    assert eventually(lambda: fresh.job(job_id).get("statusReason", "")).startswith(reason)
    assert fresh.job(job_id)["status"] == "RUNNABLE"


def test_a_minimum_of_machines_is_kept_without_jobs(fresh: Account) -> None:
    batch = fresh.batch
    for least, machines in ((4, 1), (0, 0)):
        batch.update_compute_environment(
            computeEnvironment="ravne-ondemand", computeResources={"minvCpus": least}
        )
        fresh.settled("ravne-ondemand")
        eventually(lambda wanted=machines: len(fresh.machines()) == wanted)


# Interruptions

WATCHES_FOR_THE_NOTICE = """
import json, os, sys, time, urllib.error, urllib.request
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
def get(path, token):
    headers = {"X-aws-ec2-metadata-token": token}
    request = urllib.request.Request(base + path, headers=headers)
    return urllib.request.urlopen(request).read().decode()
try:
    get("/latest/meta-data/instance-id", "guessed")
except urllib.error.HTTPError as refused:
    print(refused.code)
ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
put = urllib.request.Request(base + "/latest/api/token", method="PUT", headers=ttl)
token = urllib.request.urlopen(put).read().decode()
for item in ("instance-life-cycle", "instance-type", "placement/availability-zone"):
    print(get("/latest/meta-data/" + item, token))
print("watching", flush=True)
while True:
    try:
        print(get("/latest/meta-data/spot/instance-action", token), flush=True)
        sys.exit(143)
    except urllib.error.HTTPError as not_yet:
        assert not_yet.code == 404
    time.sleep(0.02)
"""
ONCE = {"attempts": 1}


def test_a_machine_is_told_two_minutes_before_it_is_taken(fresh: Account) -> None:
    job_id = fresh.submit(
        ["python", "-c", WATCHES_FOR_THE_NOTICE], queue="ravne-spot", retryStrategy=ONCE
    )
    fresh.wait(job_id, "RUNNING")
    time.sleep(0.5)
    before = fresh.sandbox.clock.now()
    instance_id = fresh.sandbox.interrupt(job_id=job_id)
    after = fresh.sandbox.clock.now()
    job = fresh.wait(job_id)
    lines = fresh.lines(job)
    assert lines[:5] == ["401", "spot", "g4dn.xlarge", "eu-north-1a", "watching"]
    notice = json.loads(lines[5])
    assert notice["action"] == "terminate"
    told = datetime.fromisoformat(notice["time"]).timestamp()
    assert before + 119 <= told <= after + 120, "two minutes, in whole seconds"
    [attempt] = job["attempts"]
    assert attempt["container"]["exitCode"] == 143, "the job ended itself in time"
    assert attempt["statusReason"] == "Essential container in task exited"
    [machine] = fresh.machines()
    assert machine["instance_id"] == instance_id
    eventually(lambda: not fresh.machines())


def test_a_job_that_does_not_listen_dies_with_its_machine_and_is_tried_again(
    fresh: Account,
) -> None:
    job_id = fresh.submit(
        ["sh", "-c", "test $AWS_BATCH_JOB_ATTEMPT = 2 || sleep 60"], queue="ravne-spot"
    )
    fresh.wait(job_id, "RUNNING")
    instance_id = fresh.sandbox.interrupt(job_id=job_id)
    job = fresh.wait(job_id)
    assert job["status"] == "SUCCEEDED"
    lost, done = job["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {instance_id}) terminated."
    assert "exitCode" not in lost["container"]
    assert lost["stoppedAt"] - lost["startedAt"] >= 100_000, "it had its notice"
    assert done["container"]["exitCode"] == 0
    found = fresh.clients.of("ec2").describe_instances(InstanceIds=[instance_id])
    [machine] = found["Reservations"][0]["Instances"]
    assert machine["InstanceLifecycle"] == "spot"
    assert machine["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_a_machine_can_be_gone_without_notice(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    asked_at = fresh.sandbox.clock.now()
    fresh.sandbox.interrupt(job_id=job_id, notice=False)
    job = fresh.wait(job_id)
    assert job["statusReason"].startswith("Host EC2 (instance ")
    assert job["stoppedAt"] / 1000 - asked_at < 60


def test_a_machine_that_is_taken_while_it_boots_leaves_its_job_waiting(fresh: Account) -> None:
    job_id = fresh.submit(["true"], queue="ravne-spot")
    [booting] = eventually(lambda: fresh.machines(state="booting"))
    fresh.sandbox.interrupt(instance_id=booting["instance_id"], notice=False)
    job = fresh.wait(job_id)
    assert job["status"] == "SUCCEEDED"
    assert len(job["attempts"]) == 1, "nothing had begun on the first machine"


def test_an_attempt_that_is_lost_while_it_starts_has_no_start(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "STARTING")
    fresh.sandbox.interrupt(job_id=job_id, notice=False)
    [attempt] = fresh.wait(job_id)["attempts"]
    assert attempt["statusReason"].startswith("Host EC2")
    assert "startedAt" not in attempt


def test_on_demand_machines_are_not_interrupted(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP)
    fresh.wait(job_id, "RUNNING")
    with pytest.raises(LookupError):
        fresh.sandbox.interrupt(job_id=job_id)


def test_a_price_above_the_bid_takes_machines_and_gives_none(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    fresh.sandbox.surge("g4dn.xlarge", 2.5)  # 0.1881 becomes 0.47, 84 % of 0.558
    assert fresh.wait(job_id)["statusReason"].startswith("Host EC2")
    again = fresh.submit(SLEEP, queue="ravne-spot")
    fresh.wait(again, "RUNNING")
    [machine] = [m for m in fresh.machines() if again in m["jobs"]]
    assert machine["instance_type"] == "g5.xlarge", "the bid allows only these"


def test_interruptions_come_by_rate(fresh: Account) -> None:
    fresh.sandbox.set_interruption_rate(60)
    job = fresh.run(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    assert job["statusReason"].startswith("Host EC2")
    causes = [e["cause"] for e in fresh.sandbox.events() if e["type"] == "interruption"]
    assert causes[-1] == "rate"


# Money


@pytest.mark.parametrize(
    ("prices", "seconds", "interrupted", "hours"),
    [
        ([Price(0, 1)], 1800, False, 0.5),
        ([Price(0, 1)], 7, False, 60 / 3600),
        ([Price(0, 1)], 3599, True, 0.0),
        ([Price(0, 1)], 3600, True, 1.0),
        ([Price(0, 1), Price(900, 3)], 1800, False, 0.25 + 0.75),
        ([Price(0, 1), Price(1700, 3), Price(1700, 2)], 1800, False, (1700 + 200) / 3600),
    ],
    ids=[
        "by the second",
        "a minute at least",
        "free when EC2 takes it in its first hour",
        "paid when EC2 takes it later",
        "at the price in force",
        "at the last of two prices of one moment",
    ],
)
def test_a_machine_is_charged(
    prices: list[Price], seconds: float, interrupted: bool, hours: float
) -> None:
    assert charge(prices, 0, seconds, interrupted) == pytest.approx(hours)


def test_the_bill_holds_boot_and_idle_and_nothing_for_what_ec2_took(fresh: Account) -> None:
    before = len(fresh.sandbox.bill())
    lost = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(lost, "RUNNING")
    fresh.sandbox.interrupt(job_id=lost, notice=False)
    fresh.wait(lost)
    fresh.run(["sleep", "0.3"], queue="ravne-spot")
    eventually(lambda: not fresh.machines())
    taken, kept = fresh.sandbox.bill()[before:]
    assert (taken.interrupted, taken.cost) == (True, 0.0)
    assert taken.on_demand_cost > 0
    assert not kept.interrupted
    assert kept.cost == pytest.approx(kept.seconds / 3600 * 0.1881)
    assert kept.on_demand_cost == pytest.approx(kept.seconds / 3600 * 0.558)
    assert kept.seconds - kept.busy_seconds >= 40 + 40, "boot and idle"
    assert kept.busy_seconds >= 60
    assert kept.usage_type == "EUN1-SpotUsage:g4dn.xlarge"


def test_spot_prices_have_a_history(fresh: Account) -> None:
    ec2, clock = fresh.clients.of("ec2"), fresh.sandbox.clock

    def prices(zone: str, **span: Any) -> list[float]:
        answer = ec2.describe_spot_price_history(
            InstanceTypes=["g4dn.xlarge"],
            ProductDescriptions=["Linux/UNIX"],
            AvailabilityZone=zone,
            **span,
        )
        return [float(point["SpotPrice"]) for point in answer["SpotPriceHistory"]]

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC)

    assert prices("eu-north-1a", StartTime=now()) == [0.1881]
    fresh.sandbox.surge("g4dn.xlarge", 2, zone="eu-north-1a")
    clock.sleep(5)
    assert prices("eu-north-1a", StartTime=now()) == [0.3762]
    assert prices("eu-north-1a")[:2] == [0.3762, 0.1881]
    assert prices("eu-north-1b", StartTime=now()) == [0.1959]


def test_on_demand_prices_are_in_the_price_list(account: Account) -> None:
    asked = {
        "instanceType": "g4dn.xlarge",
        "regionCode": REGION,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in asked.items()]
    [product] = account.clients.of("pricing").get_products(
        ServiceCode="AmazonEC2", Filters=filters
    )["PriceList"]
    [term] = json.loads(product)["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    assert float(dimension["pricePerUnit"]["USD"]) == 0.558


def test_quotas_are_told(account: Account) -> None:
    quotas = account.clients.of("service-quotas")
    for code in ("L-3819A6DF", "L-DB2E81BA"):
        quota = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        assert quota["Value"] == 256
    with pytest.raises(ClientError, match="NoSuchResource"):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")


# Trouble on AWS's side


def plain_client(account: Account, service: str) -> Any:
    """A client that does not try again."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=account.sandbox.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize(
    ("kind", "service", "code", "status"),
    [
        ("throttle", "batch", "TooManyRequestsException", 429),
        ("throttle", "s3", "SlowDown", 503),
        ("throttle", "ec2", "RequestLimitExceeded", 503),
        ("throttle", "logs", "ThrottlingException", 400),
        ("server_error", "batch", "ServerException", 500),
        ("server_error", "s3", "InternalError", 500),
        ("denied", "s3", "AccessDenied", 403),
        ("expired_token", "s3", "ExpiredToken", 400),
        ("expired_token", "batch", "ExpiredTokenException", 403),
    ],
)
def test_a_service_fails_as_told(
    fresh: Account, kind: Kind, service: str, code: str, status: int
) -> None:
    calls = {
        "batch": "describe_job_queues",
        "s3": "list_buckets",
        "ec2": "describe_subnets",
        "logs": "describe_log_groups",
    }
    call = getattr(plain_client(fresh, service), calls[service])
    fresh.sandbox.inject(kind, service)
    with pytest.raises(ClientError) as failed:
        call()
    assert failed.value.response["Error"]["Code"] == code
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    call()


def test_the_houses_clients_try_again_when_throttled(fresh: Account) -> None:
    fresh.sandbox.inject("throttle", "s3", "ListBuckets", times=2)
    assert fresh.clients.of("s3").list_buckets()["Buckets"]


def test_faults_can_be_meant_for_one_operation_and_one_key(fresh: Account) -> None:
    s3 = plain_client(fresh, "s3")
    fresh.sandbox.inject("server_error", "s3", "GetObject", key_contains="footage/b")
    for key in ("footage/a", "footage/b"):
        s3.put_object(Bucket="ravne-data", Key=key, Body=b"x")
    assert s3.get_object(Bucket="ravne-data", Key="footage/a")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="InternalError"):
        s3.get_object(Bucket="ravne-data", Key="footage/b")


def test_an_answer_can_be_lost_after_the_deed(fresh: Account) -> None:
    fresh.sandbox.inject("lost_answer", "batch", "SubmitJob")
    with pytest.raises(ClientError, match="ServerException"):
        plain_client(fresh, "batch").submit_job(
            jobName="lost",
            jobQueue="ravne-ondemand",
            jobDefinition="ravne-worker",
            containerOverrides={"command": ["true"]},
        )
    found = fresh.batch.list_jobs(
        jobQueue="ravne-ondemand", filters=[{"name": "JOB_NAME", "values": ["lost"]}]
    )
    assert len(found["jobSummaryList"]) == 1


def test_a_connection_can_break(fresh: Account) -> None:
    fresh.sandbox.inject("reset", "s3")
    with pytest.raises((ConnectionError, HTTPClientError)):
        plain_client(fresh, "s3").list_buckets()


def test_a_body_can_break_off_half_way(fresh: Account) -> None:
    s3 = plain_client(fresh, "s3")
    s3.put_object(Bucket="ravne-data", Key="long", Body=bytes(100_000))
    fresh.sandbox.inject("truncate", "s3", "GetObject")
    body = s3.get_object(Bucket="ravne-data", Key="long")["Body"]
    with pytest.raises(HTTPClientError):
        body.read()


# Control and process


def control(url: str, path: str, arguments: dict[str, Any] | None = None) -> Any:
    data = None if arguments is None else json.dumps(arguments).encode()
    with urllib.request.urlopen(url + path, data, timeout=10) as answer:
        return json.load(answer)


def test_everything_can_be_controlled_over_http(fresh: Account) -> None:
    url = fresh.sandbox.control_url
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    assert control(url, "/clock")["scale"] == 200
    [job] = [job for job in control(url, "/jobs") if job["jobId"] == job_id]
    assert psutil.pid_exists(job["pid"])
    taken = control(url, "/interrupt", {"job_id": job_id, "notice": False})["result"]
    fresh.wait(job_id)
    eventually(lambda: not psutil.pid_exists(job["pid"]))
    assert [line for line in control(url, "/bill") if line["instance_id"] == taken]
    assert [i for i in control(url, "/instances") if i["instance_id"] == taken]
    events = control(url, "/events")
    assert control(url, f"/events?since={len(events) - 1}")[0] == events[-1]
    control(url, "/capacity", {"lifecycle": "spot", "machines": 0})
    control(url, "/surge", {"kind": "g4dn.xlarge", "factor": 1.5})
    control(url, "/rate", {"per_hour": 0.1})
    control(url, "/lag", {"seconds": 0})
    control(url, "/faults", {"kind": "throttle", "service": "s3"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(url, "/surge", {"kind": "p9.huge", "factor": 1.5})
    assert "p9.huge" in json.load(refused.value)["error"]


def test_jobs_and_their_children_die_with_a_sandbox_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(
        [sys.executable, "-m", "resources.sandbox", "--scale=1000"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as ready:
        told = json.loads(ready.readline())
    try:
        account = Account(told["endpoint_url"])
        children = tmp_path / "children"
        job_id = account.submit(["sh", "-c", f"sleep 60 & echo $! $$ > {children}; wait"])
        account.wait(job_id, "RUNNING")
        pids = eventually(lambda: children.exists() and children.read_text().split())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for pid in pids:
        eventually(lambda pid=pid: not psutil.pid_exists(int(pid)))
