"""From S3 to this machine: in parts at once, checked, and again when something went wrong."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, wait
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)

from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.object_store import EDGE_BYTES, NO_SPACE_ERRNOS
from resources.storage.layout import PARTIAL_PREFIX
from resources.storage.s3.errors import RUN_AGAIN, PRECONDITION_FAILED, code_of, translate_s3_errors
from resources.storage.s3.location import S3Location

PART_BYTES = 8 * 2**20  # what AWS advises for ranged requests: 8 to 16 MB
CHUNK_BYTES = 2**20
# An object's SHA-256 in hexadecimal, as metadata that its writer gave it. S3's own checksum of a
# large object is one of its parts' checksums, which tells nothing without the parts' sizes.
SHA256_METADATA = "sha256"
# Seconds to wait before the second and further tries. botocore tries again until a response has
# begun; a body that breaks off is ours.
RETRY_WAITS = (0.2, 1.0, 4.0, 10.0)
# Left free on the disk: others write there too.
RESERVE_BYTES = 64 * 2**20

NO_ROOM = (
    "no room for copies of what lies on S3; make room or point TMPDIR to a larger disk, and "
    f"{RUN_AGAIN}"
)
DAMAGED = "does not match its SHA-256: it is damaged; delete it, so that it is made anew"

Result = TypeVar("Result")


class CorruptDownloadError(Exception):
    """What arrived is not the object; another try may help. Says what is wrong, for the last."""


class ObjectChangedError(Exception):
    """Another object has taken the key since its first part was read."""


class S3Download:
    """Brings objects of one place to this machine.

    Args:
        parts: runs the parts of large objects.
        clock: of the waits between tries.
    """

    def __init__(self, place: S3Location, parts: Executor, clock: Clock) -> None:
        self._place = place
        self._parts = parts
        self._clock = clock

    def whole(self, key: str) -> tuple[bytes, dict[str, Any]]:
        """A small object, and what S3 says of it (the answer to GetObject).

        Raises:
            NoSuchObject: there is none.
            StoreError: it cannot be had, or never arrives as it was written.
        """

        def attempt() -> tuple[bytes, dict[str, Any]]:
            answer = self._get(key)
            data = b"".join(_pieces(answer))
            _check(answer, hashlib.sha256(data).hexdigest())
            return data, answer

        return self._persist(key, attempt)

    def to_file(self, key: str, path: Path) -> None:
        """Fill a file with the object.

        Raises:
            StoreError: as `whole`; or there is no room for it.
        """
        try:
            self._persist(key, lambda: self._fill(key, path))
        except OSError as error:
            raise _unwritten(path, self._place.url_of(key), error) from None

    def resumed(self, key: str, path: Path, head: Mapping[str, Any]) -> None:
        """Put an object in place as a file, going on where an interrupted call stopped.

        Args:
            path: the file; its folder holds what has come so far.
            head: the answer to HeadObject.

        Raises:
            StoreError: as `whole`; or there is no room for it.
        """
        partial = _partial(path, head["ETag"])
        try:
            for _ in range(2):  # what an earlier call left may be spoiled: then once more from zero
                self._persist(key, lambda: self._append(key, partial, head))
                if head["Metadata"].get(SHA256_METADATA, arrived := sha256_of_file(partial)) == arrived:
                    partial.replace(path)
                    return
                partial.unlink()
        except ObjectChangedError:
            raise StoreError(
                f"{self._place.url_of(key)}: is being replaced by another one; {RUN_AGAIN}"
            ) from None
        except OSError as error:
            raise _unwritten(path, self._place.url_of(key), error) from None
        raise StoreError(f"{self._place.url_of(key)}: {DAMAGED}")

    def _append(self, key: str, partial: Path, head: Mapping[str, Any]) -> None:
        size = head["ContentLength"]
        with partial.open("ab") as file:
            start = file.tell()
            if start >= size:
                return
            if shutil.disk_usage(partial.parent).free < size - start + RESERVE_BYTES:
                raise StoreError(f"{partial.parent}: no room for {size / 2**30:.1f} GiB; make some")
            answer = self._get(key, Range=f"bytes={start}-", IfMatch=head["ETag"])
            file.writelines(_pieces(answer))

    def edges_to_file(self, key: str, path: Path) -> None:
        """Give a file the object's size, its first and its last EDGE_BYTES, and zeros in between.

        Raises:
            StoreError: as `whole`; or the object is empty, and has no edges.
        """
        try:
            self._persist(key, lambda: self._fill_edges(key, path))
        except ObjectChangedError:
            raise StoreError(
                f"{self._place.url_of(key)}: is being replaced while it is read; {RUN_AGAIN}"
            ) from None

    def _fill_edges(self, key: str, path: Path) -> None:
        answer = self._get(key, Range=f"bytes=0-{EDGE_BYTES - 1}")
        size = int(answer["ContentRange"].rpartition("/")[2])
        with path.open("wb") as file:
            file.writelines(_pieces(answer))
            file.truncate(size)
        if size > EDGE_BYTES:
            start = max(EDGE_BYTES, size - EDGE_BYTES)
            self._fill_part(key, path, start, size, answer["ETag"])

    def _fill(self, key: str, path: Path) -> None:
        answer = self._get(key)
        size = answer["ContentLength"]
        if shutil.disk_usage(path.parent).free < size + RESERVE_BYTES:
            answer["Body"].close()
            raise StoreError(
                f"{path.parent}: {NO_ROOM} ({self._place.url_of(key)}, {size / 2**30:.1f} GiB)"
            )
        if size > PART_BYTES:
            answer["Body"].close()
            self._fill_in_parts(key, path, size, answer["ETag"])
        else:
            with path.open("wb") as file:
                file.writelines(_pieces(answer))
        if SHA256_METADATA in answer["Metadata"]:
            _check(answer, sha256_of_file(path))

    def _fill_in_parts(self, key: str, path: Path, size: int, etag: str) -> None:
        with path.open("wb") as file:
            file.truncate(size)

        def part(start: int) -> None:
            end = min(start + PART_BYTES, size)
            self._persist(key, lambda: self._fill_part(key, path, start, end, etag))

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
            wait(futures)  # those that had begun write into the file

    def _fill_part(self, key: str, path: Path, start: int, end: int, etag: str) -> None:
        answer = self._get(key, Range=f"bytes={start}-{end - 1}", IfMatch=etag)
        with path.open("r+b") as file:
            file.seek(start)
            file.writelines(_pieces(answer))

    def _get(self, key: str, **options: str) -> dict[str, Any]:
        with translate_s3_errors(self._place.url_of(key)):
            try:
                answer: dict[str, Any] = self._place.client.get_object(
                    **self._place.name_of(key), **options
                )
            except ClientError as error:
                if code_of(error) in PRECONDITION_FAILED:
                    raise ObjectChangedError from None
                raise
        return answer

    def _persist(self, key: str, attempt: Callable[[], Result]) -> Result:
        for seconds in RETRY_WAITS:
            try:
                return attempt()
            except CorruptDownloadError:
                self._clock.sleep(seconds)
        try:
            return attempt()
        except CorruptDownloadError as error:
            raise StoreError(f"{self._place.url_of(key)}: {error}") from None


def _partial(path: Path, etag: str) -> Path:
    """Where the beginning of a file is kept until all of it is there.

    Named by the object's version. What is left of other versions of the file is removed.
    """
    of_file, of_version = (
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        for text in (path.name, etag)
    )
    partial = path.with_name(f"{PARTIAL_PREFIX}{of_file}-{of_version}")
    for other in path.parent.glob(f"{PARTIAL_PREFIX}{of_file}-*"):
        if other != partial:
            other.unlink()
    return partial


def _unwritten(path: Path, url: str, error: OSError) -> StoreError:
    if error.errno in NO_SPACE_ERRNOS:
        return StoreError(f"{path.parent}: {NO_ROOM}")
    return StoreError(
        f"{path}: cannot be written: {error.strerror or error}; it is a copy of {url}"
    )


def _pieces(answer: dict[str, Any]) -> Iterator[bytes]:
    """The body, a piece at a time; botocore compares its length, and its checksum if S3 has one."""
    with closing(answer["Body"]) as body:
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        except FlexibleChecksumError:
            raise CorruptDownloadError(DAMAGED) from None
        except (IncompleteReadError, HTTPClientError):
            raise CorruptDownloadError(
                f"breaks off again and again; check the network and {RUN_AGAIN}"
            ) from None


def _check(answer: dict[str, Any], sha256: str) -> None:
    if answer["Metadata"].get(SHA256_METADATA, sha256) != sha256:
        raise CorruptDownloadError(DAMAGED)


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
