"""Objects that S3 keeps in an archive, and what having them back costs.

An archived object cannot be read. Asked for, it can after some hours and for some days, as a copy
that is billed as well; the object itself stays where it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.errors import RavneError
from resources.pricing.prices import GIB, PriceBook
from resources.retention.rules import ARCHIVE_CLASSES, DAYS_PER_MONTH
from resources.storage.s3.errors import translate_s3_errors
from resources.storage.s3.location import S3Location, s3_location

Tier = Literal["bulk", "standard"]

# How long it takes, in hours ("Archive retrieval options", S3 user guide). The third tier,
# Expedited, costs two hundred times as much for each object, and is not offered.
RESTORE_HOURS: dict[str, dict[Tier, str]] = {
    "GLACIER": {"bulk": "5 to 12", "standard": "3 to 5"},
    "DEEP_ARCHIVE": {"bulk": "up to 48", "standard": "up to 12"},
}

PARALLEL_REQUESTS = 16


@dataclass(frozen=True)
class ObjectStorageClass:
    """An object and its class.

    Args:
        key: below the URL that was asked for; empty if that is the object's own.
        storage_class: S3's name of it, as STANDARD or GLACIER.
        restoring: it has been asked for, and cannot be read yet.
        readable_until: it has been asked for, and can be read until then.
    """

    key: str
    size: int
    storage_class: str
    restoring: bool = False
    readable_until: datetime | None = None

    @property
    def is_archived(self) -> bool:
        """Whether it cannot be read now."""
        return self.storage_class in ARCHIVE_CLASSES and self.readable_until is None


def restore_usd(book: PriceBook, objects: Sequence[ObjectStorageClass], days: int, tier: Tier) -> Decimal:
    """What having archived objects back for some days costs, in USD.

    Bulk retrievals are free; standard ones cost by GB and by object. The copy that can be read is
    billed at the price of S3 Standard.

    Raises:
        RavneError: a price is not known, as that of retrieving from DEEP_ARCHIVE.
    """
    if deep := [each for each in objects if each.storage_class != "GLACIER"]:
        raise RavneError(
            f"the price of retrieving {len(deep)} objects from {deep[0].storage_class} is not "
            "known here; see https://aws.amazon.com/s3/pricing/, and ask with aws s3api "
            "restore-object"
        )
    gib = Decimal(sum(each.size for each in objects)) / GIB
    usd = gib * book.rate("s3-standard").usd * days / DAYS_PER_MONTH
    if tier == "standard":
        usd += gib * book.rate("s3-glacier-retrieval").usd
        usd += len(objects) * book.rate("s3-glacier-restore").usd / 1000
    return usd


def list_storage_classes(clients: AwsClients, url: str) -> Iterator[ObjectStorageClass]:
    """The objects at a URL and below it, with their classes, by a listing.

    Raises:
        StoreError: S3 refuses, or cannot be reached.
        UsageError: the URL names no bucket.
    """
    place = s3_location(url, clients.of("s3"))
    prefix = place.prefix.rstrip("/")
    pages = place.client.get_paginator("list_objects_v2").paginate(
        Bucket=place.bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
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
    """Ask for archived objects at or below a URL; those that have been asked for are passed over.

    Returns:
        How many have been asked for now.

    Raises:
        StoreError: S3 refuses, or cannot be reached. What was asked for until then stays so.
    """
    place = s3_location(url, clients.of("s3"))
    wanted = [each for each in objects if each.is_archived and not each.restoring]
    with translate_s3_errors(url), ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        return sum(pool.map(lambda each: _ask(place, each.key, days, tier), wanted))


def _ask(place: S3Location, key: str, days: int, tier: Tier) -> bool:
    from botocore.exceptions import ClientError

    try:
        place.client.restore_object(
            Bucket=place.bucket,
            Key=place.prefix + key if key else place.prefix.rstrip("/"),
            RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": tier.capitalize()}},
        )
    except ClientError as error:
        if error_code(error) == "RestoreAlreadyInProgress":
            return False
        raise
    return True
