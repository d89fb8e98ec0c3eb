"""The object store in a folder of this machine."""

import errno
import filecmp
import os
import shutil
import stat
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from filelock import Timeout

from resources.errors import StoreError, UsageError
from resources.storage.file_lock import SystemFileLock
from resources.storage.layout import LOCK_FILE, PARTIAL_PREFIX
from resources.storage.object_store import (
    NO_SPACE_ERRNOS,
    OnListError,
    StoredObject,
    checked_key,
    is_internal_file,
    modified_ns,
)
from resources.user_path import special_file, user_path

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
        return Path(os.path.abspath(user_path(url)))  # noqa: PTH100 (keeps symlinks)
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise UsageError(f"{url}: cannot be opened; use a path or a file:// URL")
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{url}: names the machine {parts.netloc}; write file:///{parts.netloc}…")
    # File names may be invalid UTF-8; `as_uri` percent-encodes their bytes.
    path = unquote(parts.path, errors="surrogateescape")
    return Path(os.path.abspath(path))  # noqa: PTH100


class _Unread(NamedTuple):
    """A folder to list, or, with a reason, an entry that is neither a folder nor a file."""

    key: PurePosixPath
    path: Path
    reason: str | None = None


class LocalStore:
    """An object store in a folder of this machine.

    Keys are in Unicode's form NFC. The same name may be in another form on disk: macOS stores NFD.
    """

    def __init__(self, root: Path) -> None:
        given = Path(os.path.abspath(root))  # noqa: PTH100 (keeps symlinks)
        self.root = _on_disk(given)
        self.url = given.as_uri()

    def path(self, key: str) -> Path:
        """Return the path of an object's file, with its names as the disk has them."""
        return _on_disk(self.root / checked_key(key, self.url))

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore. Symbolic links are followed; each folder is listed once."""
        start = PurePosixPath(prefix)
        seen: set[tuple[int, int]] = set()
        # A stack, not recursion: a card may have a thousand nested folders.
        folder = self.path(prefix) if prefix else self.root
        levels = [self._entries(folder, start, on_error, seen)]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop()
            elif isinstance(entry, StoredObject):
                yield entry
            elif entry.reason is None:
                levels.append(self._entries(entry.path, entry.key, on_error, seen))
            elif on_error is not None:
                on_error(str(entry.key), entry.reason)

    def _entries(
        self,
        folder: Path,
        key: PurePosixPath,
        on_error: OnListError | None,
        seen: set[tuple[int, int]],
    ) -> "Iterator[StoredObject | _Unread]":
        """Return the entries of a folder in order; nothing if it was listed under another name.

        Args:
            seen: device and inode of the folders listed so far; this one is added.
        """
        try:
            found_folder = folder.stat()
            identity = (found_folder.st_dev, found_folder.st_ino)
            if identity in seen:
                return
            seen.add(identity)
            named = named_entries(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if on_error is None:
                raise self._store_error("list", str(folder), error) from None
            on_error(_folder_key(key), error.strerror or str(error))
            return
        for name, entry in named:
            if (found := _entry(entry, key / name)) is not None:
                yield found

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        folder = self.path(prefix) if prefix else self.root
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
        return self.path(key).is_file()

    def read_bytes(self, key: str) -> bytes:
        """See ObjectStore."""
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            raise self._store_error("read", key, error) from None

    def write_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        with self.writing(key) as path:
            path.write_bytes(data)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._store_error("delete", key, error) from None

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        """See ObjectStore."""
        path = self.path(key)
        try:
            mode = path.stat().st_mode
        except OSError:
            raise StoreError(f"{path}: no such file") from None
        if special_file(mode):
            raise StoreError(f"{path}: {special_file(mode)}, not a file")
        yield path

    def reading_edges(self, key: str) -> AbstractContextManager[Path]:
        """See ObjectStore. Provides the file itself."""
        return self.reading(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """See ObjectStore. Data is flushed before the rename, so that a power cut loses no part.

        A file that is replaced keeps its permissions.
        """
        target = self.path(key)
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
            _set_access(partial, target)
            partial.replace(target)
        except OSError as error:
            raise self._store_error("write", key, error) from None
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """See ObjectStore. The operating system releases the lock when its process ends."""
        # Not a soft lock, which a killed process would leave behind.
        lock = SystemFileLock(self.root / LOCK_FILE, thread_local=False)
        while not self._try_lock(lock):
            on_wait()
            time.sleep(LOCK_POLL_SECONDS)
        try:
            self._remove_partial_writes()
            yield
        finally:
            lock.release()

    def _try_lock(self, lock: SystemFileLock) -> bool:
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

    def _store_error(self, action: str, key: str, error: OSError) -> StoreError:
        if error.errno in NO_SPACE_ERRNOS:
            return StoreError(
                f"{self.root}: no space left to {action} {key}; free some space and run again: "
                "finished work is saved"
            )
        return StoreError(f"{self.root}: cannot {action} {key}: {error.strerror or error}")


def _entry(entry: "os.DirEntry[str]", key: PurePosixPath) -> "StoredObject | _Unread | None":
    """Return an entry of a folder; None if there is no object."""
    try:
        if entry.is_dir():
            return _Unread(key, Path(entry.path))
        found = entry.stat()
    except OSError as error:
        reason = _broken(entry, error)
        return None if reason is None else _Unread(key, Path(entry.path), reason)
    if reason := special_file(found.st_mode):
        return _Unread(key, Path(entry.path), reason)
    if is_internal_file(entry.name):
        return None
    return StoredObject(str(key), found.st_size, modified_ns(found))


def _folder_key(key: PurePosixPath) -> str:
    return "." if key == PurePosixPath() else f"{key}/"


def _broken(entry: "os.DirEntry[str]", error: OSError) -> str | None:
    """Return why an entry cannot be read; None if it was deleted since it was listed."""
    if not entry.is_symlink():
        return None if error.errno == errno.ENOENT else f"cannot be read: {error.strerror or error}"
    if error.errno == errno.ELOOP:
        return "is a link that leads to itself"
    if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
        return f"is a link to a file that cannot be read: {error.strerror or error}"
    try:
        target = str(Path(entry.path).readlink())
    except OSError:
        return None
    if ".git/annex/objects/" in target:
        return "is a link of git-annex whose content is not here: run git annex get"
    return "is a link to a file that does not exist"


def named_entries(folder: Path) -> "list[tuple[str, os.DirEntry[str]]]":
    """Return the entries of a folder, by the names that keys have, in order.

    A name is in NFC, unless another file of the folder has that name: no two are merged.
    """
    entries = {entry.name: entry for entry in os.scandir(folder)}
    named = dict(entries)
    for name in sorted(name for name in entries if not name.isascii()):
        normal = unicodedata.normalize("NFC", name)
        if normal not in named:
            named[normal] = named.pop(name)
    return sorted(named.items(), key=lambda item: item[0])


def _on_disk(path: Path) -> Path:
    """Return a path with each name in the Unicode form that the disk has; itself if it is new."""
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for name in path.relative_to(path.anchor).parts:
        found = found / _name_on_disk(found, name)
    return found


def _name_on_disk(parent: Path, name: str) -> str:
    """Return a name of a folder in the Unicode form that the disk has; itself if it is new."""
    if name.isascii() or os.path.lexists(parent / name):
        return name
    decomposed = unicodedata.normalize("NFD", name)
    if os.path.lexists(parent / decomposed):
        return decomposed
    normal = unicodedata.normalize("NFC", name)
    try:
        listed = sorted(os.listdir(parent))  # noqa: PTH208 (names)
    except OSError:
        listed = []
    same = (each for each in listed if unicodedata.normalize("NFC", each) == normal)
    return next(same, name)


def _set_access(partial: Path, target: Path) -> None:
    """Give a new file the permissions and the owner of the file that it replaces, if there is one.

    The owner differs if root edits the profile of somebody, who must be able to read it afterwards.
    """
    try:
        before = target.stat()
    except FileNotFoundError:
        partial.chmod(0o666 & ~UMASK)
        return
    with suppress(OSError):  # only root may give a file away, and not on every disk
        if (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
            os.chown(partial, before.st_uid, before.st_gid)
    partial.chmod(stat.S_IMODE(before.st_mode) & 0o777)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
