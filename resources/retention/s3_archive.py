"""Archived objects on S3: finding them, and asking for them."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code
from resources.retention.archive import StoredClass, Tier
from resources.storage.s3.errors import in_words
from resources.storage.s3.location import S3Place, s3_place

AT_ONCE = 16


def stored_classes(clients: AwsClients, url: str) -> Iterator[StoredClass]:
    """The objects at a URL and below it, with their classes, by a listing.

    Raises:
        StoreError: S3 refuses, or cannot be reached.
        UsageError: the URL names no bucket.
    """
    place = s3_place(url, clients.of("s3"))
    prefix = place.prefix.rstrip("/")
    pages = place.client.get_paginator("list_objects_v2").paginate(
        Bucket=place.bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
    )
    with in_words(url):
        for page in pages:
            for found in page.get("Contents", ()):
                below = found["Key"].removeprefix(prefix)
                if not prefix or below == "" or below.startswith("/"):
                    status = found.get("RestoreStatus", {})
                    yield StoredClass(
                        below.removeprefix("/"),
                        found["Size"],
                        found.get("StorageClass", "STANDARD"),
                        bool(status.get("IsRestoreInProgress")),
                        status.get("RestoreExpiryDate"),
                    )


def ask_for(
    clients: AwsClients, url: str, objects: Iterable[StoredClass], days: int, tier: Tier
) -> int:
    """Ask for archived objects at or below a URL; those that have been asked for are passed over.

    Returns:
        How many have been asked for now.

    Raises:
        StoreError: S3 refuses, or cannot be reached. What was asked for until then stays so.
    """
    place = s3_place(url, clients.of("s3"))
    wanted = [each for each in objects if each.is_archived and not each.restoring]
    with in_words(url), ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(lambda each: _ask(place, each.key, days, tier), wanted))


def _ask(place: S3Place, key: str, days: int, tier: Tier) -> bool:
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
