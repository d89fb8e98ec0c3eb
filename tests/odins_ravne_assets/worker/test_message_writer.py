"""Messages of a job arrive in spite of errors of S3, once and in order."""

# ruff: noqa: F811 (fixtures)

import json
from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from s3_rig import (
    Act,
    S3Rig,
    drop,
    lose_response,
    refuse,
    s3,  # noqa: F401
    s3_server,  # noqa: F401
)

from odins_ravne_assets.worker.message_writer import MAX_OUTAGE_SECONDS, MessageWriter
from resources.clock import ScaledClock


def message(number: int) -> Any:
    return {"__dagster_pipes_version": "0.1", "method": "log", "params": {"message": f"{number}\n"}}


def write(
    rig: S3Rig, numbers: Sequence[int], fault: Act, times: int, scale: float = 1000
) -> list[str]:
    """Write messages with a client that retries nothing; return those that arrived."""
    bucket = rig.bucket(rig.clients())
    rig.fail("PutObject", fault, times)
    config = Config(retries={"total_max_attempts": 1}, region_name="eu-north-1")
    client = boto3.client("s3", endpoint_url=rig.url, config=config)
    writer = MessageWriter(client, 0.0, ScaledClock(scale))
    with writer.open({"bucket": bucket, "key_prefix": "job"}) as channel:
        for number in numbers:
            channel.write_message(message(number))
    listed = client.list_objects_v2(Bucket=bucket, Prefix="job/").get("Contents", [])
    keys = sorted((each["Key"] for each in listed), key=lambda key: int(key[4:-5]))
    assert keys == [f"job/{number}.json" for number in range(1, len(keys) + 1)]
    bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    lines = [json.loads(line) for body in bodies for line in body.splitlines()]
    return [line["params"]["message"].strip() for line in lines]


@pytest.mark.parametrize("fault", [refuse(503, "SlowDown"), drop, lose_response])
def test_a_chunk_that_is_not_written_is_written_again(s3: S3Rig, fault: Act) -> None:
    assert write(s3, range(5), fault, times=3) == ["0", "1", "2", "3", "4"]


def test_an_outage_without_an_end_ends_the_writer(
    s3: S3Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException] = []
    monkeypatch.setattr("threading.excepthook", lambda caught: ended.append(caught.exc_value))
    denied = refuse(403, "AccessDenied")
    assert write(s3, range(2), denied, times=10**6, scale=MAX_OUTAGE_SECONDS * 4) == []
    assert isinstance(ended[0], ClientError)
