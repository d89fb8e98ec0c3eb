"""Locks of files, of the operating system: a lock ends with its process, also one that is killed.

Not every disk has such locks. Without one, two runs could write the same results, so that there is
no fallback: the lock fails with what to do.
"""

import errno
from pathlib import Path
from typing import Any, Self

from filelock import AcquireReturnProxy, FileLock

from resources.errors import StoreError

# What flock(2) and its implementations in NFS, SMB and FUSE return for a disk without locks: the
# lock service of an NFS server is not reachable (ENOLCK), or there is no such call.
NO_LOCKS_ERRNOS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class SystemFileLock(FileLock):
    """The operating system's lock of a file, which is created if it is missing.

    Args:
        path: of the lock's file.
        timeout: seconds to wait for it; negative: without an end.
        thread_local: see `filelock.FileLock`.
    """

    def __init__(self, path: Path, timeout: float = -1, thread_local: bool = True) -> None:
        super().__init__(path, timeout, thread_local=thread_local, fallback_to_soft=False)

    def acquire(self, *words: Any, **options: Any) -> "AcquireReturnProxy[Self]":
        """See `filelock.FileLock`.

        Raises:
            StoreError: the disk has no locks.
        """
        try:
            return super().acquire(*words, **options)
        except NotImplementedError:  # by filelock, for ENOSYS
            raise self._no_locks("not implemented") from None
        except OSError as error:
            if error.errno not in NO_LOCKS_ERRNOS:
                raise
            raise self._no_locks(error.strerror or str(error)) from None

    def _no_locks(self, reason: str) -> StoreError:
        return StoreError(
            f"{Path(self.lock_file).parent}: its disk does not lock files ({reason}), so that two "
            "runs could damage each other's files; mount it with locks, or choose a folder on "
            "another disk: docs/production.md#network-disks"
        )
