"""The foundation: its templates, permissions and deployment."""

import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber
from cfnlint.decode.cfn_yaml import load
from compute_rig import RecordingClients, SharedClients, remaining_parts, running_sandbox, submit
from paths import ROOT
from typer.testing import CliRunner

from odins_ravne_assets.cli.compute import app as cost_app
from odins_ravne_assets.cli.job import ProfileChoice
from resources.clock import ScaledClock
from resources.compute.environment import ComputeEnvironment
from resources.compute.foundation import find_foundation
from resources.compute.stacks import Stack, deploy_budget, deploy_foundation, template
from resources.errors import RavneError, UsageError
from resources.sandbox.model.config import SandboxConfig
from resources.settings.profile import Aws

TEMPLATES = ROOT / "resources" / "compute" / "templates"


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """The settings of an account with a deployed foundation."""
    with running_sandbox(SandboxConfig(scale=1000)) as sandbox:
        aws = Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url)
        assert deploy_foundation(aws, lambda _: None)
        yield aws


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    """The resources of the template, by their logical names."""
    return dict(load(str(TEMPLATES / "foundation.yaml"))["Resources"])


@pytest.fixture(scope="module")
def policies(aws: Aws) -> dict[str, list[dict[str, Any]]]:
    """The statements of every policy of the foundation, as deployed."""
    iam = SharedClients(aws).of("iam")
    found = {}
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        version = iam.get_policy_version(
            PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"]
        )
        found[policy["PolicyName"]] = version["PolicyVersion"]["Document"]["Statement"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions_of(statements: list[dict[str, Any]]) -> set[str]:
    return {action for each in statements for action in as_list(each["Action"])}


pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")


# --- the templates


@pytest.mark.parametrize(
    ("name", "region"), [("foundation", "eu-north-1"), ("budget", "us-east-1")]
)
def test_cfn_lint_reports_nothing_for_the_template(name: str, region: str) -> None:
    lint = str(Path(sys.executable).parent / "cfn-lint")
    command = [lint, "-r", region, "-t", str(TEMPLATES / f"{name}.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_bucket_is_versioned_encrypted_private_and_retained(resources: dict[str, Any]) -> None:
    bucket = resources["Bucket"]
    properties = bucket["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in properties
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    # Retained when the stack is deleted, but not when its creation failed.
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"


def test_no_resource_costs_by_the_hour(resources: dict[str, Any]) -> None:
    kinds = {each["Type"] for each in resources.values()}
    assert not kinds & {"AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::Instance"}
    endpoint = resources["S3Endpoint"]["Properties"]
    assert endpoint["VpcEndpointType"] == "Gateway"


def test_the_security_group_allows_only_outgoing_https(resources: dict[str, Any]) -> None:
    group = resources["SecurityGroup"]["Properties"]
    assert "SecurityGroupIngress" not in group
    assert [(out["FromPort"], out["ToPort"]) for out in group["SecurityGroupEgress"]] == [
        (443, 443)
    ]


def test_machines_can_start_in_three_zones(aws: Aws) -> None:
    found, missing = find_foundation(SharedClients(aws), aws)
    assert missing == []
    subnets = SharedClients(aws).of("ec2").describe_subnets(SubnetIds=list(found.subnets))
    assert len({each["AvailabilityZone"] for each in subnets["Subnets"]}) == 3


def test_every_resource_that_can_have_tags_has_the_tag_of_the_project(
    resources: dict[str, Any],
) -> None:
    cannot = {
        "AWS::EC2::Route",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPCEndpoint",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::ManagedPolicy",
        "AWS::S3::BucketPolicy",
        "AWS::SQS::QueuePolicy",
    }
    for name, each in resources.items():
        if each["Type"] not in cannot:
            assert each["Properties"]["Tags"] == [{"Key": "Project", "Value": {"Ref": "Name"}}], (
                name
            )


# --- permissions


def test_no_policy_has_a_wildcard_in_an_action(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    assert set(policies) == {
        "ravne-boundary",
        "ravne-runner",
        "ravne-operator",
        "ravne-job",
        "ravne-execution",
    }
    for name, statements in policies.items():
        assert {each["Effect"] for each in statements} == {"Allow"}
        assert not [action for action in actions_of(statements) if "*" in action], name


def test_every_role_has_the_permissions_boundary(resources: dict[str, Any]) -> None:
    roles = [each for each in resources.values() if each["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 3
    assert all(each["Properties"]["PermissionsBoundary"] == {"Ref": "Boundary"} for each in roles)


def test_the_boundary_includes_the_policies_of_the_roles(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    bounds = actions_of(policies["ravne-boundary"])
    assert actions_of(policies["ravne-job"]) <= bounds
    assert actions_of(policies["ravne-execution"]) <= bounds


def test_the_boundary_includes_the_policy_of_aws_for_machines(
    aws: Aws, policies: dict[str, list[dict[str, Any]]]
) -> None:
    iam = SharedClients(aws).of("iam")
    (attached,) = iam.list_attached_role_policies(RoleName="ravne-instance")["AttachedPolicies"]
    arn = attached["PolicyArn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    bounds = actions_of(policies["ravne-boundary"])
    for action in actions_of(found["Document"]["Statement"]):
        assert fnmatch.filter(bounds, action), action


def test_a_job_may_read_footage_and_models_and_write_results_only(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    writes = {"s3:PutObject", "s3:DeleteObject"}
    writable, readable = set(), set()
    for each in policies["ravne-job"]:
        actions = set(as_list(each["Action"]))
        places = {place.rpartition(":::")[2] for place in as_list(each["Resource"])}
        writable |= places if actions & writes else set()
        readable |= places if "s3:GetObject" in actions else set()
    bucket = "ravne-data-123456789012"
    assert writable == {f"{bucket}/results/*"}
    assert readable == {f"{bucket}/results/*", f"{bucket}/footage/*", f"{bucket}/models/*"}


def test_the_permission_to_submit_names_queues_and_definition(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    (submit,) = [s for s in policies["ravne-runner"] if "batch:SubmitJob" in as_list(s["Action"])]
    kinds = {resource.split(":", 5)[5].partition("/")[0] for resource in submit["Resource"]}
    assert kinds == {"job-queue", "job-definition"}
    assert all("/ravne-" in resource for resource in submit["Resource"])


def test_jobs_of_other_projects_can_be_neither_terminated_nor_tagged(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    for name in ("ravne-runner", "ravne-operator"):
        for each in policies[name]:
            if any(":job/" in resource for resource in as_list(each["Resource"])):
                (tag,) = each["Condition"]["StringEquals"].items()
                assert tag in {
                    ("aws:ResourceTag/Project", "ravne"),
                    ("aws:RequestTag/Project", "ravne"),
                }


def test_an_operator_may_pass_three_roles_and_create_or_change_none(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    statements = policies["ravne-operator"]
    (pass_role,) = [each for each in statements if each["Action"] == "iam:PassRole"]
    assert {arn.rpartition("/")[2] for arn in pass_role["Resource"]} == {
        "ravne-job",
        "ravne-execution",
        "ravne-instance",
    }
    of_iam = {action for action in actions_of(statements) if action.startswith("iam:")}
    assert of_iam == {
        "iam:PassRole",
        "iam:GetRole",
        "iam:GetInstanceProfile",
        "iam:CreateServiceLinkedRole",  # of Batch
    }


def test_the_policies_are_within_the_size_limit_even_with_the_longest_names(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    for name in ("ravne-boundary", "ravne-runner", "ravne-operator"):
        text = json.dumps(policies[name], separators=(",", ":"))
        longest = text.replace("ravne", "n" * 31).replace("eu-north-1", "ap-southeast-1")
        # 6144 characters without white space (IAM quotas), 40 of them around the statements.
        assert len(longest.replace(" ", "")) + 40 <= 6144, name


# Permissions whose name is not that of the operation.
PERMISSIONS = {
    "s3:HeadBucket": "s3:ListBucket",
    "service-quotas:GetServiceQuota": "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity": None,  # needs no permission
}
# Permissions that other calls require, or that are for the bucket's lifecycle rules.
IMPLIED = {
    "batch:TagResource",
    "ec2:CreateTags",
    "iam:CreateServiceLinkedRole",
    "iam:PassRole",
    "servicequotas:GetAWSDefaultServiceQuota",
    "s3:GetLifecycleConfiguration",
    "s3:PutLifecycleConfiguration",
}
# Permissions for an operator's own checks.
FOR_PEOPLE = {"batch:DescribeJobs", "ec2:DescribeSecurityGroups"}


def test_an_operator_has_the_permissions_for_setup_status_and_teardown_and_no_others(
    aws: Aws, policies: dict[str, list[dict[str, Any]]]
) -> None:
    called: set[str] = set()

    class CallRecorder(RecordingClients):
        def _create(self, service: str, options: Any = None) -> Any:
            client = super()._create(service, options)
            client.meta.events.register(
                "after-call", lambda model, **_: called.add(f"{service}:{model.name}")
            )
            return client

    compute = ComputeEnvironment(aws, CallRecorder(aws))
    compute.setup(4)
    # Changes by hand, which the next setup reverts, so that every call of an update is made.
    batch, ec2 = SharedClients(aws).of("batch"), SharedClients(aws).of("ec2")
    batch.update_job_queue(jobQueue="ravne-spot", priority=1)
    ec2.create_launch_template_version(
        LaunchTemplateName="ravne-worker", LaunchTemplateData={"EbsOptimized": True}
    )
    compute.setup(8)
    submit(aws, seconds=60)
    compute.status()
    compute.teardown(force=True)
    needed = {each for call in called if (each := PERMISSIONS.get(call, call))}
    allowed = actions_of(policies["ravne-operator"])
    assert needed <= allowed
    assert allowed - needed <= IMPLIED | FOR_PEOPLE


# --- deployment


def test_a_setup_uses_the_resources_of_the_stack(aws: Aws) -> None:
    found, missing = find_foundation(SharedClients(aws), aws)
    assert missing == []
    assert found.bucket == "ravne-data-123456789012"
    assert found.job_role.endswith(":role/ravne-job")
    assert found.instance_profile.endswith(":instance-profile/ravne-instance")
    compute = ComputeEnvironment(aws, SharedClients(aws))
    compute.setup(2)
    (environment, _) = compute.status().environments
    assert environment.status == "VALID"
    compute.teardown()
    assert remaining_parts(aws) == []


def test_a_second_deployment_changes_nothing_and_keeps_the_parameters_of_an_administrator(
    aws: Aws,
) -> None:
    steps: list[str] = []
    assert not deploy_foundation(aws, steps.append)
    assert steps == ["stack ravne-foundation: nothing to change"]
    cloudformation = SharedClients(aws).of("cloudformation")
    cloudformation.update_stack(
        StackName="ravne-foundation",
        TemplateBody=template("foundation"),
        Parameters=[
            {"ParameterKey": "Name", "ParameterValue": "ravne"},
            {"ParameterKey": "Trail", "ParameterValue": "no"},
        ],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    deploy_foundation(aws, steps.append)
    (stack,) = cloudformation.describe_stacks(StackName="ravne-foundation")["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters["Trail"] == "no"


def test_the_budget_is_deployed_in_the_region_of_aws_budgets(aws: Aws) -> None:
    assert deploy_budget(aws, 50, "owner@example.org", lambda _: None)
    budgets = SharedClients(aws.model_copy(update={"region": "us-east-1"})).of("cloudformation")
    (stack,) = budgets.describe_stacks(StackName="ravne-budget")["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters == {"Name": "ravne", "MonthlyUsd": "50", "Email": "owner@example.org"}


def test_a_refusal_of_cloudformation_is_reported_in_one_line(aws: Aws) -> None:
    iam = SharedClients(aws).of("iam")
    iam.create_role(RoleName="other-job", AssumeRolePolicyDocument="{}")
    with pytest.raises(RavneError, match=r"cost foundation: .*other-job already exists") as refused:
        deploy_foundation(aws.model_copy(update={"name": "other"}), lambda _: None)
    assert "\n" not in str(refused.value)


class StubbedClients(SharedClients):
    """A CloudFormation that fails only during the deployment, as that of AWS and unlike moto's."""

    def _create(self, service: str, options: Any = None) -> Any:
        client = super()._create(service, options)
        self.stub = Stubber(client)
        self.stub.activate()
        return client


def event(minute: int, name: str, status: str, reason: str = "") -> dict[str, Any]:
    return {
        "StackId": "id",
        "EventId": name + status,
        "StackName": "ravne-foundation",
        "LogicalResourceId": name,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": datetime(2026, 11, 23, 12, minute, tzinfo=UTC),
    }


def test_the_first_failure_of_a_deployment_is_reported() -> None:
    clients = StubbedClients(Aws())
    clients.clock = ScaledClock(scale=10_000)
    clients.of("cloudformation")
    stack = {"StackName": "ravne-foundation", "StackId": "id", "CreationTime": datetime.now(UTC)}
    clients.stub.add_client_error("describe_stacks", "ValidationError", "does not exist")
    clients.stub.add_response("create_stack", {"StackId": "id"})
    for status in ("CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"):
        clients.stub.add_response("describe_stacks", {"Stacks": [{**stack, "StackStatus": status}]})
    events = [  # newest first
        event(4, "ravne-foundation", "DELETE_COMPLETE"),
        event(3, "JobRole", "CREATE_FAILED", "Resource creation cancelled"),
        event(2, "Bucket", "CREATE_FAILED", "ravne-data-1 already\nexists"),
        event(1, "Bucket", "CREATE_IN_PROGRESS"),
    ]
    clients.stub.add_response("describe_stack_events", {"StackEvents": events})
    stack_of = Stack(clients, "ravne-foundation", lambda _: None)
    with pytest.raises(RavneError) as failed:
        stack_of.deploy(template("foundation"), {"Name": "ravne"}, "ravne")
    assert str(failed.value) == (
        "stack ravne-foundation is DELETE_COMPLETE: Bucket: ravne-data-1 already exists; "
        "correct it and deploy again"
    )


# --- commands


def cost(*arguments: str, profile: str = "cloud") -> Any:
    return CliRunner().invoke(cost_app, arguments, obj=ProfileChoice(profile))


@pytest.mark.parametrize("name", ["foundation", "budget"])
def test_the_command_prints_the_template(name: str) -> None:
    done = cost(name)
    assert (done.exit_code, done.stdout) == (0, template(name))


def test_a_budget_needs_an_amount_and_an_address() -> None:
    done = cost("budget", "--deploy", "--monthly-usd", "50")
    assert isinstance(done.exception, UsageError)
    assert "--email" in str(done.exception)


def test_the_alert_is_for_the_monthly_budget_of_the_profile(aws: Aws, tmp_path: Path) -> None:
    profile = tmp_path / "cloud.yaml"
    budget = {"cost_optimization": {"budget_usd_per_month": 30}}
    tree = {"cloud": {"aws": aws.model_dump(mode="json")}, "pipeline": budget}
    profile.write_text(json.dumps(tree))
    done = cost("budget", "--deploy", "--email", "owner@example.org", profile=str(profile))
    assert done.exit_code == 0, done.exception
    budgets = SharedClients(aws.model_copy(update={"region": "us-east-1"})).of("cloudformation")
    (stack,) = budgets.describe_stacks(StackName="ravne-budget")["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters["MonthlyUsd"] == "30"


def test_the_command_deploys_and_prints_how_to_activate_the_cost_allocation_tag(
    aws: Aws, tmp_path: Path
) -> None:
    profile = tmp_path / "cloud.yaml"
    profile.write_text(json.dumps({"cloud": {"aws": aws.model_dump(mode="json")}}))
    done = cost("foundation", "--deploy", profile=str(profile))
    assert done.exit_code == 0, done.exception
    assert "TagKey=Project,Status=Active" in done.stdout
