"""The inventory of stored objects, listed from a real server."""

import pytest
from s3_rig import S3Rig, s3, s3_server

from resources.errors import StoreError
from resources.retention.inventory import StoredDay
from resources.retention.usage import list_stored_days

# Fixtures.
__all__ = ["s3", "s3_server"]


def sums(found: list[StoredDay]) -> dict[tuple[str, str, bool, int], tuple[int, int]]:
    return {
        (day.area, day.storage_class, day.old, day.min_size): (day.objects, day.bytes)
        for day in found
    }


def test_objects_are_counted_by_area_class_and_size(s3: S3Rig) -> None:
    clients = s3.clients()
    bucket = s3.bucket(clients)
    put = clients.of("s3").put_object
    put(Bucket=bucket, Key="footage/hill/a.jpg", Body=b"12345")
    put(Bucket=bucket, Key="footage/hill/b.jpg", Body=b"1234567890")
    put(Bucket=bucket, Key="footage/hill/c.jpg", Body=b"123", StorageClass="GLACIER")
    put(Bucket=bucket, Key="footage/hillside/no.jpg", Body=b"1")
    put(Bucket=bucket, Key="results/hill/report.json", Body=b"{}")
    areas = {f"s3://{bucket}/footage/hill": "footage", f"s3://{bucket}/results/hill": "results"}
    assert sums(list_stored_days(clients, areas, (10,))) == {  # type: ignore[arg-type]
        ("footage", "STANDARD", False, 0): (1, 5),
        ("footage", "STANDARD", False, 10): (1, 10),
        ("footage", "GLACIER", False, 0): (1, 3),
        ("results", "STANDARD", False, 0): (1, 2),
    }


def test_results_within_footage_are_counted_once(s3: S3Rig) -> None:
    clients = s3.clients()
    bucket = s3.bucket(clients)
    put = clients.of("s3").put_object
    put(Bucket=bucket, Key="hill/a.jpg", Body=b"12345")
    put(Bucket=bucket, Key="hill/out/report.json", Body=b"{}")
    found = list_stored_days(
        clients, {f"s3://{bucket}/hill": "footage", f"s3://{bucket}/hill/out": "results"}
    )
    assert {(day.area, day.bytes) for day in found} == {("footage", 5), ("results", 2)}


def test_overwritten_versions_are_counted_separately(s3: S3Rig) -> None:
    clients = s3.clients()
    bucket = s3.bucket(clients)
    client = clients.of("s3")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="hill/report.json", Body=b"12345")
    client.put_object(Bucket=bucket, Key="hill/report.json", Body=b"12")
    found = list_stored_days(clients, {f"s3://{bucket}/hill": "results"})
    assert {(day.old, day.bytes) for day in found} == {(True, 5), (False, 2)}


def test_a_missing_bucket_is_an_error(s3: S3Rig) -> None:
    clients = s3.clients()
    with pytest.raises(StoreError, match="no such bucket"):
        list_stored_days(clients, {"s3://nobodys-bucket/x": "results"})
