"""Archived footage: errors, the price of a restore, its request and progress."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from compute_rig import running_sandbox
from sandbox_rig import eventually
from typer.testing import CliRunner

from odins_ravne_assets.cli.main import app
from resources.aws.clients import AwsClients
from resources.errors import RavneError, StoreError
from resources.pricing.sources import shipped_prices
from resources.retention.archive import (
    ObjectStorageClass,
    list_storage_classes,
    request_restore,
    restore_usd,
)
from resources.sandbox.model.config import SandboxConfig
from resources.settings.profile import Aws
from resources.storage.open_store import open_store

BOOK = shipped_prices("eu-north-1")
URL = "s3://ravne-data/footage/cam"
GIB = 2**30


@pytest.fixture(scope="module")
def clients() -> Iterator[AwsClients]:
    """An account with two archived media, a readable one, and one of another camera, cam2."""
    # Twelve hours in two seconds.
    config = SandboxConfig(scale=20_000)
    with pytest.MonkeyPatch.context() as patch, running_sandbox(config) as sandbox:
        clients = AwsClients(Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url))
        patch.setenv("MUNIN_CLOUD__AWS__ENDPOINT_URL", sandbox.endpoint_url)
        patch.setenv("MUNIN_CLOUD__AWS__CLOCK_URL", sandbox.clock_url)
        s3 = clients.of("s3")
        location = {"LocationConstraint": "eu-north-1"}
        s3.create_bucket(Bucket="ravne-data", CreateBucketConfiguration=location)
        for key, storage_class in {
            "cam/DCIM/1.jpg": "GLACIER",
            "cam/DCIM/2.jpg": "GLACIER",
            "cam/3.jpg": "STANDARD_IA",
            "cam2/1.jpg": "GLACIER",
        }.items():
            s3.put_object(
                Bucket="ravne-data",
                Key=f"footage/{key}",
                Body=b"picture",
                StorageClass=storage_class,
            )
        yield clients


def munin(*words: str) -> str:
    done = CliRunner().invoke(app, ["--profile", "sandbox", "cost", "restore", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def glacier(number: int, size: int) -> list[ObjectStorageClass]:
    return [ObjectStorageClass(str(each), size, "GLACIER") for each in range(number)]


def test_reading_an_archived_object_names_its_class_and_the_restore_command(
    clients: AwsClients,
) -> None:
    store = open_store(URL, clients)
    with pytest.raises(StoreError) as error, store.reading("DCIM/1.jpg"):
        pass
    assert str(error.value) == (
        f"{URL}/DCIM/1.jpg: is archived (GLACIER) and cannot be read now; `munin cost restore "
        f"{URL}/DCIM` shows the cost of restoring it, and requests it"
    )


def test_a_listing_shows_the_archived_objects_of_a_folder_or_url(
    clients: AwsClients,
) -> None:
    found = {each.key: each.storage_class for each in list_storage_classes(clients, URL)}
    assert found == {"DCIM/1.jpg": "GLACIER", "DCIM/2.jpg": "GLACIER", "3.jpg": "STANDARD_IA"}
    [one] = list_storage_classes(clients, f"{URL}/3.jpg")
    assert (one.key, one.is_archived) == ("", False)


def test_bulk_costs_only_the_storage_of_the_copy_and_standard_also_the_retrieval() -> None:
    # 100 media of 0.5 GiB for 15 days: 50 GiB at $0.023 for half a month is $0.575.
    media = glacier(100, GIB // 2)
    assert restore_usd(BOOK, media, 15, "bulk") == Decimal("0.575")
    # And 50 GiB at $0.01, and 100 requests at $0.05 a thousand.
    assert restore_usd(BOOK, media, 15, "standard") == Decimal("0.575") + Decimal("0.505")


def test_a_class_of_unknown_price_is_not_restored() -> None:
    with pytest.raises(RavneError, match="1 objects from DEEP_ARCHIVE is not known"):
        restore_usd(BOOK, [ObjectStorageClass("a", 1, "DEEP_ARCHIVE")], 7, "bulk")


def test_the_command_shows_the_price_then_requests_then_shows_progress(
    clients: AwsClients,
) -> None:
    output = munin(URL)
    assert "3 objects, 2 archived (0.00 GB), of which 0 requested" in output
    assert "2 objects for 7 days: about $0.00, in 5 to 12 hours (bulk). With --start" in output
    assert not any(each.restoring for each in list_storage_classes(clients, URL))
    assert "Requested 2 objects" in munin(URL, "--start")
    found = list(list_storage_classes(clients, URL))
    assert request_restore(clients, URL, found, 7, "bulk") == 0  # they were requested before
    eventually(lambda: not any(each.is_archived for each in list_storage_classes(clients, URL)))
    assert "3 objects, all readable, restored ones readable until" in munin(URL)
    assert open_store(URL, clients).read_bytes("DCIM/1.jpg") == b"picture"
    assert [each.is_archived for each in list_storage_classes(clients, f"{URL}2")] == [True]


def test_a_second_request_of_the_same_object_has_no_effect(clients: AwsClients) -> None:
    [one] = list_storage_classes(clients, f"{URL}2")
    assert request_restore(clients, f"{URL}2", [one], 1, "standard") == 1
    assert request_restore(clients, f"{URL}2", [one], 1, "standard") == 0


def test_the_sandbox_restores_only_archived_objects(clients: AwsClients) -> None:
    request: dict[str, Any] = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    with pytest.raises(ClientError, match="InvalidObjectState"):
        clients.of("s3").restore_object(
            Bucket="ravne-data", Key="footage/cam/3.jpg", RestoreRequest=request
        )
