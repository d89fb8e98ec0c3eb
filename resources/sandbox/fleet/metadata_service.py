"""Each machine's own instance metadata service, version 2 (EC2 guide, "Instance metadata")."""

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
    """The machine that a service tells of."""

    def metadata(self) -> dict[str, str]:
        """The items under /latest/meta-data/ now, by their path."""

    def identity(self) -> dict[str, str]:
        """The instance identity document."""


class MetadataService:
    """An HTTP server on a free port of 127.0.0.1, until `close`. Without a token it answers 401."""

    def __init__(self, machine: DescribedInstance) -> None:
        self._server = _Server(machine)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        # Its own thread: shutdown waits for the serving loop's next look.
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
            self._answer(200, self.server.token)
        else:
            self._answer(400)

    def do_GET(self) -> None:
        if self.headers.get(TOKEN_HEADER) != self.server.token:
            self._answer(401)
            return
        item = self._item()
        if item is None:
            self._answer(404)
        else:
            self._answer(200, item)

    def _item(self) -> str | None:
        if self.path == IDENTITY_PATH:
            return json.dumps(self.server.machine.identity())
        if self.path.startswith(META_DATA):
            return self.server.machine.metadata().get(self.path.removeprefix(META_DATA))
        return None

    def _answer(self, status: int, text: str = "") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked died meanwhile
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing for each request."""
