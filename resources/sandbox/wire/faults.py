"""Trouble on AWS's side, made on purpose: throttling, errors, lost answers, broken bodies."""

from dataclasses import dataclass
from threading import Lock
from typing import Literal, get_args

from resources.sandbox.model.prices import ANY
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest

FaultKind = Literal[
    "throttle", "server_error", "denied", "expired_token", "lost_answer", "reset", "truncate"
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

# How services word the same trouble; the others use the entry under "*".
THROTTLE_ERRORS = {
    "s3": AwsError("SlowDown", "Please reduce your request rate.", 503),
    "ec2": AwsError("RequestLimitExceeded", "Request limit exceeded.", 503),
    "batch": AwsError("TooManyRequestsException", "Too Many Requests", 429),
    ANY: AwsError("ThrottlingException", "Rate exceeded", 400),
}
SERVER_ERRORS = {
    "s3": AwsError("InternalError", "We encountered an internal error. Please try again.", 500),
    "batch": AwsError("ServerException", "Internal Server Error", 500),
    ANY: AwsError("InternalFailure", "The request processing has failed.", 500),
}
DENIED_ERRORS = {
    "s3": AwsError("AccessDenied", "Access Denied", 403),
    "ec2": AwsError(
        "UnauthorizedOperation", "You are not authorized to perform this operation.", 403
    ),
    ANY: AwsError("AccessDeniedException", "User is not authorized to perform this.", 403),
}
EXPIRED_TOKEN_ERRORS = {
    "s3": AwsError("ExpiredToken", "The provided token has expired.", 400),
    "ec2": AwsError("RequestExpired", "Request has expired.", 400),
    ANY: AwsError(
        "ExpiredTokenException", "The security token included in the request is expired", 403
    ),
}
ERRORS: dict[FaultKind, dict[str, AwsError]] = {
    "throttle": THROTTLE_ERRORS,
    "server_error": SERVER_ERRORS,
    "denied": DENIED_ERRORS,
    "expired_token": EXPIRED_TOKEN_ERRORS,
}


@dataclass
class Fault:
    """Trouble for the next `times` requests that fit.

    Args:
        kind: an error in the service's words (throttle, server_error, denied, expired_token);
            `lost_answer`: it is done, but the caller gets a server error; `reset`: the connection
            breaks before anything is done; `truncate`: the answer's body breaks off half way.
        service: as boto3 names it, or `*`.
        operation: as `SubmitJob`, or `*`.
        key_contains: for S3, only objects with this in their key.
    """

    kind: FaultKind
    service: str
    operation: str = ANY
    times: int = 1
    key_contains: str = ""

    def fits(self, request: AwsRequest) -> bool:
        return (
            self.times > 0
            and self.service in (ANY, request.service)
            and self.operation in (ANY, request.operation)
            and self.key_contains in request.path
        )


def fault_error(kind: FaultKind, service: str) -> AwsError:
    """The error that a kind of fault answers with."""
    words = ERRORS[kind]
    return words.get(service, words[ANY])


class Faults:
    """The faults still to come. Threads may share it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, request: AwsRequest) -> FaultKind | None:
        """The kind of fault that this request meets, which is used up by it."""
        with self._lock:
            for fault in self._faults:
                if fault.fits(request):
                    fault.times -= 1
                    return fault.kind
        return None
