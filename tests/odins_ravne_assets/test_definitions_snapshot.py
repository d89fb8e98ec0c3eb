"""The definitions of the code location, for each kind of profile: a snapshot of them.

`python tests/odins_ravne_assets/test_definitions_snapshot.py` writes the snapshot again.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SNAPSHOTS = Path(__file__).parent / "definitions"
PROFILES = ("local", "cloud")
SHOW = """
import json
import dagster as dg
from dagster._core.remote_representation.external_data import RepositorySnap
from odins_ravne_assets.definitions import defs
graph = defs.resolve_asset_graph()
assets = {}
for key in sorted(graph.get_all_asset_keys()):
    node = graph.get(key)
    assets[key.to_user_string()] = {
        "group": node.group_name,
        "after": sorted(each.to_user_string() for each in node.parent_keys),
        "partitions": node.partitions_def.name if node.partitions_def else None,
    }
repository = defs.get_repository_def()
print(json.dumps({
    "assets": assets,
    "checks": sorted(key.to_user_string() for key in graph.asset_check_keys),
    "resources": sorted(each.name for each in RepositorySnap.from_def(repository).resources),
    "jobs": sorted(n for n in repository.job_names if not n.startswith("__")),
    "schedules": {s.name: s.cron_schedule for s in repository.schedule_defs},
    "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
}, indent=1, sort_keys=True))
"""


def shown(profile: str, home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHOW],
        env={**os.environ, "MUNIN_PROFILE": profile, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_the_code_location_holds_what_it_held(profile: str, tmp_path: Path) -> None:
    assert shown(profile, tmp_path) == json.loads((SNAPSHOTS / f"{profile}.json").read_text())


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for name in PROFILES:
        text = json.dumps(shown(name, Path.cwd()), indent=1, sort_keys=True)
        (SNAPSHOTS / f"{name}.json").write_text(text + "\n")
