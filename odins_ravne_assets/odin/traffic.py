"""What moved between workers and S3, all within the region: requests cost money, bytes do not."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Traffic:
    """Of all workers, together."""

    bytes_read: int
    bytes_written: int
    requests_put: int  # PUT, COPY, POST and LIST, which S3 prices alike
    requests_get: int


def traffic_in(rows: pl.DataFrame) -> Traffic:
    """The sums over rows of `cost_ledger.SCHEMA`; requests are counted in rows of their own."""
    requests = rows.filter(pl.col("kind") == "requests")
    attempts = rows.filter(pl.col("kind") == "attempt")
    return Traffic(
        int(attempts["bytes_read"].sum()),
        int(attempts["bytes_written"].sum()),
        int(requests["requests_put"].sum()),
        int(requests["requests_get"].sum()),
    )
