"""Corrections of moto's CloudFormation that the foundation's template needs.

The import takes a second. Still missing: bucket policies, trails, and the properties of buckets
except name, tags and encryption.
"""

from functools import cache
from typing import Any

from moto.cloudformation import parsing
from moto.iam.models import Role, iam_backends

from resources.sandbox.model.config import ACCOUNT


def correct_cloudformation(region: str) -> None:
    """Make `!GetAZs ""` return this region's zones, and attach the ManagedPolicyArns of roles."""
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
