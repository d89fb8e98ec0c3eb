"""The storage lifecycle policy as a Dagster resource."""

from typing import Self

from pydantic import Field

from resources.compute.dagster_resource import AwsResource
from resources.retention.bucket_policy import StorageLifecycle
from resources.settings.profile import Aws
from resources.settings.stored_data import Lifecycle

LIFECYCLE = Lifecycle()  # a profile's defaults are the resource's


class StorageLifecyclePolicyResource(AwsResource):
    """The lifecycle policy of the S3 bucket: when footage moves to cheaper storage classes.

    Writes the policy to the bucket as lifecycle rules, and reports which rules differ from it.
    Results and models never move, and rules that were created elsewhere stay.

    Example:
        ```python
        @dg.op
        def check(storage_policy: StorageLifecyclePolicyResource) -> bool:
            return not storage_policy.open().status().drift
        ```
    """

    transition_to_ia: int = Field(
        LIFECYCLE.transition_to_ia, description="Days until footage moves to infrequent access."
    )
    transition_to_glacier: int = Field(
        LIFECYCLE.transition_to_glacier, description="Days until footage moves to Glacier."
    )
    delete_old_versions: int = Field(
        LIFECYCLE.delete_old_versions,
        description="Days until overwritten and deleted versions are deleted permanently.",
    )

    @classmethod
    def from_profile(cls, aws: Aws, lifecycle: Lifecycle) -> Self:
        """Return the resource of a profile's sections `cloud.aws` and `storage.lifecycle`."""
        return cls(**cls.fields_of(aws), **lifecycle.model_dump())

    def lifecycle(self) -> Lifecycle:
        """Return the settings as a profile's section `storage.lifecycle`.

        Raises:
            pydantic.ValidationError: a value is not allowed.
        """
        given = {key: getattr(self, key) for key in Lifecycle.model_fields}
        return Lifecycle.model_validate(given)

    def open(self) -> StorageLifecycle:
        """Return the object that applies the policy and reports its status."""
        return StorageLifecycle(self.aws(), self.lifecycle())
