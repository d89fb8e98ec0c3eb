"""Which actions on which resources a request stands for (Service Authorization Reference).

Resources are told for what the house calls; other requests count as on `*`, so that only a policy
for all resources lets them pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol
from xml.etree import ElementTree

from resources.sandbox.iam.policy_evaluation import AccessRequest, Context
from resources.sandbox.model.config import ACCOUNT
from resources.sandbox.wire.protocol import AwsRequest, rest_request

# S3's operations whose action has another name.
S3_ACTIONS = {
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "DeleteObjects": "DeleteObject",
    # Both by the old names, which come first among botocore's.
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
VERSIONED = {"GetObject", "DeleteObject"}
# Services whose actions begin with another name than boto3's.
PREFIXES = {"service-quotas": "servicequotas"}
S3_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
TASKS, MACHINES, BATCH = "ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "batch.amazonaws.com"


class AccountLookup(Protocol):
    """What has to be known of the account to tell what a request is about."""

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """The tags of something of Batch or EC2; none if it is not known."""

    def roles_of_profile(self, name_or_arn: str) -> list[str]:
        """The ARNs of an instance profile's roles."""

    def launch_template(self, name_or_id: str) -> str:
        """The id of a launch template; what was given if it is not known."""


def access_requests(
    request: AwsRequest, region: str, lookups: AccountLookup
) -> list[AccessRequest]:
    """All that has to be allowed for a request to pass."""
    return list(_AccessRequests(request, region, lookups).all())


class _AccessRequests:
    def __init__(self, request: AwsRequest, region: str, lookups: AccountLookup) -> None:
        self._request = request
        self._region = region
        self._lookups = lookups
        self._prefix = PREFIXES.get(request.service, request.service)

    def all(self) -> Iterator[AccessRequest]:
        by_service: dict[str, Callable[[], Iterable[AccessRequest]]] = {
            "s3": self._s3,
            "batch": self._batch,
            "ec2": self._ec2,
            "ecs": self._ecs,
            "iam": self._iam,
            "sts": self._sts,
            "logs": self._logs,
            "ecr": self._ecr,
            "cloudformation": self._cloudformation,
        }
        yield from by_service.get(self._request.service, self._other)()

    def _call(
        self, resource: str = "*", action: str | None = None, context: Context | None = None
    ) -> AccessRequest:
        if action is None or ":" not in action:
            action = f"{self._prefix}:{action or self._request.operation}"
        tags = self._lookups.tags_of(resource)
        facts = {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
        shared = {"aws:RequestedRegion": [self._region], "aws:SecureTransport": ["true"]}
        return AccessRequest(action, resource, {**shared, **facts, **(context or {})})

    def _other(self) -> Iterator[AccessRequest]:
        yield self._call()

    def _arn(self, resource: str, service: str | None = None) -> str:
        return f"arn:aws:{service or self._prefix}:{self._region}:{ACCOUNT}:{resource}"

    # S3

    def _s3(self) -> Iterator[AccessRequest]:
        request = self._request
        bucket, key = request.bucket_and_key
        action = S3_ACTIONS.get(request.operation, request.operation)
        if action in VERSIONED and "versionId" in request.parameters:
            action += "Version"
        if request.operation == "DeleteObjects":
            for name in _keys_to_delete(request):
                yield self._call(f"arn:aws:s3:::{bucket}/{name}", action)
            return
        context = {
            f"s3:{name}": [request.parameters.get(name, "")]
            for name in ("prefix", "delimiter", "max-keys")
            if action.startswith("List")
        }
        resource = f"{bucket}/{key}" if key else bucket
        yield self._call(f"arn:aws:s3:::{resource}" if bucket else "*", action, context)
        source = request.environ.get("HTTP_X_AMZ_COPY_SOURCE")
        if source:
            path = source.lstrip("/").partition("?")[0]
            yield self._call(f"arn:aws:s3:::{path}", "GetObject")

    # Batch

    def _batch(self) -> Iterator[AccessRequest]:
        operation, asked = self._request.operation, rest_request(self._request)
        tags = {f"aws:RequestTag/{key}": [v] for key, v in asked.get("tags", {}).items()}
        if tags:
            tags["aws:TagKeys"] = list(asked["tags"])
        resources = list(self._batch_resources(operation, asked))
        for resource in resources or ["*"]:
            yield self._call(resource, context=tags)
        if tags and operation != "TagResource":
            made = "job/*" if operation == "SubmitJob" else None
            yield self._call(self._arn(made) if made else resources[0], "TagResource", tags)
        yield from self._passed_roles(operation, asked)

    def _batch_resources(self, operation: str, asked: dict[str, Any]) -> Iterator[str]:
        if operation.startswith(("Describe", "List")):
            return
        kinds = {
            "computeEnvironmentName": "compute-environment",
            "computeEnvironment": "compute-environment",
            "jobQueueName": "job-queue",
            "jobQueue": "job-queue",
            "jobDefinitionName": "job-definition",
            "jobDefinition": "job-definition",
            "jobId": "job",
        }
        for key, kind in kinds.items():
            if key in asked:
                yield self._batch_arn(kind, asked[key])
        for entry in asked.get("computeEnvironmentOrder", []):
            yield self._batch_arn("compute-environment", entry["computeEnvironment"])
        if "resourceArn" in asked:
            yield asked["resourceArn"]

    def _batch_arn(self, kind: str, name_or_arn: str) -> str:
        return name_or_arn if name_or_arn.startswith("arn:") else self._arn(f"{kind}/{name_or_arn}")

    def _passed_roles(self, operation: str, asked: dict[str, Any]) -> Iterator[AccessRequest]:
        passed: list[tuple[str, str]] = []
        if operation in ("CreateComputeEnvironment", "UpdateComputeEnvironment"):
            profile = asked.get("computeResources", {}).get("instanceRole")
            roles = self._lookups.roles_of_profile(profile) if profile else []
            passed += [(role, MACHINES) for role in roles]
            if "serviceRole" in asked:
                passed.append((asked["serviceRole"], BATCH))
        if operation == "RegisterJobDefinition":
            container = asked.get("containerProperties", {})
            named = [container.get(key) for key in ("jobRoleArn", "executionRoleArn")]
            passed += [(role, TASKS) for role in named if role]
        for role, service in passed:
            yield self._call(role, "iam:PassRole", {"iam:PassedToService": [service]})

    # the others

    def _ec2(self) -> Iterator[AccessRequest]:
        operation = self._request.operation
        form = {key: values[0] for key, values in self._request.form().items()}
        tags = _form_tags(form)
        if "LaunchTemplate" in operation and not operation.startswith("Describe"):
            named = form.get("LaunchTemplateId") or form.get("LaunchTemplateName", "*")
            makes = operation == "CreateLaunchTemplate"
            template = "*" if makes else self._lookups.launch_template(named)
            resource = self._arn(f"launch-template/{template}")
            yield self._call(resource, context=tags)
            if makes and tags:
                tags = {**tags, "ec2:CreateAction": [operation]}
                yield self._call(resource, "CreateTags", tags)
        else:
            yield self._call(context=tags)

    def _ecs(self) -> Iterator[AccessRequest]:
        asked = self._request.json()
        kinds = {"containerInstances": "container-instance", "tasks": "task"}
        named = [
            name if name.startswith("arn:") else self._arn(f"{kind}/{asked['cluster']}/{name}")
            for key, kind in kinds.items()
            for name in asked.get(key, [])
        ]
        for resource in named or ["*"]:
            yield self._call(resource)

    def _iam(self) -> Iterator[AccessRequest]:
        form = {key: values[0] for key, values in self._request.form().items()}
        kinds = {"InstanceProfileName": "instance-profile", "RoleName": "role"}
        found = [f"{kind}/{form[key]}" for key, kind in kinds.items() if key in form]
        yield self._call(f"arn:aws:iam::{ACCOUNT}:{found[0]}" if found else "*")

    def _sts(self) -> Iterator[AccessRequest]:
        if self._request.operation != "GetCallerIdentity":  # which nobody can be denied
            yield self._call(self._request.form().get("RoleArn", ["*"])[0])

    def _logs(self) -> Iterator[AccessRequest]:
        asked = self._request.json()
        group, stream = asked.get("logGroupName"), asked.get("logStreamName", "")
        if group is None:
            yield self._call()
        else:
            yield self._call(self._arn(f"log-group:{group}:log-stream:{stream}"))

    def _ecr(self) -> Iterator[AccessRequest]:
        name = self._request.json().get("repositoryName")
        yield self._call(self._arn(f"repository/{name}") if name else "*")

    def _cloudformation(self) -> Iterator[AccessRequest]:
        name = self._request.form().get("StackName", ["*"])[0]
        named = name if name.startswith("arn:") else self._arn(f"stack/{name}/*")
        yield self._call(named)


def _keys_to_delete(request: AwsRequest) -> list[str]:
    """The keys in DeleteObjects' body."""
    root = ElementTree.fromstring(request.body())
    found = [*root.iter(f"{S3_NAMESPACE}Key"), *root.iter("Key")]
    return [element.text or "" for element in found]


def _form_tags(form: Mapping[str, str]) -> dict[str, list[str]]:
    """Condition keys of an EC2 form's tags: TagSpecification.N.Tag.M.Key and .Value."""
    pairs = {
        value: form.get(key.removesuffix("Key") + "Value", "")
        for key, value in form.items()
        if ".Tag." in key and key.endswith(".Key") and key.startswith("TagSpecification.")
    }
    return {f"aws:RequestTag/{key}": [value] for key, value in pairs.items()}
