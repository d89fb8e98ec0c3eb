"""What S3 does that moto leaves out: lifecycle rules kept whole and checked, restoring takes time.

Rules are kept and told, not run: objects stay in the class they were written in.
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

# Hours until archived objects can be read, the longest that S3 tells ("Archive retrieval options",
# S3 user guide).
RESTORE_HOURS = {"Expedited": 5 / 60, "Standard": 5.0, "Bulk": 12.0}
DAY, HOUR = 86400.0, 3600.0
MINIMUM_SIZE_HEADER = "x-amz-transition-default-minimum-object-size"
OPTIONAL = "HTTP_X_AMZ_OPTIONAL_OBJECT_ATTRIBUTES"
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
MINIMUM_DAYS = 30  # of a move to infrequent access, and between two moves

ObjectId = tuple[str, str]  # bucket and key


class StorageApi:
    """Answers some of S3's operations, see `server.OwnApi`."""

    def __init__(self, clock: Clock, services: MotoServices) -> None:
        self._clock = clock
        self._services = services
        self._lock = Lock()
        self._rules: dict[str, tuple[bytes, str]] = {}  # by bucket: rules, and the header
        self._restoring: dict[ObjectId, tuple[float, int]] = {}  # ready at, days

    def answer(self, request: AwsRequest) -> Response | None:
        """The answer, or None if moto has it. Raises AwsError."""
        if request.service != "s3":
            return None
        answers: dict[str, Callable[[AwsRequest], Response | None]] = {
            "PutBucketLifecycle": self._put_rules,
            "GetBucketLifecycle": self._get_rules,
            "DeleteBucketLifecycle": self._delete_rules,
            "RestoreObject": self._restore,
            "ListObjectsV2": self._list,
        }
        with self._lock:
            self._end_restoring()
            answer = answers.get(request.operation)
            return answer(request) if answer is not None else None

    # lifecycle rules; botocore's routes know the operations by their old names

    def _put_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        body = request.body()
        check_rules(body)
        header = "HTTP_" + MINIMUM_SIZE_HEADER.upper().replace("-", "_")
        least = str(request.environ.get(header, "all_storage_classes_128K"))
        self._rules[bucket] = (body, least)
        return Response(200, {MINIMUM_SIZE_HEADER: least}, b"")

    def _get_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        if bucket not in self._rules:
            raise AwsError(
                "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", 404
            )
        body, least = self._rules[bucket]
        return Response(200, {"Content-Type": "application/xml", MINIMUM_SIZE_HEADER: least}, body)

    def _delete_rules(self, request: AwsRequest) -> Response:
        bucket, _ = self._bucket(request)
        self._rules.pop(bucket, None)
        return Response(204, {}, b"")

    def _bucket(self, request: AwsRequest) -> ObjectId:
        bucket, key = request.bucket_and_key
        if not self._services.has_bucket(bucket):
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        return bucket, key

    # restoring

    def _restore(self, request: AwsRequest) -> Response:
        place = self._bucket(request)
        storage_class = self._services.storage_class(*place)
        if storage_class is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        if storage_class not in ARCHIVES:
            raise AwsError(
                "InvalidObjectState", "Restore is not allowed for the object's storage class", 403
            )
        if place in self._restoring:
            raise AwsError("RestoreAlreadyInProgress", "Object restore is already in progress", 409)
        asked = ElementTree.fromstring(request.body())
        tier, days = _text(asked, "Tier") or "Standard", int(_text(asked, "Days") or 0)
        if tier not in RESTORE_HOURS or days < 1:
            raise AwsError("MalformedXML", "The XML you provided was not well-formed", 400)
        if self._services.restored_until(*place) is not None:
            self._services.restore(*place, self._clock.now() + days * DAY)
            return Response(200, {}, b"")
        self._restoring[place] = (self._clock.now() + RESTORE_HOURS[tier] * HOUR, days)
        return Response(202, {}, b"")

    def _end_restoring(self) -> None:
        now = self._clock.now()
        for place, (ready_at, days) in list(self._restoring.items()):
            if now >= ready_at:
                del self._restoring[place]
                self._services.restore(*place, ready_at + days * DAY)

    def _list(self, request: AwsRequest) -> Response | None:
        """A listing with what moto leaves out of it, if that is asked for."""
        if "RestoreStatus" not in request.environ.get(OPTIONAL, ""):
            return None
        bucket, _ = request.bucket_and_key
        status, headers, body = self._services.asked(request.environ)
        if status != 200:
            return Response(status, headers, body)

        def with_status(found: "re.Match[bytes]") -> bytes:
            entry = ElementTree.fromstring(found[0])
            place = (bucket, _text(entry, "Key") or "")
            return found[0].replace(b"</Contents>", self._restore_status(place) + b"</Contents>")

        body = re.sub(rb"<Contents>.*?</Contents>", with_status, body, flags=re.DOTALL)
        return Response(status, {"Content-Type": "application/xml"}, body)

    def _restore_status(self, place: ObjectId) -> bytes:
        until = self._services.restored_until(*place)
        if place in self._restoring:
            told = "<IsRestoreInProgress>true</IsRestoreInProgress>"
        elif until is not None:
            told = (
                "<IsRestoreInProgress>false</IsRestoreInProgress>"
                f"<RestoreExpiryDate>{until:%Y-%m-%dT%H:%M:%SZ}</RestoreExpiryDate>"
            )
        else:
            return b""
        return f"<RestoreStatus>{told}</RestoreStatus>".encode()


def check_rules(body: bytes) -> None:
    """Refuse what S3 refuses of rules.

    Raises:
        AwsError: with S3's code.
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
    moves: dict[tuple[str, str], int] = {}
    for rule in rules:
        for move in rule.iter(_tag(rule, "Transition")):
            prefix = next(iter(rule.iter(_tag(rule, "Prefix"))), None)
            place = prefix.text or "" if prefix is not None else ""
            moves[place, _text(move, "StorageClass") or ""] = int(_text(move, "Days") or 0)
    for (place, storage_class), days in moves.items():
        _check_days(storage_class, days, moves.get((place, "STANDARD_IA")))


def _check_days(storage_class: str, days: int, in_ia_from: int | None) -> None:
    if storage_class == "STANDARD_IA" and days < MINIMUM_DAYS:
        raise AwsError(
            "InvalidArgument",
            "'Days' in Transition action must be greater than or equal to 30 for storageClass "
            "'STANDARD_IA'",
            400,
        )
    if storage_class == "GLACIER" and in_ia_from is not None and days < in_ia_from + MINIMUM_DAYS:
        raise AwsError(
            "InvalidArgument",
            "'Days' in the Transition action for StorageClass 'GLACIER' must be 30 days more than "
            "in the Transition action for StorageClass 'STANDARD_IA'",
            400,
        )


def _tag(element: Any, name: str) -> str:
    """The name with the namespace that the document uses."""
    return S3_NAMESPACE + name if element.tag.startswith("{") else name


def _text(element: Any, name: str) -> str | None:
    """The text of the first element of a name below another one."""
    found: Iterator[Any] = element.iter(_tag(element, name))
    first = next(found, None)
    return None if first is None else str(first.text or "")
