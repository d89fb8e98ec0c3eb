"""Archived objects on S3, their restore, and its price.

An archived object cannot be read. A restore provides a temporary copy after some hours, for some
days, which is billed as well; the object itself stays archived.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.errors import RavneError
from resources.pricing.prices import GIB, PriceBook
from resources.retention.rules import ARCHIVE_CLASSES, DAYS_PER_MONTH
from resources.storage.s3.location import S3Location, s3_location

if TYPE_CHECKING:
    from mypy_boto3_s3.literals import TierType

Tier = Literal["bulk", "standard"]

# Hours until a restored object is readable ("Archive retrieval options", S3 user guide). The third
# tier, Expedited, costs two hundred times as much per object, and is not offered.
RESTORE_HOURS: dict[str, dict[Tier, str]] = {
    "GLACIER": {"bulk": "5 to 12", "standard": "3 to 5"},
    "DEEP_ARCHIVE": {"bulk": "up to 48", "standard": "up to 12"},
}

API_TIERS: "dict[Tier, TierType]" = {"bulk": "Bulk", "standard": "Standard"}
PARALLEL_REQUESTS = 16


@dataclass(frozen=True)
class ObjectStorageClass:
    """An object and its storage class.

    Args:
        key: below the requested URL; empty if that is the object's own URL.
        storage_class: S3's name, as STANDARD or GLACIER.
        restoring: a restore was requested; the object cannot be read yet.
        readable_until: the end of a finished restore.
    """

    key: str
    size: int
    storage_class: str
    restoring: bool = False
    readable_until: datetime | None = None

    @property
    def is_archived(self) -> bool:
        """True if it cannot be read now."""
        return self.storage_class in ARCHIVE_CLASSES and self.readable_until is None


def restore_usd(
    book: PriceBook, objects: Sequence[ObjectStorageClass], days: int, tier: Tier
) -> Decimal:
    """Return the price of restoring archived objects for some days, in USD.

    Bulk retrievals are free; standard ones cost per GB and per object. The readable copy is billed
    at the price of S3 Standard.

    Raises:
        RavneError: a price is unknown, as that of retrieving from DEEP_ARCHIVE.
    """
    if deep := [each for each in objects if each.storage_class != "GLACIER"]:
        raise RavneError(
            f"the price of retrieving {len(deep)} objects from {deep[0].storage_class} is not "
            "known; see https://aws.amazon.com/s3/pricing/, and request it with aws s3api "
            "restore-object"
        )
    gib = Decimal(sum(each.size for each in objects)) / GIB
    usd = gib * book.rate("s3-standard").usd * days / DAYS_PER_MONTH
    if tier == "standard":
        usd += gib * book.rate("s3-glacier-retrieval").usd
        usd += len(objects) * book.rate("s3-glacier-restore").usd / 1000
    return usd


def list_storage_classes(clients: AwsClients, url: str) -> Iterator[ObjectStorageClass]:
    """List the objects at a URL and below it, with their storage classes.

    Raises:
        StoreError: S3 refuses, or cannot be reached.
        UsageError: the URL names no bucket.
    """
    from resources.storage.s3.errors import translate_s3_errors  # needs boto3, which is optional

    location = s3_location(url, clients.of("s3"))
    prefix = location.prefix.rstrip("/")
    pages = location.client.get_paginator("list_objects_v2").paginate(
        Bucket=location.bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
    )
    with translate_s3_errors(url):
        for page in pages:
            for found in page.get("Contents", ()):
                below = found["Key"].removeprefix(prefix)
                if not prefix or below == "" or below.startswith("/"):
                    status = found.get("RestoreStatus", {})
                    yield ObjectStorageClass(
                        below.removeprefix("/"),
                        found["Size"],
                        found.get("StorageClass", "STANDARD"),
                        bool(status.get("IsRestoreInProgress")),
                        status.get("RestoreExpiryDate"),
                    )


def request_restore(
    clients: AwsClients, url: str, objects: Iterable[ObjectStorageClass], days: int, tier: Tier
) -> int:
    """Request the restore of archived objects at or below a URL; pending ones are skipped.

    Returns:
        The number of requested objects.

    Raises:
        StoreError: S3 refuses, or cannot be reached. Earlier requests stay in effect.
    """
    from resources.storage.s3.errors import translate_s3_errors  # needs boto3, which is optional

    location = s3_location(url, clients.of("s3"))
    wanted = [each for each in objects if each.is_archived and not each.restoring]
    with translate_s3_errors(url), ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        return sum(pool.map(lambda each: _request_restore(location, each.key, days, tier), wanted))


def _request_restore(location: S3Location, key: str, days: int, tier: Tier) -> bool:
    from botocore.exceptions import ClientError

    try:
        location.client.restore_object(
            Bucket=location.bucket,
            Key=location.prefix + key if key else location.prefix.rstrip("/"),
            RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": API_TIERS[tier]}},
        )
    except ClientError as error:
        if error_code(error) == "RestoreAlreadyInProgress":
            return False
        raise
    return True
