"""Fault injection: throttling, errors, lost responses, broken connections, truncated bodies."""

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from resources.sandbox.model.prices import ANY
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.protocol import AwsRequest


class FaultKind(StrEnum):
    """The kinds of faults.

    THROTTLE, SERVER_ERROR, DENIED and EXPIRED_TOKEN are error responses of the service. With
    LOST_ANSWER the request is carried out, but the client gets a server error. With RESET the
    connection breaks before the request is carried out, with TRUNCATE in the middle of the body.
    """

    THROTTLE = "throttle"
    SERVER_ERROR = "server_error"
    DENIED = "denied"
    EXPIRED_TOKEN = "expired_token"
    LOST_ANSWER = "lost_answer"
    RESET = "reset"
    TRUNCATE = "truncate"


# Errors by service; the entry under "*" is that of all others.
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
    FaultKind.THROTTLE: THROTTLE_ERRORS,
    FaultKind.SERVER_ERROR: SERVER_ERRORS,
    FaultKind.DENIED: DENIED_ERRORS,
    FaultKind.EXPIRED_TOKEN: EXPIRED_TOKEN_ERRORS,
}


@dataclass
class Fault:
    """A fault of the next `times` requests that match.

    Args:
        service: boto3's name of the service, or `*`.
        operation: as `SubmitJob`, or `*`.
        key_contains: for S3, a part of the object's key.
    """

    kind: FaultKind
    service: str
    operation: str = ANY
    times: int = 1
    key_contains: str = ""

    def matches(self, request: AwsRequest) -> bool:
        return (
            self.times > 0
            and self.service in (ANY, request.service)
            and self.operation in (ANY, request.operation)
            and self.key_contains in request.path
        )


def fault_error(kind: FaultKind, service: str) -> AwsError:
    """Return the error response of a kind of fault."""
    errors = ERRORS[kind]
    return errors.get(service, errors[ANY])


class Faults:
    """The pending faults. Thread-safe."""

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
        """Return the kind of the fault of a request, and count it down; None if there is none."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(request):
                    fault.times -= 1
                    return fault.kind
        return None
