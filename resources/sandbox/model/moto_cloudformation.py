"""What moto's CloudFormation gets wrong and the house's templates need. Takes a second to load.

Still not there: bucket policies, trails, and of buckets all but their name, tags and encryption.
"""

from functools import cache
from typing import Any

from moto.cloudformation import parsing
from moto.iam.models import Role, iam_backends

from resources.sandbox.model.config import ACCOUNT


def correct_cloudformation(region: str) -> None:
    """Let `!GetAZs ""` mean this region's zones, and give roles their ManagedPolicyArns."""
    parsing.DEFAULT_REGION = region
    _attach_managed_policies()


@cache
def _attach_managed_policies() -> None:
    create = Role.create_from_cloudformation_json

    def create_with_policies(
        resource_name: str, cloudformation_json: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Role:
        role = create(resource_name, cloudformation_json, *args, **kwargs)
        for policy in cloudformation_json["Properties"].get("ManagedPolicyArns", []):
            iam_backends[ACCOUNT]["aws"].attach_role_policy(policy, role.name)
        return role

    Role.create_from_cloudformation_json = create_with_policies  # type: ignore[method-assign]
