"""Read S3 upload events from an SQS queue.

A bucket reports uploads to a queue in three ways, which differ in their content:

- S3 to SQS, or S3 to SNS to SQS with raw message delivery: "Event message structure", S3 user guide
  (version 2.x). Keys are URL-encoded.
- S3 to SNS to SQS: the same as a string in `Message` ("HTTP/HTTPS notification JSON format", SNS
  developer guide).
- S3 to EventBridge to SQS: "EventBridge event message structure", S3 user guide. Keys are plain.

Messages are deleted one tick after they were read, once the cursor that holds their content is
stored; a duplicate is harmless.
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

# The most messages of one call of SQS.
BATCH_SIZE = 10
# Messages of a tick: the sensor's cursor holds their receipts, some 400 bytes each.
MAX_MESSAGES = 1000
# The first call of a tick waits this long for a message, so that not every queue server is missed.
LONG_POLL_SECONDS = 2
# The visibility timeout of a received message; it spans many ticks.
VISIBILITY_TIMEOUT_SECONDS = 900
# The bytes of an object whose event states none.
UNKNOWN_SIZE = 1


@dataclass(frozen=True)
class UploadEvent:
    """An object that was put into a bucket.

    Args:
        at: when, in seconds since 1970 UTC.
        size: bytes.
    """

    bucket: str
    key: str
    at: float
    size: int = UNKNOWN_SIZE


@dataclass(frozen=True)
class Message:
    """A message of the queue.

    Args:
        uploads: the uploads in it; None: it is no event of S3, and is left for the dead-letter
            queue.
    """

    receipt: str
    body: str
    uploads: tuple[UploadEvent, ...] | None


def receive(
    sqs: "SQSClient", queue_url: str, enough: Callable[[], bool], most: int = MAX_MESSAGES
) -> Iterator[Message]:
    """Yield messages until the queue is empty, `most` were received, or time is up."""
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
            yield Message(
                message["ReceiptHandle"], message["Body"], parse_notification(message["Body"])
            )
        given += len(messages)
        if not messages or enough():
            return


def delete(sqs: "SQSClient", queue_url: str, receipts: Sequence[str]) -> None:
    """Delete messages. One that SQS has delivered again since stays in the queue."""
    for start in range(0, len(receipts), BATCH_SIZE):
        some = receipts[start : start + BATCH_SIZE]
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), "ReceiptHandle": each} for n, each in enumerate(some)
        ]
        sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


def parse_notification(body: str) -> tuple[UploadEvent, ...] | None:
    """Return the uploads of a message; None if it is no event of S3.

    Test events and events of other kinds (deletions, restored objects) have no uploads.
    """
    try:
        tree = json.loads(body)
        if tree.get("Type") == "Notification" and "TopicArn" in tree:  # SNS
            tree = json.loads(tree["Message"])
        if tree.get("Event") == "s3:TestEvent":
            return ()
        if tree.get("source") == "aws.s3" and "detail-type" in tree:
            return _eventbridge_uploads(tree)
        return tuple(_upload_event(record) for record in tree["Records"] if _is_upload(record))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_upload(record: dict[str, Any]) -> bool:
    return str(record["eventName"]).removeprefix("s3:").startswith("ObjectCreated:")


def _upload_event(record: dict[str, Any]) -> UploadEvent:
    bucket, found = record["s3"]["bucket"], record["s3"]["object"]
    at = _seconds(record["eventTime"])
    return UploadEvent(bucket["name"], _key(unquote_plus(found["key"])), at, _size(found))


def _eventbridge_uploads(event: dict[str, Any]) -> tuple[UploadEvent, ...]:
    if event["detail-type"] != "Object Created":
        return ()
    bucket, found = event["detail"]["bucket"], event["detail"]["object"]
    at = _seconds(event["time"])
    return (UploadEvent(bucket["name"], _key(str(found["key"])), at, _size(found)),)


def _key(text: str) -> str:
    """Return a key in valid Unicode, as all keys of S3 are: JSON may hold half a surrogate pair."""
    return text.encode(errors="replace").decode()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _size(found: dict[str, Any]) -> int:
    return int(found.get("size", UNKNOWN_SIZE))
