"""Uploads to S3: atomic, resumable in parts, each verified by S3 with its checksum."""

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from resources.aws.errors import error_code
from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.s3.download import PART_BYTES, RETRY_WAITS, SHA256_METADATA
from resources.storage.s3.errors import (
    CORRUPTED,
    NOT_FOUND,
    PRECONDITION_FAILED,
    RUN_AGAIN,
    translate_s3_errors,
)
from resources.storage.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        ListPartsOutputTypeDef,
        PutObjectRequestTypeDef,
    )

# Amazon S3 multipart upload limits.
MAX_PARTS = 10_000
NO_SUCH_UPLOAD = {"NoSuchUpload", "InvalidPart"}
NO_PARTS: Mapping[int, str] = MappingProxyType({})

Response = TypeVar("Response")


class FileChangedError(Exception):
    """The file was changed since its upload began."""


class UploadStopped(Exception):  # noqa: N818 - a signal of control, no error
    """The upload was asked to stop; its parts are stored."""


class NoSuchUploadError(Exception):
    """S3 does not know the upload, or has other parts than were sent."""


class PreconditionFailedError(Exception):
    """A conditional write failed: another writer was first."""


@dataclass(frozen=True)
class FileDigest:
    """The checksums of a file and its parts, which S3 verifies."""

    size: int
    part_bytes: int
    sha256: str  # in hexadecimal
    parts: tuple[str, ...]  # SHA-256 of each part, in base64 as S3 has it

    def read_part(self, number: int, path: Path) -> bytes:
        """Read a part of the file, counted from 1.

        Raises:
            FileChangedError: its checksum differs.
        """
        with path.open("rb") as file:
            file.seek((number - 1) * self.part_bytes)
            data = file.read(self.part_bytes)
        if _base64_sha256(data) != self.parts[number - 1]:
            raise FileChangedError
        return data


def digest_file(path: Path, is_stopped: Callable[[], bool] = lambda: False) -> FileDigest:
    """Compute the checksums of a file.

    Args:
        is_stopped: called before each part.

    Raises:
        UploadStopped: `is_stopped` returned True.
        FileChangedError: the file grew or shrank meanwhile.
        OSError: it cannot be read.
    """
    expected = path.stat().st_size
    part_bytes = part_size(expected)
    whole, parts, size = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        while data := file.read(part_bytes):
            if is_stopped():
                raise UploadStopped
            whole.update(data)
            parts.append(_base64_sha256(data))
            size += len(data)
    if size != expected:
        raise FileChangedError
    return FileDigest(size, part_bytes, whole.hexdigest(), tuple(parts))


def part_size(size: int) -> int:
    """Return the bytes of each part of an upload: a multiple of PART_BYTES within S3's limits."""
    return PART_BYTES * max(1, -(-size // (PART_BYTES * MAX_PARTS)))


def _base64_sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class S3Uploader:
    """Uploads to one location.

    Args:
        parts: executes the parts of large objects.
        clock: times the waits between retries.
    """

    def __init__(self, location: S3Location, parts: Executor, clock: Clock) -> None:
        self._location = location
        self._parts = parts
        self._clock = clock

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write an object atomically and return its ETag.

        Args:
            if_match: write only if the present object has this ETag.
            if_absent: write only if there is no object.

        Raises:
            PreconditionFailedError: the condition does not hold.
            StoreError: S3 refuses it.
        """
        name = self._location.name_of(key)
        request: PutObjectRequestTypeDef = {
            "Bucket": name["Bucket"],
            "Key": name["Key"],
            "Body": data,
            "ChecksumSHA256": _base64_sha256(data),
            "Metadata": {SHA256_METADATA: hashlib.sha256(data).hexdigest()},
        }
        if if_match:
            request["IfMatch"] = if_match
        if if_absent:
            request["IfNoneMatch"] = "*"
        conflicts = PRECONDITION_FAILED if if_match or if_absent else set()
        if if_match:
            conflicts = conflicts | NOT_FOUND
        client = self._location.client
        return self._retry(key, lambda: client.put_object(**request), conflicts)["ETag"]

    def upload_file(self, key: str, path: Path) -> str:
        """Write an object from a file atomically and return its ETag.

        Raises:
            FileChangedError: the file changed while it was read.
            StoreError: S3 refuses it.
            OSError: the file cannot be read.
        """
        if path.stat().st_size <= PART_BYTES:
            return self.put(key, path.read_bytes())
        digest = digest_file(path)
        upload_id = self.create_upload(key, digest)
        try:
            return self.complete_upload(key, path, digest, upload_id)
        except NoSuchUploadError:
            raise StoreError(
                f"{self._location.url_of(key)}: its parts were deleted during the upload; "
                f"{RUN_AGAIN}"
            ) from None
        except BaseException:
            # The first error says more than one of the abort; the bucket's lifecycle rule
            # deletes what is left.
            with suppress(StoreError):
                self.abort_upload(key, upload_id)
            raise

    def create_upload(self, key: str, digest: FileDigest) -> str:
        """Begin a multipart upload and return its id.

        Raises:
            StoreError: S3 refuses it.
        """
        response = self._retry(
            key,
            lambda: self._location.client.create_multipart_upload(
                **self._location.name_of(key),
                ChecksumAlgorithm="SHA256",
                Metadata={SHA256_METADATA: digest.sha256},
            ),
        )
        return response["UploadId"]

    def complete_upload(
        self,
        key: str,
        path: Path,
        digest: FileDigest,
        upload_id: str,
        stored: Mapping[int, str] = NO_PARTS,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Send the missing parts, complete the upload and return the object's ETag.

        Args:
            stored: ETags of the parts that S3 has, see `list_parts`.
            is_stopped: called before each part; parts in progress are finished.

        Raises:
            UploadStopped: `is_stopped` returned True.
            FileChangedError: the file no longer matches `digest`.
            NoSuchUploadError: S3 does not know the upload, or its parts do not match `digest`.
            StoreError: S3 refuses it.
            OSError: the file cannot be read.
        """

        def send(number: int) -> str:
            if is_stopped():
                raise UploadStopped
            data = digest.read_part(number, path)
            return self._send_part(key, upload_id, number, data, digest.parts[number - 1])

        missing = [n for n in range(1, len(digest.parts) + 1) if n not in stored]
        etags = dict(stored) | dict(zip(missing, self._send_all(send, missing), strict=True))
        # S3 verifies the checksums of all parts again, those of earlier runs too.
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": digest.parts[number - 1]}
            for number, etag in sorted(etags.items())
        ]
        response = self._retry(
            key,
            lambda: self._location.client.complete_multipart_upload(
                **self._location.name_of(key), UploadId=upload_id, MultipartUpload={"Parts": parts}
            ),
        )
        return response["ETag"]

    def list_parts(self, key: str, upload_id: str) -> dict[int, str]:
        """Return the ETags of an upload's stored parts by their numbers.

        Raises:
            NoSuchUploadError: S3 does not know the upload.
            StoreError: S3 refuses it.
        """
        etags: dict[int, str] = {}
        marker: int | None = 0
        while marker is not None:
            response = self._retry(key, partial(self._list_parts_page, key, upload_id, marker))
            etags |= {part["PartNumber"]: part["ETag"] for part in response.get("Parts", ())}
            marker = response["NextPartNumberMarker"] if response["IsTruncated"] else None
        return etags

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload and delete its parts, if it exists.

        Raises:
            StoreError: S3 refuses it.
        """
        with suppress(NoSuchUploadError):
            self._retry(
                key,
                lambda: self._location.client.abort_multipart_upload(
                    **self._location.name_of(key), UploadId=upload_id
                ),
            )

    def _list_parts_page(self, key: str, upload_id: str, marker: int) -> "ListPartsOutputTypeDef":
        return self._location.client.list_parts(
            **self._location.name_of(key), UploadId=upload_id, PartNumberMarker=marker
        )

    def _send_part(self, key: str, upload_id: str, number: int, data: bytes, checksum: str) -> str:
        response = self._retry(
            key,
            lambda: self._location.client.upload_part(
                **self._location.name_of(key),
                UploadId=upload_id,
                PartNumber=number,
                ChecksumSHA256=checksum,
                Body=data,
            ),
        )
        return response["ETag"]

    def _send_all(self, send: Callable[[int], str], numbers: list[int]) -> list[str]:
        futures = [self._parts.submit(send, number) for number in numbers]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)  # a part that arrives after an abort would recreate the upload

    def _retry(
        self,
        key: str,
        request: Callable[[], Response],
        conflicts: Collection[str] = frozenset(),
    ) -> Response:
        """Call S3; resend data that was corrupted in transit, which botocore does not.

        Args:
            conflicts: error codes of a condition that does not hold.
        """
        with translate_s3_errors(self._location.url_of(key)):
            for seconds in RETRY_WAITS:
                try:
                    return request()
                except ClientError as error:
                    code = error_code(error)
                    if code in conflicts:
                        raise PreconditionFailedError from None
                    if code in NO_SUCH_UPLOAD:
                        raise NoSuchUploadError from None
                    if code not in CORRUPTED:
                        raise
                    self._clock.sleep(seconds)
            return request()
