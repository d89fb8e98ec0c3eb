"""The cost of the calendar month: to date, and a linear forecast.

A row of the ledger belongs to the month of its row time (`row_times.py`), UTC.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.row_times import ROW_TIME
from odins_ravne_assets.odin.storage_costs import StorageCosts
from odins_ravne_assets.odin.totals import sum_usd

DAY_SECONDS = 24 * 3600
# Earlier, a forecast would be a single run times thirty.
MIN_FORECAST_DAYS = 3


@dataclass(frozen=True)
class Month:
    """The cost of a month in USD.

    Args:
        name: as 2026-11.
        forecast_usd: of the whole month: compute at the rate to date, and storage unchanged; None
            in the first days.
    """

    name: str
    computing_usd: Decimal
    storage_usd: Decimal
    forecast_usd: Decimal | None

    @property
    def usd(self) -> Decimal:
        """The cost to date."""
        return self.computing_usd + self.storage_usd


def month_to_date(rows: pl.DataFrame, storage: StorageCosts | None, now: float) -> Month:
    """Calculate the cost of the month of `now`.

    Args:
        rows: with their row times.
        now: seconds since 1970 UTC.
    """
    today = datetime.fromtimestamp(now, UTC)
    first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    compute = sum_usd(rows.filter(first <= ROW_TIME))
    stored = storage.usd_this_month if storage else Decimal(0)
    rest = storage.usd_rest_of_month if storage else Decimal(0)
    elapsed = Decimal((today - first).total_seconds()) / DAY_SECONDS
    forecast = None
    if elapsed >= MIN_FORECAST_DAYS:
        length = monthrange(today.year, today.month)[1]
        forecast = compute * length / elapsed + stored + rest
    return Month(f"{today:%Y-%m}", compute, stored, forecast)
