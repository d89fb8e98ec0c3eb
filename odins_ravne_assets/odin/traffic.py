"""What moved between workers and S3, within the region: requests cost money, bytes do not; and
what was taken out of AWS, where bytes do, too."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class TrafficTotals:
    """Of all workers, together; requests of this machine are among them."""

    bytes_read: int
    bytes_written: int
    requests_put: int  # PUT, COPY, POST and LIST, which S3 prices alike
    requests_get: int
    bytes_home: int  # that this machine took out of AWS


def sum_traffic(rows: pl.DataFrame) -> TrafficTotals:
    """The sums over rows of `cost_ledger.SCHEMA`; requests are counted in rows of their own."""
    requests = rows.filter(pl.col("kind") == "requests")
    attempts = rows.filter(pl.col("kind") == "attempt")
    home = rows.filter(pl.col("kind") == "transfer")
    return TrafficTotals(
        int(attempts["bytes_read"].sum()),
        int(attempts["bytes_written"].sum()),
        int(requests["requests_put"].sum()),
        int(requests["requests_get"].sum()),
        int(home["bytes_read"].sum()),
    )
