"""Temporary folders that a killed process does not leave for ever: the next one removes them.

Names are `munin-PURPOSE-PID-RANDOM`. A folder is removed if its process is not running and nobody
holds its lock: the processes of a container that shares the folder cannot be seen.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_NAME = re.compile(r"munin-(?:step|exports|media|results)-(\d+)-.+")


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Provide an empty folder in TMPDIR, and delete it; also those of killed processes.

    Args:
        purpose: step, exports, media or results.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"munin-{purpose}-{os.getpid()}-") as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # ends with the process
            yield Path(name)
        finally:
            os.close(handle)


def _remove_abandoned(parent: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(parent)):
            match = _NAME.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and _is_abandoned(entry, match):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(entry: "os.DirEntry[str]", match: "re.Match[str]") -> bool:
    with suppress(OSError):
        if entry.stat(follow_symlinks=False).st_uid != os.getuid():
            return False
        if psutil.pid_exists(int(match[1])):
            return False
        handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
        return True
    return False
