"""Stores of one location on S3."""

from collections.abc import Callable
from pathlib import Path

import pytest
from s3_rig import S3Rig

from resources.aws import clients as aws_clients
from resources.clock import ScaledClock
from resources.errors import StoreError
from resources.storage.s3.store import S3Store

FOREVER = 10**6
SCALE = 50


@pytest.fixture
def make_store(s3: S3Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], S3Store]:
    """A factory of stores of one location; botocore gives up after two attempts."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    monkeypatch.setitem(aws_clients.CLIENT_OPTIONS, "retries", retries)
    clients = s3.clients()
    url = f"s3://{s3.bucket(clients)}/out put"
    s3.reset()
    return lambda: S3Store(url, clients, tmp_path / "staging", ScaledClock(SCALE))


@pytest.fixture
def store(make_store: Callable[[], S3Store]) -> S3Store:
    return make_store()


def error_message(work: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def staged_copies(store: S3Store) -> list[Path]:
    folder = store._staging_folder
    return list(folder.iterdir()) if folder and folder.exists() else []


def write(store: S3Store, key: str, data: bytes) -> None:
    with store.writing(key) as path:
        path.write_bytes(data)
