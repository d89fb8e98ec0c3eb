"""The instance metadata service of a machine, version 2 (EC2 guide, "Instance metadata")."""

import json
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Protocol
from uuid import uuid4

TOKEN_HEADER = "X-aws-ec2-metadata-token"
TOKEN_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_PATH = "/latest/api/token"
META_DATA = "/latest/meta-data/"
IDENTITY_PATH = "/latest/dynamic/instance-identity/document"


class DescribedInstance(Protocol):
    """The machine that a service describes."""

    def metadata(self) -> dict[str, str]:
        """Return the present items under /latest/meta-data/, by path."""

    def identity(self) -> dict[str, str]:
        """Return the instance identity document."""


class MetadataService:
    """An HTTP server on a free port of 127.0.0.1. It responds 401 to requests without a token."""

    def __init__(self, machine: DescribedInstance) -> None:
        self._server = _Server(machine)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        # In a thread, since `shutdown` waits for the next iteration of the serving loop.
        Thread(target=self._shut_down, daemon=True).start()

    def _shut_down(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, machine: DescribedInstance) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.machine = machine
        self.token = uuid4().hex


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_PUT(self) -> None:
        if self.path == TOKEN_PATH and self.headers.get(TOKEN_TTL_HEADER):
            self._respond(200, self.server.token)
        else:
            self._respond(400)

    def do_GET(self) -> None:
        if self.headers.get(TOKEN_HEADER) != self.server.token:
            self._respond(401)
            return
        item = self._item()
        if item is None:
            self._respond(404)
        else:
            self._respond(200, item)

    def _item(self) -> str | None:
        if self.path == IDENTITY_PATH:
            return json.dumps(self.server.machine.identity())
        if self.path.startswith(META_DATA):
            return self.server.machine.metadata().get(self.path.removeprefix(META_DATA))
        return None

    def _respond(self, status: int, text: str = "") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has died
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no requests."""
