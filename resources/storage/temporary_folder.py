"""Temporary folders that a killed process leaves behind are removed by the next one.

Names are `munin-PURPOSE-PID-RANDOM`. A folder is removed if its process is not running and no
process holds its lock: the processes of a container that shares the folder cannot be seen.
"""

import atexit
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

import psutil
from filelock import Timeout

from resources.storage.file_lock import SystemFileLock

# In the folder: the lock, which ends with its process, and the folder of the caller.
LOCK_FILE, CONTENT = "lock", "content"

_NAME = re.compile(r"munin-(?:step|exports|media|results|s3|runs)-(\d+)-.+")
# The names of version 0.1.0 have no process; its folders are removed once they are that old.
_UNNUMBERED = re.compile(r"munin-step-[a-z0-9_]{8}")
UNNUMBERED_SECONDS = 7 * 24 * 3600.0

_process_folders: dict[tuple[str, str, int], Path] = {}
_process_folders_lock = Lock()


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Provide an empty folder in TMPDIR, and delete it; also those of killed processes.

    Args:
        purpose: step, exports, media, results, s3 or runs.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"munin-{purpose}-{os.getpid()}-") as name:
        content = Path(name, CONTENT)
        with SystemFileLock(Path(name, LOCK_FILE)):
            content.mkdir()
            yield content


def process_folder(purpose: str) -> Path:
    """Return a folder in TMPDIR for files of this process, which is deleted at its end.

    One for each purpose; those of killed processes are removed as by `temporary_folder`.

    Raises:
        OSError: TMPDIR cannot be written.
    """
    key = (purpose, tempfile.gettempdir(), os.getpid())
    with _process_folders_lock:
        if key not in _process_folders:
            stack = ExitStack()
            _process_folders[key] = stack.enter_context(temporary_folder(purpose))
            atexit.register(_close_in, os.getpid(), stack)
        return _process_folders[key]


def _close_in(pid: int, stack: ExitStack) -> None:
    """Delete a folder, but not that of the parent of a forked process."""
    if os.getpid() == pid:
        stack.close()


def _remove_abandoned(parent: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(parent)):
            if entry.is_dir(follow_symlinks=False) and _is_abandoned(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(entry: "os.DirEntry[str]") -> bool:
    match = _NAME.fullmatch(entry.name)
    with suppress(OSError, Timeout):
        if match is None:
            return bool(_UNNUMBERED.fullmatch(entry.name)) and _is_old(entry)
        if entry.stat(follow_symlinks=False).st_uid != os.getuid():
            return False
        if psutil.pid_exists(int(match[1])):
            return False
        with SystemFileLock(Path(entry.path, LOCK_FILE), timeout=0):
            return True
    return False


def _is_old(entry: "os.DirEntry[str]") -> bool:
    """Return True for a folder of this user that nobody has written to for a week."""
    found = entry.stat(follow_symlinks=False)
    age = time.time() - found.st_mtime
    return found.st_uid == os.getuid() and age > UNNUMBERED_SECONDS
