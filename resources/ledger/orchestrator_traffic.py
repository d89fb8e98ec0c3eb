"""The S3 requests and downloads of this machine itself, as rows of a camera's ledger.

Workers report their own requests. The machine that launches them also uploads footage, reads
messages, renews leases and downloads results. Its requests cost the same as a worker's, and the
bytes it reads are transferred out of AWS.
"""

from dataclasses import dataclass, field

import polars as pl

from resources.clock import Clock
from resources.ledger.money_columns import (
    Row,
    request_cost_columns,
    to_timestamp,
    transfer_cost_columns,
)
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.pricing.prices import CostKind, PriceBook
from resources.pricing.sources import shipped_prices
from resources.storage.object_store import ObjectStore
from resources.storage.s3.request_counter import Traffic


@dataclass
class OrchestratorTraffic:
    """The traffic of one operation.

    Args:
        purpose: of the operation, a phrase; the ledger's column `reason`.
        launch: identity of the launch that it belongs to, if any.
    """

    camera_id: str
    region: str
    purpose: str
    clock: Clock
    launch: str | None = None
    traffic: Traffic = field(default_factory=Traffic)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock.now()

    def write(self, ledger: ObjectStore, name: str) -> None:
        """Write the traffic counted until now, if there is any.

        Args:
            name: of the ledger's file, unique to this operation.

        Raises:
            StoreError: the ledger cannot be written.
        """
        if self.traffic.put or self.traffic.get:
            write_ledger(ledger, name, self.rows(shipped_prices(self.region)))

    def rows(self, book: PriceBook) -> pl.DataFrame:
        """Return a row for the requests, and a row for the transfer if there is one."""
        common: Row = {
            **dict.fromkeys(LEDGER_SCHEMA),
            "camera_id": self.camera_id,
            "launch": self.launch,
            "region": self.region,
            "intended_at": to_timestamp(self.start),
            "started_at": to_timestamp(self.start),
            "ended_at": to_timestamp(self.clock.now()),
            "reason": self.purpose,
            "estimated": False,
        }
        put, get = self.traffic.put + 1, self.traffic.get  # including the write of these rows
        rows = [
            {
                **common,
                "kind": CostKind.REQUESTS,
                "requests_put": put,
                "requests_get": get,
                **request_cost_columns(book, put, get),
            }
        ]
        size = self.traffic.read
        if size:
            cost = transfer_cost_columns(book, size)
            rows.append({**common, "kind": CostKind.TRANSFER, "bytes_read": size, **cost})
        return pl.DataFrame(rows, schema=LEDGER_SCHEMA)
