"""Count S3 requests as S3 bills them: every request that is sent, retries included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Amazon S3 pricing, "Requests and data retrievals": PUT, COPY, POST and LIST have one price, DELETE
# is free, all others have the price of GET.
LIST_OPERATIONS = ("List",)
FREE_OPERATIONS = ("Delete", "Abort")


@dataclass
class Traffic:
    """Requests and bytes of the attached clients.

    Attributes:
        read, written: bytes of objects, without headers.
    """

    put: int = 0
    get: int = 0
    read: int = 0
    written: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def attach(self, client: "S3Client") -> None:
        """Count the requests of a client from now on."""
        client.meta.events.register("before-send.s3", self._on_request)
        client.meta.events.register("response-received.s3.GetObject", self._on_response)

    def as_work(self) -> dict[str, float]:
        """Return the counts by the ledger's columns."""
        with self._lock:
            return {
                "requests_put": self.put,
                "requests_get": self.get,
                "bytes_read": self.read,
                "bytes_written": self.written,
            }

    def _on_request(self, request: Any, event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation.startswith(FREE_OPERATIONS):
            return
        is_put = request.method in ("PUT", "POST") or operation.startswith(LIST_OPERATIONS)
        with self._lock:
            self.put += is_put
            self.get += not is_put
            self.written += int(request.headers.get("Content-Length") or 0) if is_put else 0

    def _on_response(self, response_dict: Mapping[str, Any] | None, **_: Any) -> None:
        if response_dict is not None:
            with self._lock:
                self.read += int(response_dict["headers"].get("Content-Length") or 0)
