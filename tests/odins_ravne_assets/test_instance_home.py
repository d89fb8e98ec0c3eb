"""The Dagster instance of a machine, as the command creates it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from odins_ravne_assets.instance_home import DAGSTER_YAML, prepare_home
from resources.errors import UsageError

OPEN = (
    "from odins_ravne_assets.instance_home import prepare_home; prepare_home();"
    "import dagster; dagster.DagsterInstance.get().get_runs_count()"
)


def test_commands_that_start_at_the_same_time_create_one_instance_that_all_can_use(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
    commands = [
        subprocess.Popen([sys.executable, "-c", OPEN], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [command.communicate(timeout=90)[1].decode() for command in commands]
    assert [command.returncode for command in commands] == [0] * 4, errors


def test_a_user_s_own_dagster_yaml_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    own = DAGSTER_YAML.replace("max_concurrent_runs: 10", "max_concurrent_runs: 7")
    (tmp_path / "dagster.yaml").write_text(own)
    assert prepare_home() == tmp_path
    assert (tmp_path / "dagster.yaml").read_text() == own


def test_a_home_that_cannot_be_created_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UsageError, match=r"DAGSTER_HOME .*/file/home: cannot be created"):
        prepare_home()
