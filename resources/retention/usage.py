"""Asks S3 what lies there: how much, in which storage class, and since when."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from resources.aws.clients import AwsClients
from resources.retention.inventory import Area, StoredDay
from resources.storage.object_store import S3_SCHEME
from resources.storage.s3.errors import translate_s3_error
from resources.storage.s3.location import S3Location, s3_location

# Of some objects: where, class, whether old, day, at least so large.
_Group = tuple[Area, str, bool, date, int]


def list_stored_days(
    clients: AwsClients, areas: Mapping[str, Area], sizes: Collection[int] = ()
) -> list[StoredDay]:
    """What lies in some places, in order; nothing is counted twice.

    Args:
        areas: `s3://` URLs of folders, and what each holds; of two in one another, the inner.
        sizes: in bytes, by which objects are told apart.

    Raises:
        StoreError: S3 refuses to list one; the credentials need s3:ListBucketVersions.
    """
    places = [(s3_location(url, clients.of("s3")), area) for url, area in sorted(areas.items())]
    sums: dict[_Group, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for place, area in places:
        inner = [other.prefix for other, _ in places if _is_within(other, place)]
        for found in _versions(place):
            if not any(found["Key"].startswith(prefix) for prefix in inner):
                key = _group(area, found, sizes)
                objects, size = sums[key]
                sums[key] = objects + 1, size + found["Size"]
    return sorted(StoredDay(*key, *counted) for key, counted in sums.items())


def _is_within(place: S3Location, other: S3Location) -> bool:
    """Whether a place lies in another, and is not that one itself."""
    return (
        place.bucket == other.bucket
        and place.prefix != other.prefix
        and place.prefix.startswith(other.prefix)
    )


def _group(area: Area, found: dict[str, Any], sizes: Collection[int]) -> _Group:
    day = found["LastModified"].astimezone(UTC).date()
    at_least = max((size for size in sizes if size <= found["Size"]), default=0)
    return area, found.get("StorageClass", "STANDARD"), not found["IsLatest"], day, at_least


def _versions(place: S3Location) -> Iterator[dict[str, Any]]:
    """Every object, and every version of it that is still there."""
    pages = place.client.get_paginator("list_object_versions")
    try:
        for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix):
            yield from page.get("Versions", ())
    except (ClientError, BotoCoreError) as error:
        raise translate_s3_error(error, f"{S3_SCHEME}{place.bucket}/{place.prefix}") from None
