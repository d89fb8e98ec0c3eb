"""Footage goes up: from this machine's disk or card to S3, as often as it takes.

What is there already with the same content is left alone; what an interrupted copy had sent is not
sent again, part for part in large files. A file that cannot be read is reported and the rest goes
on. Nothing is ever deleted: what is gone from the card stays where it was copied to.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple
from urllib.parse import urlsplit

from resources.errors import StoreError
from resources.storage.layout import FOOTAGE_FOLDER
from resources.storage.object_store import S3_SCHEME, ObjectStore, StoredObject, key_order
from resources.storage.s3.download import PART_BYTES, SHA256_METADATA
from resources.storage.s3.listing import S3Object
from resources.storage.s3.location import is_unicode, printable
from resources.storage.s3.store import S3Store
from resources.storage.s3.upload import (
    FileDigest,
    FileChangedError,
    NoSuchUploadError,
    UploadStopped,
    digest_file,
)
from resources.storage.transfer.upload_manifest import UploadedFile, UploadManifest, MultipartUpload

PARALLEL_FILES = 16
# Files that wait for a thread; more would only take memory.
QUEUED_FILES = 4 * PARALLEL_FILES
# From this size on, the manifest is saved before the first part goes up.
RESUMABLE_BYTES = 8 * PART_BYTES
SAVE_SECONDS = 60.0
PROGRESS_SECONDS = 0.5
# Times that a file is sent which changes meanwhile.
MAX_ATTEMPTS = 3
MAX_KEY_BYTES = 1024  # bytes, of a full key in S3


class UploadFailure(NamedTuple):
    """A file, or a folder with a slash at its end, and why it was not copied."""

    key: str
    reason: str


@dataclass
class UploadProgress:
    """How far a copy has come."""

    total_files: int = 0  # at the source
    total_bytes: int = 0
    uploaded: int = 0  # files
    uploaded_bytes: int = 0
    present: int = 0  # files that were there already
    present_bytes: int = 0
    partial_bytes: int = 0  # of large files that are on their way
    failures: list[UploadFailure] = field(default_factory=list)
    only_in_target: int = 0  # objects that the source does not have (any more)
    stopped: bool = False  # before the end


OnProgress = Callable[[UploadProgress], None]


class _Sent(NamedTuple):
    """What came of one file."""

    found: StoredObject
    copied: UploadedFile | None = None
    uploaded: bool = False
    reason: str = ""  # why not


def uploaded_footage_url(camera_id: str, output_url: str) -> str:
    """Where footage that lies here is copied to: in the bucket of the camera's results."""
    return f"{S3_SCHEME}{urlsplit(output_url).netloc}/{FOOTAGE_FOLDER}{camera_id}"


def everything(key: str) -> bool:
    """All files are wanted."""
    return True


def upload_footage(
    source: ObjectStore,
    target: S3Store,
    on_progress: OnProgress,
    stop: Event,
    wanted: Callable[[str], bool] = everything,
) -> UploadProgress:
    """Copy a folder of this machine to S3. Keys stay, relative to the two URLs.

    Args:
        on_progress: called in this thread, at least twice a second while files are on their way.
        stop: once set, no further file is begun, and large ones end after the parts in flight;
            the next copy goes on from there.
        wanted: whether a key is to be copied.

    Raises:
        StoreError: the target refuses, or the source as a whole cannot be listed. What has been
            copied until then is not copied again.
    """
    manifest = UploadManifest(target)
    copy = _Copy(source, target, manifest, stop)
    staged = copy.run(on_progress, wanted)
    manifest.save()
    return staged


class _Copy:
    """One pass over the source."""

    def __init__(
        self, source: ObjectStore, target: S3Store, manifest: UploadManifest, stop: Event
    ) -> None:
        self._source = source
        self._target = target
        self._manifest = manifest
        self._stop = stop
        self._failed = Event()
        self._staged = UploadProgress()
        self._partial: Counter[str] = Counter()  # bytes of large files that have arrived
        self._counting = Lock()
        self._saved = target.clock.now()

    def run(self, on_progress: OnProgress, wanted: Callable[[str], bool]) -> UploadProgress:
        staged = self._staged
        for found in self._source.list("", on_error=lambda key, reason: None):  # told below
            if wanted(found.key):
                staged.total_files += 1
                staged.total_bytes += found.size
        on_progress(staged)
        with ThreadPoolExecutor(PARALLEL_FILES, thread_name_prefix="stage-up") as threads:
            try:
                self._feed(threads, on_progress, wanted)
            except BaseException:
                self._failed.set()
                raise
        if not staged.stopped:
            self._manifest.forget_earlier()
        staged.failures.sort()
        on_progress(staged)
        return staged

    def _feed(
        self, threads: Executor, on_progress: OnProgress, wanted: Callable[[str], bool]
    ) -> None:
        waiting: set[Future[_Sent]] = set()
        for found, there in self._pairs(wanted):
            if self._stop.is_set():
                self._staged.stopped = True
                break
            if found is None:
                self._staged.only_in_target += 1
            elif reason := self._not_a_key(found.key):
                self._staged.failures.append(UploadFailure(printable(found.key), reason))
            elif there and self._manifest.holds(
                found.key, UploadedFile(found.size, found.modified_ns, there.etag)
            ):
                self._note(_Sent(found, UploadedFile(found.size, found.modified_ns, there.etag)))
            else:
                waiting.add(threads.submit(self._send, found, there))
            while len(waiting) >= QUEUED_FILES:
                waiting = self._collect(waiting, on_progress)
        while waiting:
            waiting = self._collect(waiting, on_progress)

    def _pairs(
        self, wanted: Callable[[str], bool]
    ) -> Iterator[tuple[StoredObject | None, S3Object | None]]:
        """Each file with the object of its key, each without the other too; in order."""

        def unlisted(key: str, reason: str) -> None:
            if key == ".":
                raise StoreError(f"{self._source.url}: cannot be listed: {reason}")
            self._staged.failures.append(UploadFailure(f"{printable(key)}/", reason))

        theirs = self._target.listing.objects("", None)
        there = next(theirs, None)
        for found in self._source.list("", on_error=unlisted):
            if not wanted(found.key):
                continue
            while there and key_order(there.key) < key_order(found.key):
                yield None, there
                there = next(theirs, None)
            if there and there.key == found.key:
                yield found, there
                there = next(theirs, None)
            else:
                yield found, None
        while there:
            yield None, there
            there = next(theirs, None)

    def _not_a_key(self, key: str) -> str | None:
        """Why a name of this machine cannot be one on S3."""
        if not is_unicode(key):
            return "its name is not valid UTF-8: rename it"
        if len((self._target.location.prefix + key).encode()) > MAX_KEY_BYTES:
            return f"its name is longer than S3 allows, {MAX_KEY_BYTES} bytes: shorten it"
        return None

    def _collect(self, waiting: set[Future[_Sent]], on_progress: OnProgress) -> set[Future[_Sent]]:
        done, rest = wait(waiting, PROGRESS_SECONDS, FIRST_COMPLETED)
        for future in done:
            try:
                self._note(future.result())
            except UploadStopped:
                self._staged.stopped = True
        with self._counting:
            self._staged.partial_bytes = self._partial.total()
        on_progress(self._staged)
        if self._target.clock.now() - self._saved >= SAVE_SECONDS:
            self._manifest.save()
            self._saved = self._target.clock.now()
        return rest

    def _note(self, sent: _Sent) -> None:
        staged = self._staged
        with self._counting:
            del self._partial[sent.found.key]
        if sent.copied is None:
            staged.failures.append(UploadFailure(printable(sent.found.key), sent.reason))
            return
        self._manifest.add(sent.found.key, sent.copied)
        if sent.uploaded:
            staged.uploaded += 1
            staged.uploaded_bytes += sent.copied.size
        else:
            staged.present += 1
            staged.present_bytes += sent.copied.size

    def _send(self, found: StoredObject, there: S3Object | None) -> _Sent:
        """Copy one file; in a thread of its own."""
        for _ in range(MAX_ATTEMPTS):
            if self._stopped():
                raise UploadStopped
            try:
                return self._try(found, there)
            except (FileChangedError, NoSuchUploadError):
                there = None
                self._arrived(found.key, -self._partial[found.key])
        return _Sent(found, reason="keeps changing: run again when it is complete")

    def _try(self, found: StoredObject, there: S3Object | None) -> _Sent:
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self._source.reading(found.key))
            except StoreError as error:
                return _Sent(found, reason=str(error))
            try:
                return self._copy(found, path, there)
            except OSError as error:
                return _Sent(found, reason=f"cannot be read: {error.strerror or error}")

    def _copy(self, found: StoredObject, path: Path, there: S3Object | None) -> _Sent:
        before = _state(path)
        size, modified_ns = before
        if size <= PART_BYTES:
            data = path.read_bytes()
            # Not half of a file that is being written.
            _unchanged(path, before)
            etag = self._same(there, size, hashlib.sha256(data).hexdigest())
            copied = UploadedFile(
                size, modified_ns, etag or self._target.uploading.put(found.key, data)
            )
        else:
            content = digest_file(path, self._stopped)
            etag = self._same(there, size, content.sha256)
            copied = UploadedFile(
                size, modified_ns, etag or self._in_parts(found.key, path, content)
            )
        _unchanged(path, before)
        return _Sent(found, copied, uploaded=etag is None)

    def _same(self, there: S3Object | None, size: int, sha256: str) -> str | None:
        """The ETag of the object that is there, when it has the file's content."""
        if there is None or there.size != size:
            return None
        head = self._target.head(there.key)
        return str(head["ETag"]) if head["Metadata"].get(SHA256_METADATA) == sha256 else None

    def _in_parts(self, key: str, path: Path, content: FileDigest) -> str:
        uploading = self._target.uploading
        try:
            upload_id, stored = self._resumed(key, content)
            self._arrived(key, min(len(stored) * content.part_bytes, content.size))
            return uploading.finish(
                key, path, content, upload_id, stored, self._stopped, partial(self._arrived, key)
            )
        except (FileChangedError, NoSuchUploadError):
            self._discard(key)
            raise

    def _resumed(self, key: str, content: FileDigest) -> tuple[str, dict[int, str]]:
        """An upload of a large file, and the ETags of the parts of it that S3 has."""
        begun = self._manifest.upload(key)
        if begun and begun.sha256 == content.sha256:
            return begun.upload_id, self._target.uploading.stored_parts(key, begun.upload_id)
        if begun:
            self._discard(key)
        upload_id = self._target.uploading.begin(key, content)
        self._manifest.begin(key, MultipartUpload(upload_id, content.sha256))
        if content.size >= RESUMABLE_BYTES:
            self._manifest.save()
        return upload_id, {}

    def _discard(self, key: str) -> None:
        """Forget the parts of what the file no longer is."""
        begun = self._manifest.upload(key)
        if begun:
            self._target.uploading.abort(key, begun.upload_id)
            self._manifest.forget_upload(key)

    def _arrived(self, key: str, count: int) -> None:
        with self._counting:
            self._partial[key] += count

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._failed.is_set()


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _unchanged(path: Path, before: tuple[int, int]) -> None:
    if _state(path) != before:
        raise FileChangedError
