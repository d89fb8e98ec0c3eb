"""The control API of the sandbox, below CONTROL_PREFIX of its port: JSON requests and responses.

GET /clock, /process, /bill, /events?since=N, /jobs, /instances, /credentials/SECRET;
POST /interrupt, /capacity, /surge, /rate, /lag, /policies, /faults, /shutdown; DELETE /faults.
The arguments of a POST are those of the method in `Sandbox._control`, as a JSON object.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from resources.sandbox.api.server import CONTROL_PREFIX, StartResponse
from resources.sandbox.iam.credentials import JobCredentials
from resources.sandbox.wire.protocol import Environ


class Control:
    """A WSGI application that calls methods of a sandbox.

    Args:
        readers: methods for GET, by path.
        events: returns the events from an index on.
        writers: methods for POST, by path; the request's JSON object is their arguments.
        clear_faults: method for DELETE /faults.
        credentials: of the jobs.
    """

    def __init__(
        self,
        readers: Mapping[str, Callable[[], Any]],
        events: Callable[[int], Any],
        writers: Mapping[str, Callable[..., Any]],
        clear_faults: Callable[[], None],
        credentials: JobCredentials,
    ) -> None:
        self._readers = readers
        self._events = events
        self._writers = writers
        self._clear_faults = clear_faults
        self._credentials = credentials

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix(CONTROL_PREFIX)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            arguments = json.loads(environ["wsgi.input"].read(length) or b"{}")
            status, content = self._handle(environ["REQUEST_METHOD"], path, arguments, environ)
        except (TypeError, ValueError, LookupError) as error:
            status, content = "400 Bad Request", {"error": str(error)}
        body = json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start(status, headers)
        return [body]

    def _handle(
        self, method: str, path: str, arguments: dict[str, Any], environ: Environ
    ) -> tuple[str, Any]:
        if method == "GET" and path.startswith("/credentials/"):
            found = self._credentials.fetch(path.removeprefix("/credentials/"))
            return ("200 OK", found) if found is not None else ("404 Not Found", {})
        if method == "GET" and path == "/events":
            query = parse_qs(environ.get("QUERY_STRING", ""))
            return "200 OK", self._events(int(query.get("since", ["0"])[0]))
        if method == "GET" and path in self._readers:
            return "200 OK", self._readers[path]()
        if method == "POST" and path in self._writers:
            return "200 OK", {"result": self._writers[path](**arguments)}
        if method == "DELETE" and path == "/faults":
            self._clear_faults()
            return "200 OK", {}
        return "404 Not Found", {"error": f"unknown request: {method} {path}"}
