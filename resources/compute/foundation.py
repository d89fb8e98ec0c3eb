"""The foundation, the permanent part of the cloud: bucket, roles, network, log group, images.

An administrator deploys it once from `templates/foundation.yaml`. The setup of compute needs only
its names. They are read from the stack's outputs, or, if the parts were created by other means,
derived from the profile's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.settings.profile import Aws

TEMPLATES = Path(__file__).parent / "templates"
DEPLOY_HINT = "an administrator creates it: munin cost foundation --deploy"


@dataclass(frozen=True)
class Foundation:
    """The names of the foundation's parts.

    Roles and the instance profile are ARNs, subnets and the security group are ids.
    """

    account: str
    bucket: str
    subnets: tuple[str, ...]
    security_group: str
    job_role: str
    execution_role: str
    instance_profile: str
    log_group: str
    repository: str  # of worker images, without a tag

    @property
    def image(self) -> str:
        """The worker's image of this version: orchestrator and worker must have the same one."""
        return f"{self.repository}:{metadata.version('odins-ravne')}"


@dataclass(frozen=True)
class MissingPart:
    """A part that the setup needs and that does not exist."""

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} ({self.remedy})"


def stack_name(aws: Aws) -> str:
    return f"{aws.name}-foundation"


def log_group_name(aws: Aws) -> str:
    return f"/aws/batch/{aws.name}"


def find_foundation(clients: AwsClients, aws: Aws) -> tuple[Foundation, list[MissingPart]]:
    """Return the foundation of this account and region, and its missing parts."""
    account = str(clients.of("sts").get_caller_identity()["Account"])
    outputs = stack_outputs(describe_stack(clients, stack_name(aws)))
    found = _from_outputs(account, outputs) if outputs else _by_convention(clients, aws, account)
    return found, list(_missing_parts(clients, found))


def describe_stack(clients: AwsClients, name_or_id: str) -> dict[str, Any] | None:
    """Return a CloudFormation stack as it is now; None if it does not exist."""
    from botocore.exceptions import ClientError

    try:
        found = clients.of("cloudformation").describe_stacks(StackName=name_or_id)
    except ClientError as error:
        # CloudFormation reports this code for a stack that does not exist.
        if error_code(error) == "ValidationError":
            return None
        raise
    return dict(found["Stacks"][0])


def stack_outputs(stack: dict[str, Any] | None) -> dict[str, str]:
    """Return the outputs of a stack; empty if it does not exist."""
    found = (stack or {}).get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def _from_outputs(account: str, outputs: dict[str, str]) -> Foundation:
    return Foundation(
        account=account,
        bucket=outputs["Bucket"],
        subnets=tuple(outputs["Subnets"].split(",")),
        security_group=outputs["SecurityGroup"],
        job_role=outputs["JobRole"],
        execution_role=outputs["ExecutionRole"],
        instance_profile=outputs["InstanceProfile"],
        log_group=outputs["LogGroup"],
        repository=outputs["Repository"],
    )


def _by_convention(clients: AwsClients, aws: Aws, account: str) -> Foundation:
    group, subnets = _network(clients, aws.name)
    roles = f"arn:{_partition(aws.region)}:iam::{account}"
    domain = "amazonaws.com.cn" if aws.region.startswith("cn-") else "amazonaws.com"
    return Foundation(
        account=account,
        bucket=f"{aws.name}-data-{account}",
        subnets=subnets,
        security_group=group,
        job_role=f"{roles}:role/{aws.name}-job",
        execution_role=f"{roles}:role/{aws.name}-execution",
        instance_profile=f"{roles}:instance-profile/{aws.name}-instance",
        log_group=log_group_name(aws),
        repository=f"{account}.dkr.ecr.{aws.region}.{domain}/{aws.name}-worker",
    )


def _partition(region: str) -> str:
    special = {"cn": "aws-cn", "us-gov": "aws-us-gov"}
    return next((name for start, name in special.items() if region.startswith(start)), "aws")


def _network(clients: AwsClients, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the security group of that name and the subnets of its VPC; empty if none exist."""
    ec2 = clients.of("ec2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])[
        "SecurityGroups"
    ]
    if not groups:
        return "", ()
    vpc = groups[0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return groups[0]["GroupId"], tuple(sorted(subnet["SubnetId"] for subnet in subnets))


def _missing_parts(clients: AwsClients, found: Foundation) -> list[MissingPart]:
    """Check each part: a stack may have been changed by hand."""
    iam, logs = clients.of("iam"), clients.of("logs")
    checks: list[tuple[str, Any]] = [
        (
            f"bucket {found.bucket}",
            # Bucket names are global: another account's bucket must not get the results.
            lambda: clients.of("s3").head_bucket(
                Bucket=found.bucket, ExpectedBucketOwner=found.account
            ),
        )
    ]
    for arn in (found.job_role, found.execution_role):
        name = arn.rpartition("/")[2]
        checks.append((f"role {name}", lambda name=name: iam.get_role(RoleName=name)))
    profile = found.instance_profile.rpartition("/")[2]
    checks.append(
        (
            f"instance profile {profile}",
            lambda: iam.get_instance_profile(InstanceProfileName=profile),
        )
    )
    missing = [MissingPart(name, DEPLOY_HINT) for name, call in checks if not _exists(call)]
    if not found.subnets:
        missing.append(MissingPart("security group and subnets", DEPLOY_HINT))
    groups = logs.describe_log_groups(logGroupNamePrefix=found.log_group)["logGroups"]
    if found.log_group not in {group["logGroupName"] for group in groups}:
        missing.append(MissingPart(f"log group {found.log_group}", DEPLOY_HINT))
    return missing


def _exists(call: Callable[[], Any]) -> bool:
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        # S3 answers a HEAD with a status only; 403 is another account's bucket.
        if error_code(error) in {"NoSuchEntity", "NoSuchBucket", "404", "403"}:
            return False
        raise
    return True
