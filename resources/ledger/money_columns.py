"""The cost columns of a ledger row: prices with their sources, and amounts."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from resources.ledger.table import MONEY_DECIMALS
from resources.pricing.prices import GIB, PriceBook, Quote

Row = dict[str, Any]

MONEY_QUANTUM = Decimal(1).scaleb(-MONEY_DECIMALS)
UNKNOWN_COST: Mapping[str, Any] = {
    "usd": Decimal(0),
    "usd_on_demand": Decimal(0),
    "usd_wasted": Decimal(0),
    "estimated": True,
}
# CloudWatch reports no size of a log stream. A successful worker writes nothing, a failed one a few
# lines, each with 26 bytes of overhead: an upper bound for both.
LOG_BYTES = 4096
LOGS_REMARK = f"an estimate: at most {LOG_BYTES} bytes a job"
FREE_TRANSFER_REMARK = "free within the account's first 100 GB of the month"


def to_timestamp(seconds: float | None) -> datetime | None:
    """Convert seconds since 1970 UTC to a time of the ledger, in milliseconds precision."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)


def round_usd(usd: Decimal) -> Decimal:
    """Round USD to the decimals of the ledger."""
    return usd.quantize(MONEY_QUANTUM)


def find_rate(book: PriceBook, item: str) -> Quote | None:
    """Return the price of a rate other than a machine's; None if it is not known."""
    return next((quote for quote in book.quotes if quote.item == item), None)


def price_columns(quotes: Iterable[Quote], per_hour: Decimal | None) -> Row:
    """Return the columns with the sources of prices.

    Args:
        per_hour: the mean of the prices in force; None: not billed by the hour.
    """
    used = list(quotes)
    return {
        "usd_per_hour": None if per_hour is None else round_usd(per_hour),
        "price_source": "; ".join(sorted({quote.source for quote in used})),
        "price_as_of": max(quote.as_of for quote in used),
        "price_verified": all(quote.verified for quote in used),
    }


def cost_columns(usd: Decimal, on_demand: Decimal | None = None) -> Row:
    """Return the columns with amounts.

    Args:
        on_demand: None: the same amount, as there is no spot price.
    """
    on_demand = usd if on_demand is None else on_demand
    return {
        "usd": round_usd(usd),
        "usd_on_demand": round_usd(on_demand),
        "usd_wasted": Decimal(0),
    }


def request_cost_columns(book: PriceBook, put: int, get: int) -> Row:
    """Return the cost columns of requests to S3, by the two classes of their prices."""
    puts, gets = find_rate(book, "s3-put"), find_rate(book, "s3-get")
    if puts is None or gets is None:
        return {**UNKNOWN_COST, "remark": f"no price of S3 requests in {book.region} is known"}
    usd = (put * puts.usd + get * gets.usd) / 1000
    return {**price_columns((puts, gets), None), **cost_columns(usd)}


def log_cost_columns(book: PriceBook, jobs: int) -> Row:
    """Return the cost columns of CloudWatch logs of a number of jobs, LOG_BYTES each."""
    ingested = find_rate(book, "logs-ingested")
    if ingested is None:
        return {**UNKNOWN_COST, "remark": f"no price of CloudWatch logs in {book.region} is known"}
    usd = jobs * LOG_BYTES * ingested.usd / GIB
    return {**price_columns((ingested,), None), **cost_columns(usd), "remark": LOGS_REMARK}


def transfer_cost_columns(book: PriceBook, size: int) -> Row:
    """Return the cost columns of bytes transferred out of AWS, past the free amount of a month."""
    out = find_rate(book, "transfer-out")
    if out is None:
        return {**UNKNOWN_COST, "remark": f"no price of transfer out of {book.region} is known"}
    usd = size * out.usd / GIB
    return {**price_columns((out,), None), **cost_columns(usd), "remark": FREE_TRANSFER_REMARK}
