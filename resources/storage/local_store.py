"""The object store in a folder of this machine."""

import errno
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from resources.errors import StoreError, UsageError
from resources.storage.layout import LOCK_FILE, PARTIAL_PREFIX
from resources.storage.object_store import (
    NO_SPACE_ERRNOS,
    OnListError,
    StoredObject,
    checked_key,
    is_internal_file,
)

UMASK = os.umask(0o022)
os.umask(UMASK)
# Seconds between two attempts to take a lock that another process holds.
LOCK_POLL_SECONDS = 0.5


def local_path(url: str) -> Path:
    """Return the absolute path of a `file://` URL or a plain path.

    Raises:
        UsageError: the URL has another scheme, or names another machine.
    """
    if "://" not in url:
        return Path(os.path.abspath(Path(url).expanduser()))  # noqa: PTH100 (keeps symlinks)
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise UsageError(f"{url}: cannot be opened; use a path or a file:// URL")
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{url}: names the machine {parts.netloc}; write file:///{parts.netloc}…")
    # File names may be invalid UTF-8; `as_uri` percent-encodes their bytes.
    path = unquote(parts.path, errors="surrogateescape")
    return Path(os.path.abspath(path))  # noqa: PTH100


class LocalStore:
    """An object store in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 (keeps symlinks)
        self.url = self.root.as_uri()

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore. Symbolic links are followed, but not into a parent folder (a cycle)."""
        yield from self._walk(self._path(prefix) if prefix else self.root, on_error, ())

    def _walk(
        self, folder: Path, on_error: OnListError | None, parents: tuple[tuple[int, int], ...]
    ) -> Iterator[StoredObject]:
        try:
            stat = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            if on_error is None:
                raise self._store_error("list", str(folder), error) from None
            on_error(self._key(folder), error.strerror or str(error))
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity in parents:
            return
        for entry in entries:
            try:
                is_folder, found = entry.is_dir(), entry.stat()
            except OSError as error:
                # Deleted since it was listed, or a broken link: there is no object. Only a lack
                # of permission is reported.
                if on_error is not None and error.errno in {errno.EACCES, errno.EPERM}:
                    on_error(self._key(Path(entry.path)), error.strerror or str(error))
                continue
            if is_folder:
                yield from self._walk(Path(entry.path), on_error, (*parents, identity))
            elif not is_internal_file(entry.name):
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
            raise self._store_error("list", str(folder), error) from None

    def download_to(self, key: str, path: Path) -> bool:
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
            raise self._store_error("read", key, error) from None

    def write_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        with self.writing(key) as path:
            path.write_bytes(data)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._store_error("delete", key, error) from None

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        """See ObjectStore."""
        path = self._path(key)
        if not path.is_file():
            raise StoreError(f"{path}: no such file")
        yield path

    def reading_edges(self, key: str) -> AbstractContextManager[Path]:
        """See ObjectStore. Provides the file itself."""
        return self.reading(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """See ObjectStore. Data is flushed before the rename, so that a power cut loses no part."""
        target = self._path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                prefix=PARTIAL_PREFIX, suffix=target.suffix, dir=target.parent
            )
            os.close(handle)
        except OSError as error:
            raise self._store_error("write", key, error) from None
        partial = Path(name)
        try:
            yield partial
            _flush_to_disk(partial)
            partial.chmod(0o666 & ~UMASK)
            partial.replace(target)
        except OSError as error:
            raise self._store_error("write", key, error) from None
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """See ObjectStore. The operating system releases the lock when its process ends."""
        # Not a soft lock, which a killed process would leave behind.
        lock = FileLock(self.root / LOCK_FILE, fallback_to_soft=False, thread_local=False)
        while not self._try_lock(lock):
            on_wait()
            time.sleep(LOCK_POLL_SECONDS)
        try:
            self._remove_partial_writes()
            yield
        finally:
            lock.release()

    def _try_lock(self, lock: FileLock) -> bool:
        """Acquire the lock; return False if another process or thread holds it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise self._store_error("write", LOCK_FILE, error) from None
        return True

    def _remove_partial_writes(self) -> None:
        """Delete the files that killed writers left; called while the store is locked.

        Folders below that have their own lock are other stores, and are skipped.
        """
        for folder, subfolders, files in os.walk(self.root):
            if LOCK_FILE in files and Path(folder) != self.root:
                subfolders.clear()
                continue
            for name in files:
                if name.startswith(PARTIAL_PREFIX):
                    (Path(folder) / name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key, self.url)

    def _store_error(self, action: str, key: str, error: OSError) -> StoreError:
        if error.errno in NO_SPACE_ERRNOS:
            return StoreError(
                f"{self.root}: no space left to {action} {key}; free some space and run again: "
                "finished work is saved"
            )
        return StoreError(f"{self.root}: cannot {action} {key}: {error.strerror or error}")


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
