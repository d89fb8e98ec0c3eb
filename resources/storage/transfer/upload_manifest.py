"""What was copied into a store, so that the next copy need not compare again.

An object of the target, gzipped JSON lines: first the version, then one line per file,

    ["file", key, bytes, modified_ns, etag]      as the file was, and as S3 has it since
    ["upload", key, upload_id, sha256]           a large file that is under way

It only saves work: what it does not know is compared by checksum.
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
    """A file, and the object that it became."""

    size: int
    modified_ns: int
    etag: str


class MultipartUpload(NamedTuple):
    """A large file that is under way."""

    upload_id: str
    sha256: str  # of the whole file, in hexadecimal


class UploadManifest:
    """The manifest of one target; its methods may be called from any thread.

    Raises:
        StoreError: it cannot be read.
    """

    def __init__(self, target: S3Store) -> None:
        self._target = target
        self._earlier: dict[str, UploadedFile] = {}
        self._current: dict[str, UploadedFile] = {}
        self._uploads: dict[str, MultipartUpload] = {}
        self._changing = Lock()
        self._saving = Lock()
        if not target.exists(UPLOAD_MANIFEST):
            return
        try:
            with target.reading(UPLOAD_MANIFEST) as path:
                self._read(path)
        except (OSError, EOFError, ValueError, TypeError):
            raise StoreError(
                f"{target.url}/{UPLOAD_MANIFEST}: is damaged; delete it, then all files are compared"
            ) from None

    def holds(self, key: str, copied: UploadedFile) -> bool:
        """Whether a file was copied as it is, to the object that is there."""
        with self._changing:
            return self._current.get(key) == copied or self._earlier.get(key) == copied

    def add(self, key: str, copied: UploadedFile) -> None:
        """A file has been copied, or found to be there."""
        with self._changing:
            self._earlier.pop(key, None)
            self._uploads.pop(key, None)
            self._current[key] = copied

    def upload(self, key: str) -> MultipartUpload | None:
        """The upload of a file that is under way, if there is one."""
        with self._changing:
            return self._uploads.get(key)

    def begin(self, key: str, upload: MultipartUpload) -> None:
        """A large file is under way from now on."""
        with self._changing:
            self._uploads[key] = upload

    def forget_upload(self, key: str) -> None:
        """A file is under way no longer."""
        with self._changing:
            self._uploads.pop(key, None)

    def forget_earlier(self) -> None:
        """All files have been seen: those of earlier copies that were not are gone."""
        with self._changing:
            self._earlier.clear()

    def save(self) -> None:
        """Put the manifest in place as it is now.

        Raises:
            StoreError: the target refuses it.
        """
        with self._saving, self._target.writing(UPLOAD_MANIFEST) as path:
            with self._changing:
                files = {**self._earlier, **self._current}
                uploads = dict(self._uploads)
            with gzip.open(path, "wt", encoding="utf-8", compresslevel=5) as lines:
                lines.write(json.dumps(VERSION) + "\n")
                for key, copied in files.items():
                    lines.write(json.dumps(["file", key, *copied]) + "\n")
                for key, upload in uploads.items():
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
                    self._uploads[key] = MultipartUpload(*values)
