"""The error of a models folder that cannot be written."""

from pathlib import Path

from resources.errors import StoreError
from resources.storage.object_store import NO_SPACE_ERRNOS


def write_error(folder: Path, error: OSError) -> StoreError:
    """Return the error of a folder that cannot be written."""
    if error.errno in NO_SPACE_ERRNOS:
        return StoreError(
            f"{folder}: no space left for the download; free some space and run the same "
            "command again, or set models.folder to another disk"
        )
    return StoreError(
        f"{folder}: cannot be written: {error.strerror or error}; set models.folder to a "
        "writable folder"
    )
