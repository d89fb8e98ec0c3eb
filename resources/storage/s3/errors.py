"""Translate S3 errors into one line for users: what failed, which object, what to do."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as botocore
from botocore.exceptions import BotoCoreError, ClientError

from resources.aws.errors import error_code, one_line
from resources.errors import StoreError, UnavailableError

# The permission that an operation needs, where it has another name (Service Authorization
# Reference, "Actions defined by Amazon S3").
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
# A condition of a write does not hold, or a concurrent write was in progress.
PRECONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "503", "429"}
# Corrupted or incomplete in transit: the checksum, the length, or the time it took.
CORRUPTED = {"BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout"}

SET_REGION = "set cloud.aws.region to it"
RUN_AGAIN = "run again: finished work is saved"
LOG_IN_AGAIN = f"log in again (as `aws sso login`) and {RUN_AGAIN}"
BY_CODE = {
    "NoSuchBucket": "there is no such bucket; check its name, or create it with "
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
    "KMS.DisabledException": f"the KMS key of the bucket is disabled; enable it and {RUN_AGAIN}",
    "KMS.NotFoundException": "the KMS key of the bucket does not exist in this region; correct "
    "the bucket's default encryption",
    "KMS.KMSInvalidStateException": "the KMS key of the bucket cannot be used in its state, as "
    f"pending deletion; restore it and {RUN_AGAIN}",
}
# S3's messages for writes and deletions that an object's lock forbids, and for a write without a
# checksum to a bucket with locks (S3 User Guide, "Locking objects with Object Lock").
OBJECT_LOCK = re.compile(r"object lock", re.IGNORECASE)
OBJECT_LOCKED = (
    "the bucket's object lock protects it; put OUTPUT into a bucket without object lock, which "
    "suits footage only"
)
# "User: … is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:…"
KMS_DENIED = re.compile(r"(kms:\w+)(?: on resource: (arn:[\w:/-]+))?")
OTHER_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
}
# The header by which S3 names a bucket's region, also in responses without a body.
REGION_HEADER = "x-amz-bucket-region"
READS = {"s3:GetObject", "s3:ListBucket"}
NETWORK_ERRORS = (
    botocore.HTTPClientError,  # also of connections that cannot be made or time out
    botocore.ConnectionError,
    botocore.IncompleteReadError,
)
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
        NETWORK_ERRORS,
        f"the connection broke in every attempt; check the network and {RUN_AGAIN}",
    ),
)


class NoSuchObjectError(StoreError):
    """There is no object with this key."""


@contextmanager
def translate_s3_errors(url: str) -> Iterator[None]:
    """Translate botocore errors raised in the context into a StoreError.

    Args:
        url: of the requested object or folder, for the message.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate_s3_error(error, url) from None


def translate_s3_error(error: ClientError | BotoCoreError, url: str) -> StoreError:
    """Return the error as one line for users; `url` as for `translate_s3_errors`."""
    if error_code(error) in NOT_FOUND:
        return NoSuchObjectError(f"{url}: there is no such object")
    if isinstance(error, ClientError) and error_code(error) == "InvalidObjectState":
        return StoreError(f"{url}: {_archived(error, url)}")
    reason = _refusal(error) if isinstance(error, ClientError) else _connection_failure(error)
    kind = UnavailableError if _may_end(error) else StoreError
    return kind(f"{url}: {reason}")


def _may_end(error: ClientError | BotoCoreError) -> bool:
    """Return True for an error of S3 or of the network that ends by itself."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error_code(error) in THROTTLED | CORRUPTED
    return isinstance(error, NETWORK_ERRORS)


def _archived(error: ClientError, url: str) -> str:
    storage_class = error.response["Error"].get("StorageClass") or "an archive class"
    folder = shlex.quote(url.rpartition("/")[0])
    return (
        f"is archived ({storage_class}) and cannot be read now; `munin cost restore {folder}` "
        "shows the cost of restoring it, and requests it"
    )


def permission_denied(operation: str) -> str:
    """Describe the permission that a refused operation needs."""
    permission = PERMISSIONS.get(operation, f"s3:{operation}")
    # Without the permission to list, S3 answers the same for a missing object.
    missing = ", or there is no such object" if permission == "s3:GetObject" else ""
    # S3 does not say that a bucket's readers pay.
    payer = (
        "; for a requester pays bucket, set cloud.aws.requester_pays" if permission in READS else ""
    )
    return f"permission denied{missing}: the credentials need {permission} here{payer}"


def _refusal(error: ClientError) -> str:
    code, message = error_code(error), str(error.response["Error"].get("Message", ""))
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    region = metadata.get("HTTPHeaders", {}).get(REGION_HEADER)
    if code in BY_CODE:
        return BY_CODE[code]
    if OBJECT_LOCK.search(message):
        return OBJECT_LOCKED
    if code in ACCESS_DENIED:
        return _denied(error.operation_name, message)
    # A request without a body has no code but 400 for a signature of the wrong region.
    if code in OTHER_REGION or (code == "400" and region):
        return f"the bucket is in another region{f', {region}' if region else ''}; {SET_REGION}"
    if code in THROTTLED:
        return f"S3 throttles requests; wait a while and {RUN_AGAIN}"
    if code in CORRUPTED:
        return f"the data was corrupted in transit; check the network and {RUN_AGAIN}"
    if status >= 500:
        return f"S3 fails in every attempt ({code}); wait a while and {RUN_AGAIN}"
    return f"S3 refused {error.operation_name}: {code}: {one_line(message)}"


def _denied(operation: str, message: str) -> str:
    """Describe a refusal: by the bucket, or by the KMS key that encrypts its objects."""
    kms = KMS_DENIED.search(message)
    if kms is None:
        return permission_denied(operation)
    key = f"key {kms[2]}" if kms[2] else "KMS key"
    return f"permission denied: the credentials need {kms[1]} on the bucket's {key}"


def _connection_failure(error: BotoCoreError) -> str:
    for kinds, reason in BY_KIND:
        if isinstance(error, kinds):
            return reason
    return one_line(str(error))
