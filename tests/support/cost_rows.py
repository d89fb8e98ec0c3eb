"""Literal rows of the cost ledger, and the example of docs/costs.md."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from resources.ledger.table import LEDGER_SCHEMA

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = datetime(2026, 11, 20, tzinfo=UTC)


def at(clock: str) -> datetime:
    """A time on the day of the example, UTC, given as 10:04."""
    hours, minutes = clock.split(":")
    return DAY.replace(hour=int(hours), minute=int(minutes))


def row(kind: str = "attempt", **columns: Any) -> dict[str, Any]:
    """A row of a spot machine without waste; money may be given as text."""
    defaults = {
        "camera_id": "hill",
        "launch": "one-1",
        "kind": kind,
        "market": "spot",
        "region": "eu-north-1",
        "usd": "0",
        "usd_wasted": "0",
        "price_source": "AWS",
        "price_as_of": at("09:00"),
        "price_verified": True,
        "estimated": False,
    }
    on_demand = {"usd_on_demand": columns.get("usd", "0")}
    useful = {"useful_seconds": columns.get("billed_seconds")} if kind == "attempt" else {}
    given = defaults | on_demand | useful | columns
    money = [name for name, kind in LEDGER_SCHEMA.items() if isinstance(kind, pl.Decimal)]
    decimals = {name: Decimal(given[name]) for name in money if name in given}
    return dict.fromkeys(LEDGER_SCHEMA) | given | decimals


def ledger(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=LEDGER_SCHEMA)


# Machine A, in zone a at $0.1881 an hour: launched at 10:00, interrupted by EC2 at 10:40, so free.
# Machine B, in zone b at $0.1959: launched at 10:41, terminated at 11:35. On demand: $0.558.
A: dict[str, Any] = {
    "instance_id": "i-a",
    "instance_type": "g4dn.xlarge",
    "zone": "eu-north-1a",
    "machine_launched_at": at("10:00"),
    "machine_ended_at": at("10:40"),
    "machine_taken_at": at("10:40"),
}
B: dict[str, Any] = {
    "instance_id": "i-b",
    "instance_type": "g4dn.xlarge",
    "zone": "eu-north-1b",
    "machine_launched_at": at("10:41"),
    "machine_ended_at": at("11:35"),
}
FIRST: dict[str, Any] = {
    "unit": 0,
    "attempt": "ravne-hill-one-1-0-1",
    "job_id": "job-1",
    "queue": "spot",
    "intended_at": at("09:58"),
    "started_at": at("10:04"),
    "ended_at": at("10:40"),
    "end": "interrupted",
    "images": 600,
    "media": 610,
    "frames": 1200,
    "video_seconds": 600.0,
}
SECOND: dict[str, Any] = {
    **FIRST,
    "attempt": "ravne-hill-one-1-0-2",
    "job_id": "job-2",
    "intended_at": at("10:40"),
    "started_at": at("10:45"),
    "ended_at": at("11:33"),
    "end": "done",
    "media": 620,
    "frames": 1800,
    "video_seconds": 1200.0,
}
EXAMPLE = (
    row(**A, **FIRST, usd="0", usd_on_demand="0.3348", billed_seconds=2160.0),
    row(**B, **SECOND, usd="0.15672", usd_on_demand="0.4464", billed_seconds=2880.0),
    row("overhead", **A, usd="0", usd_on_demand="0.0372", billed_seconds=240.0),
    row("overhead", **B, usd="0.01959", usd_on_demand="0.0558", billed_seconds=360.0),
    row("disk", **A, usd="0.0046", billed_seconds=2400.0),
    row("disk", **B, usd="0.0062", billed_seconds=3240.0),
    row("address", **A, usd="0.0033", billed_seconds=2400.0),
    row("address", **B, usd="0.0045", billed_seconds=3240.0),
    row("requests", usd="0.0025", market=None, requests_put=308, requests_get=2400),
)
