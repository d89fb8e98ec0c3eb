"""Data transfer and requests between workers and S3, and data transfer out of AWS.

Within a region requests cost money and bytes do not; bytes transferred out of AWS do.
"""

from dataclasses import dataclass

import polars as pl

from resources.pricing.prices import CostKind


@dataclass(frozen=True)
class TrafficTotals:
    """Sums over all workers; requests include those of this machine."""

    bytes_read: int
    bytes_written: int
    requests_put: int  # PUT, COPY, POST and LIST, which have the same price
    requests_get: int
    bytes_home: int  # downloaded from AWS by this machine


def sum_traffic(rows: pl.DataFrame) -> TrafficTotals:
    """Sum the traffic in rows of LEDGER_SCHEMA; requests have separate rows."""
    requests = rows.filter(pl.col("kind") == CostKind.REQUESTS)
    attempts = rows.filter(pl.col("kind") == CostKind.ATTEMPT)
    transfer = rows.filter(pl.col("kind") == CostKind.TRANSFER)
    return TrafficTotals(
        int(attempts["bytes_read"].sum()),
        int(attempts["bytes_written"].sum()),
        int(requests["requests_put"].sum()),
        int(requests["requests_get"].sum()),
        int(transfer["bytes_read"].sum()),
    )
