"""What AWS refuses, in the user's words: one line that says what was wanted and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    """AWS's name of what went wrong in a botocore ClientError, as `AccessDenied`."""
    response = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def is_already_exists_error(error: Exception) -> bool:
    """Whether AWS refused to make something because it is there (Batch and EC2 say it so)."""
    return error_code(error).endswith("AlreadyExistsException") or "already exists" in str(error)


def was_rejected(error: BaseException) -> bool:
    """Whether AWS heard a call and did nothing; of other errors that is not known."""
    response = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return 400 <= int(status) < 500


@contextmanager
def translate_aws_errors(doing: str, remedy: str) -> Iterator[None]:
    """Turn what botocore raises within into an error that a user can act on.

    Args:
        doing: what was wanted, as `cost setup`: the message begins with it.
        remedy: what to do when the caller has no right to it.

    Raises:
        RavneError: AWS refused, or could not be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise RavneError(f"{doing}: {_refusal(error, remedy)}") from error
    except NoCredentialsError as error:
        raise RavneError(
            f"{doing}: there are no AWS credentials; run `aws configure`, or set AWS_PROFILE"
        ) from error
    except ResponseParserError as error:
        raise RavneError(
            f"{doing}: something answers that is not AWS; check the network, a proxy, and "
            "cloud.aws.endpoint_url"
        ) from error
    except BotoCoreError as error:
        raise RavneError(f"{doing}: AWS cannot be reached: {one_line(str(error))}") from error


def _refusal(error: Exception, remedy: str) -> str:
    operation = getattr(error, "operation_name", "the call")
    code = error_code(error)
    if code in ACCESS_DENIED_CODES:
        return f"your credentials may not call {operation}; {remedy}"
    if code in CREDENTIAL_ERROR_CODES:
        return f"AWS does not accept your credentials ({code}); log in again"
    message = getattr(error, "response", {}).get("Error", {}).get("Message", "")
    return f"AWS refused {operation}: {one_line(str(message))} ({code})"


def one_line(text: str) -> str:
    """A text of AWS's, which may have several lines, as one."""
    return " ".join(text.split())
