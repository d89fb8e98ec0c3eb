"""Translate AWS errors into one line for users: what was refused, and what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from resources.errors import RavneError

ACCESS_DENIED_CODES = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
}
CREDENTIAL_ERROR_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
}


def error_code(error: Exception) -> str:
    """Return AWS's code of a botocore ClientError, as `AccessDenied`; empty for other errors."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def is_already_exists_error(error: Exception) -> bool:
    """Return True if AWS did not create something because it exists (as Batch and EC2 say it)."""
    return error_code(error).endswith("AlreadyExistsException") or "already exists" in str(error)


def was_rejected(error: BaseException) -> bool:
    """Return True if AWS rejected a call (4xx), so that it had no effect; else that is unknown."""
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return 400 <= int(status) < 500


@contextmanager
def translate_aws_errors(action: str, remedy: str) -> Iterator[None]:
    """Translate botocore errors raised in the context into a RavneError.

    Args:
        action: the attempted action, as `cost setup`: the message begins with it.
        remedy: what to do if the credentials lack a permission.

    Raises:
        RavneError: AWS refused, or could not be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise RavneError(f"{action}: {_refusal(error, remedy)}") from error
    except NoCredentialsError as error:
        raise RavneError(
            f"{action}: there are no AWS credentials; run `aws configure`, or set AWS_PROFILE"
        ) from error
    except ResponseParserError as error:
        raise RavneError(
            f"{action}: the response is not from AWS; check the network, a proxy, and "
            "cloud.aws.endpoint_url"
        ) from error
    except BotoCoreError as error:
        raise RavneError(f"{action}: AWS cannot be reached: {one_line(str(error))}") from error


def _refusal(error: Exception, remedy: str) -> str:
    operation = getattr(error, "operation_name", "the call")
    code = error_code(error)
    if code in ACCESS_DENIED_CODES:
        return f"your credentials may not call {operation}; {remedy}"
    if code in CREDENTIAL_ERROR_CODES:
        return f"AWS does not accept your credentials ({code}); log in again"
    message = _response(error).get("Error", {}).get("Message", "")
    return f"AWS refused {operation}: {one_line(str(message))} ({code})"


def _response(error: BaseException) -> Mapping[str, Any]:
    # Errors of botocore's HTTP client have a response of None.
    return getattr(error, "response", None) or {}


def one_line(text: str) -> str:
    """Return a text of several lines as one line."""
    return " ".join(text.split())
