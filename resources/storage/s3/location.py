"""A bucket and a prefix in it, and the names of a store's keys in S3."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from resources.errors import StoreError, UsageError
from resources.storage.object_store import S3_SCHEME

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Rules for names of general purpose buckets, in the S3 User Guide.
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectName(TypedDict):
    """An object's bucket and full key, as boto3 takes them."""

    Bucket: str
    Key: str


@dataclass(frozen=True)
class S3Location:
    """The location of a store on S3."""

    client: "S3Client"  # shared by threads
    bucket: str
    prefix: str  # empty, or ends with a slash

    @property
    def url(self) -> str:
        """The location as a URL, without a slash at its end."""
        return f"{S3_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def url_of(self, key: str) -> str:
        """Return the URL of an object for messages, in one line."""
        return f"{self.url}/{printable(key)}"

    def name_of(self, key: str) -> ObjectName:
        """Return an object's bucket and full key.

        Raises:
            StoreError: the key is not valid Unicode, as file names on Linux can be.
        """
        if not is_unicode(key):
            raise StoreError(f"{self.url_of(key)}: the name is not valid UTF-8: rename it")
        return {"Bucket": self.bucket, "Key": self.prefix + key}


def is_unicode(key: str) -> bool:
    """Return True if a file name is valid Unicode, so that it can be a name in S3."""
    return not any("\ud800" <= letter <= "\udfff" for letter in key)


def printable(key: str) -> str:
    """Return the key with each unprintable character replaced."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in key)


def s3_location(url: str, client: "S3Client") -> S3Location:
    """Parse an `s3://bucket/prefix` URL; nothing in it is percent-encoded.

    Raises:
        UsageError: the bucket's name is invalid, or the prefix has empty or dot names in it.
    """
    bucket, _, prefix = url.removeprefix(S3_SCHEME).partition("/")
    if not BUCKET_NAME.fullmatch(bucket):
        raise UsageError(
            f"{url}: {bucket!r} is not a bucket name: 3 to 63 lower case letters, digits, - and ."
        )
    prefix = prefix.removesuffix("/")
    if prefix and any(name in {"", ".", ".."} for name in prefix.split("/")):
        raise UsageError(f"{url}: write the prefix without //, /./ and /../")
    return S3Location(client, bucket, f"{prefix}/" if prefix else "")
