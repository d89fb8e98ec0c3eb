"""The services that moto emulates (S3, SQS, EC2, ECS, IAM, STS, Logs, CloudWatch, Budgets, …).

Only this file and moto_cloudformation.py use moto's internals: the effects of Batch on other
services are made on moto's models directly. They are no public interface, hence the pinned version;
`INTERNALS` names them, and a test compares it with the installed moto.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import StateReason
from moto.ecs.models import ecs_backends
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from moto.sts.models import sts_backends

from resources.sandbox.model.config import ACCOUNT
from resources.sandbox.model.prices import SPOT, InstanceLifecycle

MOTO_VERSION = "5.2.5"
# Methods and attributes of moto's backends that are used here, by service.
INTERNALS: dict[str, tuple[str, ...]] = {
    "ec2": (
        "run_instances", "terminate_instances", "subnets", "reservations", "describe_images",
        "get_security_group_from_id", "describe_launch_templates", "tags",
    ),
    "ecs": (
        "create_cluster", "delete_cluster", "register_container_instance",
        "deregister_container_instance",
    ),
    "iam": (
        "get_role", "get_role_by_arn", "create_role", "get_instance_profile",
        "get_instance_profile_by_arn", "get_instance_profiles", "managed_policies", "users",
    ),
    "logs": ("groups", "ensure_log_group", "ensure_log_stream"),
    "s3": ("buckets", "get_object"),
    "sts": ("assume_role", "assumed_roles"),
}  # fmt: skip
SERVICE_ROLE = "AWSServiceRoleForBatch"
SERVICE_ROLE_PATH = "/aws-service-role/batch.amazonaws.com/"
# The log group that ECS creates itself; any other must exist before a job starts.
DEFAULT_LOG_GROUP = "/aws/batch/job"
RequestHandler = MotoRequestHandler


class TerminationReason(NamedTuple):
    """EC2's reason for a termination; `transition` is its short form in DescribeInstances."""

    code: str
    message: str
    transition: str


INTERRUPTION_REASON = TerminationReason(
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceTermination: Spot instance termination",
    "Server.SpotInstanceTermination",
)
SCALE_IN_REASON = TerminationReason(
    "Client.UserInitiatedShutdown",
    "Client.UserInitiatedShutdown: User initiated shutdown",
    "User initiated",
)


class RoleCredentials(NamedTuple):
    """Temporary credentials, valid until `expiration` by this machine's clock."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: datetime


class Principal(NamedTuple):
    """The signer of a request: identity policies and boundary as JSON, and expiry of the key."""

    arn: str
    documents: list[str]
    boundary: str | None
    expiration: datetime | None


class MotoServices:
    """The state of all services but Batch in one region; at most one per process."""

    def __init__(self, region: str) -> None:
        self.region = region
        # So that roles can have policies managed by AWS.
        default_user_config["iam"]["load_aws_managed_policies"] = True
        BackendDict.reset()
        self._application = DomainDispatcherApplication(create_backend_app)
        self._ec2 = ec2_backends[ACCOUNT][region]
        self._ecs = ecs_backends[ACCOUNT][region]
        self._iam = iam_backends[ACCOUNT]["aws"]
        self._logs = logs_backends[ACCOUNT][region]
        self._s3 = s3_backends[ACCOUNT]["aws"]
        self._sts = sts_backends[ACCOUNT]["aws"]
        self._image = self._ec2.describe_images()[0].id

    def application(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application of all of moto's services."""
        if "/cloudformation/" in environ.get("HTTP_AUTHORIZATION", ""):
            # A local import, since it takes a second.
            from resources.sandbox.model.moto_cloudformation import correct_cloudformation

            correct_cloudformation(self.region)
        answer: Iterable[bytes] = self._application(environ, start)
        return answer

    def respond(self, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Return moto's response to a request: status, headers and body."""
        heads: list[tuple[int, dict[str, str]]] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            heads.append((int(status.split()[0]), dict(headers)))

        body = b"".join(self._application(environ, start))
        return (*heads[-1], body)

    # S3

    def has_bucket(self, bucket: str) -> bool:
        return bucket in self._s3.buckets

    def storage_class(self, bucket: str, key: str) -> str | None:
        """Return the storage class of an object; None if it does not exist."""
        found = self._s3.get_object(bucket, key)
        return str(found.storage_class) if found is not None else None

    def restore(self, bucket: str, key: str, until: float) -> None:
        """Make an archived object readable until a given time."""
        found = self._s3.get_object(bucket, key)
        if found is not None:
            found.set_expiry(datetime.fromtimestamp(until, UTC))

    def restored_until(self, bucket: str, key: str) -> datetime | None:
        """Return the time until which an archived object is readable; None if it is not."""
        found = self._s3.get_object(bucket, key)
        return found._expiry if found is not None else None

    # EC2

    def zone_of(self, subnet: str) -> str | None:
        """Return a subnet's zone, or None if the subnet does not exist."""
        found = [by_id[subnet] for by_id in list(self._ec2.subnets.values()) if subnet in by_id]
        return str(found[0].availability_zone) if found else None

    def has_security_group(self, group: str) -> bool:
        return self._ec2.get_security_group_from_id(group) is not None

    def launch_template_id(self, name_or_id: str) -> str | None:
        """Return the id of a launch template, or None if it does not exist."""
        found = [
            str(known.id)
            for known in self._ec2.describe_launch_templates()
            if name_or_id in (known.id, known.name)
        ]
        return found[0] if found else None

    def ec2_tags(self, resource_id: str) -> dict[str, str]:
        return dict(self._ec2.tags.get(resource_id, {}))

    def run_instance(
        self,
        kind: str,
        lifecycle: InstanceLifecycle,
        subnet: str,
        security_groups: Sequence[str],
        tags: Mapping[str, str],
        at: float,
    ) -> str:
        """Create an EC2 instance that runs from `at` on, and return its id."""
        spot = {"instance_market_options": {"MarketType": "spot"}} if lifecycle == SPOT else {}
        reservation = self._ec2.run_instances(
            image_id=self._image,
            count=1,
            user_data=None,
            security_group_names=[],
            instance_type=kind,
            is_instance_type_default=False,
            region_name=self.region,
            subnet_id=subnet,
            security_group_ids=list(security_groups),
            tags={"instance": dict(tags)},
            **spot,
        )
        [instance] = reservation.instances
        instance.launch_time = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        return str(instance.id)

    def terminate(self, instance_id: str, interrupted: bool, at: float) -> None:
        [(instance, _)] = self._ec2.terminate_instances([instance_id])
        reason = INTERRUPTION_REASON if interrupted else SCALE_IN_REASON
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        instance.state_reason = StateReason(reason.message, reason.code)
        instance._reason = f"{reason.transition} ({when})"

    def remove_instance(self, instance_id: str) -> None:
        """Remove a terminated instance from EC2's lists, as happens after about an hour."""
        for reservation in list(self._ec2.reservations.values()):
            reservation.instances = [i for i in reservation.instances if i.id != instance_id]
            if not reservation.instances:
                del self._ec2.reservations[reservation.id]

    # ECS

    def create_cluster(self, name: str) -> str:
        """Create a cluster and return its ARN."""
        return str(self._ecs.create_cluster(name).arn)

    def delete_cluster(self, name: str) -> None:
        self._ecs.delete_cluster(name)

    def register_container_instance(self, cluster: str, instance_id: str) -> str:
        """Add an instance to a cluster, and return the ARN of the container instance."""
        joined = self._ecs.register_container_instance(cluster, instance_id)
        return str(joined.container_instance_arn)

    def deregister_container_instance(self, cluster: str, container_instance: str) -> None:
        self._ecs.deregister_container_instance(cluster, container_instance, force=True)

    # IAM and STS

    def has_role(self, name_or_arn: str) -> bool:
        by_arn = name_or_arn.startswith("arn:")
        try:
            (self._iam.get_role_by_arn if by_arn else self._iam.get_role)(name_or_arn)
        except NotFoundException:
            return False
        return True

    def has_instance_profile(self, name_or_arn: str) -> bool:
        iam = self._iam
        by_arn = name_or_arn.startswith("arn:")
        try:
            (iam.get_instance_profile_by_arn if by_arn else iam.get_instance_profile)(name_or_arn)
        except NotFoundException:
            return False
        return True

    def roles_of_profile(self, name_or_arn: str) -> list[str]:
        """Return the ARNs of an instance profile's roles; none if it does not exist."""
        return [
            role.arn
            for profile in self._iam.get_instance_profiles()
            if name_or_arn in (profile.name, profile.arn)
            for role in profile.roles
        ]

    def principal(self, access_key: str) -> Principal | None:
        """Return the user or role that owns a key; None if the key is not known."""
        for session in self._sts.assumed_roles:
            if session.access_key_id == access_key:
                role = self._iam.get_role_by_arn(session.role_arn)
                return self._principal(session.arn, role, session.expiration.replace(tzinfo=UTC))
        for user in self._iam.users.values():
            if any(key.access_key_id == access_key for key in user.access_keys):
                return self._principal(user.arn, user, None)
        return None

    def _principal(self, arn: str, owner: Any, expiration: datetime | None) -> Principal:
        boundary = getattr(owner, "permissions_boundary_arn", None)
        return Principal(
            arn,
            [*owner.policies.values(), *map(_document, owner.managed_policies.values())],
            _document(self._iam.managed_policies[boundary]) if boundary else None,
            expiration,
        )

    def service_role(self) -> str:
        """Return the ARN of Batch's service-linked role, which is created on first use."""
        if not self.has_role(SERVICE_ROLE):
            trust = {
                "Effect": "Allow",
                "Principal": {"Service": "batch.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
            self._iam.create_role(
                role_name=SERVICE_ROLE,
                assume_role_policy_document=json.dumps(
                    {"Version": "2012-10-17", "Statement": [trust]}
                ),
                path=SERVICE_ROLE_PATH,
                permissions_boundary=None,
                description="",
                tags=[],
                max_session_duration="3600",
            )
        return str(self._iam.get_role(SERVICE_ROLE).arn)

    def assume_role(self, role_arn: str, session: str, seconds: int) -> RoleCredentials:
        """Return temporary credentials of a role."""
        role = self._sts.assume_role(self.region, session, role_arn, "", seconds, "")
        return RoleCredentials(
            role.access_key_id,
            role.secret_access_key,
            role.session_token,
            datetime.now(UTC) + timedelta(seconds=seconds),
        )

    # CloudWatch Logs

    def has_log_group(self, group: str) -> bool:
        if group == DEFAULT_LOG_GROUP:
            self._logs.ensure_log_group(group)
        return group in self._logs.groups

    def write_log(self, group: str, stream: str, at: float, lines: Sequence[str]) -> None:
        """Append lines to a stream, which is created on first use."""
        self._logs.ensure_log_stream(group, stream)
        events = [{"timestamp": int(at * 1000), "message": line} for line in lines]
        # Bypasses the backend, which refuses times that are hours ahead of this machine's clock.
        self._logs.groups[group].put_log_events(stream, events)


def _document(managed: Any) -> str:
    """Return the default version of a managed policy."""
    return next(str(version.document) for version in managed.versions if version.is_default)
