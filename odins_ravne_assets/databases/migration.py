"""Migration of an instance's SQLite databases to the installed Dagster, with a copy from before.

Dagster itself reports `no such column` when it meets a database of an older version, and its own
migration stops half-way if it is killed. Here the databases are copied first; a marker names the
copy until the migration has ended, and a process that finds the marker begins again from the copy.
The caller holds the lock of the instance's folder.
"""

import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from resources.errors import RavneError, StoreError, UsageError
from resources.printable import printable
from resources.storage.local_store import LocalStore

if TYPE_CHECKING:
    import dagster as dg

# While it exists, the databases may be half migrated; JSON with the name of the copy's folder.
MIGRATION_MARKER = ".migrating.json"
COPY_NAME = "before-dagster-{version}"
PARTIAL_SUFFIX = ".partial"
# A database that SQLite cannot read gets this suffix, so that the others can be migrated.
DAMAGED_SUFFIX = ".damaged"
# Where Dagster has its SQLite databases: runs, events of all runs and of each, ticks.
DATABASES = ("history/runs.db", "history/runs/*.db", "schedules/schedules.db")
EVENTS_OF_RUNS, EVENTS_OF_ALL_RUNS = "history/runs", "index.db"
LOG_SUFFIXES = ("-wal", "-shm")
# Bytes of free disk space beyond the copy, for the databases to grow.
RESERVE_BYTES = 64 * 2**20

OnMessage = Callable[[str], None]


def print_message(text: str) -> None:
    """Print a line to standard error."""
    print(printable(text), file=sys.stderr)


def is_outdated(instance: "dg.DagsterInstance") -> bool:
    """Return True if a database has another schema than the installed Dagster's."""
    storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    revisions = [storage.alembic_version() for storage in storages if storage is not None]
    return any(each is not None and each[0] != each[1] for each in revisions)


def migrate(instance: "dg.DagsterInstance", folder: Path, on_message: OnMessage) -> None:
    """Migrate the SQLite databases in a folder; a copy of them stays in it.

    Args:
        folder: of the databases; locked for this process.

    Raises:
        UsageError: they are of a newer Dagster.
        StoreError: one is damaged, the disk is full, or Dagster's migration fails. The databases
            are as before.
    """
    on_message(f"DAGSTER_HOME {folder}: is of an older Dagster; its databases are migrated")
    copy = _copy_databases(folder, on_message)
    marker = json.dumps({"copy": copy.name}).encode()
    LocalStore(folder).write_bytes(MIGRATION_MARKER, marker)
    try:
        _upgrade(instance)
    except BaseException as error:
        _restore(folder, copy)
        shutil.rmtree(copy)
        if isinstance(error, RavneError) or not isinstance(error, Exception):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise StoreError(
            f"DAGSTER_HOME {folder}: its databases cannot be migrated ({reason}); they are as "
            "before. Check the disk, or set DAGSTER_HOME to another folder"
        ) from error
    (folder / MIGRATION_MARKER).unlink()
    on_message(
        f"the databases are migrated to Dagster {version('dagster')}; the copy from before is "
        f"{copy}: delete it once runs and results are shown as before"
    )


def restore_interrupted(folder: Path, on_message: OnMessage) -> None:
    """Restore the databases from their copy, if a migration was killed; the next one begins anew.

    Raises:
        StoreError: the copy is missing.
    """
    marker = folder / MIGRATION_MARKER
    if not marker.exists():
        return
    try:
        copy = folder / str(json.loads(marker.read_text(encoding="utf-8"))["copy"])
    except (ValueError, KeyError, TypeError):
        copy = folder  # as if it were missing
    if copy.parent != folder or not copy.is_dir():
        raise StoreError(
            f"{marker}: a migration was killed, and its copy is missing; restore your own copy of "
            "DAGSTER_HOME, or delete this file to go on with the databases as they are"
        )
    on_message(f"DAGSTER_HOME {folder}: a migration was interrupted; it begins again")
    _restore(folder, copy)
    shutil.rmtree(copy)


def _upgrade(instance: "dg.DagsterInstance") -> None:
    """Run Dagster's migration, without its output.

    Raises:
        UsageError: the databases are of a newer Dagster.
    """
    from alembic.util import CommandError

    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            instance.upgrade()
    except CommandError as error:
        if "Can't locate revision" not in str(error):
            raise
        raise UsageError(
            f"DAGSTER_HOME {instance.root_directory}: is of a newer Dagster than the installed "
            f"{version('dagster')}; install the version of odins-ravne that wrote it, or set "
            "DAGSTER_HOME to another folder"
        ) from None


def _databases(folder: Path) -> Iterator[Path]:
    for pattern in DATABASES:
        yield from sorted(folder.glob(pattern))


def _copy_databases(folder: Path, on_message: OnMessage) -> Path:
    """Copy all databases into a new folder, and return it.

    Raises:
        StoreError: a database of all runs is damaged, or the disk is full.
    """
    copy = _new_folder(folder)
    partial = copy.with_name(copy.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process
    sources = list(_databases(folder))
    needed = sum(path.stat().st_size for path in sources) + RESERVE_BYTES
    if shutil.disk_usage(folder).free < needed:
        raise StoreError(
            f"{folder}: no room for a copy of the databases before they are migrated; free "
            f"{needed / 2**20:.0f} MiB and run again"
        )
    for source in sources:
        target = partial / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy_database(source, target)
        except sqlite3.DatabaseError as error:
            target.unlink(missing_ok=True)
            _set_aside(source, error, on_message)
    partial.rename(copy)
    return copy


def _new_folder(folder: Path) -> Path:
    """Return a folder that does not exist, for a copy."""
    name = COPY_NAME.format(version=version("dagster"))
    numbers = iter(range(2, 1000))
    path = folder / name
    while path.exists():
        path = folder / f"{name}-{next(numbers)}"
    return path


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as a whole, with what is in its write-ahead log."""
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(target)) as copy:
        opened.backup(copy)


def _set_aside(path: Path, error: sqlite3.DatabaseError, on_message: OnMessage) -> None:
    """Rename the damaged event log of one run.

    Raises:
        StoreError: it is the database of all runs, or it is locked, not damaged.
    """
    of_one_run = path.parent.match(EVENTS_OF_RUNS) and path.name != EVENTS_OF_ALL_RUNS
    if isinstance(error, sqlite3.OperationalError) or not of_one_run:
        raise StoreError(
            f"{path}: cannot be read ({error}); restore it from a backup, or set DAGSTER_HOME to "
            "another folder"
        ) from None
    aside = path.with_name(path.name + DAMAGED_SUFFIX)
    path.replace(aside)
    on_message(f"{path}: is damaged ({error}); renamed to {aside.name}: this run has no events")


def _restore(folder: Path, copy: Path) -> None:
    """Put the databases of a copy back; can be repeated if it is interrupted."""
    for source in _databases(copy):
        target = folder / source.relative_to(copy)
        for suffix in LOG_SUFFIXES:  # of the database that is replaced
            with suppress(FileNotFoundError):
                target.with_name(target.name + suffix).unlink()
        with LocalStore(target.parent).writing(target.name) as path:
            shutil.copyfile(source, path)
    (folder / MIGRATION_MARKER).unlink(missing_ok=True)
