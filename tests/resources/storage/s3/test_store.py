"""The store on S3: refusals, transient faults, corrupted bodies."""

import hashlib
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from s3_rig import (
    S3Rig,
    corrupt_request,
    corrupt_response,
    drop,
    hide_missing,
    lose_response,
    refuse,
    s3,
    s3_server,
    small_parts,
    truncate,
)
from s3_store_rig import FOREVER, error_message, make_store, staged_copies, store, write

from resources.aws.clients import AwsClients
from resources.errors import StoreError, UsageError
from resources.settings.profile import Aws
from resources.storage.s3.errors import NoSuchObjectError
from resources.storage.s3.store import S3Store

__all__ = [
    "make_store",
    "s3",
    "s3_server",
    "small_parts",
    "store",
]  # pytest finds fixtures by their names


# Refusals


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            403,
            "AccessDenied",
            "permission denied, or there is no such object: the credentials need s3:GetObject",
        ),
        (404, "NoSuchBucket", "there is no such bucket; check its name"),
        (404, "NoSuchKey", "there is no such object"),
        (400, "ExpiredToken", "the credentials have expired; log in again"),
        (403, "InvalidAccessKeyId", "AWS does not know the access key"),
        (403, "SignatureDoesNotMatch", "AWS does not accept the secret key"),
        (403, "RequestTimeTooSkewed", "this machine's clock is more than 15 minutes wrong"),
        (403, "InvalidObjectState", r"is archived .*; `munin cost restore 's3://.+/a'` shows"),
        (503, "SlowDown", "S3 throttles requests; wait a while and run again"),
        (500, "InternalError", r"S3 fails in every attempt \(InternalError\)"),
        (301, "PermanentRedirect", "the bucket is in another region; set cloud.aws.region"),
        (418, "Teapot", "S3 refused GetObject: Teapot: short and stout"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    store: S3Store, s3: S3Rig, status: int, code: str, words: str
) -> None:
    store.write_bytes("a/key", b"1")
    s3.fail("GetObject", refuse(status, code, "short\nand stout"), FOREVER)
    message = error_message(lambda: store.read_bytes("a/key"))
    assert message.startswith(f"{store.url}/a/key: ")
    with pytest.raises(StoreError, match=words), store.reading("a/key"):
        pass
    assert staged_copies(store) == []


@pytest.mark.parametrize(
    ("operation", "permission", "work"),
    [
        ("PutObject", "s3:PutObject", lambda store: store.write_bytes("k", b"")),
        ("UploadPart", "s3:PutObject", lambda store: write(store, "k", b"x" * 100_000)),
        ("CreateMultipartUpload", "s3:PutObject", lambda store: write(store, "k", b"x" * 99_999)),
        ("DeleteObject", "s3:DeleteObject", lambda store: store.delete("k")),
        ("HeadObject", "s3:GetObject", lambda store: store.head("k")),
        ("ListObjectsV2", "s3:ListBucket", lambda store: store.exists("k")),
        ("ListObjectsV2", "s3:ListBucket", lambda store: list(store.list())),
    ],
)
def test_a_missing_permission_is_named(
    store: S3Store,
    s3: S3Rig,
    small_parts: int,
    operation: str,
    permission: str,
    work: Callable[[S3Store], object],
) -> None:
    s3.fail(operation, refuse(403, "AccessDenied"), FOREVER)
    assert f"the credentials need {permission} here" in error_message(lambda: work(store))


def test_a_missing_bucket_is_reported(s3: S3Rig) -> None:
    store = S3Store("s3://no-such-bucket/x", s3.clients())
    for work in (lambda: list(store.list()), lambda: store.write_bytes("k", b"")):
        assert "there is no such bucket" in error_message(work)


def test_a_missing_object_may_be_answered_with_403(store: S3Store, s3: S3Rig) -> None:
    for operation in ("GetObject", "HeadObject"):
        s3.fail(operation, hide_missing, FOREVER)
    assert not store.exists("key")
    with store.exclusive(lambda: pytest.fail("no other writer has it")):
        store.write_bytes("keys", b"1")
        assert not store.exists("key")
        assert store.exists("keys")


def test_missing_credentials_are_reported(
    s3: S3Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = S3Store("s3://bucket/x", s3.clients())
    assert "there are no AWS credentials; log in" in error_message(lambda: store.read_bytes("k"))


def test_an_unreachable_s3_is_reported(s3: S3Rig, make_store: Callable[[], S3Store]) -> None:
    clients = AwsClients(Aws(endpoint_url="http://127.0.0.1:9"))
    store = S3Store("s3://bucket/x", clients)
    assert "S3 cannot be reached; check the network" in error_message(lambda: store.read_bytes("k"))


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://Bucket/x", "s3://bucket//x", "s3://b/x"])
def test_an_invalid_s3_url_is_refused(s3: S3Rig, url: str) -> None:
    with pytest.raises(UsageError, match="s3://"):
        S3Store(url, s3.clients())


# Transient faults


@pytest.mark.parametrize("fault", [refuse(503, "SlowDown"), refuse(500, "InternalError"), drop])
def test_a_transient_fault_is_retried(store: S3Store, s3: S3Rig, fault: Any) -> None:
    for operation in ("PutObject", "GetObject", "ListObjectsV2", "DeleteObject"):
        s3.fail(operation, fault)
    store.write_bytes("key", b"data")
    assert store.exists("key")
    assert store.read_bytes("key") == b"data"
    assert [found.key for found in store.list()] == ["key"]
    store.delete("key")
    assert not store.exists("key")


@pytest.mark.parametrize("fault", [truncate, corrupt_response])
def test_a_truncated_or_corrupted_body_is_downloaded_again(
    store: S3Store, s3: S3Rig, fault: Any
) -> None:
    store.write_bytes("key", b"data" * 1000)
    s3.fail("GetObject", fault, times=3)
    assert store.read_bytes("key") == b"data" * 1000
    s3.fail("GetObject", fault, times=3)
    with store.reading("key") as path:
        assert path.read_bytes() == b"data" * 1000


@pytest.mark.parametrize(
    ("fault", "words"),
    [(truncate, "connection broke in every attempt"), (corrupt_response, "is damaged")],
)
def test_a_body_that_fails_in_every_attempt_is_reported(
    store: S3Store, s3: S3Rig, fault: Any, words: str
) -> None:
    store.write_bytes("key", b"data" * 1000)
    s3.fail("GetObject", fault, FOREVER)
    assert words in error_message(lambda: store.read_bytes("key"))


def test_a_body_that_is_corrupted_in_transit_is_sent_again(store: S3Store, s3: S3Rig) -> None:
    s3.fail("PutObject", corrupt_request, times=2)
    store.write_bytes("key", b"data")
    assert store.read_bytes("key") == b"data"
    s3.fail("PutObject", corrupt_request, FOREVER)
    message = error_message(lambda: store.write_bytes("key", b"new"))
    assert "the data was corrupted in transit" in message
    assert store.read_bytes("key") == b"data"


def test_a_damaged_object_is_found_by_its_checksum(store: S3Store) -> None:
    wrong = hashlib.sha256(b"what it was").hexdigest()
    store.location.client.put_object(
        **store.location.name_of("key"), Body=b"what it is", Metadata={"sha256": wrong}
    )
    assert "does not match its SHA-256" in error_message(lambda: store.read_bytes("key"))
    with pytest.raises(StoreError, match="does not match its SHA-256"), store.reading("key"):
        pass


@pytest.mark.parametrize("seed", range(3))
def test_under_any_faults_a_read_returns_written_data(
    store: S3Store, s3: S3Rig, small_parts: int, seed: int
) -> None:
    """A failed write leaves the old object or the new one, never a mixture."""
    chance = random.Random(seed)
    faults = [
        drop,
        lose_response,
        truncate,
        corrupt_response,
        corrupt_request,
        refuse(503, "SlowDown"),
    ]
    operations = ["PutObject", "GetObject", "UploadPart", "CompleteMultipartUpload"]
    possible: dict[str, set[bytes]] = {}
    for _ in range(40):
        s3.fail(chance.choice(operations), chance.choice(faults), chance.choice([0, 0, 1, 4]))
        key = chance.choice("abc")
        data = chance.randbytes(chance.choice([1, 10, small_parts, 3 * small_parts]))
        try:
            write(store, key, data)
            possible[key] = {data}
        except StoreError:
            possible.setdefault(key, set()).add(data)
        with suppress(StoreError):
            read = store.read_bytes(key)
            assert read in possible[key]
            possible[key] = {read}
        s3.reset()
    for key, contents in possible.items():
        with suppress(NoSuchObjectError):
            assert store.read_bytes(key) in contents
    assert len(possible) == 3


def test_a_name_that_s3_cannot_have_is_reported(store: S3Store) -> None:
    message = error_message(lambda: store.write_bytes("a\udce9\nb", b""))
    assert message.endswith("/a\ufffd\ufffdb: the name is not valid UTF-8: rename it")
