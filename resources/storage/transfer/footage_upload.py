"""Upload footage from a local disk or memory card to S3; resumable and idempotent.

Objects with the same content are skipped, and an interrupted upload is resumed, large files part by
part. A file that cannot be read is reported and the others continue. Nothing is ever deleted: files
that were deleted from the card stay on S3.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import NamedTuple

from resources.errors import StoreError
from resources.storage.object_store import ObjectStore, StoredObject, key_order
from resources.storage.s3.download import PART_BYTES, SHA256_METADATA
from resources.storage.s3.listing import S3Object
from resources.storage.s3.location import is_unicode, printable
from resources.storage.s3.store import S3Store
from resources.storage.s3.upload import (
    FileChangedError,
    FileDigest,
    NoSuchUploadError,
    UploadStopped,
    digest_file,
)
from resources.storage.transfer.upload_manifest import (
    MultipartUpload,
    UploadedFile,
    UploadManifest,
)

PARALLEL_FILES = 16
# Files that wait for a thread; more would only take memory.
QUEUED_FILES = 4 * PARALLEL_FILES
# From this size on, the manifest is saved before the first part is sent.
RESUMABLE_BYTES = 8 * PART_BYTES
SAVE_SECONDS = 60.0
PROGRESS_SECONDS = 0.5
# Attempts to upload a file that changes meanwhile.
MAX_ATTEMPTS = 3
MAX_KEY_BYTES = 1024  # of a full key in S3


class UploadFailure(NamedTuple):
    """A file that was not uploaded, or a folder (with a slash at its end) that was not listed."""

    key: str
    reason: str


@dataclass
class UploadProgress:
    """The progress of an upload."""

    total_files: int = 0
    total_bytes: int = 0
    uploaded: int = 0  # files
    uploaded_bytes: int = 0
    present: int = 0  # files that were on S3 before
    failures: list[UploadFailure] = field(default_factory=list)
    stopped: bool = False  # before the end


OnProgress = Callable[[UploadProgress], None]


class _FileResult(NamedTuple):
    """The outcome of one file."""

    found: StoredObject
    file: UploadedFile | None = None
    uploaded: bool = False
    reason: str = ""  # if it failed


def upload_footage(
    source: ObjectStore,
    target: S3Store,
    on_progress: OnProgress,
    stop: Event,
    is_included: Callable[[str], bool] = lambda key: True,
) -> UploadProgress:
    """Upload a local folder to S3. Keys stay the same, relative to the two URLs.

    Args:
        on_progress: called in this thread, at least twice a second during the upload.
        stop: once set, no further file is begun, and large files end after the parts in progress;
            the next upload resumes them.
        is_included: returns True for the keys to upload.

    Raises:
        StoreError: the target refuses, or the source cannot be listed at all. Files that were
            uploaded before are not uploaded again.
    """
    manifest = UploadManifest(target)
    upload = _FootageUpload(source, target, manifest, stop)
    progress = upload.run(on_progress, is_included)
    manifest.save()
    return progress


class _FootageUpload:
    """One pass over the source."""

    def __init__(
        self, source: ObjectStore, target: S3Store, manifest: UploadManifest, stop: Event
    ) -> None:
        self._source = source
        self._target = target
        self._manifest = manifest
        self._stop = stop
        self._failed = Event()
        self._progress = UploadProgress()
        self._saved_at = target.clock.now()

    def run(self, on_progress: OnProgress, is_included: Callable[[str], bool]) -> UploadProgress:
        progress = self._progress
        for found in self._source.list("", on_error=lambda key, reason: None):  # see `_pairs`
            if is_included(found.key):
                progress.total_files += 1
                progress.total_bytes += found.size
        on_progress(progress)
        with ThreadPoolExecutor(PARALLEL_FILES, thread_name_prefix="footage-upload") as threads:
            try:
                self._submit_all(threads, on_progress, is_included)
            except BaseException:
                self._failed.set()
                raise
        if not progress.stopped:
            self._manifest.drop_unseen()
        progress.failures.sort()
        on_progress(progress)
        return progress

    def _submit_all(
        self, threads: Executor, on_progress: OnProgress, is_included: Callable[[str], bool]
    ) -> None:
        pending: set[Future[_FileResult]] = set()
        for found, present in self._pairs(is_included):
            if self._stop.is_set():
                self._progress.stopped = True
                break
            if reason := self._invalid_key_reason(found.key):
                self._progress.failures.append(UploadFailure(printable(found.key), reason))
            elif present and self._manifest.contains(
                found.key, file := UploadedFile(found.size, found.modified_ns, present.etag)
            ):
                self._record(_FileResult(found, file))
            else:
                pending.add(threads.submit(self._upload_file, found, present))
            while len(pending) >= QUEUED_FILES:
                pending = self._collect(pending, on_progress)
        while pending:
            pending = self._collect(pending, on_progress)

    def _pairs(
        self, is_included: Callable[[str], bool]
    ) -> Iterator[tuple[StoredObject, S3Object | None]]:
        """Yield each file with the object that has its key on S3: a merge of sorted listings."""

        def on_error(key: str, reason: str) -> None:
            if key == ".":
                raise StoreError(f"{self._source.url}: cannot be listed: {reason}")
            if key.endswith("/") or is_included(key):
                self._progress.failures.append(UploadFailure(printable(key), reason))

        objects = self._target.listing.objects("", None)
        present = next(objects, None)
        for found in self._source.list("", on_error=on_error):
            if not is_included(found.key):
                continue
            while present and key_order(present.key) < key_order(found.key):
                present = next(objects, None)
            yield found, present if present and present.key == found.key else None

    def _invalid_key_reason(self, key: str) -> str | None:
        """Return why a local name cannot be a key on S3, or None."""
        if not is_unicode(key):
            return "its name is not valid UTF-8: rename it"
        if len((self._target.location.prefix + key).encode()) > MAX_KEY_BYTES:
            return f"its name is longer than S3 allows, {MAX_KEY_BYTES} bytes: shorten it"
        return None

    def _collect(
        self, pending: set[Future[_FileResult]], on_progress: OnProgress
    ) -> set[Future[_FileResult]]:
        done, rest = wait(pending, PROGRESS_SECONDS, FIRST_COMPLETED)
        for future in done:
            try:
                self._record(future.result())
            except UploadStopped:
                self._progress.stopped = True
        on_progress(self._progress)
        if self._target.clock.now() - self._saved_at >= SAVE_SECONDS:
            self._manifest.save()
            self._saved_at = self._target.clock.now()
        return rest

    def _record(self, result: _FileResult) -> None:
        progress = self._progress
        if result.file is None:
            progress.failures.append(UploadFailure(printable(result.found.key), result.reason))
            return
        self._manifest.add(result.found.key, result.file)
        if result.uploaded:
            progress.uploaded += 1
            progress.uploaded_bytes += result.file.size
        else:
            progress.present += 1

    def _upload_file(self, found: StoredObject, present: S3Object | None) -> _FileResult:
        """Upload one file; runs in a worker thread."""
        for _ in range(MAX_ATTEMPTS):
            if self._is_stopped():
                raise UploadStopped
            try:
                return self._attempt(found, present)
            except (FileChangedError, NoSuchUploadError):
                present = None
        return _FileResult(found, reason="keeps changing: run again when it is complete")

    def _attempt(self, found: StoredObject, present: S3Object | None) -> _FileResult:
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self._source.reading(found.key))
            except StoreError as error:
                return _FileResult(found, reason=str(error))
            try:
                return self._copy(found, path, present)
            except OSError as error:
                return _FileResult(found, reason=f"cannot be read: {error.strerror or error}")

    def _copy(self, found: StoredObject, path: Path, present: S3Object | None) -> _FileResult:
        before = _state(path)
        size, modified_ns = before
        if size <= PART_BYTES:
            data = path.read_bytes()
            # The file may be in the middle of being written.
            _check_unchanged(path, before)
            present_etag = self._matching_etag(present, size, hashlib.sha256(data).hexdigest())
            etag = present_etag or self._target.uploader.put(found.key, data)
        else:
            digest = digest_file(path, self._is_stopped)
            present_etag = self._matching_etag(present, size, digest.sha256)
            etag = present_etag or self._upload_in_parts(found.key, path, digest)
        _check_unchanged(path, before)
        return _FileResult(
            found, UploadedFile(size, modified_ns, etag), uploaded=present_etag is None
        )

    def _matching_etag(self, present: S3Object | None, size: int, sha256: str) -> str | None:
        """Return the ETag of the present object if it has the file's content."""
        if present is None or present.size != size:
            return None
        head = self._target.head(present.key)
        return head["ETag"] if head["Metadata"].get(SHA256_METADATA) == sha256 else None

    def _upload_in_parts(self, key: str, path: Path, digest: FileDigest) -> str:
        try:
            upload_id, stored = self._resume_or_create(key, digest)
            return self._target.uploader.complete_upload(
                key, path, digest, upload_id, stored, self._is_stopped
            )
        except (FileChangedError, NoSuchUploadError):
            self._abort_pending(key)
            raise

    def _resume_or_create(self, key: str, digest: FileDigest) -> tuple[str, dict[int, str]]:
        """Return the upload id of a large file, and the ETags of the parts that S3 has."""
        pending = self._manifest.pending_upload(key)
        if pending and pending.sha256 == digest.sha256:
            return pending.upload_id, self._target.uploader.list_parts(key, pending.upload_id)
        if pending:
            self._abort_pending(key)
        upload_id = self._target.uploader.create_upload(key, digest)
        self._manifest.add_pending(key, MultipartUpload(upload_id, digest.sha256))
        if digest.size >= RESUMABLE_BYTES:
            self._manifest.save()
        return upload_id, {}

    def _abort_pending(self, key: str) -> None:
        """Delete the parts of an earlier version of the file."""
        pending = self._manifest.pending_upload(key)
        if pending:
            self._target.uploader.abort_upload(key, pending.upload_id)
            self._manifest.remove_pending(key)

    def _is_stopped(self) -> bool:
        return self._stop.is_set() or self._failed.is_set()


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _check_unchanged(path: Path, before: tuple[int, int]) -> None:
    if _state(path) != before:
        raise FileChangedError
