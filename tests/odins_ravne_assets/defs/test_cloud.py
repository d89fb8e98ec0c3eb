"""The policies of a cloud profile are resources, and its assets, jobs and sensors use them."""

from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap, ResourceSnap

from odins_ravne_assets.defs.cloud import cloud_definitions
from odins_ravne_assets.defs.idle_compute import tidy_compute, unused_compute
from odins_ravne_assets.defs.storage_policy import rules_in_force, storage_lifecycle
from resources.compute.dagster_resource import ComputeEnvironmentResource
from resources.errors import RavneError
from resources.retention.bucket_policy import LifecycleStatus
from resources.retention.dagster_resource import StorageLifecyclePolicyResource
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Aws, Compute
from resources.settings.stored_data import Lifecycle


def listed_resources(aws: Aws, lifecycle: Lifecycle) -> dict[str, ResourceSnap]:
    """The resources of the code location as the UI lists them."""
    definitions = dg.Definitions.merge(
        dg.Definitions(resources={"settings": RunSettings(profile="cloud")}),
        cloud_definitions(aws, lifecycle),
    )
    snap = RepositorySnap.from_def(definitions.get_repository_def())
    return {each.name: each for each in snap.resources or []}


def test_the_ui_lists_both_policies_with_the_values_of_the_profile() -> None:
    aws = Aws(name="herd", compute=Compute(max_vcpus=8, instance_types=("g6.xlarge",)))
    listed = listed_resources(aws, Lifecycle(transition_to_glacier=180))
    shown = {
        name: {key: str(value) for key, value in listed[name].configured_values.items()}
        for name in ("compute_environment", "storage_policy")
    }
    assert shown["compute_environment"]["name"] == '"herd"'
    assert shown["compute_environment"]["max_vcpus"] == "8"
    assert shown["compute_environment"]["instance_types"] == '["g6.xlarge"]'
    assert shown["storage_policy"]["name"] == '"herd"'
    assert shown["storage_policy"]["transition_to_glacier"] == "180"


def test_the_ui_describes_each_policy_and_shows_where_it_is_used() -> None:
    listed = listed_resources(Aws(), Lifecycle())
    compute, storage = listed["compute_environment"], listed["storage_policy"]
    assert "scale to zero" in str(compute.resource_snapshot.description)
    assert "lifecycle policy of the S3 bucket" in str(storage.resource_snapshot.description)
    assert compute.sensors_using == ["unused_compute"]
    assert [each.job_name for each in compute.job_ops_using] == ["tidy_compute"]
    assert [key.to_user_string() for key in storage.asset_keys_using] == ["storage_lifecycle"]


class ReplacedPolicy(StorageLifecyclePolicyResource):
    def open(self) -> Any:
        return self

    def apply(self, on_step: Callable[[str], None]) -> LifecycleStatus:
        on_step("one change")
        return self.status()

    def status(self) -> LifecycleStatus:
        return LifecycleStatus("bucket of the replaced resource", (), (), (), ())


def test_the_asset_and_its_check_use_the_resource_that_the_run_is_given() -> None:
    done = dg.materialize(
        [storage_lifecycle, rules_in_force], resources={"storage_policy": ReplacedPolicy()}
    )
    [applied] = done.asset_materializations_for_node("storage_lifecycle")
    [checked] = done.get_asset_check_evaluations()
    for metadata in (applied.metadata, checked.metadata):
        assert metadata["lifecycle/bucket"].value == "bucket of the replaced resource"


class ReplacedEnvironment(ComputeEnvironmentResource):
    def cleanup(self, outputs: Iterable[tuple[str, str]]) -> Any:
        return self

    def check(self) -> Any:
        raise RavneError("answer of the replaced resource")

    def tear_down(self, expired: Any, on_step: Callable[[str], None]) -> str:
        raise RavneError("answer of the replaced resource")


def test_the_sensor_and_the_job_of_idle_compute_use_the_resource_that_they_are_given() -> None:
    compute = ReplacedEnvironment()
    with dg.DagsterInstance.ephemeral() as instance:
        skipped = unused_compute(
            dg.build_sensor_context(instance=instance),
            settings=RunSettings(profile="cloud"),
            compute_environment=compute,
        )
        assert skipped == dg.SkipReason("answer of the replaced resource")
        config = {"tear_down": True, "end_jobs": {}, "expired_leases": {}}
        with pytest.raises(RavneError, match="answer of the replaced resource"):
            tidy_compute.execute_in_process(
                run_config={"ops": {"tidy_up": {"config": config}}},
                resources={"compute_environment": compute},
                instance=instance,
            )
