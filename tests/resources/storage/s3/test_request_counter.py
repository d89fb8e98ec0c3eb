"""Requests are counted as S3 bills them."""

import pytest
from s3_rig import S3Rig, refuse, s3, s3_server

from resources.aws.clients import AwsClients
from resources.storage.s3.request_counter import Traffic
from resources.storage.s3.store import S3Store

# Fixtures.
__all__ = ["s3", "s3_server"]


@pytest.fixture
def traffic(s3: S3Rig) -> tuple[Traffic, S3Store]:
    """A store with its own counter."""
    clients: AwsClients = s3.clients()
    bucket = s3.bucket(clients)
    counted = Traffic()
    counted.attach(clients.of("s3"))
    return counted, S3Store(f"s3://{bucket}/traffic", clients)


def test_writes_reads_and_listings_are_counted_by_their_price(
    traffic: tuple[Traffic, S3Store],
) -> None:
    counted, store = traffic
    store.write_bytes("a", bytes(1000))
    wrote = counted.as_work()
    assert wrote["requests_put"] == 1
    assert 1000 <= wrote["bytes_written"] < 2000  # with checksums

    store.read_bytes("a")
    assert counted.read == 1000
    assert counted.get > 0 and counted.put == 1

    before = counted.put
    list(store.list())
    assert counted.put == before + 1  # a list costs what a PUT does


def test_a_retried_request_counts_twice_and_a_delete_is_free(
    traffic: tuple[Traffic, S3Store], s3: S3Rig
) -> None:
    counted, store = traffic
    s3.fail("PutObject", refuse(503, "SlowDown"))
    store.write_bytes("a", b"a")
    assert counted.put == 2
    store.delete("a")
    assert counted.put == 2
