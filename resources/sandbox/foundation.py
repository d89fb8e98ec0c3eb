"""The foundation that `cost setup` needs, created by plain calls instead of CloudFormation.

A bucket, roles, a security group and a log group with the names that `cost setup` expects, and the
tag of a worker image without layers, since jobs run in this machine's Python. The network is the
account's default one.
"""

import json
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from resources.aws.clients import AwsClients
from resources.sandbox.model.config import ACCOUNT, data_bucket

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import TagTypeDef as Ec2Tag
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_iam.type_defs import TagTypeDef as IamTag
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import CreateBucketConfigurationTypeDef, QueueConfigurationTypeDef

EC2_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TASK_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"


def prepare_foundation(clients: AwsClients, name: str, region: str) -> None:
    """Create missing parts, and leave existing ones as they are.

    Args:
        name: prefix of all names, and value of the tag Project.
    """
    _prepare_bucket(clients.of("s3"), data_bucket(name), region)
    _prepare_uploads(clients, name, region)
    _prepare_roles(clients.of("iam"), name)
    _prepare_network(clients.of("ec2"), name)
    _prepare_image(clients.of("ecr"), f"{name}-worker")
    logs, group = clients.of("logs"), f"/aws/batch/{name}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group, tags={"Project": name})


def _prepare_bucket(s3: "S3Client", bucket: str, region: str) -> None:
    if bucket in [known["Name"] for known in s3.list_buckets()["Buckets"]]:
        return
    location: CreateBucketConfigurationTypeDef = {
        "LocationConstraint": cast("BucketLocationConstraintType", region)
    }
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def _prepare_uploads(clients: AwsClients, name: str, region: str) -> None:
    """Create the queue to which S3 reports new objects below footage/uploads."""
    queue, sqs = f"{name}-uploads", clients.of("sqs")
    if sqs.list_queues(QueueNamePrefix=queue).get("QueueUrls"):
        return
    sqs.create_queue(QueueName=queue)
    events: QueueConfigurationTypeDef = {
        "QueueArn": f"arn:aws:sqs:{region}:{ACCOUNT}:{queue}",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "footage/uploads/"}]}},
    }
    clients.of("s3").put_bucket_notification_configuration(
        Bucket=data_bucket(name), NotificationConfiguration={"QueueConfigurations": [events]}
    )


def _prepare_roles(iam: "IAMClient", name: str) -> None:
    tags: list[IamTag] = [{"Key": "Project", "Value": name}]
    data = f"arn:aws:s3:::{data_bucket(name)}"
    reads_and_writes = [
        {"Effect": "Allow", "Action": "s3:*Object*", "Resource": f"{data}/*"},
        {"Effect": "Allow", "Action": "s3:List*", "Resource": data},
    ]
    roles = {
        f"{name}-instance": ("ec2.amazonaws.com", EC2_POLICY),
        f"{name}-execution": ("ecs-tasks.amazonaws.com", TASK_POLICY),
        f"{name}-job": ("ecs-tasks.amazonaws.com", None),
    }
    known = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    for role, (service, policy) in roles.items():
        if role in known:
            continue
        trust = [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sts:AssumeRole",
            }
        ]
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=_policy(trust), Tags=tags)
        if policy is not None:
            iam.attach_role_policy(RoleName=role, PolicyArn=policy)
        else:
            iam.put_role_policy(
                RoleName=role, PolicyName="data", PolicyDocument=_policy(reads_and_writes)
            )
    if f"{name}-instance" not in known:
        profile = f"{name}-instance"
        iam.create_instance_profile(InstanceProfileName=profile, Tags=tags)
        iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=profile)


def _prepare_network(ec2: "EC2Client", name: str) -> None:
    tags: list[Ec2Tag] = [{"Key": "Project", "Value": name}]
    subnets = ec2.describe_subnets()["Subnets"]
    ec2.create_tags(Resources=[subnet["SubnetId"] for subnet in subnets], Tags=tags)
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])
    if not found["SecurityGroups"]:
        ec2.create_security_group(
            GroupName=name,
            Description="Jobs: everything out, nothing in",
            VpcId=subnets[0]["VpcId"],
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
        )


def _prepare_image(ecr: "ECRClient", repository: str) -> None:
    known = [found["repositoryName"] for found in ecr.describe_repositories()["repositories"]]
    if repository in known:
        return
    ecr.create_repository(repositoryName=repository)
    ecr.put_image(
        repositoryName=repository,
        imageManifest=json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}),
        imageTag=metadata.version("odins-ravne"),
    )


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
