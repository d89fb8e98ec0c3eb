"""Paths that users type: `~` is their home, and what is not a plain file is named."""

import stat
from pathlib import Path

from resources.errors import UsageError

_SPECIAL_FILES = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISBLK, "is a device"),
    (stat.S_ISCHR, "is a device"),
)


def user_path(text: str) -> Path:
    """Return a path as the user typed it, with `~` and `~ada` replaced by the home of that user.

    Raises:
        UsageError: there is no such user or home, or no file can have this name.
    """
    if "\0" in text:
        raise UsageError(f"{text!r}: is not a path: it has a null character")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{text}: {Path(text).parts[0]} is not the home of a user of this machine; write the "
            f"path in full, or ./{text} for a folder of that name"
        ) from None


def special_file(mode: int) -> str | None:
    """Return what an entry of a folder is, as `is a named pipe`; None for a plain file.

    Args:
        mode: `st_mode` of its status.
    """
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _SPECIAL_FILES if test(mode)), "is of an unknown kind")
