"""Operations of S3 that moto lacks: validated lifecycle rules, restores that take time.

Lifecycle rules are stored but not applied: objects stay in the class in which they were written.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any
from xml.etree import ElementTree

from resources.clock import Clock
from resources.sandbox.iam.access_requests import S3_NAMESPACE
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest, Response

# Hours until an archived object is readable, the longest of the ranges in the S3 user guide
# ("Archive retrieval options").
RESTORE_HOURS = {"Expedited": 5 / 60, "Standard": 5.0, "Bulk": 12.0}
DAY, HOUR = 86400.0, 3600.0
MINIMUM_SIZE_HEADER = "x-amz-transition-default-minimum-object-size"
OPTIONAL = "HTTP_X_AMZ_OPTIONAL_OBJECT_ATTRIBUTES"
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
MINIMUM_DAYS = 30  # until a transition to infrequent access, and between two transitions

ObjectId = tuple[str, str]  # bucket and key


class StorageApi:
    """Handles some operations of S3, see `server.ServiceApi`."""

    def __init__(self, clock: Clock, services: MotoServices) -> None:
        self._clock = clock
        self._services = services
        self._lock = Lock()
        self._rules: dict[str, tuple[bytes, str]] = {}  # by bucket: rules, and the header
        self._restores: dict[ObjectId, tuple[float, int]] = {}  # ready at, days

    def handle(self, request: AwsRequest) -> Response | None:
        """Return the response, or None if moto handles the request. Raises AwsError."""
        if request.service != "s3":
            return None
        handlers: dict[str, Callable[[AwsRequest], Response | None]] = {
            "PutBucketLifecycle": self._put_rules,
            "GetBucketLifecycle": self._get_rules,
            "DeleteBucketLifecycle": self._delete_rules,
            "RestoreObject": self._restore,
            "ListObjectsV2": self._list,
        }
        with self._lock:
            self._end_restores()
            handler = handlers.get(request.operation)
            return handler(request) if handler is not None else None

    # lifecycle rules; botocore's routes find the operations by their old names

    def _put_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        body = request.body()
        check_rules(body)
        header = "HTTP_" + MINIMUM_SIZE_HEADER.upper().replace("-", "_")
        minimum = str(request.environ.get(header, "all_storage_classes_128K"))
        self._rules[bucket] = (body, minimum)
        return Response(200, {MINIMUM_SIZE_HEADER: minimum}, b"")

    def _get_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        if bucket not in self._rules:
            raise AwsError(
                "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", 404
            )
        body, minimum = self._rules[bucket]
        return Response(
            200, {"Content-Type": "application/xml", MINIMUM_SIZE_HEADER: minimum}, body
        )

    def _delete_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        self._rules.pop(bucket, None)
        return Response(204, {}, b"")

    def _bucket(self, request: AwsRequest) -> ObjectId:
        bucket, key = request.bucket_and_key
        if not self._services.has_bucket(bucket):
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        return bucket, key

    # restores

    def _restore(self, request: AwsRequest) -> Response:
        object_id = self._bucket(request)
        storage_class = self._services.storage_class(*object_id)
        if storage_class is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        if storage_class not in ARCHIVES:
            raise AwsError(
                "InvalidObjectState", "Restore is not allowed for the object's storage class", 403
            )
        if object_id in self._restores:
            raise AwsError("RestoreAlreadyInProgress", "Object restore is already in progress", 409)
        content = ElementTree.fromstring(request.body())
        tier, days = _text(content, "Tier") or "Standard", int(_text(content, "Days") or 0)
        if tier not in RESTORE_HOURS or days < 1:
            raise AwsError("MalformedXML", "The XML you provided was not well-formed", 400)
        if self._services.restored_until(*object_id) is not None:
            self._services.restore(*object_id, self._clock.now() + days * DAY)
            return Response(200, {}, b"")
        self._restores[object_id] = (self._clock.now() + RESTORE_HOURS[tier] * HOUR, days)
        return Response(202, {}, b"")

    def _end_restores(self) -> None:
        now = self._clock.now()
        for object_id, (ready_at, days) in list(self._restores.items()):
            if now >= ready_at:
                del self._restores[object_id]
                self._services.restore(*object_id, ready_at + days * DAY)

    def _list(self, request: AwsRequest) -> Response | None:
        """Return a listing with RestoreStatus, which moto lacks, if the request asks for it."""
        if "RestoreStatus" not in request.environ.get(OPTIONAL, ""):
            return None
        bucket, _ = request.bucket_and_key
        status, headers, body = self._services.respond(request.environ)
        if status != 200:
            return Response(status, headers, body)

        def with_status(found: "re.Match[bytes]") -> bytes:
            entry = ElementTree.fromstring(found[0])
            status = self._restore_status((bucket, _text(entry, "Key") or ""))
            return found[0].replace(b"</Contents>", status + b"</Contents>")

        body = re.sub(rb"<Contents>.*?</Contents>", with_status, body, flags=re.DOTALL)
        return Response(status, {"Content-Type": "application/xml"}, body)

    def _restore_status(self, object_id: ObjectId) -> bytes:
        until = self._services.restored_until(*object_id)
        if object_id in self._restores:
            status = "<IsRestoreInProgress>true</IsRestoreInProgress>"
        elif until is not None:
            status = (
                "<IsRestoreInProgress>false</IsRestoreInProgress>"
                f"<RestoreExpiryDate>{until:%Y-%m-%dT%H:%M:%SZ}</RestoreExpiryDate>"
            )
        else:
            return b""
        return f"<RestoreStatus>{status}</RestoreStatus>".encode()


def check_rules(body: bytes) -> None:
    """Validate lifecycle rules.

    Raises:
        AwsError: S3 refuses the rules.
    """
    tree = ElementTree.fromstring(body)
    rules = list(tree.iter(_tag(tree, "Rule")))
    ids = Counter(_text(rule, "ID") for rule in rules)
    if not rules or any(number > 1 for number in ids.values()):
        raise AwsError("InvalidArgument", "Rule ID must be unique", 400)
    old, new = (
        [rule for rule in rules if rule.find(_tag(rule, name)) is not None]
        for name in ("Prefix", "Filter")
    )
    if old and new:
        raise AwsError("InvalidRequest", "Filter element can only be used in Lifecycle V2.", 400)
    transitions: dict[tuple[str, str], int] = {}
    for rule in rules:
        prefix = _text(rule, "Prefix") or ""
        for each in rule.iter(_tag(rule, "Transition")):
            storage_class = _text(each, "StorageClass") or ""
            transitions[prefix, storage_class] = int(_text(each, "Days") or 0)
    for (prefix, storage_class), days in transitions.items():
        _check_days(storage_class, days, transitions.get((prefix, "STANDARD_IA")))


def _check_days(storage_class: str, days: int, ia_days: int | None) -> None:
    if storage_class == "STANDARD_IA" and days < MINIMUM_DAYS:
        raise AwsError(
            "InvalidArgument",
            "'Days' in Transition action must be greater than or equal to 30 for storageClass "
            "'STANDARD_IA'",
            400,
        )
    if storage_class == "GLACIER" and ia_days is not None and days < ia_days + MINIMUM_DAYS:
        raise AwsError(
            "InvalidArgument",
            "'Days' in the Transition action for StorageClass 'GLACIER' must be 30 days more than "
            "in the Transition action for StorageClass 'STANDARD_IA'",
            400,
        )


def _tag(element: Any, name: str) -> str:
    """Return the name with the namespace of the document."""
    return S3_NAMESPACE + name if element.tag.startswith("{") else name


def _text(element: Any, name: str) -> str | None:
    """Return the text of the first descendant of a name, or None if there is none."""
    found: Iterator[Any] = element.iter(_tag(element, name))
    first = next(found, None)
    return None if first is None else str(first.text or "")
