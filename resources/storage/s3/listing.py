"""What lies in S3, in the order of a file system.

S3 lists by the bytes of whole keys, in which `a-1` comes before `a/x`: the hyphen is less than the
slash. A folder's names sort the other way, `a` before `a-1`. The two differ only where a name goes
on, after another one's end, with a character below the slash (space ! " # $ % & ' ( ) * + , - .):
`possible_folders` holds the argument.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from resources.errors import StoreError
from resources.storage.object_store import S3_SCHEME, OnListError, StoredObject, is_internal_file
from resources.storage.s3.errors import (
    ACCESS_DENIED,
    code_of,
    permission_denied,
    translate_s3_error,
    translate_s3_errors,
)
from resources.storage.s3.location import S3Location

PAGE_SIZE = 1000  # the most that S3 gives at once
INVALID_NAME = "S3 holds objects under an empty name, . or .. here, which no file can have; rename them"


class S3Object(NamedTuple):
    """An object as S3 lists it."""

    key: str
    size: int  # bytes
    modified_ns: int  # when it was put there, in nanoseconds since 1970 UTC
    etag: str

    def stored(self) -> StoredObject:
        """As every store says it."""
        return StoredObject(self.key, self.size, self.modified_ns)


class _Entry(NamedTuple):
    """A name in a folder."""

    name: str
    object: S3Object | None  # None: a folder

    def raw(self) -> str:
        """What S3 sorts by."""
        return self.name if self.object else f"{self.name}/"


class S3Listing:
    """Lists one place. Holds a page for each level of folders, however many objects there are."""

    def __init__(self, place: S3Location, page: int = PAGE_SIZE) -> None:
        self._location = place
        self._page = page

    def objects(self, folder: str, on_error: OnListError | None) -> Iterator[S3Object]:
        """All objects below a folder, in the order of `key_order`.

        Args:
            folder: a key with a slash at its end; empty for all.
            on_error: see ObjectStore.list.
        """
        # Not by recursion: a key of 1024 bytes can have 512 folders.
        levels = [(folder, self._entries(folder))]
        odd = None
        while levels:
            folder, entries = levels[-1]
            try:
                entry = next(entries, None)
            except ClientError as error:
                levels.pop()
                self._tell(folder.rstrip("/") or ".", permission_denied(error.operation_name), on_error)
                continue
            if entry is None:
                levels.pop()
            elif entry.name in {"", ".", ".."}:
                # A folder made in the console is an empty object that is named as the folder.
                key = f"{folder}{entry.name}/"
                if key != odd and (entry.name or entry.object is None or entry.object.size):
                    self._tell(odd := key, INVALID_NAME, on_error)
            elif entry.object is None:
                inner = f"{folder}{entry.name}/"
                levels.append((inner, self._entries(inner)))
            elif not is_internal_file(entry.name):
                yield entry.object

    def folders(self, folder: str) -> Iterator[str]:
        """The names of the folders in a folder, in order.

        Args:
            folder: see `objects`.

        Raises:
            StoreError: it cannot be listed.
        """
        with translate_s3_errors(self._location.url_of(folder)):
            for entry in self._entries(folder):
                if entry.object is None and entry.name not in {"", ".", ".."}:
                    yield entry.name

    def files(self, folder: str) -> Iterator[str]:
        """The names of the objects directly in a folder, in order; see `folders`."""
        with translate_s3_errors(self._location.url_of(folder)):
            for entry in self._entries(folder):
                if entry.object and entry.name not in {"", ".", ".."}:
                    yield entry.name

    def holds(self, key: str) -> bool:
        """Whether the key holds an object.

        By a listing: for who may list no more than a prefix, S3 can answer HeadObject of what is
        missing with 403, as if it were there and closed.

        Raises:
            StoreError: S3 cannot be asked.
        """
        full_key = self._location.name_of(key)["Key"]
        with translate_s3_errors(self._location.url_of(key)):
            first = self._ask(full_key, MaxKeys=1).get("Contents", ())
        return any(found["Key"] == full_key for found in first)

    def _entries(self, folder: str) -> Iterator[_Entry]:
        """The names in a folder, by code points; those of a file before those of a folder.

        Raises:
            ClientError: the credentials may not list it.
        """
        early: dict[str, bool] = {}  # folders that could still come, and whether they were given
        for page, last in self._pages(folder):
            names = [entry for entry in page if entry.object or not early.get(entry.name)]
            possible = possible_folders(last) if last else []
            early = {name: early[name] for name in possible if name in early}
            for name in possible:
                if name not in early:
                    early[name] = self._is_folder(f"{folder}{name}/")
                    if early[name]:
                        names.append(_Entry(name, None))
            yield from sorted(names, key=lambda entry: (entry.name, entry.object is None))

    def _pages(self, folder: str) -> Iterator[tuple[list[_Entry], str]]:
        """Pages in S3's order, each with the last name in it; with "" when nothing follows."""
        prefix = self._location.prefix + folder
        token: dict[str, str] = {}
        last = ""
        while True:
            answer = self._ask(prefix, Delimiter="/", MaxKeys=self._page, **token)
            page = [self._file(found, prefix) for found in answer.get("Contents", ())]
            for found in answer.get("CommonPrefixes", ()):
                page.append(_Entry(found["Prefix"][len(prefix) : -1], None))
            more = answer["IsTruncated"]
            last = max(page, key=_Entry.raw).name if page else last
            yield page, last if more else ""
            if not more:
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def _is_folder(self, folder: str) -> bool:
        answer = self._ask(self._location.prefix + folder, MaxKeys=1)
        return bool(answer.get("Contents"))

    def _ask(self, prefix: str, **options: str | int) -> dict[str, Any]:
        place = self._location
        try:
            answer: dict[str, Any] = place.client.list_objects_v2(
                Bucket=place.bucket, Prefix=prefix, **options
            )
        except (ClientError, BotoCoreError) as error:
            if code_of(error) in ACCESS_DENIED:
                raise
            raise translate_s3_error(error, f"{S3_SCHEME}{place.bucket}/{prefix}") from None
        return answer

    def _file(self, found: dict[str, Any], prefix: str) -> _Entry:
        name = found["Key"]
        # Whole seconds, as S3 keeps them: of a float, nanoseconds would be noise.
        modified_ns = int(found["LastModified"].timestamp()) * 10**9
        key = name[len(self._location.prefix) :]
        return _Entry(name[len(prefix) :], S3Object(key, found["Size"], modified_ns, found["ETag"]))

    def _tell(self, key: str, reason: str, on_error: OnListError | None) -> None:
        if on_error is None:
            raise StoreError(f"{self._location.url_of(key)}: cannot be listed: {reason}")
        on_error(key, reason)


def possible_folders(last: str) -> list[str]:
    """Folders that S3 may still list after the name `last`, though they sort before it.

    Such a folder p has p < last and last < p/ in S3's order, so `last` begins with p and goes on
    with a character below the slash. A page's names are in their final order once it is known
    which of these there are.
    """
    return [last[:end] for end in range(1, len(last)) if last[end] < "/"]
