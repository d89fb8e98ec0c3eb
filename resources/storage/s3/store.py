"""The object store on Amazon S3: `s3://bucket/prefix`."""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from resources.aws.clients import AwsClients
from resources.clock import Clock, system_clock
from resources.errors import DamagedFileError, StoreError
from resources.storage.layout import LOCK_FILE
from resources.storage.object_store import NO_SPACE_ERRNOS, OnListError, StoredObject, checked_key
from resources.storage.s3.download import NO_ROOM, SHA256_METADATA, S3Downloader, sha256_of_file
from resources.storage.s3.errors import translate_s3_errors
from resources.storage.s3.lease import Lease
from resources.storage.s3.listing import S3Listing
from resources.storage.s3.location import s3_location
from resources.storage.s3.upload import FileChangedError, S3Uploader
from resources.storage.temporary_folder import process_folder

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# Parts of large objects in transfer at a time; each is in memory.
PARALLEL_PARTS = 8
# Longer suffixes are no file extensions.
MAX_SUFFIX = 16


class S3Store:
    """An object store below a prefix of a bucket.

    Every object has its SHA-256 as metadata, S3 verifies each part that arrives, and downloads are
    compared with the checksum.

    Args:
        url: `s3://bucket/prefix`; nothing in it is percent-encoded.
        staging_folder: for local copies while they are read or written; default: the system's
            folder for temporary files (TMPDIR).
        clock: times the lease and the waits between retries; default: this machine's.

    Raises:
        UsageError: the URL names no bucket, or boto3 is not installed.
    """

    def __init__(
        self,
        url: str,
        clients: AwsClients,
        staging_folder: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.location = s3_location(url, clients.of("s3"))
        self.url = self.location.url
        self._staging_folder = staging_folder
        self.clock = clock or system_clock()
        parts = ThreadPoolExecutor(PARALLEL_PARTS, thread_name_prefix="s3-part")
        self.uploader = S3Uploader(self.location, parts, self.clock)
        self.listing = S3Listing(self.location)
        self._downloader = S3Downloader(self.location, parts, self.clock)
        self._lease: Lease | None = None

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """See ObjectStore.

        Empty objects that stand for a folder are left out. A name that no file can have (empty,
        . or ..) is passed to `on_error` like a folder that cannot be listed.
        """
        folder = f"{checked_key(prefix, self.url)}/" if prefix else ""
        for found in self.listing.objects(folder, on_error):
            yield found.stored()

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        yield from self.listing.folders(f"{checked_key(prefix, self.url)}/" if prefix else "")

    def files(self, prefix: str = "") -> Iterator[str]:
        """List the names of the objects directly in the folder `prefix`, in order.

        Raises:
            StoreError: they cannot be listed.
        """
        yield from self.listing.files(f"{checked_key(prefix, self.url)}/" if prefix else "")

    def download_to(self, key: str, path: Path) -> bool:
        """See ObjectStore."""
        head = self.head(key)
        sha256 = head["Metadata"].get(SHA256_METADATA)
        try:
            same_size = path.is_file() and path.stat().st_size == head["ContentLength"]
            if same_size and sha256_of_file(path) == sha256:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _staging_error(path.parent, error) from None
        self._downloader.download(key, path, head)
        return True

    def exists(self, key: str) -> bool:
        """See ObjectStore."""
        return self.listing.exists(checked_key(key, self.url))

    def head(self, key: str) -> "HeadObjectOutputTypeDef":
        """Return the response to HeadObject.

        Raises:
            NoSuchObjectError: there is no such object.
            StoreError: S3 refuses.
        """
        name = self.location.name_of(checked_key(key, self.url))
        with translate_s3_errors(self.location.url_of(key)):
            return self.location.client.head_object(**name)

    def read_bytes(self, key: str) -> bytes:
        """See ObjectStore."""
        return self._downloader.read(checked_key(key, self.url))[0]

    def write_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        self._check_lease()
        self.uploader.put(checked_key(key, self.url), data)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        self._check_lease()
        name = self.location.name_of(checked_key(key, self.url))
        with translate_s3_errors(self.location.url_of(key)):
            self.location.client.delete_object(**name)

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        """See ObjectStore. The file is a temporary copy."""
        with self._temporary_file(checked_key(key, self.url)) as path:
            self._downloader.fill_file(key, path)
            try:
                yield path
            except DamagedFileError as error:
                if error.path != path:
                    raise
                raise DamagedFileError(path, error.reason, self.location.url_of(key)) from None

    @contextmanager
    def reading_edges(self, key: str) -> Iterator[Path]:
        """See ObjectStore. The file is a temporary sparse copy."""
        with self._temporary_file(checked_key(key, self.url)) as path:
            self._downloader.fill_edges(key, path)
            yield path

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """See ObjectStore."""
        with self._temporary_file(checked_key(key, self.url)) as path:
            try:
                yield path
                self._check_lease()
                self.uploader.upload_file(key, path)
            except OSError as error:
                raise _staging_error(path.parent, error) from None
            except FileChangedError:
                raise StoreError(f"{path}: changed while it was uploaded to {key}") from None

    @contextmanager
    def exclusive(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """See ObjectStore. After the loss of the lease the next write raises StoreError."""
        lease = Lease(self.location, LOCK_FILE, self._downloader, self.uploader, self.clock)
        with lease.hold(on_wait):
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def _check_lease(self) -> None:
        if self._lease:
            self._lease.check()

    @contextmanager
    def _temporary_file(self, key: str) -> Iterator[Path]:
        # With the key's extension, which tells readers the format.
        suffix = PurePosixPath(key).suffix
        suffix = suffix if len(suffix) <= MAX_SUFFIX else ""
        folder = self._staging_folder or Path(tempfile.gettempdir())
        try:
            folder = self._staging_folder or process_folder("s3")
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="s3-", suffix=suffix, dir=folder)
        except OSError as error:
            raise _staging_error(folder, error) from None
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _staging_error(folder: Path, error: OSError) -> StoreError:
    if error.errno in NO_SPACE_ERRNOS:
        return StoreError(f"{folder}: {NO_ROOM}")
    return StoreError(
        f"{folder}: cannot hold copies of objects on S3: {error.strerror or error}; point TMPDIR "
        "to a folder that can be written"
    )
