"""The compute environment as a Dagster resource."""

from collections.abc import Iterable
from typing import Any, Self

import dagster as dg
from pydantic import Field

from resources.aws.clients import AwsClients
from resources.compute.cleanup import ComputeCleanup
from resources.compute.environment import ComputeEnvironment
from resources.settings.profile import Aws, Compute

AWS, COMPUTE = Aws(), Compute()  # a profile's defaults are the resource's


class AwsResource(dg.ConfigurableResource[Any]):
    """The AWS account and region of a cloud profile: base class of its resources."""

    region: str = Field(AWS.region, description="AWS region.")
    name: str = Field(
        AWS.name, description="Prefix of all names in the account, and value of the tag Project."
    )
    endpoint_url: str | None = Field(
        None, description="Endpoint of AWS's services; empty: AWS's own addresses."
    )
    endpoint_urls: dict[str, str] = Field(
        {}, description="Endpoints of single services, as {pricing: URL}."
    )
    clock_url: str | None = Field(
        None, description="URL of the clock to go by; empty: this machine's clock."
    )

    @classmethod
    def fields_of(cls, aws: Aws) -> dict[str, Any]:
        """Return the fields above with the values of a profile's section `cloud.aws`."""
        return {key: getattr(aws, key) for key in AwsResource.model_fields}

    def aws(self) -> Aws:
        """Return the settings as a profile's section `cloud.aws`.

        Raises:
            pydantic.ValidationError: a value is not allowed.
        """
        return Aws.model_validate({key: getattr(self, key) for key in AwsResource.model_fields})


class ComputeEnvironmentResource(AwsResource):
    """The compute of AWS Batch: compute environments, job queues, job definition.

    Sets them up, reports their status and tears them down, and removes them when they are idle.
    With `min_vcpus` 0 they scale to zero and cost nothing while no job runs.

    Example:
        ```python
        @dg.op
        def prepare(compute_environment: ComputeEnvironmentResource) -> None:
            compute_environment.open().setup(job_count=10)
        ```
    """

    spot_instances: bool = Field(COMPUTE.spot_instances, description="Use spot machines.")
    bid_percentage: int = Field(
        COMPUTE.bid_percentage, description="Cap on the spot price, in percent of on-demand."
    )
    fallback_to_ondemand: bool = Field(
        COMPUTE.fallback_to_ondemand,
        description="Use on-demand machines when no spot capacity is available.",
    )
    max_vcpus: int = Field(COMPUTE.max_vcpus, description="Maximum of vCPUs at once.")
    min_vcpus: int = Field(
        0, description="vCPUs that keep running while no job runs; 0 scales to zero."
    )
    desired_vcpus: int = Field(COMPUTE.desired_vcpus, description="vCPUs to start with.")
    instance_types: list[str] = Field(
        list(COMPUTE.instance_types), description="EC2 instance types that may be used."
    )

    @classmethod
    def from_profile(cls, aws: Aws) -> Self:
        """Return the resource of a profile's section `cloud.aws`."""
        compute = aws.compute.model_dump(mode="json")
        return cls(**cls.fields_of(aws), **compute)

    def aws(self) -> Aws:
        """See AwsResource; with the section `compute`."""
        compute = {key: getattr(self, key) for key in Compute.model_fields}
        return super().aws().model_copy(update={"compute": Compute.model_validate(compute)})

    def open(self) -> ComputeEnvironment:
        """Return the object that sets compute up, reports its status and tears it down."""
        return ComputeEnvironment(self.aws())

    def cleanup(self, outputs: Iterable[tuple[str, str]]) -> ComputeCleanup:
        """Return the object that finds and removes idle compute and orphaned jobs.

        Args:
            outputs: id and output URL of the cameras whose jobs may be ended.
        """
        aws = self.aws()
        return ComputeCleanup(AwsClients(aws), aws, tuple(outputs))
