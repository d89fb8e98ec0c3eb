"""Upload events in the shapes that AWS documents: S3, SNS and EventBridge."""

import json
from typing import Any

import pytest
from upload_events import TEST_EVENT, eventbridge, s3_event, sns

from odins_ravne_assets.arrivals.sqs import UploadEvent, parse_notification

# 2026-11-23 02:14:05 UTC
AT = 1795400045.0
EXPECTED = (UploadEvent("cards", "footage/cam 1/Rémy+1.jpg", AT, 1024),)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(s3_event(), id="S3 to SQS, or S3 to SNS to SQS with raw delivery"),
        pytest.param(s3_event("ObjectCreated:CompleteMultipartUpload"), id="multipart"),
        pytest.param(s3_event("s3:ObjectCreated:Copy"), id="compatible stores"),
        pytest.param(sns(s3_event()), id="S3 to SNS to SQS"),
        pytest.param(eventbridge(), id="S3 to EventBridge to SQS"),
        pytest.param(sns(eventbridge()), id="S3 to EventBridge to SNS to SQS"),
    ],
)
def test_an_upload_is_read_in_each_way_that_s3_reports_it(message: dict[str, Any]) -> None:
    assert parse_notification(json.dumps(message)) == EXPECTED


@pytest.mark.parametrize(
    "message",
    [
        TEST_EVENT,
        sns(TEST_EVENT),
        s3_event("ObjectRemoved:Delete"),
        s3_event("ObjectRestore:Completed"),
        sns(s3_event("ObjectRemoved:DeleteMarkerCreated")),
        eventbridge("Object Deleted"),
        eventbridge("Object Restore Completed"),
        {"Records": []},
    ],
)
def test_other_events_of_s3_have_no_uploads(message: dict[str, Any]) -> None:
    assert parse_notification(json.dumps(message)) == ()


@pytest.mark.parametrize(
    "body",
    [
        "hello",
        "",
        "[]",
        "null",
        json.dumps({"Records": [{"eventSource": "aws:ses"}]}),
        json.dumps(sns("hello")),
        json.dumps(sns(sns(s3_event()))),
        json.dumps({"source": "aws.ec2", "detail-type": "EC2 Instance State-change"}),
        json.dumps(eventbridge() | {"detail": {}}),
        json.dumps({"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:eu-north-1:1:u"}),
        "[" * 100_000,
    ],
)
def test_what_is_no_event_of_s3_is_left_to_the_dead_letter_queue(body: str) -> None:
    assert parse_notification(body) is None
