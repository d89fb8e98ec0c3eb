"""The code location as Dagster finds it, with a profile of this machine and with one of a cloud."""

import importlib

import dagster as dg
import pytest
from dagster._core.workspace.autodiscovery import loadable_targets_from_loaded_module

from odins_ravne_assets import definitions

POLICIES = {"storage_lifecycle", "tidy_compute", "unused_compute", "storage_lifecycle_daily"}


def names_of(defs: dg.Definitions) -> set[str]:
    """Of assets, jobs, sensors and schedules."""
    repository = defs.get_repository_def()
    assets = repository.asset_graph.get_all_asset_keys()
    return (
        {key.to_user_string() for key in assets}
        | {job.name for job in repository.get_all_jobs()}
        | {sensor.name for sensor in repository.sensor_defs}
        | {schedule.name for schedule in repository.schedule_defs}
    )


@pytest.mark.parametrize(("profile", "expected"), [("local", set()), ("cloud", POLICIES)])
def test_policies_are_there_where_something_is_stored_and_set_up_in_a_cloud(
    monkeypatch: pytest.MonkeyPatch, profile: str, expected: set[str]
) -> None:
    monkeypatch.setenv("MUNIN_PROFILE", profile)
    try:
        [target] = loadable_targets_from_loaded_module(importlib.reload(definitions))
        assert isinstance(target.target_definition, dg.Definitions)
        assert names_of(target.target_definition) & POLICIES == expected
    finally:
        monkeypatch.undo()
        importlib.reload(definitions)
