"""The index of a folder of uploads: what each folder below it held when it was last listed.

An SQLite database in the instance's home. So a scan lists only folders that have changed, and
continues where the last one stopped; the sensor's cursor holds only the id of the index, and stays
small. The index is a cache: without it, the sensor lists all folders again.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from resources.errors import StoreError

Medium = tuple[str, int, int]

# Increased when the stored form changes; an index of another version begins anew.
VERSION = 1
# Seconds to wait for a scan that Dagster has cancelled, and whose thread still writes.
LOCK_SECONDS = 5.0
TABLES = (
    "CREATE TABLE IF NOT EXISTS folders (path BLOB PRIMARY KEY, facts TEXT, media BLOB)",
    "CREATE TABLE IF NOT EXISTS footage (key TEXT PRIMARY KEY, facts TEXT)",
    "CREATE TABLE IF NOT EXISTS progress (name TEXT PRIMARY KEY, value TEXT)",
)


@dataclass
class FolderContent:
    """The media of a folder, without those of the folders in it.

    Args:
        children: folders in it: their names on disk by their names in keys.
        cameras: by the key of a camera's footage, the camera's id.
        sums: by the key of a camera's footage, the fingerprint of its media here, which does not
            depend on their order.
        refused: paths that belong to no camera, and the reason.
        media: by the key of a camera's footage: path below it, bytes and modified_ns.
        names: the fingerprint of all names.
    """

    children: dict[str, str] = field(default_factory=dict)
    cameras: dict[str, str] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    media: dict[str, list[Medium]] = field(default_factory=dict)
    names: int = 0


@dataclass
class ListedFolder:
    """A folder as it was last listed; times are seconds since 1970 UTC by this machine's clock.

    Args:
        key: below the uploads' folder, with the names that keys have; "": that folder itself.
        identity: of the disk and the folder.
        dates: the folder's own dates; "": it changed while it was listed, or cannot be listed.
        dates_since: when it was first seen with these dates.
        changed_at: when its content was last seen to change.
        listed_at: when its last listing began.
        content: without `media` when it is read from the index.
    """

    key: str
    identity: str
    dates: str
    dates_since: float
    changed_at: float
    listed_at: float
    content: FolderContent


@dataclass
class FootageState:
    """The media of one camera's footage, in all folders.

    Args:
        fingerprint: of all its media.
        since: when the fingerprint last changed.
        compared: the fingerprint that was last compared with the camera's media table.
        compared_at: when.
    """

    camera_id: str
    fingerprint: str
    since: float
    compared: str = ""
    compared_at: float = 0.0


@dataclass
class RoundProgress:
    """The progress of a round: one visit to each folder, in as many scans as it takes.

    Args:
        began: when it began; 0: none is in progress.
        after: the key of the last folder that was visited; None: none yet.
        is_reported: a remark says that it takes long.
        partial, partial_path: the listing of a folder that was interrupted, and its path on disk.
        after_name: the last name of it that was read.
        dates: its dates when its listing began.
        listed_at: when its listing began.
        dates_unreliable: a folder's files have changed, and its dates have not.
    """

    began: float = 0.0
    after: str | None = None
    is_reported: bool = False
    partial: FolderContent | None = None
    partial_path: str = ""
    after_name: str = ""
    dates: str = ""
    listed_at: float = 0.0
    dates_unreliable: bool = False


class FolderIndex:
    """The index in an open database; see the module."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def begin(self, index_id: str, root: str, pattern: str) -> None:
        """Empty the index, unless it is the one with this id, of this folder and pattern."""
        wanted = json.dumps([VERSION, index_id, root, pattern])
        if self._value("of") == wanted:
            return
        for table in ("folders", "footage", "progress"):
            self._database.execute(f"DELETE FROM {table}")
        self._set("of", wanted)

    def folders(self) -> dict[str, ListedFolder]:
        """Return the folders by their paths on disk, below the uploads' folder."""
        rows = self._database.execute("SELECT path, facts FROM folders")
        with _decoding():
            return {os.fsdecode(path): _folder(json.loads(facts)) for path, facts in rows}

    def put_folder(self, path: str, folder: ListedFolder) -> None:
        """Store a folder with the media that were listed in it."""
        facts = asdict(folder)
        media = json.dumps(facts["content"].pop("media")).encode()
        row = (os.fsencode(path), json.dumps(facts), zlib.compress(media, 1))
        self._database.execute("REPLACE INTO folders VALUES (?, ?, ?)", row)

    def delete_folders(self, paths: Iterable[str]) -> None:
        rows = [(os.fsencode(path),) for path in paths]
        self._database.executemany("DELETE FROM folders WHERE path = ?", rows)

    def media(self, footage: str, paths: Iterable[str]) -> Iterator[Medium]:
        """Yield the media of a camera's footage in some folders: path, bytes, modified_ns."""
        for path in paths:
            query = "SELECT media FROM folders WHERE path = ?"
            (data,) = self._database.execute(query, (os.fsencode(path),)).fetchone()
            with _decoding():
                found = json.loads(zlib.decompress(data)).get(footage, ())
                media = [(name, size, modified) for name, size, modified in found]
            yield from media

    def footage(self) -> dict[str, FootageState]:
        """Return the state of each camera's footage by its key."""
        rows = self._database.execute("SELECT key, facts FROM footage")
        with _decoding():
            return {key: FootageState(**json.loads(facts)) for key, facts in rows}

    def put_footage(self, key: str, state: FootageState) -> None:
        row = (key, json.dumps(asdict(state)))
        self._database.execute("REPLACE INTO footage VALUES (?, ?)", row)

    def delete_footage(self, keys: Iterable[str]) -> None:
        self._database.executemany("DELETE FROM footage WHERE key = ?", [(key,) for key in keys])

    def progress(self) -> RoundProgress:
        text = self._value("round")
        if text is None:
            return RoundProgress()
        with _decoding():
            tree = json.loads(text)
            partial = tree.pop("partial")
            return RoundProgress(**tree, partial=FolderContent(**partial) if partial else None)

    def put_progress(self, progress: RoundProgress) -> None:
        self._set("round", json.dumps(asdict(progress)))

    def _value(self, name: str) -> str | None:
        query = "SELECT value FROM progress WHERE name = ?"
        found = self._database.execute(query, (name,)).fetchone()
        return str(found[0]) if found else None

    def _set(self, name: str, value: str) -> None:
        self._database.execute("REPLACE INTO progress VALUES (?, ?)", (name, value))


@contextmanager
def open_index(file: Path, index_id: str, root: str, pattern: str) -> Iterator[FolderIndex]:
    """Open the index in a file for the context; what was put is stored at its end.

    A damaged file is replaced by an empty index.

    Args:
        index_id: of the index; any other is emptied.
        root, pattern: `uploads.url` and `uploads.camera_pattern`.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        database = _connect(file)
    except sqlite3.OperationalError as error:
        raise _error(file, error) from None
    except sqlite3.DatabaseError:
        file.unlink(missing_ok=True)
        database = _connect(file)
    except OSError as error:
        raise _error(file, error) from None
    try:
        index = FolderIndex(database)
        with database:
            index.begin(index_id, root, pattern)
            yield index
    except sqlite3.OperationalError as error:
        raise _error(file, error) from None
    except sqlite3.DatabaseError as error:
        file.unlink(missing_ok=True)
        raise StoreError(
            f"{file}: is damaged ({error}); it is deleted, and the next scan lists all folders"
        ) from None
    finally:
        database.close()


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=LOCK_SECONDS)
    try:
        for table in TABLES:
            database.execute(table)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


@contextmanager
def _decoding() -> Iterator[None]:
    """Translate the errors of stored values that cannot be decoded."""
    try:
        yield
    except (zlib.error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"{type(error).__name__}: {error}") from None


def _error(file: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{file}: cannot be written ({error}); the sensor needs this folder to be writable"
    )


def _folder(tree: dict[str, Any]) -> ListedFolder:
    return ListedFolder(**{**tree, "content": FolderContent(**tree["content"])})
