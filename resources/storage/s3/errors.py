"""What S3 and the way to it refuse, in the words of a user: what, where, what to do."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as botocore
from botocore.exceptions import BotoCoreError, ClientError

from resources.errors import StoreError

# The permission that an operation needs (Service Authorization Reference, "Actions defined by
# Amazon S3"). HeadObject needs the right to read, and the parts of an upload the right to write.
PERMISSIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListParts": "s3:ListMultipartUploadParts",
}
ACCESS_DENIED = {"AccessDenied", "AllAccessDisabled", "Forbidden", "403"}
NOT_FOUND = {"NoSuchKey", "NotFound", "404"}
# A condition of a write did not hold, or another write was under way.
PRECONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "503", "429"}
# What arrived was not what was sent: the checksum, the length, or the time it took.
CORRUPTED = {"BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout"}

RUN_AGAIN = "run again: what is finished is kept"
LOG_IN_AGAIN = f"log in again (as `aws sso login`) and {RUN_AGAIN}"
BY_CODE = {
    "NoSuchBucket": "there is no such bucket; check its name, or make it with "
    "`munin cost foundation`",
    "ExpiredToken": f"the credentials have expired; {LOG_IN_AGAIN}",
    "ExpiredTokenException": f"the credentials have expired; {LOG_IN_AGAIN}",
    "TokenRefreshRequired": f"the credentials have expired; {LOG_IN_AGAIN}",
    "InvalidToken": f"the session token is not valid; {LOG_IN_AGAIN}",
    "InvalidAccessKeyId": f"AWS does not know the access key; {LOG_IN_AGAIN}",
    "SignatureDoesNotMatch": "AWS does not accept the secret key; check AWS_SECRET_ACCESS_KEY or "
    "~/.aws/credentials",
    "RequestTimeTooSkewed": "this machine's clock is more than 15 minutes wrong; set it",
    "KeyTooLongError": "the name is longer than S3 allows, 1024 bytes; shorten it",
    "EntityTooLarge": "is larger than S3 allows",
}
BY_KIND: tuple[tuple[tuple[type[BotoCoreError], ...], str], ...] = (
    (
        (botocore.NoCredentialsError, botocore.PartialCredentialsError),
        "there are no AWS credentials; log in (as `aws sso login`) or set AWS_PROFILE",
    ),
    (
        (
            botocore.TokenRetrievalError,
            botocore.SSOError,
            botocore.LoginError,
            botocore.CredentialRetrievalError,
        ),
        f"the credentials cannot be renewed; {LOG_IN_AGAIN}",
    ),
    (
        (botocore.EndpointConnectionError, botocore.ConnectTimeoutError),
        f"S3 cannot be reached; check the network and cloud.aws.endpoint_url, and {RUN_AGAIN}",
    ),
    (
        (botocore.HTTPClientError, botocore.ConnectionError, botocore.IncompleteReadError),
        f"the connection broke again and again; check the network and {RUN_AGAIN}",
    ),
)


class NoSuchObjectError(StoreError):
    """The key holds no object."""


def code_of(error: Exception) -> str:
    """S3's code of a refusal; empty for an error of another kind."""
    return str(error.response["Error"].get("Code")) if isinstance(error, ClientError) else ""


@contextmanager
def translate_s3_errors(where: str) -> Iterator[None]:
    """Turn what botocore raises inside into a StoreError.

    Args:
        where: the URL of the object or folder that is asked for.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate_s3_error(error, where) from None


def translate_s3_error(error: ClientError | BotoCoreError, where: str) -> StoreError:
    """The error as one line for users; `where` as for `translate_s3_errors`."""
    if code_of(error) in NOT_FOUND:
        return NoSuchObjectError(f"{where}: there is no such object")
    if isinstance(error, ClientError) and code_of(error) == "InvalidObjectState":
        return StoreError(f"{where}: {_archived(error, where)}")
    said = _said_by_s3(error) if isinstance(error, ClientError) else _said_on_the_way(error)
    return StoreError(f"{where}: {said}")


def _archived(error: ClientError, where: str) -> str:
    storage_class = error.response["Error"].get("StorageClass") or "an archive class"
    folder = shlex.quote(where.rpartition("/")[0])
    return (
        f"is archived ({storage_class}) and cannot be read now; `munin cost restore {folder}` "
        "tells what having it back costs, and asks for it"
    )


def permission_denied(operation: str) -> str:
    """What a refused operation lacks."""
    permission = PERMISSIONS.get(operation, f"s3:{operation}")
    # Who may not list is told the same of what is not there.
    missing = ", or there is no such object" if permission == "s3:GetObject" else ""
    return f"permission denied{missing}: the credentials need {permission} here"


def _said_by_s3(error: ClientError) -> str:
    code, message = code_of(error), str(error.response["Error"].get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in BY_CODE:
        return BY_CODE[code]
    if code in ACCESS_DENIED:
        return permission_denied(error.operation_name) + (
            " (and on its key, kms)" if "kms:" in message else ""
        )
    if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "301"}:
        return "the bucket lies in another region; set cloud.aws.region to it"
    if code in THROTTLED:
        return f"S3 keeps asking to slow down; wait a while and {RUN_AGAIN}"
    if code in CORRUPTED:
        return f"what arrives is not what was sent; check the network and {RUN_AGAIN}"
    if status >= 500:
        return f"S3 keeps failing ({code}); wait a while and {RUN_AGAIN}"
    return f"S3 refused {error.operation_name}: {code}: {' '.join(message.split())}"


def _said_on_the_way(error: BotoCoreError) -> str:
    for kinds, words in BY_KIND:
        if isinstance(error, kinds):
            return words
    return " ".join(str(error).split())
