"""Where footage and results lie: one interface, a form for each kind of URL.

A store is a prefix; its keys are relative, with forward slashes. Nothing half written is ever
seen under a key: a write becomes the object at once and whole, or not at all.
"""

import errno
import fcntl
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from resources.errors import StoreError, UsageError

if TYPE_CHECKING:
    from resources.aws.clients import AwsClients

UMASK = os.umask(0o022)
os.umask(UMASK)

# Temporary files of unfinished writes: the next holder removes them.
PARTIAL_PREFIX = ".partial-"
LOCK_FILE = ".lock"
# How often a store that another one holds is asked for, in seconds.
LOOK_SECONDS = 0.5
# What was copied into a store, and when: see staging.
STAGED_FILE = ".staged"
S3_SCHEME = "s3://"
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# How much of an object's beginning and end `reading_edges` reads: the headers of videos lie there.
EDGE_BYTES = 256 * 1024

# What went wrong while listing, told to the caller: the folder's key and the reason.
OnListError = Callable[[str, str], None]


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


def is_stores_own(name: str) -> bool:
    """Whether a file of this name is the store's, not its user's."""
    return name in {LOCK_FILE, STAGED_FILE} or name.startswith(PARTIAL_PREFIX)


def open_store(url: str, clients: "AwsClients | None" = None) -> ObjectStore:
    """The store of an `s3://` URL, a `file://` URL or a plain path.

    Args:
        clients: of AWS; what lies on this machine needs none.

    Raises:
        UsageError: a URL of a kind that is not known, or one on S3 without `clients`.
    """
    if not url.startswith(S3_SCHEME):
        return LocalStore(local_path(url))
    if clients is None:
        raise UsageError(
            f"{url}: lies on AWS, and the profile has no cloud section; use --profile cloud"
        )
    from resources.storage.s3.store import S3Store  # boto3 is needed for S3 alone

    return S3Store(url, clients, clock=clients.clock)


def local_path(url: str) -> Path:
    """The absolute path that a `file://` URL or a plain path names.

    Raises:
        UsageError: the URL is of another kind, or names another machine.
    """
    if "://" not in url:
        return Path(os.path.abspath(Path(url).expanduser()))  # noqa: PTH100 (keeps symlinks)
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise UsageError(f"{url}: cannot be opened; use a path or a file:// URL")
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{url}: names the machine {parts.netloc}; write file:///{parts.netloc}…")
    # File systems allow names that are no text; `as_uri` writes their bytes.
    path = unquote(parts.path, errors="surrogateescape")
    return Path(os.path.abspath(path))  # noqa: PTH100


def shown_url(url: str) -> str:
    """A URL as a person writes it: what lies on this machine is a path."""
    return url if url.startswith(S3_SCHEME) else str(local_path(url))


class LocalStore:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 (keeps symlinks)
        self.url = self.root.as_uri()

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore. Links are followed, but never back into a folder they lie in."""
        yield from self._walk(self._path(prefix) if prefix else self.root, on_error, ())

    def _walk(
        self, folder: Path, on_error: OnListError | None, above: tuple[tuple[int, int], ...]
    ) -> Iterator[StoredObject]:
        try:
            stat = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            if on_error is None:
                raise self._explain("list", str(folder), error) from None
            on_error(self._key(folder), error.strerror or str(error))
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity in above:
            return
        for entry in entries:
            try:
                is_folder, found = entry.is_dir(), entry.stat()
            except OSError as error:
                # Removed since it was listed, a link to nothing or to itself: there is no object.
                # What lies behind a closed door is told.
                if on_error is not None and error.errno in {errno.EACCES, errno.EPERM}:
                    on_error(self._key(Path(entry.path)), error.strerror or str(error))
                continue
            if is_folder:
                yield from self._walk(Path(entry.path), on_error, (*above, identity))
            elif not is_stores_own(entry.name):
                yield StoredObject(self._key(Path(entry.path)), found.st_size, found.st_mtime_ns)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        folder = self._path(prefix) if prefix else self.root
        try:
            yield from sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._explain("list", str(folder), error) from None

    def bring(self, key: str, path: Path) -> bool:
        """See ObjectStore."""
        with self.reading(key) as source:
            if path.is_file() and filecmp.cmp(source, path, shallow=False):
                return False
            with LocalStore(path.parent).writing(path.name) as copy:
                shutil.copyfile(source, copy)
        return True

    def exists(self, key: str) -> bool:
        """See ObjectStore."""
        return self._path(key).is_file()

    def read_bytes(self, key: str) -> bytes:
        """See ObjectStore."""
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise self._explain("read", key, error) from None

    def write_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        with self.writing(key) as path:
            path.write_bytes(data)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._explain("delete", key, error) from None

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        """See ObjectStore."""
        path = self._path(key)
        if not path.is_file():
            raise StoreError(f"{path}: no such file")
        yield path

    def reading_edges(self, key: str) -> AbstractContextManager[Path]:
        """See ObjectStore. It is the file itself."""
        return self.reading(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """See ObjectStore. The file is on disk before its name is: a power cut loses no part."""
        target = self._path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                prefix=PARTIAL_PREFIX, suffix=target.suffix, dir=target.parent
            )
            os.close(handle)
        except OSError as error:
            raise self._explain("write", key, error) from None
        partial = Path(name)
        try:
            yield partial
            _flush_to_disk(partial)
            partial.chmod(0o666 & ~UMASK)
            partial.replace(target)
        except OSError as error:
            raise self._explain("write", key, error) from None
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """See ObjectStore. The lock ends with the process that holds it, however that ends."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError as error:
            raise self._explain("write", LOCK_FILE, error) from None
        try:
            while not _locked(handle):
                on_wait()
                time.sleep(LOOK_SECONDS)
            self._remove_partial_writes()
            yield
        finally:
            os.close(handle)

    def _remove_partial_writes(self) -> None:
        """Remove what writers that were killed left; nobody else is writing now.

        But in a folder below, which is another store when it has a lock of its own.
        """
        for folder, below, files in os.walk(self.root):
            if LOCK_FILE in files and Path(folder) != self.root:
                below.clear()
                continue
            for name in files:
                if name.startswith(PARTIAL_PREFIX):
                    (Path(folder) / name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key, self.url)

    def _explain(self, what: str, key: str, error: OSError) -> StoreError:
        if error.errno in NO_SPACE:
            return StoreError(
                f"{self.root}: no space left to {what} {key}; make room and run again: what is "
                "finished is kept"
            )
        return StoreError(f"{self.root}: cannot {what} {key}: {error.strerror or error}")


def _locked(handle: int) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
