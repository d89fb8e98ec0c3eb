"""The Dagster instance of a machine, as the command creates it."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from odins_ravne_assets import instance_home
from odins_ravne_assets.instance_home import DAGSTER_YAML, network_disk, prepare_home
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


Mount = Callable[..., None]


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Replaces the table of mounts: pairs of mount point and type, and the options of the last."""

    def mount(*mounts: tuple[Path | str, str], options: str = "rw") -> None:
        table = [
            SimpleNamespace(mountpoint=str(point), fstype=kind, opts=options)
            for point, kind in mounts
        ]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: table if all else [])

    return mount


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smbfs", "fuse.sshfs"])
def test_a_home_on_a_network_disk_is_refused(
    kind: str, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "new" / "home"))
    mount(("/", "ext4"), (tmp_path, kind))
    with pytest.raises(UsageError) as refused:
        prepare_home()
    assert str(refused.value) == (
        f"DAGSTER_HOME {tmp_path}/new/home: is on a network disk ({kind} at {tmp_path}), where "
        "SQLite databases get damaged; set it to a local folder, or use Postgres: "
        "docs/production.md"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_code_location_does_not_load_with_a_home_on_a_network_disk(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a webserver and a daemon that a user starts without the command."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    mount(("/", "ext4"), (tmp_path, "nfs4"))
    with pytest.raises(UsageError, match=r"is on a network disk \(nfs4 at "):
        runpy.run_module("odins_ravne_assets.definitions")
    mount(("/", "ext4"))
    assert "defs" in runpy.run_module("odins_ravne_assets.definitions")


def test_the_mount_that_holds_the_folder_counts(mount: Mount, tmp_path: Path) -> None:
    mount((tmp_path, "ext4"), ("/", "nfs"))  # a local disk below a root on the network
    assert network_disk(tmp_path / "home") is None
    mount((tmp_path / "ho", "nfs"), ("/", "ext4"))  # no folder above
    assert network_disk(tmp_path / "home") is None
    mount((tmp_path, "autofs"), (tmp_path, "nfs"))  # one at the same point, after it
    assert network_disk(tmp_path / "home") == f"nfs at {tmp_path}"
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    mount(("/", "ext4"), (tmp_path / "share", "cifs"))
    assert network_disk(tmp_path / "link" / "home") == f"cifs at {tmp_path / 'share'}"
    mount(("/", "9p"))  # of a container
    assert network_disk(tmp_path) is None
    mount(("/", "9p"), options="rw,aname=drvfs;path=C:")
    assert network_disk(tmp_path) == "9p at /"
    mount()
    assert network_disk(tmp_path) is None


def test_databases_elsewhere_allow_a_home_on_a_network_disk(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, local = tmp_path / "share", tmp_path / "local"
    share.mkdir()
    mount(("/", "ext4"), (share, "nfs4"))
    monkeypatch.setattr(instance_home, "_initialize", lambda folder: None)
    monkeypatch.setenv("DAGSTER_HOME", str(share))
    settings = share / "dagster.yaml"
    settings.write_text("storage:\n  postgres:\n    postgres_url: {env: DATABASE}\n")
    assert prepare_home() == share
    settings.write_text(f"storage:\n  sqlite:\n    base_dir: {local}\n")
    assert prepare_home() == share
    for unsafe in (
        DAGSTER_YAML,
        f"storage:\n  sqlite:\n    base_dir: {share}\n",
        "",
        "- 1",
        "a: [",
    ):
        settings.write_text(unsafe)
        with pytest.raises(UsageError, match="network disk"):
            prepare_home()
