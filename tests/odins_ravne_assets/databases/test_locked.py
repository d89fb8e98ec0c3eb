"""SQLite databases of the instance that another program locks for a while."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from odins_ravne_assets.databases import locked
from odins_ravne_assets.databases.locked import (
    BUSY_SECONDS,
    locked_database,
    opened_instance,
    wait_for_locks,
)
from odins_ravne_assets.instance_home import prepare_home
from resources.errors import StoreError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home()
    return tmp_path / "history" / "runs.db"


def test_every_database_of_the_instance_waits_longer_than_a_backup_takes(runs: Path) -> None:
    wait_for_locks()
    wait_for_locks()  # once only
    with opened_instance() as instance:
        connections = [
            instance.run_storage.connect(),  # type: ignore[attr-defined]
            instance.event_log_storage.index_connection(),
            instance.schedule_storage.connect(),  # type: ignore[union-attr]
        ]
        for opening in connections:
            with opening as connection:
                waits = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
                assert waits == BUSY_SECONDS * 1000 > 12_000


def test_a_command_waits_for_the_end_of_a_lock(runs: Path) -> None:
    with closing(sqlite3.connect(runs, check_same_thread=False)) as backup:
        backup.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.5, backup.rollback).start()
        with opened_instance() as instance:
            instance.add_run(dg.DagsterRun("camera"))
            assert instance.get_runs_count() == 1


def test_a_lock_without_an_end_is_one_sentence_with_the_database(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locked, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(runs)) as backup:
        backup.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError) as refused, opened_instance() as instance:
            instance.add_run(dg.DagsterRun("camera"))
    assert str(refused.value) == (
        f"{runs}: is locked by another program, as by a backup, for more than 0 s; end that "
        "program and run again: finished work is saved"
    )


def test_other_errors_are_no_locks() -> None:
    assert locked_database(sqlite3.OperationalError("no such table: runs")) is None
    assert locked_database(ValueError("database is locked")) is None
