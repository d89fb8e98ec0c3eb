"""The long-lived part of the cloud: where it is found, and how it is made.

An administrator makes it once from `aws/foundation.yaml`. Setting up compute then needs its names
only: they are read from the stack's outputs, or, where the parts were made by other means, found
by the names that this file gives them.
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.settings.profile import Aws

TEMPLATES = Path(__file__).parent / "templates"
DEPLOY_HINT = "an administrator makes it: munin cost foundation --deploy"


@dataclass(frozen=True)
class Foundation:
    """What is there before any compute is set up.

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
        """The worker's image of this very version: orchestrator and worker speak one language."""
        return f"{self.repository}:{metadata.version('odins-ravne')}"


@dataclass(frozen=True)
class MissingPart:
    """Something that setting up needs and that is not there."""

    what: str
    how: str  # to get it

    def __str__(self) -> str:
        return f"{self.what} ({self.how})"


def stack_name(aws: Aws) -> str:
    return f"{aws.name}-foundation"


def log_group_name(aws: Aws) -> str:
    return f"/aws/batch/{aws.name}"


def find_foundation(clients: AwsClients, aws: Aws) -> tuple[Foundation, list[MissingPart]]:
    """The foundation of this account and region, and what of it is not there."""
    account = str(clients.of("sts").get_caller_identity()["Account"])
    outputs = stack_outputs(describe_stack(clients, stack_name(aws)))
    found = _from_outputs(account, outputs) if outputs else _by_convention(clients, aws, account)
    return found, list(_missing_parts(clients, found))


def describe_stack(clients: AwsClients, name_or_id: str) -> dict[str, Any] | None:
    """A CloudFormation stack as it is now; None when there is none."""
    from botocore.exceptions import ClientError

    try:
        found = clients.of("cloudformation").describe_stacks(StackName=name_or_id)
    except ClientError as error:
        # CloudFormation's way to say that there is none.
        if error_code(error) == "ValidationError":
            return None
        raise
    return dict(found["Stacks"][0])


def stack_outputs(stack: dict[str, Any] | None) -> dict[str, str]:
    """The outputs of a stack; empty before it is made."""
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
    """The security group of that name, and the subnets of its VPC; empty where there is none."""
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
    """Looks at each part: a stack may have been changed by hand."""
    iam, logs = clients.of("iam"), clients.of("logs")
    checks: list[tuple[str, Any]] = [
        (
            f"bucket {found.bucket}",
            # Names of buckets are the whole world's: another account's must not get the results.
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
    missing = [MissingPart(what, DEPLOY_HINT) for what, look in checks if not _exists(look)]
    if not found.subnets:
        missing.append(MissingPart("security group and subnets", DEPLOY_HINT))
    groups = logs.describe_log_groups(logGroupNamePrefix=found.log_group)["logGroups"]
    if found.log_group not in {group["logGroupName"] for group in groups}:
        missing.append(MissingPart(f"log group {found.log_group}", DEPLOY_HINT))
    return missing


def _exists(look: Any) -> bool:
    from botocore.exceptions import ClientError

    try:
        look()
    except ClientError as error:
        # S3 answers a HEAD with a bare status: 403 is a bucket of somebody else's.
        if error_code(error) in {"NoSuchEntity", "NoSuchBucket", "404", "403"}:
            return False
        raise
    return True
