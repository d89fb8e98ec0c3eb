"""Where footage and results lie: one interface, a form for each kind of URL.

A store is a prefix; its keys are relative, with forward slashes. Nothing half written is ever
seen under a key: a write becomes the object at once and whole, or not at all.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from resources.errors import StoreError

# Temporary files of unfinished writes: the next holder removes them.
PARTIAL_PREFIX = ".partial-"
LOCK_FILE = ".lock"
# What was copied into a store, and when: see staging.
UPLOAD_MANIFEST = ".staged"
S3_SCHEME = "s3://"
NO_SPACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# How much of an object's beginning and end `reading_edges` reads: the headers of videos lie there.
EDGE_BYTES = 256 * 1024

# What went wrong while listing, told to the caller: the folder's key and the reason.
OnListError = Callable[[str, str], None]


def is_s3(url: str) -> bool:
    """Return True if the URL is one of S3."""
    return url.startswith(S3_SCHEME)


class StoredObject(NamedTuple):
    """An object as every store tells of it."""

    key: str  # relative to the store, with forward slashes
    size: int  # bytes
    modified_ns: int  # when it was written, in nanoseconds since 1970 UTC


class ObjectStore(Protocol):
    """A folder, of this machine or of a bucket, whose objects have keys.

    Every call raises StoreError where the store refuses.
    """

    url: str

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """Objects in the folder `prefix` (empty for all), folder by folder, in `key_order`.

        A folder that cannot be listed is told to `on_error` and left out; without `on_error` it
        raises StoreError. The store's own files are left out.
        """

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""

    def read_bytes(self, key: str) -> bytes:
        """The whole object. Raises StoreError when there is none."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Put the object in place, whole or not at all."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the object's content, for as long as the context lasts."""

    def reading_edges(self, key: str) -> AbstractContextManager[Path]:
        """Like `reading`, where only the first and last EDGE_BYTES need be right: quicker for
        large objects that lie elsewhere. In between there may be zeros."""

    def writing(self, key: str) -> AbstractContextManager[Path]:
        """A local file to fill; it becomes the object when the context ends without an error."""

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names of the folders that lie directly in the folder `prefix`, in order."""

    def bring(self, key: str, path: Path) -> bool:
        """Make a file of this machine what the object is, whole or not at all.

        An equal file is left alone. What an interrupted call had brought is not brought again,
        where bringing is slow.

        Returns:
            Whether it was anything else before.
        """

    def exclusive(self, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold the store for one writer; another one's end is waited for.

        Args:
            on_wait: called every few seconds while there is another; what it raises ends the
                waiting.
        """


def key_order(key: str) -> "list[str]":
    """What `ObjectStore.list` sorts by: folder by folder, the names in each by code points."""
    return key.split("/")


def checked_key(key: str, url: str) -> str:
    """The key, when it is one: a relative path in its only spelling.

    Raises:
        StoreError: it could lead out of the store at `url`, or be another key's second spelling.
    """
    if "\0" in key or any(name in {"", ".", ".."} for name in key.split("/")):
        raise StoreError(f"{key!r} is not a key: it must be relative and stay inside {url}")
    return key


def is_internal_file(name: str) -> bool:
    """Whether a file of this name is the store's, not its user's."""
    return name in {LOCK_FILE, UPLOAD_MANIFEST} or name.startswith(PARTIAL_PREFIX)
