"""The manifest of an upload target: which files were uploaded, so that they need no comparison.

An object in the target, gzipped JSON lines: first the version, then one line per file,

    ["file", key, bytes, modified_ns, etag]      the file's state, and the object's ETag since
    ["upload", key, upload_id, sha256]           a large file whose upload is pending

It is a cache: files that it lacks are compared by checksum.
"""

import gzip
import json
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from resources.errors import StoreError
from resources.storage.layout import UPLOAD_MANIFEST
from resources.storage.s3.store import S3Store

VERSION = ["odins-ravne-staged", 1]


class UploadedFile(NamedTuple):
    """The state of a file, and the ETag of its object."""

    size: int
    modified_ns: int
    etag: str


class MultipartUpload(NamedTuple):
    """A pending upload of a large file."""

    upload_id: str
    sha256: str  # of the whole file, in hexadecimal


class UploadManifest:
    """The manifest of one target. Thread-safe.

    Raises:
        StoreError: it cannot be read.
    """

    def __init__(self, target: S3Store) -> None:
        self._target = target
        self._earlier: dict[str, UploadedFile] = {}
        self._current: dict[str, UploadedFile] = {}
        self._pending: dict[str, MultipartUpload] = {}
        self._lock = Lock()
        self._save_lock = Lock()
        if not target.exists(UPLOAD_MANIFEST):
            return
        try:
            with target.reading(UPLOAD_MANIFEST) as path:
                self._read(path)
        except (OSError, EOFError, ValueError, TypeError):
            raise StoreError(
                f"{target.url}/{UPLOAD_MANIFEST}: is damaged; delete it, and all files are compared"
            ) from None

    def contains(self, key: str, file: UploadedFile) -> bool:
        """Return True if a file in this state was uploaded to the object with this ETag."""
        with self._lock:
            return self._current.get(key) == file or self._earlier.get(key) == file

    def add(self, key: str, file: UploadedFile) -> None:
        """Add a file that was uploaded, or was present."""
        with self._lock:
            self._earlier.pop(key, None)
            self._pending.pop(key, None)
            self._current[key] = file

    def pending_upload(self, key: str) -> MultipartUpload | None:
        """Return the pending upload of a file, if there is one."""
        with self._lock:
            return self._pending.get(key)

    def add_pending(self, key: str, upload: MultipartUpload) -> None:
        """Add the pending upload of a large file."""
        with self._lock:
            self._pending[key] = upload

    def remove_pending(self, key: str) -> None:
        """Remove the pending upload of a file."""
        with self._lock:
            self._pending.pop(key, None)

    def drop_unseen(self) -> None:
        """Drop files of earlier uploads that were not added again: they were deleted."""
        with self._lock:
            self._earlier.clear()

    def save(self) -> None:
        """Save the manifest to the target.

        Raises:
            StoreError: the target refuses it.
        """
        with self._save_lock, self._target.writing(UPLOAD_MANIFEST) as path:
            with self._lock:
                files = {**self._earlier, **self._current}
                pending = dict(self._pending)
            with gzip.open(path, "wt", encoding="utf-8", compresslevel=5) as lines:
                lines.write(json.dumps(VERSION) + "\n")
                for key, file in files.items():
                    lines.write(json.dumps(["file", key, *file]) + "\n")
                for key, upload in pending.items():
                    lines.write(json.dumps(["upload", key, *upload]) + "\n")

    def _read(self, path: Path) -> None:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            if json.loads(next(lines, "null")) != VERSION:
                raise ValueError(path)
            for line in lines:
                kind, key, *values = json.loads(line)
                if kind == "file":
                    self._earlier[key] = UploadedFile(*values)
                else:
                    self._pending[key] = MultipartUpload(*values)
