"""List S3 objects in the order of a file system.

S3 sorts by the bytes of whole keys, in which `a-1` comes before `a/x`: the hyphen sorts before the
slash. A file system sorts names, `a` before `a-1`. The two orders differ only where a name begins
with another one and goes on with a character below the slash (space ! " # $ % & ' ( ) * + , - .):
see `possible_folders`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from resources.aws.errors import error_code
from resources.errors import StoreError
from resources.storage.object_store import (
    S3_SCHEME,
    OnListError,
    StoredObject,
    is_internal_file,
    unusable_name,
)
from resources.storage.s3.errors import (
    ACCESS_DENIED,
    permission_denied,
    translate_s3_error,
    translate_s3_errors,
)
from resources.storage.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
        ObjectTypeDef,
    )

PAGE_SIZE = 1000  # S3's maximum
INVALID_NAME = (
    "S3 holds objects under an empty name, . or .. here, which no file can have; rename them"
)


class S3Object(NamedTuple):
    """An object in a listing of S3."""

    key: str
    size: int  # bytes
    modified_ns: int  # time of writing, in nanoseconds since 1970 UTC
    etag: str

    def stored(self) -> StoredObject:
        """Return the object as every store lists it."""
        return StoredObject(self.key, self.size, self.modified_ns)


class _Entry(NamedTuple):
    """A name in a folder."""

    name: str
    object: S3Object | None  # None: a folder

    def sort_key(self) -> str:
        """Return the key that S3 sorts by."""
        return self.name if self.object else f"{self.name}/"


class S3Listing:
    """Lists one location. Memory: one page for each level of folders."""

    def __init__(self, location: S3Location, page: int = PAGE_SIZE) -> None:
        self._location = location
        self._page = page

    def objects(self, folder: str, on_error: OnListError | None) -> Iterator[S3Object]:
        """List all objects below a folder in the order of `key_order`.

        Args:
            folder: a key with a slash at its end; empty for all.
            on_error: see ObjectStore.list.
        """
        # A stack, not recursion: a key of 1024 bytes can have 512 folders.
        levels = [(folder, self._entries(folder))]
        reported = None
        while levels:
            folder, entries = levels[-1]
            try:
                entry = next(entries, None)
            except ClientError as error:
                levels.pop()
                reason = permission_denied(error.operation_name)
                self._report(folder or ".", reason, on_error)
                continue
            if entry is None:
                levels.pop()
            elif unusable_name(entry.name) is not None:
                # A folder created in the console is an empty object with the folder's name.
                key = f"{folder}{entry.name}/"
                if key != reported and (entry.name or entry.object is None or entry.object.size):
                    self._report(reported := key, INVALID_NAME, on_error)
            elif entry.object is None:
                inner = f"{folder}{entry.name}/"
                levels.append((inner, self._entries(inner)))
            elif not is_internal_file(entry.name):
                yield entry.object

    def folders(self, folder: str) -> Iterator[str]:
        """List the names of the folders in a folder, in order.

        Args:
            folder: see `objects`.

        Raises:
            StoreError: it cannot be listed.
        """
        with translate_s3_errors(self._location.url_of(folder)):
            for entry in self._entries(folder):
                if entry.object is None and unusable_name(entry.name) is None:
                    yield entry.name

    def files(self, folder: str) -> Iterator[str]:
        """List the names of the objects directly in a folder, in order; see `folders`."""
        with translate_s3_errors(self._location.url_of(folder)):
            for entry in self._entries(folder):
                if entry.object and unusable_name(entry.name) is None:
                    yield entry.name

    def exists(self, key: str) -> bool:
        """Return True if there is an object with this key.

        Uses a listing: with the permission to list a prefix only, S3 may answer HeadObject of a
        missing object with 403.

        Raises:
            StoreError: S3 refuses, or cannot be reached.
        """
        full_key = self._location.name_of(key)["Key"]
        with translate_s3_errors(self._location.url_of(key)):
            first = self._request(full_key, page=1).get("Contents", ())
        return any(found["Key"] == full_key for found in first)

    def _entries(self, folder: str) -> Iterator[_Entry]:
        """List the names in a folder by code points; a file before a folder of the same name.

        Raises:
            ClientError: the credentials lack the permission to list it.
        """
        early: dict[str, bool] = {}  # possible later folders, and if they exist (and were listed)
        for page, last in self._pages(folder):
            names = [entry for entry in page if entry.object or not early.get(entry.name)]
            possible = possible_folders(last) if last else []
            early = {name: early[name] for name in possible if name in early}
            for name in possible:
                if name not in early:
                    early[name] = self._folder_exists(f"{folder}{name}/")
                    if early[name]:
                        names.append(_Entry(name, None))
            yield from sorted(names, key=lambda entry: (entry.name, entry.object is None))

    def _pages(self, folder: str) -> Iterator[tuple[list[_Entry], str]]:
        """Yield pages in S3's order, each with the last name in it; "" for the last page."""
        prefix = self._location.prefix + folder
        token, last = "", ""
        while True:
            response = self._request(prefix, delimiter="/", page=self._page, token=token)
            page = [self._file(found, prefix) for found in response.get("Contents", ())]
            for found in response.get("CommonPrefixes", ()):
                page.append(_Entry(found["Prefix"][len(prefix) : -1], None))
            more = response["IsTruncated"]
            last = max(page, key=_Entry.sort_key).name if page else last
            yield page, last if more else ""
            if not more:
                return
            token = response["NextContinuationToken"]

    def _folder_exists(self, folder: str) -> bool:
        response = self._request(self._location.prefix + folder, page=1)
        return bool(response.get("Contents"))

    def _request(
        self, prefix: str, *, page: int, delimiter: str = "", token: str = ""
    ) -> "ListObjectsV2OutputTypeDef":
        location = self._location
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": location.bucket,
            "Prefix": prefix,
            "MaxKeys": page,
        }
        if delimiter:
            request["Delimiter"] = delimiter
        if token:
            request["ContinuationToken"] = token
        try:
            return location.client.list_objects_v2(**request)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in ACCESS_DENIED:
                raise
            raise translate_s3_error(error, f"{S3_SCHEME}{location.bucket}/{prefix}") from None

    def _file(self, found: "ObjectTypeDef", prefix: str) -> _Entry:
        name = found["Key"]
        # Whole seconds, as S3 has them: the nanoseconds of a float would be noise.
        modified_ns = int(found["LastModified"].timestamp()) * 10**9
        key = name[len(self._location.prefix) :]
        return _Entry(name[len(prefix) :], S3Object(key, found["Size"], modified_ns, found["ETag"]))

    def _report(self, key: str, reason: str, on_error: OnListError | None) -> None:
        if on_error is None:
            url = self._location.url_of(key.removesuffix("/"))
            raise StoreError(f"{url}: cannot be listed: {reason}")
        on_error(key, reason)


def possible_folders(last: str) -> list[str]:
    """Return the folders that S3 may list after the name `last`, although they sort before it.

    Such a folder p has p < last and last < p/ in S3's order, so `last` begins with p and goes on
    with a character below the slash. The order of a page's names is final once it is known which
    of these exist.
    """
    return [last[:end] for end in range(1, len(last)) if last[end] < "/"]
