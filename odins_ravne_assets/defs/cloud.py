"""Definitions of profiles with a cloud: the policies and the resources that they are read from."""

import dagster as dg

from odins_ravne_assets.defs.idle_compute import tidy_compute, unused_compute
from odins_ravne_assets.defs.late_costs_sensor import late_costs
from odins_ravne_assets.defs.storage_policy import (
    CHECK_JOB,
    DAILY,
    rules_in_force,
    storage_lifecycle,
)
from resources.compute.dagster_resource import ComputeEnvironmentResource
from resources.retention.dagster_resource import StorageLifecyclePolicyResource
from resources.settings.profile import Aws
from resources.settings.stored_data import Lifecycle


def cloud_definitions(aws: Aws, lifecycle: Lifecycle) -> dg.Definitions:
    """Return what a profile with a cloud adds to the definitions of all profiles.

    Args:
        aws: the profile's section `cloud.aws`.
        lifecycle: its section `storage.lifecycle`.
    """
    return dg.Definitions(
        assets=[storage_lifecycle],
        asset_checks=[rules_in_force],
        jobs=[CHECK_JOB, tidy_compute],
        schedules=[DAILY],
        sensors=[late_costs, unused_compute],
        resources={
            "compute_environment": ComputeEnvironmentResource.from_profile(aws),
            "storage_policy": StorageLifecyclePolicyResource.from_profile(aws, lifecycle),
        },
    )
