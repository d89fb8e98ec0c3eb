"""S3 for tests: moto's server behind a proxy that injects faults of S3 and of networks.

All requests use real HTTP. The proxy adds what moto lacks: it verifies a body's SHA-256 as S3
does, and serializes conditional writes.
"""

import base64
import hashlib
import http.client
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from moto.s3 import models as moto_s3
from moto.server import ThreadedMotoServer

from resources.aws.clients import AwsClients
from resources.settings.profile import Aws
from resources.storage.s3 import download, upload
from resources.storage.transfer import footage_upload

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Headers of one connection, which a proxy does not forward.
HOP_HEADERS = {"connection", "transfer-encoding", "expect", "host"}


@dataclass(frozen=True)
class Request:
    """A client's request."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    @property
    def key(self) -> str:
        """The full key of an object; the prefix of a listing."""
        if "list-type" in self.query:
            return self.query.get("prefix", [""])[0]
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    @property
    def operation(self) -> str:
        """S3's name of the operation."""
        if "list-type" in self.query:
            return "ListObjectsV2"
        if "uploads" in self.query:
            return "CreateMultipartUpload"
        of_upload = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "GET": "ListParts"}
        if "uploadId" in self.query:
            return of_upload.get(self.method, "AbortMultipartUpload")
        return f"{self.method.capitalize()}Object"


@dataclass
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


Forward = Callable[[Request], Response]
# A fault of the network or of S3; returns None if the connection breaks without a response.
Act = Callable[[Request, Forward], Response | None]


def refuse(status: int, code: str, message: str = "") -> Act:
    """Return a fault: S3 responds with an error."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return lambda request, forward: Response(status, [("Content-Type", "application/xml")], body)


def drop(request: Request, forward: Forward) -> None:
    """Lose the request."""


def lose_response(request: Request, forward: Forward) -> None:
    """Forward the request and lose its response."""
    forward(request)


def truncate(request: Request, forward: Forward) -> Response:
    """Break the connection in the middle of the body."""
    response = forward(request)
    headers = [(n, v) for n, v in response.headers if n.lower() != "content-length"]
    headers.append(("Content-Length", str(len(response.body))))
    return Response(response.status, headers, response.body[: len(response.body) // 2])


def corrupt_response(request: Request, forward: Forward) -> Response:
    """Corrupt a byte of the response's body."""
    response = forward(request)
    return Response(
        response.status, response.headers, bytes([response.body[0] ^ 1]) + response.body[1:]
    )


def corrupt_request(request: Request, forward: Forward) -> Response:
    """Corrupt a byte of the request's body."""
    body = bytes([request.body[0] ^ 1]) + request.body[1:]
    return forward(Request(request.method, request.path, request.headers, body))


def hide_missing(request: Request, forward: Forward) -> Response:
    """Respond 403 for a missing object, as S3 does without the permission to list the bucket."""
    response = forward(request)
    if response.status != 404:
        return response
    denied = refuse(403, "AccessDenied")(request, forward)
    assert denied
    return denied


@dataclass
class _Fault:
    operation: str
    act: Act
    times: int
    key: str | None
    after: int


@dataclass
class S3Rig:
    """The server, the requests it received, and its injected faults."""

    url: str = ""
    moto_port: int = 0
    requests: list[Request] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(
        self, operation: str, act: Act, times: int = 1, key: str | None = None, after: int = 0
    ) -> None:
        """Inject a fault into the next `times` requests of an operation (and of one full key).

        Args:
            after: requests that succeed before.
        """
        with self._lock:
            self._faults.append(_Fault(operation, act, times, key, after))

    def reset(self) -> None:
        """Forget all faults and requests."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def requested_keys(self, operation: str) -> list[str]:
        """Return the keys of the requests of one operation, in order."""
        with self._lock:
            return [request.key for request in self.requests if request.operation == operation]

    def clients(self) -> AwsClients:
        """Return new clients of this S3."""
        return AwsClients(Aws(endpoint_url=self.url))

    def bucket(self, clients: AwsClients) -> str:
        """Create an empty bucket and return its name."""
        name = f"bucket-{uuid.uuid4()}"  # all of moto's servers in a process share one memory
        location = {"LocationConstraint": "eu-north-1"}
        clients.of("s3").create_bucket(Bucket=name, CreateBucketConfiguration=location)
        return name

    def act(self, request: Request, forward: Forward) -> Response | None:
        """Respond to a request."""
        with self._lock:
            self.requests.append(request)
            act = self._fault(request)
        return act(request, self._checking(forward)) if act else self._checking(forward)(request)

    def _fault(self, request: Request) -> Act | None:
        for fault in self._faults:
            if fault.operation != request.operation or fault.key not in {None, request.key}:
                continue
            if fault.after:
                fault.after -= 1
            elif fault.times:
                fault.times -= 1
                return fault.act
        return None

    def _checking(self, forward: Forward) -> Forward:
        def checked(request: Request) -> Response:
            expected = request.headers.get("x-amz-checksum-sha256")
            if expected and base64.b64encode(hashlib.sha256(request.body).digest()) != (
                expected.encode()
            ):
                mismatch = refuse(400, "BadDigest", "The SHA256 you specified did not match")
                response = mismatch(request, forward)
                assert response
                return response
            if {"if-match", "if-none-match"} & request.headers.keys():
                with self._lock:
                    return forward(request)
            return forward(request)

        return checked


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rig: S3Rig

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.rig.moto_port, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        response = self.rig.act(Request(self.command, self.path, headers, body), self._forward)
        if response is None:
            self.close_connection = True
            return
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        promised = {name.lower(): value for name, value in response.headers}
        if "content-length" not in promised:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(response.body)
        if int(promised.get("content-length", 0)) > len(response.body):
            self.close_connection = True

    def _forward(self, request: Request) -> Response:
        headers = {n: v for n, v in request.headers.items() if n not in HOP_HEADERS}
        self._upstream.request(request.method, request.path, request.body, headers)
        response = self._upstream.getresponse()
        forwarded = [(n, v) for n, v in response.getheaders() if n.lower() not in HOP_HEADERS]
        return Response(response.status, forwarded, response.read())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


@contextmanager
def running_s3() -> Iterator[S3Rig]:
    """Run the server while the context lasts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    rig = S3Rig(moto_port=moto.get_host_and_port()[1])
    handler = type("Handler", (_Handler,), {"rig": rig})
    proxy = _Server(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=proxy.serve_forever, daemon=True)
    serving.start()
    rig.url = f"http://127.0.0.1:{proxy.server_port}"
    try:
        yield rig
    finally:
        proxy.shutdown()
        serving.join()
        proxy.server_close()
        moto.stop()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Rig]:
    with running_s3() as rig:
        yield rig


@pytest.fixture
def s3(s3_server: S3Rig, monkeypatch: pytest.MonkeyPatch) -> S3Rig:
    """S3 without faults, with credentials in the environment."""
    s3_server.reset()
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of 64 KiB, so that large objects can be small; S3's minimum is 5 MiB."""
    size = 2**16
    for module in (download, upload, footage_upload):
        monkeypatch.setattr(module, "PART_BYTES", size)
    monkeypatch.setattr(footage_upload, "RESUMABLE_BYTES", 8 * size)
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 0)
    return size


@pytest.fixture(scope="module")
def s3_clients(s3_server: S3Rig) -> AwsClients:
    """Clients for tests without faults: adaptive retries stay slow after throttling."""
    clients = s3_server.clients()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        clients.of("s3")
    return clients
