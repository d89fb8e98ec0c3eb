"""From this machine to S3: whole or not at all, and checked by S3 part for part."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.s3.download import PART_BYTES, SHA256_METADATA, RETRY_WAITS
from resources.storage.s3.errors import (
    RUN_AGAIN,
    PRECONDITION_FAILED,
    NOT_FOUND,
    CORRUPTED,
    code_of,
    translate_s3_errors,
)
from resources.storage.s3.location import S3Location

# Amazon S3 multipart upload limits.
MAX_PARTS = 10_000
GONE = {"NoSuchUpload", "InvalidPart"}
NONE_STORED: Mapping[int, str] = MappingProxyType({})


class FileChangedError(Exception):
    """The file is not what it was when its upload began."""


class UploadStopped(Exception):  # noqa: N818 - a signal of control, no error
    """The upload was told to stop; its parts are kept."""


class NoSuchUploadError(Exception):
    """S3 does not know the upload, or has other parts than were sent."""


class PreconditionFailedError(Exception):
    """Another writer was first."""


@dataclass(frozen=True)
class FileDigest:
    """What a file holds, part for part: S3 compares it with what arrives."""

    size: int
    part_bytes: int
    sha256: str  # in hexadecimal
    parts: tuple[str, ...]  # SHA-256 of each part, in base64 as S3 has it

    def part(self, number: int, path: Path) -> bytes:
        """A part of the file; they are counted from 1.

        Raises:
            FileChangedError: it is not what it was.
        """
        with path.open("rb") as file:
            file.seek((number - 1) * self.part_bytes)
            data = file.read(self.part_bytes)
        if _base64_sha256(data) != self.parts[number - 1]:
            raise FileChangedError
        return data


def digest_file(path: Path, stopped: Callable[[], bool] = lambda: False) -> FileDigest:
    """Read a file once through.

    Args:
        stopped: asked before each part.

    Raises:
        Stopped: `stopped` said so.
        FileChangedError: it grew or shrank meanwhile.
        OSError: it cannot be read.
    """
    expected = path.stat().st_size
    part_bytes = part_size(expected)
    whole, parts, size = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        while data := file.read(part_bytes):
            if stopped():
                raise UploadStopped
            whole.update(data)
            parts.append(_base64_sha256(data))
            size += len(data)
    if size != expected:
        raise FileChangedError
    return FileDigest(size, part_bytes, whole.hexdigest(), tuple(parts))


def part_size(size: int) -> int:
    """Bytes in a part, so that there are not too many: a multiple of PART_BYTES."""
    return PART_BYTES * max(1, -(-size // (PART_BYTES * MAX_PARTS)))


def _base64_sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class S3Upload:
    """Brings files of this machine to one place.

    Args:
        parts: runs the parts of large objects.
        clock: of the waits between tries.
    """

    def __init__(self, place: S3Location, parts: Executor, clock: Clock) -> None:
        self._place = place
        self._parts = parts
        self._clock = clock

    def put(self, key: str, data: bytes, **conditions: str) -> str:
        """Put an object in place and give its ETag.

        Args:
            conditions: IfMatch or IfNoneMatch.

        Raises:
            PreconditionFailedError: a condition does not hold.
            StoreError: S3 refuses it.
        """
        answer = self._ask(
            "put_object",
            key,
            Body=data,
            ChecksumSHA256=_base64_sha256(data),
            Metadata={SHA256_METADATA: hashlib.sha256(data).hexdigest()},
            **conditions,
        )
        return str(answer["ETag"])

    def file(self, key: str, path: Path) -> str:
        """Put a file in place and give its ETag.

        Raises:
            FileChangedError: while it was read.
            StoreError: S3 refuses it.
            OSError: it cannot be read.
        """
        if path.stat().st_size <= PART_BYTES:
            return self.put(key, path.read_bytes())
        content = digest_file(path)
        upload_id = self.begin(key, content)
        try:
            return self.finish(key, path, content, upload_id)
        except NoSuchUploadError:
            raise StoreError(
                f"{self._place.url_of(key)}: somebody removed its parts while it was uploaded; "
                f"{RUN_AGAIN}"
            ) from None
        except BaseException:
            # Why it failed says more than why it cannot be tidied up; the bucket's lifecycle
            # removes what is left.
            with suppress(StoreError):
                self.abort(key, upload_id)
            raise

    def begin(self, key: str, content: FileDigest) -> str:
        """Begin to put a large object in place; gives the id of the upload.

        Raises:
            StoreError: S3 refuses it.
        """
        answer = self._ask(
            "create_multipart_upload",
            key,
            ChecksumAlgorithm="SHA256",
            Metadata={SHA256_METADATA: content.sha256},
        )
        return str(answer["UploadId"])

    def finish(
        self,
        key: str,
        path: Path,
        content: FileDigest,
        upload_id: str,
        stored: Mapping[int, str] = NONE_STORED,
        stopped: Callable[[], bool] = lambda: False,
        on_sent: Callable[[int], None] = lambda count: None,
    ) -> str:
        """Send the parts that are not stored yet, put the object in place and give its ETag.

        Args:
            stored: ETags of parts, see `stored_parts`.
            stopped: asked before each part; parts in flight arrive.
            on_sent: told the bytes of each part that has arrived.

        Raises:
            Stopped: `stopped` said so.
            FileChangedError: the file is no longer `content`.
            NoSuchUploadError: S3 does not know the upload, or its parts are not those of `content`.
            StoreError: S3 refuses it.
            OSError: the file cannot be read.
        """

        def send(number: int) -> str:
            if stopped():
                raise UploadStopped
            data = content.part(number, path)
            checksum = content.parts[number - 1]
            options = {"UploadId": upload_id, "PartNumber": number, "ChecksumSHA256": checksum}
            etag = str(self._ask("upload_part", key, Body=data, **options)["ETag"])
            on_sent(len(data))
            return etag

        missing = [n for n in range(1, len(content.parts) + 1) if n not in stored]
        etags = dict(stored) | dict(zip(missing, self._all(send, missing), strict=True))
        parts = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": content.parts[number - 1]}
            for number, etag in sorted(etags.items())
        ]
        # S3 compares the parts' checksums once more, those of earlier tries too.
        answer = self._ask(
            "complete_multipart_upload",
            key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
        )
        return str(answer["ETag"])

    def stored_parts(self, key: str, upload_id: str) -> dict[int, str]:
        """The ETags of an upload's parts that have arrived, by their numbers.

        Raises:
            NoSuchUploadError: S3 does not know the upload.
            StoreError: S3 refuses to tell.
        """
        etags: dict[int, str] = {}
        more = {"PartNumberMarker": 0}
        while more:
            answer = self._ask("list_parts", key, UploadId=upload_id, **more)
            for part in answer.get("Parts", ()):
                etags[part["PartNumber"]] = part["ETag"]
            truncated = answer["IsTruncated"]
            more = {"PartNumberMarker": answer["NextPartNumberMarker"]} if truncated else {}
        return etags

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; nothing happens when S3 does not know it.

        Raises:
            StoreError: S3 refuses it.
        """
        with suppress(NoSuchUploadError):
            self._ask("abort_multipart_upload", key, UploadId=upload_id)

    def _all(self, send: Callable[[int], str], numbers: list[int]) -> list[str]:
        futures = [self._parts.submit(send, number) for number in numbers]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)  # a part that arrives later would bring the upload back to life

    def _ask(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        """Call S3; what was spoiled on the way is sent again, which botocore does not do."""
        request = partial(
            getattr(self._place.client, operation), **self._place.name_of(key), **parameters
        )
        with translate_s3_errors(self._place.url_of(key)):
            for seconds in RETRY_WAITS:
                try:
                    answer: dict[str, Any] = request()
                    return answer
                except ClientError as error:
                    code = code_of(error)
                    if code in PRECONDITION_FAILED or (code in NOT_FOUND and "IfMatch" in parameters):
                        raise PreconditionFailedError from None
                    if code in GONE:
                        raise NoSuchUploadError from None
                    if code not in CORRUPTED:
                        raise
                    self._clock.sleep(seconds)
            last: dict[str, Any] = request()
            return last
