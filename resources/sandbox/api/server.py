"""The HTTP server: all services, and the control API, on one port of 127.0.0.1."""

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
# No bucket can have this name, so no path of S3 begins with it.
CONTROL_PREFIX = "/_sandbox"
# Services of moto that the scheduler changes too; moto's models have no locks.
SHARED_WITH_SCHEDULER = {"ec2", "ecs", "iam", "logs", "sts"}


class AccessCheck(Protocol):
    """A check of permissions."""

    def check(self, request: AwsRequest) -> None:
        """Raise AwsError if the signer of a request may not make it."""


class ServiceApi(Protocol):
    """An API that moto lacks."""

    def handle(self, request: AwsRequest) -> Response | None:
        """Return the response, or None if the request is for another API. Raises AwsError."""


class Router:
    """The WSGI application: the control API; or faults, policies, and the API of the service.

    Args:
        apis: APIs that moto lacks, in addition to Batch.
        lock: of the scheduler.
        on_request: is called first with every signed request.
    """

    def __init__(
        self,
        control: Application,
        batch: BatchApi,
        apis: Sequence[ServiceApi],
        faults: Faults,
        policies: AccessCheck,
        moto: Application,
        lock: AbstractContextManager[Any],
        on_request: OnRequest,
    ) -> None:
        self._control = control
        self._batch = batch
        self._apis = apis
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
            return self._respond_with_fault(kind, request, start)
        return self._respond(request, start)

    def _respond(self, request: AwsRequest, start: StartResponse) -> Iterable[bytes]:
        try:
            self._policies.check(request)
            response = self._handle(request)
        except AwsError as error:
            return _send(error_response(request.service, error), request, start)
        if response is not None:
            return _send(response, request, start)
        if request.service in SHARED_WITH_SCHEDULER:
            with self._lock:
                return self._moto(request.environ, start)
        return self._moto(request.environ, start)

    def _handle(self, request: AwsRequest) -> Response | None:
        """Return the response, or None if moto handles the request."""
        if request.service == "batch":
            return json_response(self._batch.handle(request.operation, rest_request(request)))
        responses = (api.handle(request) for api in self._apis)
        return next((each for each in responses if each is not None), None)

    def _respond_with_fault(
        self, kind: FaultKind, request: AwsRequest, start: StartResponse
    ) -> Iterable[bytes]:
        if kind == FaultKind.RESET:
            _reset_connection(request.environ)
            return _send(json_response({}), request, start)
        if kind == FaultKind.TRUNCATE:
            return _truncate(self._respond(request, start), request.environ)
        if kind == FaultKind.LOST_ANSWER:
            b"".join(self._respond(request, _discard_head))
            kind = FaultKind.SERVER_ERROR
        return _send(
            error_response(request.service, fault_error(kind, request.service)), request, start
        )


def _send(response: Response, request: AwsRequest, start: StartResponse) -> Iterable[bytes]:
    request.body()  # a client that is still sending would get a broken connection instead
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    start(f"{response.status} -", list(headers.items()))
    return [] if request.method == "HEAD" else [response.body]


def _discard_head(*_: object) -> None:
    """Discard the head of a lost response."""


def _reset_connection(environ: Environ) -> None:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)


def _truncate(body: Iterable[bytes], environ: Environ) -> Iterator[bytes]:
    """Yield the first half of a body, and break the connection."""
    whole = b"".join(body)
    yield whole[: len(whole) // 2]
    _reset_connection(environ)


class Server:
    """An HTTP server; it serves until `close`.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._application: Application | None = None
        # Opened here, since werkzeug exits the process if a port is taken.
        with socket.create_server((HOST, port)) as listener:
            self._server = make_server(
                HOST, port, self._serve, threaded=True, request_handler=_QuietHandler,
                fd=listener.fileno(),
            )  # fmt: skip
            self.url = f"http://{HOST}:{listener.getsockname()[1]}"

    def start(self, application: Application) -> None:
        """Begin to serve an application."""
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
        """Log no requests; errors are still logged."""
