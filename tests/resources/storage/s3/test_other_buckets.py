"""Buckets of others: in another region, requester pays, with a KMS key, with object lock.

Responses are those of S3, by the "Error responses" of its API reference, and are given to botocore
instead of the network, below its retries and its handling of regions.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from s3_store_rig import error_message

from resources.aws.clients import AwsClients
from resources.settings.profile import Aws
from resources.storage.s3.store import S3Store

URL = "s3://bucket/out"
KEY = "arn:aws:kms:eu-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
EMPTY_LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

FOUND = {
    "ETag": '"1"',
    "Content-Length": str(len(EMPTY_LISTING)),
    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
}

Respond = Callable[[AWSPreparedRequest], AWSResponse]


class _Body(io.BytesIO):
    """A body as urllib3 gives it to botocore."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


def response(
    request: AWSPreparedRequest,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> AWSResponse:
    return AWSResponse(request.url, status, dict(headers or {}), _Body(body))


def refusal(
    status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
) -> Respond:
    """Respond with an error; a response to HEAD has no body."""
    region = (headers or {}).get("x-amz-bucket-region", "")
    text = (
        f"<Error><Code>{code}</Code><Message>{message}</Message><Region>{region}</Region></Error>"
    ).encode()
    return lambda request: response(
        request, status, b"" if request.method == "HEAD" else text, headers
    )


@pytest.fixture
def open_store(monkeypatch: pytest.MonkeyPatch) -> Callable[..., S3Store]:
    """Opens a store of AWS in eu-north-1, of which a function stands for the network."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def open_store(respond: Respond, **settings: Any) -> S3Store:
        clients = AwsClients(Aws(**settings))
        clients.of("s3").meta.events.register(
            "before-send.s3", lambda request, **_: respond(request)
        )
        return S3Store(URL, clients)

    return open_store


# Each request that a run makes, and its work.
WORK: dict[str, Callable[[S3Store], object]] = {
    "list": lambda store: list(store.list()),
    "head": lambda store: store.head("a"),
    "read": lambda store: store.read_bytes("a"),
    "write": lambda store: store.write_bytes("a", b"1"),
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize(
    ("status", "code"),
    [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")],
)
def test_a_bucket_in_another_region_is_used_there(
    open_store: Callable[..., S3Store], status: int, code: str, work: Callable[[S3Store], object]
) -> None:
    hosts = []

    def respond(request: AWSPreparedRequest) -> AWSResponse:
        hosts.append(request.url.split("/")[2])
        if ".us-west-2." not in hosts[-1]:
            elsewhere = {"x-amz-bucket-region": "us-west-2"}
            return refusal(status, code, headers=elsewhere)(request)
        return response(request, 200, EMPTY_LISTING, FOUND)

    store = open_store(respond)
    work(store)
    work(store)
    # The region is asked for once.
    assert [".eu-north-1." in host for host in hosts] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "respond", "words"),
    [
        (
            "head",
            refusal(400, "", headers={"x-amz-bucket-region": "eu-north-1"}),
            "the bucket is in another region, eu-north-1; set cloud.aws.region to it",
        ),
        (
            "write",
            refusal(400, "IllegalLocationConstraintException", "The … is incompatible"),
            "the bucket is in another region; set cloud.aws.region to it",
        ),
    ],
)
def test_a_region_that_cannot_be_found_is_one_sentence(
    open_store: Callable[..., S3Store], name: str, respond: Respond, words: str
) -> None:
    assert words in error_message(lambda: WORK[name](open_store(respond)))


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_requests_to_a_requester_pays_bucket_are_paid_if_the_setting_says_so(
    open_store: Callable[..., S3Store], work: Callable[[S3Store], object]
) -> None:
    def respond(request: AWSPreparedRequest) -> AWSResponse:
        if request.headers.get("x-amz-request-payer") not in {"requester", b"requester"}:
            return refusal(403, "AccessDenied", "Access Denied")(request)
        return response(request, 200, EMPTY_LISTING, FOUND)

    work(open_store(respond, requester_pays=True))
    assert "permission denied" in error_message(lambda: work(open_store(respond)))


@pytest.mark.parametrize("name", ["list", "head", "read"])
def test_a_refused_read_names_the_setting_of_requester_pays(
    open_store: Callable[..., S3Store], name: str
) -> None:
    """S3's refusal does not say why."""
    respond = refusal(403, "AccessDenied", "Access Denied")
    message = error_message(lambda: WORK[name](open_store(respond)))
    assert "; for a requester pays bucket, set cloud.aws.requester_pays" in message


@pytest.mark.parametrize(
    ("name", "code", "message", "words"),
    [
        (
            "read",
            "AccessDenied",
            "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: "
            f"{KEY} because no identity-based policy allows the kms:Decrypt action",
            f"permission denied: the credentials need kms:Decrypt on the bucket's key {KEY}",
        ),
        (
            "write",
            "AccessDenied",
            "User: x is not authorized to perform: kms:GenerateDataKey on this resource",
            "permission denied: the credentials need kms:GenerateDataKey on the bucket's KMS key",
        ),
        ("read", "KMS.DisabledException", "…", "the KMS key of the bucket is disabled; enable it"),
        ("write", "KMS.NotFoundException", "…", "the KMS key of the bucket does not exist"),
        ("read", "KMS.KMSInvalidStateException", "…", "cannot be used in its state"),
        (
            "delete",
            "AccessDenied",
            "Access Denied because object protected by object lock.",
            "the bucket's object lock protects it; put OUTPUT into a bucket without object lock",
        ),
        (
            "write",
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
            "Object Lock parameters",
            "the bucket's object lock protects it",
        ),
    ],
)
def test_a_bucket_with_a_key_or_a_lock_is_one_sentence_that_says_what_is_missing(
    open_store: Callable[..., S3Store], name: str, code: str, message: str, words: str
) -> None:
    store = open_store(refusal(403 if code == "AccessDenied" else 400, code, message))
    said = error_message(lambda: WORK[name](store))
    assert said.startswith(f"{URL}/a: ")
    assert words in said
