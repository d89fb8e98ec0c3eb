"""Folders of footage, local or on S3, as the choice of cameras sees them: names only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from odins_ravne_assets.munin.media.media_files import is_hidden, looks_like_medium
from resources.errors import UsageError
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from resources.storage.s3.store import S3Store


class FolderTree(Protocol):
    """A folder, and the names below it. A path is relative to it, with slashes; "" is itself.

    Every call raises UsageError or StoreError if a folder cannot be listed.
    """

    name: str  # of its last folder
    shown: str  # in messages

    def folders(self, path: str = "") -> list[str]:
        """Return the names of the folders in a folder that are not hidden, in order."""

    def media(self, path: str = "") -> Iterator[str]:
        """Yield the names of the media in a folder, not of those further below."""

    def holds_media(self, path: str = "") -> bool:
        """Return True if there are media in a folder or below it."""

    def url_of(self, path: str) -> str:
        """Return the URL of a folder."""


class LocalTree:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name, self.shown = root.name, str(root)

    def folders(self, path: str = "") -> list[str]:
        """See FolderTree."""
        return [
            entry.name
            for entry in self._entries(path)
            if entry.is_dir() and not is_hidden(entry.name)
        ]

    def media(self, path: str = "") -> Iterator[str]:
        """See FolderTree."""
        for entry in self._entries(path):
            if looks_like_medium(entry.name) and entry.is_file():
                yield entry.name

    def holds_media(self, path: str = "") -> bool:
        """See FolderTree."""
        return _holds_media(LocalStore(self._root / path), self._shown(path))

    def url_of(self, path: str) -> str:
        """See FolderTree."""
        return (self._root / path).as_uri()

    def _entries(self, path: str) -> "list[os.DirEntry[str]]":
        try:
            with os.scandir(self._root / path) as entries:  # asks a disk for no file's details
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            shown = self._shown(path)
            raise UsageError(f"{shown}: cannot be listed: {error.strerror or error}") from None

    def _shown(self, path: str) -> str:
        return f"{self.shown}/{path}" if path else self.shown


class S3Tree:
    """A prefix of a bucket."""

    def __init__(self, store: "S3Store") -> None:
        self._store = store
        self.name, self.shown = store.url.rpartition("/")[2], store.url

    def folders(self, path: str = "") -> list[str]:
        """See FolderTree."""
        return [name for name in self._store.folders(path) if not is_hidden(name)]

    def media(self, path: str = "") -> Iterator[str]:
        """See FolderTree."""
        for name in self._store.files(path):
            if looks_like_medium(name):
                yield name

    def holds_media(self, path: str = "") -> bool:
        """See FolderTree."""
        return _holds_media(self._store, self.url_of(path), path)

    def url_of(self, path: str) -> str:
        """See FolderTree."""
        return f"{self._store.url}/{path}" if path else self._store.url


def _holds_media(store: ObjectStore, shown: str, path: str = "") -> bool:
    unlisted: list[str] = []
    others: list[str] = []  # links and others with the name of a medium: they become rows
    start = len(path) + 1 if path else 0

    def note(key: str, reason: str) -> None:
        if key.endswith(("/", ".")):
            unlisted.append(f"{shown}/{key[start:].rstrip('/')}: cannot be listed: {reason}")
        elif looks_like_medium(key[start:]):
            others.append(key)

    if any(looks_like_medium(found.key[start:]) for found in store.list(path, note)) or others:
        return True
    if unlisted:
        raise UsageError(unlisted[0])
    return False
