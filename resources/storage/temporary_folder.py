"""Temporary folders that a killed process leaves behind are removed by the next one.

Names are `munin-PURPOSE-PID-RANDOM`. A folder is removed if its process is not running and no
process holds its lock: the processes of a container that shares the folder cannot be seen.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

# In the folder: the lock, which ends with its process, and the folder of the caller.
LOCK_FILE, CONTENT = "lock", "content"

_NAME = re.compile(r"munin-(?:step|exports|media|results)-(\d+)-.+")


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Provide an empty folder in TMPDIR, and delete it; also those of killed processes.

    Args:
        purpose: step, exports, media or results.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"munin-{purpose}-{os.getpid()}-") as name:
        content = Path(name, CONTENT)
        with FileLock(Path(name, LOCK_FILE), fallback_to_soft=False):
            content.mkdir()
            yield content


def _remove_abandoned(parent: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(parent)):
            match = _NAME.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and _is_abandoned(entry, match):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(entry: "os.DirEntry[str]", match: "re.Match[str]") -> bool:
    with suppress(OSError, Timeout):
        if entry.stat(follow_symlinks=False).st_uid != os.getuid():
            return False
        if psutil.pid_exists(int(match[1])):
            return False
        with FileLock(Path(entry.path, LOCK_FILE), timeout=0, fallback_to_soft=False):
            return True
    return False
