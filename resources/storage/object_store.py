"""Object stores for footage and results: one protocol, with one implementation per kind of URL.

A store is a prefix; its keys are relative, with forward slashes. Writes are atomic: a reader sees
the old object or the new one, never a part of it.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from resources.errors import StoreError
from resources.storage.layout import LOCK_FILE, PARTIAL_PREFIX, UPLOAD_MANIFEST

S3_SCHEME = "s3://"
NO_SPACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# Bytes at an object's beginning and end that `reading_edges` reads: where videos have headers.
EDGE_BYTES = 256 * 1024

MAX_TIME_NS = 2**63 - 1

# Called with the key of a folder that cannot be listed (with a slash at its end; "." is the store
# itself) or of an entry that is not a file, such as a broken link, and the reason.
OnListError = Callable[[str, str], None]


class StoredObject(NamedTuple):
    """An object in a listing."""

    key: str  # relative to the store, with forward slashes
    size: int  # bytes
    modified_ns: int  # time of writing, in nanoseconds since 1970 UTC


class ObjectStore(Protocol):
    """A folder on this machine or in a bucket, whose objects have keys.

    Every call raises StoreError if the store refuses.
    """

    url: str

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """List the objects in the folder `prefix` (empty for all) in the order of `key_order`.

        A folder that cannot be listed is passed to `on_error` and skipped; without `on_error` it
        raises StoreError. An entry that is not a file is passed on too, but is no error. The
        store's internal files are left out.
        """

    def exists(self, key: str) -> bool:
        """Return True if there is an object with this key."""

    def read_bytes(self, key: str) -> bytes:
        """Return the content of the object. Raise StoreError if there is none."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write the object atomically."""

    def delete(self, key: str) -> None:
        """Delete the object, if there is one."""

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """Provide the object's content as a local file while the context lasts.

        The file has the date that `list` gives the object.
        """

    def reading_edges(self, key: str) -> AbstractContextManager[Path]:
        """Provide a local file whose first and last EDGE_BYTES are the object's.

        Faster than `reading` for large remote objects. The bytes in between may be zeros.
        """

    def writing(self, key: str) -> AbstractContextManager[Path]:
        """Provide a local file to fill; it becomes the object if the context ends without error."""

    def folders(self, prefix: str = "") -> Iterator[str]:
        """List the names of the folders directly in the folder `prefix`, in order."""

    def download_to(self, key: str, path: Path) -> bool:
        """Make a local file equal to the object, atomically.

        An equal file is left alone. On S3 an interrupted download is resumed.

        Returns:
            True if the file was missing or different.
        """

    def exclusive(self, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Lock the store for one writer; wait until another writer's lock ends.

        Args:
            on_wait: called while waiting; an exception that it raises ends the wait.
        """


def modified_ns(stat: os.stat_result) -> int:
    """Return a file's date as objects have it; tables hold 64 bits, which end in 2262."""
    return max(-MAX_TIME_NS, min(stat.st_mtime_ns, MAX_TIME_NS))


def key_order(key: str) -> "list[str]":
    """Return the sort key of `ObjectStore.list`: folder by folder, names by code points."""
    return key.split("/")


def checked_key(key: str, url: str) -> str:
    """Return the key, if it is a relative path in its canonical form.

    Raises:
        StoreError: it could point outside the store at `url`, or be an alias of another key.
    """
    if unusable_name(key) is not None:
        raise StoreError(f"{key!r} is not a key: it must be relative and stay inside {url}")
    return key


def unusable_name(key: str) -> str | None:
    """Return the first name in a key that no file can have; None if all are usable.

    S3 has objects with such keys (`north//1.jpg` has an empty name); no store opens them.
    """
    return next((name for name in key.split("/") if name in {"", ".", ".."} or "\0" in name), None)


def is_internal_file(name: str) -> bool:
    """Return True for a file of the store itself: a lock, a manifest, a partial write."""
    return name in {LOCK_FILE, UPLOAD_MANIFEST} or name.startswith(PARTIAL_PREFIX)
