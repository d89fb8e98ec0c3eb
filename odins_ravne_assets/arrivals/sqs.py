"""What S3 told an SQS queue: uploads, as S3's event notifications name them.

Format: "Event message structure", S3 user guide (version 2.x). Messages are deleted one tick after
they were read, when what they said is known to be kept; one that is told again does no harm.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef

# SQS gives and takes ten messages a call.
BATCH_SIZE = 10
# Messages of a tick: their receipts are kept in the sensor's cursor, some 400 bytes each.
MAX_MESSAGES = 1000
# The first call of a tick waits this long for a message, so that not every queue server is missed.
LONG_POLL_SECONDS = 2
# Nobody else is given a message for this long; many ticks pass in it.
VISIBILITY_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class UploadEvent:
    """An object that was put into a bucket.

    Args:
        at: when, in seconds since 1970 UTC.
    """

    bucket: str
    key: str
    at: float


@dataclass(frozen=True)
class Message:
    """A message of the queue.

    Args:
        uploads: what it tells; None: it is no notification of S3's, and is left for the queue's
            dead letters.
    """

    receipt: str
    body: str
    uploads: tuple[UploadEvent, ...] | None


def receive(
    sqs: "SQSClient", queue_url: str, enough: Callable[[], bool], most: int = MAX_MESSAGES
) -> Iterator[Message]:
    """What is in the queue, until it is empty, there were `most`, or time is up."""
    given = 0
    while given < most:
        answer = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=min(BATCH_SIZE, most - given),
            WaitTimeSeconds=0 if given else LONG_POLL_SECONDS,
            VisibilityTimeout=VISIBILITY_TIMEOUT_SECONDS,
        )
        messages = answer.get("Messages", [])
        for message in messages:
            yield Message(message["ReceiptHandle"], message["Body"], parse_notification(message["Body"]))
        given += len(messages)
        if not messages or enough():
            return


def delete(sqs: "SQSClient", queue_url: str, receipts: Sequence[str]) -> None:
    """Delete messages. Those that SQS gave to somebody again meanwhile stay, and come again."""
    for start in range(0, len(receipts), BATCH_SIZE):
        some = receipts[start : start + BATCH_SIZE]
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), "ReceiptHandle": each} for n, each in enumerate(some)
        ]
        sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


def parse_notification(body: str) -> tuple[UploadEvent, ...] | None:
    """The uploads that a notification tells; none for S3's test message. None: it is none."""
    try:
        tree = json.loads(body)
        if tree.get("Event") == "s3:TestEvent":
            return ()
        return tuple(_upload_event(record) for record in tree["Records"] if _is_upload(record))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_upload(record: dict[str, Any]) -> bool:
    return str(record["eventName"]).startswith("ObjectCreated:")


def _upload_event(record: dict[str, Any]) -> UploadEvent:
    s3 = record["s3"]
    at = datetime.fromisoformat(record["eventTime"]).timestamp()
    return UploadEvent(s3["bucket"]["name"], unquote_plus(s3["object"]["key"]), at)
