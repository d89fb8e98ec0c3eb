"""The compute environment as a Dagster resource."""

import dagster as dg
from pydantic import Field

from resources.compute.environment import ComputeEnvironment
from resources.settings.profile import Aws, Compute

AWS, COMPUTE = Aws(), Compute()  # a profile's defaults are the resource's


class ComputeEnvironmentResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Sets compute up and tears it down from within a run; scales to zero unless told otherwise.

    Example:
        ```python
        @dg.op
        def prepare(compute: ComputeEnvironmentResource) -> None:
            compute.open().setup(job_count=10)
        ```
    """

    region: str = Field(AWS.region, description="AWS region.")
    name: str = Field(AWS.name, description="Begins all names, and is their tag Project.")
    endpoint_url: str | None = Field(None, description="Where AWS's services answer.")
    endpoint_urls: dict[str, str] = Field({}, description="The same for single services.")
    clock_url: str | None = Field(None, description="Where the time of day comes from.")
    spot_instances: bool = Field(COMPUTE.spot_instances, description="Use spot machines.")
    bid_percentage: int = Field(
        COMPUTE.bid_percentage, description="Cap on the spot price, in percent of on-demand."
    )
    fallback_to_ondemand: bool = Field(
        COMPUTE.fallback_to_ondemand, description="Go on-demand when spot starves."
    )
    max_vcpus: int = Field(COMPUTE.max_vcpus, description="Most vCPUs at once.")
    min_vcpus: int = Field(0, description="vCPUs kept with nothing to do; 0 scales to zero.")
    desired_vcpus: int = Field(COMPUTE.desired_vcpus, description="vCPUs to start with.")
    instance_types: list[str] = Field(
        list(COMPUTE.instance_types), description="Machines that may be used."
    )

    def aws(self) -> Aws:
        """The settings, as a profile holds them.

        Raises:
            pydantic.ValidationError: one is not allowed.
        """
        given = {key: getattr(self, key) for key in type(self).model_fields}
        compute = {key: given.pop(key) for key in Compute.model_fields}
        return Aws.model_validate({**given, "compute": compute})

    def open(self) -> ComputeEnvironment:
        """What sets up, shows and tears down."""
        return ComputeEnvironment(self.aws())
