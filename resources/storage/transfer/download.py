"""Results come home: from wherever they lie to a folder of this machine, as often as it takes.

A file that is there and equal is left alone, one that an interrupted copy had begun goes on where
it was (`ObjectStore.bring`). Nothing is ever deleted.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resources.storage.object_store import ObjectStore, StoredObject, checked_key

PARALLEL_FILES = 8
PROGRESS_SECONDS = 0.5


class DownloadItem(NamedTuple):
    """An object to bring, and where it goes, relative to the folder."""

    found: StoredObject
    to: str


@dataclass
class TransferProgress:
    """How far it has come; bytes are those of finished files."""

    total_files: int
    total_bytes: int
    files: int = 0
    bytes: int = 0
    present: int = 0  # of the files: these were here and equal


OnProgress = Callable[[TransferProgress], None]


def download_all(
    source: ObjectStore, wanted: Sequence[DownloadItem], folder: Path, on_progress: OnProgress
) -> TransferProgress:
    """Copy objects into a folder of this machine.

    Args:
        on_progress: called in this thread, at least twice a second.

    Raises:
        StoreError: an object cannot be had or is damaged, or there is no room. What has arrived
            until then is not copied again, nor is it after an interrupt.
    """
    brought = TransferProgress(len(wanted), sum(each.found.size for each in wanted))
    on_progress(brought)
    threads = ThreadPoolExecutor(PARALLEL_FILES, thread_name_prefix="bring")
    try:
        left = {
            threads.submit(
                source.bring, each.found.key, folder / checked_key(each.to, source.url)
            ): each
            for each in wanted
        }
        while left:
            done, _ = wait(left, PROGRESS_SECONDS, FIRST_COMPLETED)
            for future in done:
                _note(brought, left.pop(future), future)
            on_progress(brought)
    finally:
        threads.shutdown(cancel_futures=True)
    return brought


def _note(brought: TransferProgress, wanted: DownloadItem, future: Future[bool]) -> None:
    brought.present += not future.result()
    brought.files += 1
    brought.bytes += wanted.found.size
