"""The calendar month: what it has cost so far, and what it will, if it goes on as it began.

A row of the ledger belongs to the month of its moment (`row_times.py`), UTC.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.row_times import ROW_TIME
from odins_ravne_assets.odin.storage_costs import StorageCosts
from odins_ravne_assets.odin.totals import sum_usd

DAY = 24 * 3600
# Before so much of a month is over, a forecast would be the first run times thirty.
MIN_FORECAST_DAYS = 3


@dataclass(frozen=True)
class Month:
    """Money in USD.

    Args:
        name: as 2026-11.
        forecast_usd: of the whole month: computing at the pace so far, and storage as it lies;
            None in the first days.
    """

    name: str
    computing_usd: Decimal
    storage_usd: Decimal
    forecast_usd: Decimal | None

    @property
    def usd(self) -> Decimal:
        return self.computing_usd + self.storage_usd


def month_to_date(rows: pl.DataFrame, storage: StorageCosts | None, now: float) -> Month:
    """The month that `now` (seconds since 1970 UTC) lies in, of rows with their moments."""
    today = datetime.fromtimestamp(now, UTC)
    first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    computing = sum_usd(rows.filter(first <= ROW_TIME))
    stored = storage.usd_this_month if storage else Decimal(0)
    rest = storage.usd_rest_of_month if storage else Decimal(0)
    passed = Decimal((today - first).total_seconds()) / DAY
    forecast = None
    if passed >= MIN_FORECAST_DAYS:
        length = monthrange(today.year, today.month)[1]
        forecast = computing * length / passed + stored + rest
    return Month(f"{today:%Y-%m}", computing, stored, forecast)
