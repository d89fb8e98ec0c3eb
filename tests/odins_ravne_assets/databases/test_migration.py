"""A DAGSTER_HOME of Dagster 1.9, made by tools/make_old_dagster_home.py, is opened by today's."""

import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
from paths import ROOT

from odins_ravne_assets.databases import migration
from odins_ravne_assets.instance_home import DAGSTER_YAML, prepare_home
from resources.errors import StoreError, UsageError

ARCHIVE = ROOT / "tests" / "support" / "dagster_homes" / "dagster-1.9.3.zip"
POOL = "jobs-on-this-machine"
COPY = f"before-dagster-{version('dagster')}"


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The migration stops half-way, and nothing after it runs, as if the process were killed."""

    def stop(instance: dg.DagsterInstance) -> None:
        with closing(sqlite3.connect(database(Path(instance.root_directory)))) as runs, runs:
            runs.execute("DROP TABLE run_tags")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migration, "_upgrade", stop)
        patch.setattr(migration, "_restore", lambda folder, copy: None)
        patch.setattr(migration.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            prepare_home()
    yield


def database(home: Path) -> Path:
    return home / "history" / "runs.db"


def contents() -> tuple[int, int, dict[str, object]]:
    """Number of successful runs, limit of the pool, and files of each camera."""
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        limit = instance.event_log_storage.get_concurrency_info(POOL).slot_count
        found = instance.fetch_materializations(dg.AssetKey("footage"), limit=10).records
        made = {record.partition_key: record.asset_materialization for record in found}
    files = {str(key): event.metadata["media/files"].value for key, event in made.items() if event}
    return len(runs), limit, files


CONTENTS = (2, 3, {"north-01": 12, "north-02": 7})


def test_databases_of_an_older_dagster_are_migrated_and_a_copy_is_kept(
    old_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = database(old_home).read_bytes()
    prepare_home()
    assert contents() == CONTENTS
    assert capsys.readouterr().err.splitlines() == [
        f"DAGSTER_HOME {old_home}: is of an older Dagster; its databases are migrated",
        f"the databases are migrated to Dagster {version('dagster')}; the copy from before is "
        f"{old_home / COPY}: delete it once runs and results are shown as before",
    ]
    with closing(sqlite3.connect(old_home / COPY / "history" / "runs.db")) as copy:
        (old,) = copy.execute("SELECT version_num FROM alembic_version").fetchall()
    assert old[0].encode() in before
    prepare_home()
    assert capsys.readouterr().err == ""


def test_a_killed_migration_begins_again_from_the_copy(
    old_home: Path, killed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_home()
    assert contents() == CONTENTS
    assert f"DAGSTER_HOME {old_home}: a migration was interrupted; it begins again" in (
        capsys.readouterr().err.splitlines()
    )
    assert (old_home / COPY).is_dir()
    assert not (old_home / migration.MIGRATION_MARKER).exists()


def test_a_killed_migration_without_its_copy_is_an_error_that_changes_nothing(
    old_home: Path, killed: None
) -> None:
    shutil.rmtree(old_home / COPY)
    before = database(old_home).read_bytes()
    with pytest.raises(StoreError, match=r"\.migrating\.json: a migration was killed, and its"):
        prepare_home()
    assert database(old_home).read_bytes() == before


def test_a_migration_that_fails_leaves_the_databases_as_they_were(
    old_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(instance: dg.DagsterInstance) -> None:
        with closing(sqlite3.connect(database(old_home))) as runs, runs:
            runs.execute("DROP TABLE run_tags")
        raise OSError("disk I/O error")

    monkeypatch.setattr(migration, "_upgrade", fail)
    with pytest.raises(StoreError, match=r"cannot be migrated \(disk I/O error\); they are as bef"):
        prepare_home()
    monkeypatch.undo()
    monkeypatch.setenv("DAGSTER_HOME", str(old_home))
    prepare_home()
    assert contents() == CONTENTS


def test_the_damaged_events_of_one_run_do_not_stop_the_others(
    old_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = next(p for p in (old_home / "history/runs").iterdir() if p.name != "index.db")
    damaged.write_bytes(b"no database" * 1000)
    prepare_home()
    assert contents()[:2] == CONTENTS[:2]
    assert f"{damaged}: is damaged (file is not a database); renamed to {damaged.name}.damaged" in (
        capsys.readouterr().err
    )


def test_databases_of_a_newer_dagster_are_refused(old_home: Path) -> None:
    for path in (database(old_home), old_home / "history/runs/index.db"):
        with closing(sqlite3.connect(path)) as opened, opened:
            opened.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(UsageError, match="is of a newer Dagster than the installed"):
        prepare_home()
    assert not (old_home / COPY).exists()


def test_too_little_room_for_the_copy_is_an_error(
    old_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(old_home)
    monkeypatch.setattr(migration.shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    with pytest.raises(StoreError, match=r"no room for a copy of the databases .* free 6\d MiB"):
        prepare_home()


def test_users_of_postgres_get_the_command(old_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its databases are not this command's to change: other machines use them too."""
    from odins_ravne_assets import instance_home

    monkeypatch.setattr(instance_home, "_sqlite_folder", lambda _: None)
    (old_home / "dagster.yaml").write_text(DAGSTER_YAML)
    with pytest.raises(UsageError) as refused:
        prepare_home()
    assert str(refused.value) == (
        f"{old_home}/dagster.yaml: its database is of another Dagster than the installed "
        f"{version('dagster')}; stop the services, back it up, and run DAGSTER_HOME={old_home} "
        "dagster instance migrate: docs/production.md#upgrades"
    )
    assert not (old_home / COPY).exists()
