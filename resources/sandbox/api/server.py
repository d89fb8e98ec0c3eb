"""The one door: all services, and the control of the sandbox, on one port of 127.0.0.1."""

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Thread
from typing import Any, Protocol

from werkzeug.serving import make_server

from resources.sandbox.api.batch_api import BatchApi
from resources.sandbox.model.moto_services import RequestHandler
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.faults import FaultKind, Faults, fault_error
from resources.sandbox.wire.protocol import (
    AwsRequest,
    Environ,
    Response,
    error_response,
    json_response,
    parse_request,
    rest_request,
)

StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
OnRequest = Callable[[AwsRequest], None]

HOST = "127.0.0.1"
# No bucket can have this name.
CONTROL_PREFIX = "/_sandbox"
# Services of moto that Batch's scheduler changes too; moto's models know no locks.
SHARED_WITH_SCHEDULER = {"ec2", "ecs", "iam", "logs", "sts"}


class AccessCheck(Protocol):
    """Who may do what."""

    def check(self, request: AwsRequest) -> None:
        """Raises AwsError if the signer of a request may not make it."""


class ServiceApi(Protocol):
    """Prices, costs, or what moto leaves out of S3."""

    def answer(self, request: AwsRequest) -> Response | None:
        """The answer, or None if the request is not of this kind. Raises AwsError."""


class Router:
    """The WSGI application: control, then faults and policies, then Batch, our own or moto.

    Args:
        own: what answers beside Batch and before moto.
        lock: the scheduler's.
        on_request: told of every signed request first.
    """

    def __init__(
        self,
        control: Application,
        batch: BatchApi,
        own: Sequence[ServiceApi],
        faults: Faults,
        policies: AccessCheck,
        moto: Application,
        lock: AbstractContextManager[Any],
        on_request: OnRequest,
    ) -> None:
        self._control = control
        self._batch = batch
        self._own = own
        self._faults = faults
        self._policies = policies
        self._moto = moto
        self._lock = lock
        self._on_request = on_request

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONTROL_PREFIX + "/"):
            return self._control(environ, start)
        request = parse_request(environ)
        if request is None:
            return self._moto(environ, start)
        self._on_request(request)
        kind = self._faults.take(request)
        if kind is not None:
            return self._troubled(kind, request, start)
        return self._answer(request, start)

    def _answer(self, request: AwsRequest, start: StartResponse) -> Iterable[bytes]:
        try:
            self._policies.check(request)
            answer = self._own_answer(request)
        except AwsError as error:
            return _send(error_response(request.service, error), request, start)
        if answer is not None:
            return _send(answer, request, start)
        if request.service in SHARED_WITH_SCHEDULER:
            with self._lock:
                return self._moto(request.environ, start)
        return self._moto(request.environ, start)

    def _own_answer(self, request: AwsRequest) -> Response | None:
        """What is not moto's to answer."""
        if request.service == "batch":
            return json_response(self._batch.call(request.operation, rest_request(request)))
        answers = (api.answer(request) for api in self._own)
        return next((answer for answer in answers if answer is not None), None)

    def _troubled(
        self, kind: FaultKind, request: AwsRequest, start: StartResponse
    ) -> Iterable[bytes]:
        if kind == "reset":
            _reset_connection(request.environ)
            return _send(json_response({}), request, start)
        if kind == "truncate":
            return _truncate(self._answer(request, start), request.environ)
        if kind == "lost_answer":
            b"".join(self._answer(request, _discard_head))
            kind = "server_error"
        return _send(
            error_response(request.service, fault_error(kind, request.service)), request, start
        )


def _send(answer: Response, request: AwsRequest, start: StartResponse) -> Iterable[bytes]:
    request.body()  # a caller that still sends would see a broken connection instead
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    start(f"{answer.status} -", list(headers.items()))
    return [] if request.method == "HEAD" else [answer.body]


def _discard_head(*_: object) -> None:
    """Where the head of an answer goes that nobody gets."""


def _reset_connection(environ: Environ) -> None:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)


def _truncate(body: Iterable[bytes], environ: Environ) -> Iterator[bytes]:
    """The first half of a body, and then the connection breaks."""
    whole = b"".join(body)
    yield whole[: len(whole) // 2]
    _reset_connection(environ)


class Server:
    """Answers until `close`.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._application: Application | None = None
        # Opened here, since werkzeug ends the whole process when a port is taken.
        with socket.create_server((HOST, port)) as door:
            self._server = make_server(
                HOST, port, self._serve, threaded=True, request_handler=_QuietHandler,
                fd=door.fileno(),
            )  # fmt: skip
            self.url = f"http://{HOST}:{door.getsockname()[1]}"

    def start(self, application: Application) -> None:
        """Begin to answer."""
        self._application = application
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05},
               daemon=True).start()  # fmt: skip

    def _serve(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        assert self._application is not None
        return self._application(environ, start)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _QuietHandler(RequestHandler):
    def log_request(self, *_: object) -> None:
        """Say nothing for each request; errors are still told."""
