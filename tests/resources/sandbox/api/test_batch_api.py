"""The sandbox's Batch: validation of requests, and the run of jobs."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sandbox_rig import (
    CAPACITY_REASON,
    CONTAINER,
    RETRY_RULES,
    ROLE,
    SLEEP,
    SPOT,
    Account,
    account,
    eventually,
    fresh,
)

from resources.aws.batch_states import ENDED_STATUSES
from resources.sandbox.model.config import ACCOUNT

__all__ = ["account", "fresh"]  # pytest finds fixtures by their names

# Validation

REFUSALS = {
    "an enabled environment cannot be deleted": (
        "delete_compute_environment",
        {"computeEnvironment": "ravne-spot"},
        "state should be set to DISABLED",
    ),
    "an enabled queue cannot be deleted": (
        "delete_job_queue",
        {"jobQueue": "ravne-spot"},
        "state should be set to DISABLED",
    ),
    "a name is unique": (
        "create_job_queue",
        {"jobQueueName": "ravne-spot", "priority": 1, "computeEnvironmentOrder": []},
        "Object already exists",
    ),
    "a queue needs environments that exist": (
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
    "a job needs a queue that exists": (
        "submit_job",
        {"jobName": "a", "jobQueue": "nowhere", "jobDefinition": "ravne-worker"},
        "Job Queue nowhere does not exist",
    ),
    "a job needs a definition that exists": (
        "submit_job",
        {"jobName": "a", "jobQueue": "ravne-spot", "jobDefinition": "nothing"},
        "JobDefinition nothing is not ACTIVE",
    ),
    "a job's name has no spaces": (
        "submit_job",
        {"jobName": "a b", "jobQueue": "ravne-spot", "jobDefinition": "ravne-worker"},
        "jobName a b",
    ),
    "variables of Batch are reserved": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]},
        },
        "cannot start with AWS_BATCH",
    ),
    "a timeout below a minute": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "timeout": {"attemptDurationSeconds": 59},
        },
        "at least 60",
    ),
    "an unsupported key": (
        "submit_job",
        {
            "jobName": "a",
            "jobQueue": "ravne-spot",
            "jobDefinition": "ravne-worker",
            "arrayProperties": {"size": 2},
        },
        "the sandbox does not support arrayProperties",
    ),
    "at most a hundred jobs are described at once": (
        "describe_jobs",
        {"jobs": ["x"] * 101},
        "at most 100 jobs",
    ),
    "six rules of a retry strategy": (
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


@pytest.mark.parametrize(
    ("operation", "request_", "message"), REFUSALS.values(), ids=list(REFUSALS)
)
def test_batch_refuses(
    account: Account, operation: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        getattr(account.batch, operation)(**request_)
    assert refused.value.response["Error"]["Code"] == "ClientException"


@pytest.mark.parametrize(
    ("changed", "message"),
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
    account: Account, changed: dict[str, Any], message: str
) -> None:
    resources = {"minvCpus": 0, **SPOT, **account.network, **changed}
    if resources["type"] == "EC2":
        resources["allocationStrategy"] = "BEST_FIT_PROGRESSIVE"
    with pytest.raises(ClientError, match=message):
        account.batch.create_compute_environment(
            computeEnvironmentName="new", type="MANAGED", computeResources=resources
        )


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("subnets", ["subnet-0"], "subnet-0"),
        ("securityGroupIds", ["sg-0"], "sg-0"),
        ("instanceRole", "nobody", "nobody"),
        ("launchTemplate", {"launchTemplateName": "none"}, "launch template"),
    ],
)
def test_an_environment_with_a_missing_part_becomes_invalid(
    account: Account, part: str, value: Any, reason: str
) -> None:
    created = account.environment(f"missing-{part}", {**SPOT, part: value})
    assert created["status"] == "INVALID"
    assert reason in created["statusReason"]
    with pytest.raises(ClientError, match="is not valid"):
        account.queue("never", created["computeEnvironmentArn"])


def test_an_environment_passes_through_its_statuses_in_order(account: Account) -> None:
    batch, name = account.batch, "short-lived"
    statuses = []

    def status() -> Any:
        found = batch.describe_compute_environments(computeEnvironments=[name])
        present = [e["status"] for e in found["computeEnvironments"]]
        if present and present[0] not in statuses:
            statuses.extend(present)
        return present

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
    assert account.stable_environment(name)["computeResources"]["bidPercentage"] == 90
    change(state="DISABLED")
    account.stable_environment(name)
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        batch.delete_compute_environment(computeEnvironment=name)
    batch.update_job_queue(jobQueue=name, state="DISABLED")
    account.wait_for_queue(name)
    batch.delete_job_queue(jobQueue=name)
    eventually(lambda: not batch.describe_job_queues(jobQueues=[name])["jobQueues"])
    batch.delete_compute_environment(computeEnvironment=name)
    status()
    eventually(lambda: status() == [])
    assert statuses == ["CREATING", "VALID", "UPDATING", "DELETING"]


def test_an_environment_whose_service_role_is_deleted_cannot_be_deleted(account: Account) -> None:
    iam, name = account.clients.of("iam"), "roleless"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    account.batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        state="DISABLED",
        serviceRole=role,
        computeResources={"minvCpus": 0, **SPOT, **account.network},
    )
    account.stable_environment(name)
    iam.delete_role(RoleName=name)
    account.batch.delete_compute_environment(computeEnvironment=name)
    stuck = account.stable_environment(name)
    assert stuck["status"] == "INVALID"
    assert "not authorized to perform: sts:AssumeRole" in stuck["statusReason"]


# Jobs


def test_a_job_is_a_process_with_variables_of_batch_and_credentials_of_its_role(
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
    assert "AWS_ACCESS_KEY_ID" not in variables, "no variable is inherited"
    assert not Path(folder).exists(), "the scratch folder is deleted"


def test_parameters_are_substituted_and_mounts_are_in_the_scratch_folder(
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


def test_a_job_passes_through_its_statuses_in_order(account: Account) -> None:
    job_id = account.submit(["sleep", "0.2"])
    statuses: list[str] = []

    def ended() -> bool:
        status = account.job(job_id)["status"]
        if status not in statuses:
            statuses.append(status)
        return status in ENDED_STATUSES

    eventually(ended)
    order = ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert statuses == [status for status in order if status in statuses]
    assert statuses[-1] == "SUCCEEDED" and "RUNNING" in statuses
    [attempt] = account.job(job_id)["attempts"]
    assert attempt["stoppedAt"] - attempt["startedAt"] >= 40_000, "0.2 s are 40 s here"


def test_the_machine_of_a_running_job_can_be_found(account: Account) -> None:
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
    account.batch.terminate_job(jobId=job_id, reason="end of the test")


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
        "a rule with EXIT",
        "a rule with RETRY, until the last attempt",
        "a retry can succeed",
        "a single attempt",
        "a failure that no rule matches is retried",
        "the exit code of a signal is 128 and its number",
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


def test_an_attempt_that_exceeds_its_timeout_is_killed_and_not_retried(account: Account) -> None:
    job = account.run(SLEEP, timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3})
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert [a["container"]["exitCode"] for a in job["attempts"]] == [137]


def test_terminate_sends_sigterm_and_after_the_grace_period_sigkill(account: Account) -> None:
    trapping = ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"]
    ignoring = ["sh", "-c", "trap '' TERM; while :; do sleep 0.01; done"]
    jobs = {137: account.submit(ignoring, queue="ravne-spot"), 7: account.submit(trapping)}
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


def test_cancel_ends_a_waiting_job_and_not_a_running_one(fresh: Account) -> None:
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
    ("container", "reason"),
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
    account: Account, container: dict[str, Any], reason: str
) -> None:
    account.definition("broken", container=container)
    answer = account.batch.submit_job(
        jobName="broken", jobQueue="ravne-ondemand", jobDefinition="broken"
    )
    job = account.wait(answer["jobId"])
    assert job["status"] == "FAILED"
    [attempt] = job["attempts"]
    assert "exitCode" not in attempt["container"]
    assert reason in attempt["statusReason"] + attempt["container"].get("reason", "")


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


def test_tags_are_stored_and_those_of_the_definition_propagate(account: Account) -> None:
    account.definition("tagged", tags={"Project": "ravne"}, propagateTags=True)
    job_id = account.submit(["true"], definition="tagged", tags={"camera": "camera7"})
    assert account.wait(job_id)["tags"] == {"Project": "ravne", "camera": "camera7"}
    arn = account.described_environment("ravne-spot")["computeEnvironmentArn"]
    account.batch.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    account.batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert account.batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}


def test_the_newest_active_revision_is_used(
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


def test_a_new_job_is_not_described_within_the_lag(fresh: Account) -> None:
    fresh.sandbox.set_describe_lag(100)
    job_id = fresh.submit(["true"], name="lagging")
    name = [{"name": "JOB_NAME", "values": ["lagging"]}]
    assert fresh.batch.describe_jobs(jobs=[job_id])["jobs"] == []
    listed = fresh.batch.list_jobs(jobQueue="ravne-ondemand", filters=name)
    assert listed["jobSummaryList"] == []
    eventually(lambda: fresh.batch.describe_jobs(jobs=[job_id])["jobs"])
