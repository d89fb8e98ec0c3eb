"""List what is stored on S3: bytes by location, storage class and day."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from resources.aws.clients import AwsClients
from resources.retention.inventory import Area, StoredDay
from resources.storage.object_store import S3_SCHEME
from resources.storage.s3.errors import translate_s3_error
from resources.storage.s3.location import S3Location, s3_location

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

# Area, storage class, old version, day, minimum size.
_Group = tuple[Area, str, bool, date, int]


def list_stored_days(
    clients: AwsClients, areas: Mapping[str, Area], sizes: Collection[int] = ()
) -> list[StoredDay]:
    """List what is stored in some locations, in order; nothing is counted twice.

    Args:
        areas: `s3://` URLs of folders, and what each holds; of nested ones the inner applies.
        sizes: bytes by which objects are grouped.

    Raises:
        StoreError: S3 refuses to list one; the credentials need s3:ListBucketVersions.
    """
    locations = [(s3_location(url, clients.of("s3")), area) for url, area in sorted(areas.items())]
    sums: dict[_Group, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for location, area in locations:
        inner = [other.prefix for other, _ in locations if _is_within(other, location)]
        for found in _versions(location):
            if not any(found["Key"].startswith(prefix) for prefix in inner):
                key = _group(area, found, sizes)
                objects, size = sums[key]
                sums[key] = objects + 1, size + found["Size"]
    return sorted(StoredDay(*key, *counted) for key, counted in sums.items())


def _is_within(location: S3Location, other: S3Location) -> bool:
    """Return True if a location is inside another one and differs from it."""
    return (
        location.bucket == other.bucket
        and location.prefix != other.prefix
        and location.prefix.startswith(other.prefix)
    )


def _group(area: Area, found: "ObjectVersionTypeDef", sizes: Collection[int]) -> _Group:
    day = found["LastModified"].astimezone(UTC).date()
    min_size = max((size for size in sizes if size <= found["Size"]), default=0)
    return area, found.get("StorageClass", "STANDARD"), not found["IsLatest"], day, min_size


def _versions(location: S3Location) -> Iterator["ObjectVersionTypeDef"]:
    """Yield every object, and every stored version of it."""
    pages = location.client.get_paginator("list_object_versions")
    try:
        for page in pages.paginate(Bucket=location.bucket, Prefix=location.prefix):
            yield from page.get("Versions", ())
    except (ClientError, BotoCoreError) as error:
        raise translate_s3_error(error, f"{S3_SCHEME}{location.bucket}/{location.prefix}") from None
