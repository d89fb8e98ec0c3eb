"""Counts what is asked of S3, as S3 bills it: every request that is sent, tries again included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

# Amazon S3 pricing, "Requests and data retrievals": PUT, COPY, POST and LIST cost the same, all
# others the price of GET, deleting nothing.
LISTS = ("List",)
DELETES = ("Delete", "Abort")


@dataclass
class Traffic:
    """Requests and bytes of the clients that it was attached to.

    Attributes:
        read, written: bytes of objects, without headers.
    """

    put: int = 0
    get: int = 0
    read: int = 0
    written: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def attach(self, client: Any) -> None:
        """Count what a boto3 client of S3 asks from now on."""
        client.meta.events.register("before-send.s3", self._sent)
        client.meta.events.register("response-received.s3.GetObject", self._received)

    def as_work(self) -> dict[str, float]:
        """By the ledger's columns."""
        with self._lock:
            return {
                "requests_put": self.put,
                "requests_get": self.get,
                "bytes_read": self.read,
                "bytes_written": self.written,
            }

    def _sent(self, request: Any, event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation.startswith(DELETES):
            return
        puts = request.method in ("PUT", "POST") or operation.startswith(LISTS)
        with self._lock:
            self.put += puts
            self.get += not puts
            self.written += int(request.headers.get("Content-Length") or 0) if puts else 0

    def _received(self, response_dict: Mapping[str, Any] | None, **_: Any) -> None:
        if response_dict is not None:
            with self._lock:
                self.read += int(response_dict["headers"].get("Content-Length") or 0)
