"""Enforcement of IAM policies in the sandbox."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from compute_rig import SharedClients
from dagster_aws.s3 import S3ComputeLogManager
from paths import ROOT
from sandbox_rig import REGION, Account, eventually, running_account

from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.compute.environment import ComputeEnvironment
from resources.compute.stacks import deploy_foundation
from resources.sandbox.iam.policy_evaluation import AccessRequest, is_allowed
from resources.sandbox.model.config import ACCOUNT
from resources.settings.profile import Aws

DEPLOY = ROOT / "deploy"
# A foundation of the shipped template, in addition to the one of `prepare_foundation`.
NAME = "shipped"
BUCKET = f"{NAME}-data-{ACCOUNT}"

# A job that prints whether each call is allowed.
ACCESS_PROBE = """
import boto3, sys
from botocore.exceptions import ClientError
s3 = boto3.client("s3", region_name="eu-north-1")
bucket = sys.argv[1]
calls = [
    lambda: s3.put_object(Bucket=bucket, Key="results/camera7/a", Body=b"x"),
    lambda: s3.get_object(Bucket=bucket, Key="results/camera7/a"),
    lambda: s3.get_object(Bucket=bucket, Key="footage/camera7/a"),
    lambda: s3.put_object(Bucket=bucket, Key="footage/camera7/a", Body=b"x"),
    lambda: s3.put_object(Bucket=bucket, Key="elsewhere/a", Body=b"x"),
    lambda: s3.list_objects_v2(Bucket=bucket, Prefix="results/camera7/"),
    lambda: s3.list_objects_v2(Bucket=bucket),
    lambda: s3.copy_object(Bucket=bucket, Key="results/b", CopySource=f"{bucket}/elsewhere/c"),
    lambda: s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "elsewhere/c"}]}),
    lambda: s3.delete_bucket(Bucket=bucket),
]
for call in calls:
    try:
        call()
        print("done")
    except ClientError as error:
        print(error.response["Error"]["Code"])
"""


class UserClients(AwsClients):
    """Clients of a new user with one policy."""

    def __init__(self, aws: Aws, iam: Any, policy: str) -> None:
        super().__init__(aws)
        user = policy.rpartition("/")[2]
        iam.create_user(UserName=user)
        iam.attach_user_policy(UserName=user, PolicyArn=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        self.__dict__["_session"] = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])


class People:
    """Users with the shipped policies."""

    def __init__(self, account: Account) -> None:
        sandbox = account.sandbox
        self.aws = Aws(name=NAME, endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url)
        deploy_foundation(self.aws, lambda step: None)
        self.administrator = SharedClients(self.aws)
        iam = self.administrator.of("iam")
        for key in ("footage/camera7/a", "elsewhere/c"):
            self.administrator.of("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")
        policies = f"arn:aws:iam::{ACCOUNT}:policy/{NAME}"
        self.operator = UserClients(self.aws, iam, f"{policies}-operator")
        self.runner = UserClients(self.aws, iam, f"{policies}-runner")


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with running_account() as account:
        yield account


@pytest.fixture(scope="module")
def people(account: Account) -> Iterator[People]:
    """Users of an account in which the operator has set up compute, with policies enforced."""
    people = People(account)
    account.sandbox.enforce_policies(True)
    ComputeEnvironment(people.aws, people.operator).setup(job_count=2)
    yield people
    ComputeEnvironment(people.aws, people.operator).teardown(force=True)
    account.sandbox.enforce_policies(False)


def denied(code: str) -> Any:
    return pytest.raises(ClientError, match=code)


def submit(people: People, clients: AwsClients, command: list[str], **changed: Any) -> str:
    request = {
        "jobName": "policies",
        "jobQueue": f"{NAME}-ondemand",
        "jobDefinition": f"{NAME}-worker",
        "containerOverrides": {"command": command},
        "tags": {"Project": NAME},
        **changed,
    }
    return clients.of("batch").submit_job(**request)["jobId"]


def test_a_job_has_access_to_its_prefixes_only(account: Account, people: People) -> None:
    job_id = submit(people, people.runner, ["python", "-c", ACCESS_PROBE, BUCKET])
    batch = people.runner.of("batch")

    def ended() -> Any:
        [job] = batch.describe_jobs(jobs=[job_id])["jobs"]
        return job if job["status"] in ENDED_STATUSES else None

    job = eventually(ended)
    answer = people.runner.of("logs").get_log_events(
        logGroupName=f"/aws/batch/{NAME}",
        logStreamName=job["container"]["logStreamName"],
        startFromHead=True,
    )
    results = [event["message"] for event in answer["events"]]
    assert results == [
        "done",
        "done",
        "done",
        "AccessDenied",
        "AccessDenied",
        "done",
        "AccessDenied",
        "AccessDenied",
        "AccessDenied",
        "AccessDenied",
    ]


def test_a_runner_may_submit_to_its_own_queues_with_its_tag_only(people: People) -> None:
    with denied("AccessDeniedException.*job-queue/ravne-spot"):
        submit(people, people.runner, ["true"], jobQueue="ravne-spot")
    with denied("AccessDeniedException.*job-definition/ravne-worker"):
        submit(people, people.runner, ["true"], jobDefinition="ravne-worker")
    with denied("AccessDeniedException.*batch:TagResource"):
        submit(people, people.runner, ["true"], tags={"Project": "ravne"})


def test_a_server_can_store_the_logs_of_runs_with_the_policy_of_a_runner(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    prefix = tree["compute_logs"]["config"]["prefix"]
    key = people.runner._session.get_credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret_key)
    # Dagster uses boto3's default session, which caches its first keys.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    endpoint = {"endpoint_url": people.aws.endpoint_url, "region": people.aws.region}
    writer, reader = (
        S3ComputeLogManager(BUCKET, local_dir=str(tmp_path / name), prefix=prefix, **endpoint)
        for name in ("writer", "reader")
    )
    log = ["a-run", "compute_logs", "a-step"]
    with writer.capture_logs(log):
        print("a fox at 02:14", flush=True)
    assert reader.get_log_data(log).stdout == b"a fox at 02:14\n"
    with denied("AccessDenied"):
        people.runner.of("s3").delete_object(Bucket=BUCKET, Key=f"{prefix}/a")


def test_a_runner_may_terminate_jobs_of_its_project_only(account: Account, people: People) -> None:
    batch = people.runner.of("batch")
    own = submit(people, people.runner, ["sleep", "60"])
    others = account.submit(["sleep", "60"])
    batch.terminate_job(jobId=own, reason="enough")
    with denied("AccessDeniedException.*batch:TerminateJob"):
        batch.terminate_job(jobId=others, reason="enough")
    account.batch.terminate_job(jobId=others, reason="enough")


def test_a_runner_may_not_change_compute_nor_an_operator_roles(people: People) -> None:
    with denied("AccessDeniedException.*batch:UpdateComputeEnvironment"):
        people.runner.of("batch").update_compute_environment(
            computeEnvironment=f"{NAME}-spot", state="DISABLED"
        )
    with denied("AccessDenied.*iam:CreateRole"):
        people.operator.of("iam").create_role(RoleName="new", AssumeRolePolicyDocument="{}")
    with denied("UnauthorizedOperation.*ec2:RunInstances"):
        people.operator.of("ec2").run_instances(MinCount=1, MaxCount=1, ImageId="ami-1")


def test_an_operator_may_pass_only_roles_of_its_project(people: People) -> None:
    container = {
        "image": "x",
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "512"},
        ],
        "jobRoleArn": f"arn:aws:iam::{ACCOUNT}:role/ravne-job",
    }
    with denied("AccessDeniedException.*iam:PassRole.*role/ravne-job"):
        people.operator.of("batch").register_job_definition(
            jobDefinitionName=f"{NAME}-worker", type="container", containerProperties=container
        )


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("ec2", "describe_subnets", "AuthFailure"),
        ("batch", "describe_job_queues", "UnrecognizedClientException"),
    ],
)
def test_an_unknown_key_is_refused(people: People, service: str, operation: str, code: str) -> None:
    client = boto3.Session("AKIAUNKNOWN", "x").client(
        service, region_name=REGION, endpoint_url=people.aws.endpoint_url
    )
    with denied(code):
        getattr(client, operation)()


def statement(**changed: Any) -> str:
    given = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**given, **changed}]})


READ = AccessRequest("s3:GetObject", "arn:aws:s3:::b/a", {"s3:prefix": ["footage/camera7"]})


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([], False),
        ([statement()], True),
        ([statement(Action="S3:get*")], True),
        ([statement(Action=["s3:PutObject"])], False),
        ([statement(Resource="arn:aws:s3:::b/?")], True),
        ([statement(Resource="arn:aws:s3:::b")], False),
        ([statement(), statement(Effect="Deny", Resource="*")], False),
        ([statement(Effect="Deny", Action="s3:PutObject"), statement()], True),
        ([statement(NotAction="s3:PutObject", Action=None)], True),
        ([statement(Condition={"StringLike": {"s3:prefix": ["results/*", "footage/*"]}})], True),
        ([statement(Condition={"StringEquals": {"s3:prefix": "footage/*"}})], False),
        ([statement(Condition={"StringNotEquals": {"s3:prefix": "footage/camera7"}})], False),
        ([statement(Condition={"StringEquals": {"aws:other": "x"}})], False),
        ([statement(Condition={"StringEqualsIfExists": {"aws:other": "x"}})], True),
        ([statement(Condition={"StringNotEquals": {"aws:other": "x"}})], True),
    ],
    ids=[
        "a request that no policy names is denied",
        "a request that a policy names is allowed",
        "actions have wildcards and ignore case",
        "another action is denied",
        "a question mark stands for one character",
        "another resource is denied",
        "an explicit denial takes precedence",
        "a denial of another action does not matter",
        "all actions except one",
        "a condition matches one of its values",
        "StringEquals has no wildcards",
        "a negated condition",
        "a condition on a missing key does not match",
        "unless its operator ends in IfExists",
        "or its operator is negated",
    ],
)
def test_policies_are_evaluated(documents: list[str], expected: bool) -> None:
    assert is_allowed(documents, None, READ) is expected


def test_a_boundary_limits_the_policies() -> None:
    assert is_allowed([statement()], statement(Action="s3:*", Resource="*"), READ)
    assert not is_allowed([statement()], statement(Action="s3:PutObject"), READ)
    assert not is_allowed([], statement(), READ)


def test_an_unsupported_condition_operator_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="IpAddress"):
        is_allowed([statement(Condition={"IpAddress": {"s3:prefix": "1"}})], None, READ)
