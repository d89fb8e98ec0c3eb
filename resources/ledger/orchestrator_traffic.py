"""What this machine itself asks of S3 and takes out of AWS, in a camera's ledger.

Workers tell what they ask; the machine that launches them and takes their results home asks, too:
it copies footage up, reads messages, renews leases. Its requests cost what workers' cost, and what
it reads leaves AWS.
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
from resources.pricing.prices import PriceBook
from resources.pricing.sources import shipped_prices
from resources.storage.object_store import ObjectStore
from resources.storage.s3.request_counter import Traffic


@dataclass
class OrchestratorTraffic:
    """The traffic of one undertaking.

    Args:
        what: it was for, as a sentence's part.
        launch: identity of the launch that it belongs to; None: to none.
    """

    camera_id: str
    region: str
    what: str
    clock: Clock
    launch: str | None = None
    traffic: Traffic = field(default_factory=Traffic)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock.now()

    def write(self, ledger: ObjectStore, name: str) -> None:
        """Write down what was counted until now, if anything was.

        Args:
            name: of the ledger's file; no other undertaking has it.

        Raises:
            StoreError: the ledger cannot be written.
        """
        if self.traffic.put or self.traffic.get:
            write_ledger(ledger, name, self.rows(shipped_prices(self.region)))

    def rows(self, book: PriceBook) -> pl.DataFrame:
        """A row for the requests, and one for what was read."""
        about: Row = {
            **dict.fromkeys(LEDGER_SCHEMA),
            "camera_id": self.camera_id,
            "launch": self.launch,
            "region": self.region,
            "intended_at": to_timestamp(self.began),
            "started_at": to_timestamp(self.began),
            "ended_at": to_timestamp(self.clock.now()),
            "reason": self.what,
            "estimated": False,
        }
        seen = self.traffic
        put, get = seen.put + 1, seen.get  # and the one that writes this down
        rows = [
            {
                **about,
                "kind": "requests",
                "requests_put": put,
                "requests_get": get,
                **request_cost_columns(book, put, get),
            }
        ]
        if seen.read:
            money = transfer_cost_columns(book, seen.read)
            rows.append({**about, "kind": "transfer", "bytes_read": seen.read, **money})
        return pl.DataFrame(rows, schema=LEDGER_SCHEMA)
