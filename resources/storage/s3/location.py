"""A bucket and a prefix in it: how keys of a store become names in S3."""

import re
from dataclasses import dataclass
from typing import Any

from resources.errors import StoreError, UsageError
from resources.storage.object_store import S3_SCHEME

# Rules for names of general purpose buckets, in the S3 User Guide.
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class S3Location:
    """Where a store lies."""

    client: Any  # boto3's of S3; it may be shared by threads
    bucket: str
    prefix: str  # empty, or ends with a slash

    @property
    def url(self) -> str:
        """The place as a URL, without a slash at its end."""
        return f"{S3_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def url_of(self, key: str) -> str:
        """The URL of an object, for people: in one line."""
        return f"{self.url}/{printable(key)}"

    def name_of(self, key: str) -> dict[str, str]:
        """An object's bucket and full key, as boto3 takes them.

        Raises:
            StoreError: the key is no Unicode, as names of files on Linux can be.
        """
        if not is_unicode(key):
            raise StoreError(f"{self.url_of(key)}: the name is not valid UTF-8: rename it")
        return {"Bucket": self.bucket, "Key": self.prefix + key}


def is_unicode(key: str) -> bool:
    """Whether the name of a file can be one in S3."""
    return not any("\ud800" <= letter <= "\udfff" for letter in key)


def printable(key: str) -> str:
    """The key with what cannot be shown in a line replaced."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in key)


def s3_location(url: str, client: Any) -> S3Location:
    """The place that an `s3://bucket/prefix` URL names; nothing in it is percent-encoded.

    Raises:
        UsageError: the bucket's name is none, or the prefix has empty or dot names in it.
    """
    bucket, _, prefix = url.removeprefix(S3_SCHEME).partition("/")
    if not BUCKET_NAME.fullmatch(bucket):
        raise UsageError(
            f"{url}: {bucket!r} is no bucket's name: 3 to 63 lower case letters, digits, - and ."
        )
    prefix = prefix.removesuffix("/")
    if prefix and any(name in {"", ".", ".."} for name in prefix.split("/")):
        raise UsageError(f"{url}: write the prefix without //, /./ and /../")
    return S3Location(client, bucket, f"{prefix}/" if prefix else "")
