"""The code location as Dagster finds it, with a profile of this machine and with one of a cloud."""

import json
import os
import subprocess
import sys

import pytest

POLICIES = {"storage_lifecycle", "tidy_compute", "unused_compute", "storage_lifecycle_daily"}
# In a process of its own, since the profile is read as the module is loaded.
LOAD = """\
import json
from dagster._core.workspace.autodiscovery import loadable_targets_from_loaded_module
from odins_ravne_assets import definitions
[target] = loadable_targets_from_loaded_module(definitions)
found = target.target_definition.get_repository_def()
names = [key.to_user_string() for key in found.asset_graph.get_all_asset_keys()]
for kind in (found.get_all_jobs(), found.sensor_defs, found.schedule_defs):
    names += [each.name for each in kind]
print(json.dumps(names))
"""


@pytest.mark.parametrize(("profile", "expected"), [("local", set()), ("cloud", POLICIES)])
def test_policies_are_there_where_something_is_stored_and_set_up_in_a_cloud(
    profile: str, expected: set[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD],
        env={**os.environ, "MUNIN_PROFILE": profile},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert POLICIES & set(json.loads(done.stdout)) == expected
