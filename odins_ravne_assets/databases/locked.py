"""SQLite databases that another program locks, as a backup does for its time.

Dagster waits 5 seconds for its databases of runs and of schedules, and 30 for events
(`SQLITE_BUSY_TIMEOUT_SECONDS`). Every connection of this process waits BUSY_SECONDS instead; after
that the error names the database.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resources.errors import StoreError

if TYPE_CHECKING:
    import dagster as dg

# Less than the minute after which Dagster ends a sensor's tick.
BUSY_SECONDS = 45.0
# SQLite's messages of SQLITE_BUSY and SQLITE_LOCKED (https://sqlite.org/rescode.html#busy).
LOCKED = ("database is locked", "database table is locked")
NOTE = "database: "


def wait_for_locks() -> None:
    """Have all connections to SQLite that this process makes wait for the locks of others."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _set_timeout):
        event.listen(Engine, "connect", _set_timeout)
        event.listen(Engine, "handle_error", _note_database)


@contextmanager
def opened_instance() -> "Iterator[dg.DagsterInstance]":
    """Open the instance of DAGSTER_HOME.

    Raises:
        StoreError: another program locks one of its databases for too long.
    """
    import dagster as dg

    wait_for_locks()
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    except Exception as error:
        if (sentence := locked_database(error)) is None:
            raise
        raise StoreError(sentence) from None


def locked_database(error: BaseException | None) -> str | None:
    """Return the message of an error that has a locked database as a cause; None for others."""
    path = "a database of DAGSTER_HOME"
    while error is not None:
        path = next(
            (
                note.removeprefix(NOTE)
                for note in getattr(error, "__notes__", ())
                if note.startswith(NOTE)
            ),
            path,
        )
        if isinstance(error, sqlite3.OperationalError) and str(error).startswith(LOCKED):
            return (
                f"{path}: is locked by another program, as by a backup, for more than "
                f"{BUSY_SECONDS:.0f} s; end that program and run again: finished work is saved"
            )
        error = error.__cause__ or error.__context__
    return None


def _set_timeout(connection: Any, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}").close()


def _note_database(context: Any) -> None:
    """Note the database in the error, which SQLite does not name."""
    locked = isinstance(context.original_exception, sqlite3.OperationalError)
    if locked and context.engine is not None and context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.add_note(f"{NOTE}{context.engine.url.database}")
