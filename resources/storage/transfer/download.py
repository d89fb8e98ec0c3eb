"""Download objects to a local folder; resumable and idempotent.

A file that is present and equal is skipped, an interrupted download is resumed
(`ObjectStore.download_to`). Nothing is ever deleted.
"""

import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resources.errors import StoreError
from resources.storage.object_store import ObjectStore, StoredObject, checked_key

PARALLEL_FILES = 8
PROGRESS_SECONDS = 0.5


class DownloadItem(NamedTuple):
    """An object to download, and its target path relative to the folder."""

    found: StoredObject
    to: str


@dataclass
class TransferProgress:
    """The progress of a transfer; bytes are those of finished files."""

    total_files: int
    total_bytes: int
    files: int = 0
    bytes: int = 0
    present: int = 0  # of the files: these were present and equal


OnProgress = Callable[[TransferProgress], None]


def download_all(
    source: ObjectStore, items: Sequence[DownloadItem], folder: Path, on_progress: OnProgress
) -> TransferProgress:
    """Download objects to a local folder.

    Args:
        on_progress: called in this thread, at least twice a second.

    Raises:
        StoreError: two paths differ only by case; or an object cannot be read or is damaged, or the
            disk is full. Files that were downloaded before are not downloaded again, nor are they
            after an interrupt.
    """
    _refuse_case_conflicts(items)
    progress = TransferProgress(len(items), sum(item.found.size for item in items))
    on_progress(progress)
    threads = ThreadPoolExecutor(PARALLEL_FILES, thread_name_prefix="download")
    try:
        pending = {
            threads.submit(
                source.download_to, item.found.key, folder / checked_key(item.to, source.url)
            ): item
            for item in items
        }
        while pending:
            done, _ = wait(pending, PROGRESS_SECONDS, FIRST_COMPLETED)
            for future in done:
                progress.present += not future.result()
                progress.files += 1
                progress.bytes += pending.pop(future).found.size
            on_progress(progress)
    finally:
        threads.shutdown(cancel_futures=True)
    return progress


def _refuse_case_conflicts(items: Sequence[DownloadItem]) -> None:
    """Refuse two paths that are one file on a case-insensitive disk: macOS, Windows."""
    paths: dict[str, str] = {}
    for item in items:
        other = paths.setdefault(unicodedata.normalize("NFC", item.to).casefold(), item.to)
        if other != item.to:
            raise StoreError(f"{other} and {item.to} differ only by case; rename one of them")
