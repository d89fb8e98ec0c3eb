"""The Dagster instance of a machine, as the command makes it."""

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


def test_commands_that_start_at_once_make_one_instance_that_all_can_use(tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
    commands = [
        subprocess.Popen([sys.executable, "-c", OPEN], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [command.communicate(timeout=90)[1].decode() for command in commands]
    assert [command.returncode for command in commands] == [0] * 4, errors


def test_a_dagster_yaml_of_ones_own_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    own = DAGSTER_YAML.replace("max_concurrent_runs: 10", "max_concurrent_runs: 7")
    (tmp_path / "dagster.yaml").write_text(own)
    assert prepare_home() == tmp_path
    assert (tmp_path / "dagster.yaml").read_text() == own


def test_a_home_that_cannot_be_made_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UsageError, match=r"DAGSTER_HOME .*/file/home: cannot be made"):
        prepare_home()
