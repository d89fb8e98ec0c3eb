"""Downloads from S3: in parallel parts, verified by checksum, with retries, resumable."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)

from resources.aws.errors import error_code
from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.layout import PARTIAL_PREFIX
from resources.storage.object_store import EDGE_BYTES, NO_SPACE_ERRNOS
from resources.storage.s3.errors import PRECONDITION_FAILED, RUN_AGAIN, translate_s3_errors
from resources.storage.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        GetObjectRequestTypeDef,
        HeadObjectOutputTypeDef,
    )

PART_BYTES = 8 * 2**20  # AWS advises 8 to 16 MB for ranged requests
CHUNK_BYTES = 2**20
# Metadata key of an object's SHA-256 in hexadecimal, set by its writer. S3's own checksum of a
# multipart object is a checksum of its parts' checksums, which depends on their sizes.
SHA256_METADATA = "sha256"
# Seconds before each retry. botocore retries until a response has begun; an interrupted body is
# retried here.
RETRY_WAITS = (0.2, 1.0, 4.0, 10.0)
# Free disk space that is left for other programs.
RESERVE_BYTES = 64 * 2**20

NO_ROOM = (
    "no room for copies of objects on S3; free some space or point TMPDIR to a larger disk, and "
    f"{RUN_AGAIN}"
)
DAMAGED = "does not match its SHA-256: it is damaged; delete it, so that it is rebuilt"

Result = TypeVar("Result")


class CorruptDownloadError(Exception):
    """A body arrived incomplete or corrupted; a retry may help. The message is for the last one."""


class ObjectChangedError(Exception):
    """The object was replaced after its first part was read."""


class S3Downloader:
    """Downloads objects of one location.

    Args:
        parts: executes the parts of large objects.
        clock: times the waits between retries.
    """

    def __init__(self, location: S3Location, parts: Executor, clock: Clock) -> None:
        self._location = location
        self._parts = parts
        self._clock = clock

    def read(self, key: str) -> "tuple[bytes, GetObjectOutputTypeDef]":
        """Return the content of a small object, and the response to GetObject.

        Raises:
            NoSuchObjectError: there is none.
            StoreError: it cannot be read, or fails its checksum in every attempt.
        """

        def attempt() -> "tuple[bytes, GetObjectOutputTypeDef]":
            response = self._get(key)
            data = b"".join(_chunks(response))
            _verify(response, hashlib.sha256(data).hexdigest())
            return data, response

        return self._retry(key, attempt)

    def fill_file(self, key: str, path: Path) -> None:
        """Fill a file with the object's content.

        Raises:
            StoreError: as `read`; or the disk is full.
        """
        try:
            self._retry(key, lambda: self._fill(key, path))
        except OSError as error:
            raise _write_error(path, self._location.url_of(key), error) from None

    def download(self, key: str, path: Path, head: "HeadObjectOutputTypeDef") -> None:
        """Download an object to a file atomically, resuming an interrupted download.

        Args:
            path: the file; a partial download is stored in its folder.
            head: the response to HeadObject.

        Raises:
            StoreError: as `read`; or the disk is full.
        """
        partial = _partial_path(path, head["ETag"])
        try:
            for _ in range(2):  # a resumed file may be corrupted: then once more from the start
                self._retry(key, lambda: self._append(key, partial, head))
                actual = sha256_of_file(partial)
                if head["Metadata"].get(SHA256_METADATA, actual) == actual:
                    partial.replace(path)
                    return
                partial.unlink()
        except ObjectChangedError:
            raise StoreError(
                f"{self._location.url_of(key)}: is being replaced by another one; {RUN_AGAIN}"
            ) from None
        except OSError as error:
            raise _write_error(path, self._location.url_of(key), error) from None
        raise StoreError(f"{self._location.url_of(key)}: {DAMAGED}")

    def _append(self, key: str, partial: Path, head: "HeadObjectOutputTypeDef") -> None:
        size = head["ContentLength"]
        with partial.open("ab") as file:
            start = file.tell()
            if start >= size:
                return
            if shutil.disk_usage(partial.parent).free < size - start + RESERVE_BYTES:
                raise StoreError(
                    f"{partial.parent}: no room for {size / 2**30:.1f} GiB; free some space"
                )
            file.writelines(_chunks(self._get_range(key, start, None, head["ETag"])))

    def fill_edges(self, key: str, path: Path) -> None:
        """Give a file the object's size, its first and last EDGE_BYTES, and zeros in between.

        Raises:
            StoreError: as `read`; or the object is empty.
        """
        try:
            self._retry(key, lambda: self._fill_edges(key, path))
        except ObjectChangedError:
            raise StoreError(
                f"{self._location.url_of(key)}: is being replaced while it is read; {RUN_AGAIN}"
            ) from None

    def _fill_edges(self, key: str, path: Path) -> None:
        response = self._get_range(key, 0, EDGE_BYTES)
        size = int(response["ContentRange"].rpartition("/")[2])
        with path.open("wb") as file:
            file.writelines(_chunks(response))
            file.truncate(size)
        if size > EDGE_BYTES:
            start = max(EDGE_BYTES, size - EDGE_BYTES)
            self._fill_part(key, path, start, size, response["ETag"])
        _set_date(path, response)

    def _fill(self, key: str, path: Path) -> None:
        response = self._get(key)
        size = response["ContentLength"]
        if shutil.disk_usage(path.parent).free < size + RESERVE_BYTES:
            response["Body"].close()
            raise StoreError(
                f"{path.parent}: {NO_ROOM} ({self._location.url_of(key)}, {size / 2**30:.1f} GiB)"
            )
        if size > PART_BYTES:
            response["Body"].close()
            self._fill_in_parts(key, path, size, response["ETag"])
        else:
            with path.open("wb") as file:
                file.writelines(_chunks(response))
        if SHA256_METADATA in response["Metadata"]:
            _verify(response, sha256_of_file(path))
        _set_date(path, response)

    def _fill_in_parts(self, key: str, path: Path, size: int, etag: str) -> None:
        with path.open("wb") as file:
            file.truncate(size)

        def part(start: int) -> None:
            end = min(start + PART_BYTES, size)
            self._retry(key, lambda: self._fill_part(key, path, start, end, etag))

        futures = [self._parts.submit(part, start) for start in range(0, size, PART_BYTES)]
        try:
            for future in futures:
                future.result()
        except ObjectChangedError:
            raise CorruptDownloadError(
                "is being replaced by another one while it is read"
            ) from None
        finally:
            for future in futures:
                future.cancel()
            wait(futures)  # running ones write into the file

    def _fill_part(self, key: str, path: Path, start: int, end: int, etag: str) -> None:
        response = self._get_range(key, start, end, etag)
        with path.open("r+b") as file:
            file.seek(start)
            file.writelines(_chunks(response))

    def _get_range(
        self, key: str, start: int, end: int | None, etag: str | None = None
    ) -> "GetObjectOutputTypeDef":
        """Read the bytes from `start` to before `end`, if the object still has this ETag."""
        name, last = self._location.name_of(key), "" if end is None else end - 1
        request: GetObjectRequestTypeDef = {
            "Bucket": name["Bucket"],
            "Key": name["Key"],
            "Range": f"bytes={start}-{last}",
        }
        if etag:
            request["IfMatch"] = etag
        return self._get(key, request)

    def _get(
        self, key: str, request: "GetObjectRequestTypeDef | None" = None
    ) -> "GetObjectOutputTypeDef":
        with translate_s3_errors(self._location.url_of(key)):
            try:
                return self._location.client.get_object(**(request or self._location.name_of(key)))
            except ClientError as error:
                if error_code(error) in PRECONDITION_FAILED:
                    raise ObjectChangedError from None
                raise

    def _retry(self, key: str, attempt: Callable[[], Result]) -> Result:
        for seconds in RETRY_WAITS:
            try:
                return attempt()
            except CorruptDownloadError:
                self._clock.sleep(seconds)
        try:
            return attempt()
        except CorruptDownloadError as error:
            raise StoreError(f"{self._location.url_of(key)}: {error}") from None


def _set_date(path: Path, response: "GetObjectOutputTypeDef") -> None:
    """Give a copy the date that a listing gives the object, so that a replaced one is noticed."""
    seconds = int(response["LastModified"].timestamp())
    os.utime(path, (seconds, seconds))


def _partial_path(path: Path, etag: str) -> Path:
    """Return where the partial download of a file is stored, named by the object's version.

    Deletes partial downloads of other versions.
    """
    file_hash, version_hash = (
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        for text in (path.name, etag)
    )
    partial = path.with_name(f"{PARTIAL_PREFIX}{file_hash}-{version_hash}")
    for other in path.parent.glob(f"{PARTIAL_PREFIX}{file_hash}-*"):
        if other != partial:
            other.unlink()
    return partial


def _write_error(path: Path, url: str, error: OSError) -> StoreError:
    if error.errno in NO_SPACE_ERRNOS:
        return StoreError(f"{path.parent}: {NO_ROOM}")
    return StoreError(
        f"{path}: cannot be written: {error.strerror or error}; it is a copy of {url}"
    )


def _chunks(response: "GetObjectOutputTypeDef") -> Iterator[bytes]:
    """Yield the body in chunks; botocore verifies its length, and its checksum if S3 has one."""
    with closing(response["Body"]) as body:
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        except FlexibleChecksumError:
            raise CorruptDownloadError(DAMAGED) from None
        except (IncompleteReadError, HTTPClientError):
            raise CorruptDownloadError(
                f"the connection broke in every attempt; check the network and {RUN_AGAIN}"
            ) from None


def _verify(response: "GetObjectOutputTypeDef", sha256: str) -> None:
    if response["Metadata"].get(SHA256_METADATA, sha256) != sha256:
        raise CorruptDownloadError(DAMAGED)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
