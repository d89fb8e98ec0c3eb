"""The actions and resources that IAM checks for a request (Service Authorization Reference).

Resources are known for the requests that the project makes; others count as requests on `*`, which
only a policy for all resources allows.
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
    # botocore's routes find these operations by their old names.
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
VERSIONED = {"GetObject", "DeleteObject"}
# Prefixes of actions that are not boto3's name of the service.
PREFIXES = {"service-quotas": "servicequotas"}
S3_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
TASKS, MACHINES, BATCH = "ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "batch.amazonaws.com"


class AccountLookup(Protocol):
    """Lookup of tags, roles and ids in the account."""

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """Return the tags of a resource of Batch or EC2; none if it is not known."""

    def roles_of_profile(self, name_or_arn: str) -> list[str]:
        """Return the ARNs of an instance profile's roles."""

    def launch_template(self, name_or_id: str) -> str:
        """Return the id of a launch template, or the argument if it is not known."""


def access_requests(
    request: AwsRequest, region: str, lookups: AccountLookup
) -> list[AccessRequest]:
    """Return all access requests that have to be allowed for a request."""
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

    def _access(
        self, resource: str = "*", action: str | None = None, context: Context | None = None
    ) -> AccessRequest:
        if action is None or ":" not in action:
            action = f"{self._prefix}:{action or self._request.operation}"
        tags = self._lookups.tags_of(resource)
        facts = {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
        shared = {"aws:RequestedRegion": [self._region], "aws:SecureTransport": ["true"]}
        return AccessRequest(action, resource, {**shared, **facts, **(context or {})})

    def _other(self) -> Iterator[AccessRequest]:
        yield self._access()

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
                yield self._access(f"arn:aws:s3:::{bucket}/{name}", action)
            return
        context = {
            f"s3:{name}": [request.parameters.get(name, "")]
            for name in ("prefix", "delimiter", "max-keys")
            if action.startswith("List")
        }
        resource = f"{bucket}/{key}" if key else bucket
        yield self._access(f"arn:aws:s3:::{resource}" if bucket else "*", action, context)
        source = request.environ.get("HTTP_X_AMZ_COPY_SOURCE")
        if source:
            path = source.lstrip("/").partition("?")[0]
            yield self._access(f"arn:aws:s3:::{path}", "GetObject")

    # Batch

    def _batch(self) -> Iterator[AccessRequest]:
        operation, content = self._request.operation, rest_request(self._request)
        tags = {f"aws:RequestTag/{key}": [v] for key, v in content.get("tags", {}).items()}
        if tags:
            tags["aws:TagKeys"] = list(content["tags"])
        resources = list(self._batch_resources(operation, content))
        for resource in resources or ["*"]:
            yield self._access(resource, context=tags)
        if tags and operation != "TagResource":
            is_submission = operation == "SubmitJob"
            resource = self._arn("job/*") if is_submission else resources[0]
            yield self._access(resource, "TagResource", tags)
        yield from self._passed_roles(operation, content)

    def _batch_resources(self, operation: str, content: dict[str, Any]) -> Iterator[str]:
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
            if key in content:
                yield self._batch_arn(kind, content[key])
        for entry in content.get("computeEnvironmentOrder", []):
            yield self._batch_arn("compute-environment", entry["computeEnvironment"])
        if "resourceArn" in content:
            yield content["resourceArn"]

    def _batch_arn(self, kind: str, name_or_arn: str) -> str:
        return name_or_arn if name_or_arn.startswith("arn:") else self._arn(f"{kind}/{name_or_arn}")

    def _passed_roles(self, operation: str, content: dict[str, Any]) -> Iterator[AccessRequest]:
        passed: list[tuple[str, str]] = []
        if operation in ("CreateComputeEnvironment", "UpdateComputeEnvironment"):
            profile = content.get("computeResources", {}).get("instanceRole")
            roles = self._lookups.roles_of_profile(profile) if profile else []
            passed += [(role, MACHINES) for role in roles]
            if "serviceRole" in content:
                passed.append((content["serviceRole"], BATCH))
        if operation == "RegisterJobDefinition":
            container = content.get("containerProperties", {})
            named = [container.get(key) for key in ("jobRoleArn", "executionRoleArn")]
            passed += [(role, TASKS) for role in named if role]
        for role, service in passed:
            yield self._access(role, "iam:PassRole", {"iam:PassedToService": [service]})

    # other services

    def _ec2(self) -> Iterator[AccessRequest]:
        operation = self._request.operation
        form = {key: values[0] for key, values in self._request.form().items()}
        tags = _form_tags(form)
        if "LaunchTemplate" in operation and not operation.startswith("Describe"):
            named = form.get("LaunchTemplateId") or form.get("LaunchTemplateName", "*")
            creates = operation == "CreateLaunchTemplate"
            template = "*" if creates else self._lookups.launch_template(named)
            resource = self._arn(f"launch-template/{template}")
            yield self._access(resource, context=tags)
            if creates and tags:
                tags = {**tags, "ec2:CreateAction": [operation]}
                yield self._access(resource, "CreateTags", tags)
        else:
            yield self._access(context=tags)

    def _ecs(self) -> Iterator[AccessRequest]:
        content = self._request.json()
        kinds = {"containerInstances": "container-instance", "tasks": "task"}
        named = [
            name if name.startswith("arn:") else self._arn(f"{kind}/{content['cluster']}/{name}")
            for key, kind in kinds.items()
            for name in content.get(key, [])
        ]
        for resource in named or ["*"]:
            yield self._access(resource)

    def _iam(self) -> Iterator[AccessRequest]:
        form = {key: values[0] for key, values in self._request.form().items()}
        kinds = {"InstanceProfileName": "instance-profile", "RoleName": "role"}
        found = [f"{kind}/{form[key]}" for key, kind in kinds.items() if key in form]
        yield self._access(f"arn:aws:iam::{ACCOUNT}:{found[0]}" if found else "*")

    def _sts(self) -> Iterator[AccessRequest]:
        if self._request.operation != "GetCallerIdentity":  # which no policy can deny
            yield self._access(self._request.form().get("RoleArn", ["*"])[0])

    def _logs(self) -> Iterator[AccessRequest]:
        content = self._request.json()
        group, stream = content.get("logGroupName"), content.get("logStreamName", "")
        if group is None:
            yield self._access()
        else:
            yield self._access(self._arn(f"log-group:{group}:log-stream:{stream}"))

    def _ecr(self) -> Iterator[AccessRequest]:
        name = self._request.json().get("repositoryName")
        yield self._access(self._arn(f"repository/{name}") if name else "*")

    def _cloudformation(self) -> Iterator[AccessRequest]:
        name = self._request.form().get("StackName", ["*"])[0]
        named = name if name.startswith("arn:") else self._arn(f"stack/{name}/*")
        yield self._access(named)


def _keys_to_delete(request: AwsRequest) -> list[str]:
    """Return the keys in the body of DeleteObjects."""
    root = ElementTree.fromstring(request.body())
    found = [*root.iter(f"{S3_NAMESPACE}Key"), *root.iter("Key")]
    return [element.text or "" for element in found]


def _form_tags(form: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the condition keys of a form's tags: TagSpecification.N.Tag.M.Key and .Value."""
    pairs = {
        value: form.get(key.removesuffix("Key") + "Value", "")
        for key, value in form.items()
        if ".Tag." in key and key.endswith(".Key") and key.startswith("TagSpecification.")
    }
    return {f"aws:RequestTag/{key}": [value] for key, value in pairs.items()}
