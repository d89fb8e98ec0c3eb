"""Statistics of past spot prices: their volatility, and the price worth waiting for."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from resources.pricing.prices import Market, PriceBook, Quote

# AWS stores 90 days.
SPOT_LOOKBACK_SECONDS = 14 * 24 * 3600.0
# The quantile, over time, of the price that is worth waiting for.
LOW_PRICE_SHARE = 0.1
# Standard deviation of a price's logarithm: the minimum, and that of a price without history, as
# in the package's price table.
MIN_PRICE_LOG_STD = 0.02
UNKNOWN_PRICE_LOG_STD = 0.15


@dataclass(frozen=True)
class SpotPriceStats:
    """Statistics of a machine type's spot price in a zone over the last weeks, USD per hour.

    Args:
        now: the current price.
        low: the price was this or lower for LOW_PRICE_SHARE of the time; None: no price change is
            known.
        log_std: standard deviation of its logarithm.
    """

    now: float
    low: float | None
    log_std: float


def spot_price_stats(book: PriceBook, instance_type: str, zone: str, now: float) -> SpotPriceStats:
    """Return the statistics of a spot price until `now`, weighted by the time in force.

    Raises:
        RavneError: no spot price of this type is known.
    """
    price = float(book.spot(instance_type, zone, now).usd)
    since = now - SPOT_LOOKBACK_SECONDS
    periods = _periods(_history(book, instance_type, zone), since, now)
    if len(periods) < 2:
        return SpotPriceStats(price, None, UNKNOWN_PRICE_LOG_STD)
    known = sum(seconds for _, seconds in periods)
    mean = sum(log(usd) * seconds for usd, seconds in periods) / known
    variance = sum((log(usd) - mean) ** 2 * seconds for usd, seconds in periods) / known
    log_std = max(MIN_PRICE_LOG_STD, sqrt(variance))
    return SpotPriceStats(price, _quantile(periods, LOW_PRICE_SHARE * known), log_std)


def _history(book: PriceBook, instance_type: str, zone: str) -> list[Quote]:
    found = [
        quote
        for quote in book.quotes
        if quote.market == Market.SPOT and quote.item == instance_type and quote.zone == zone
    ]
    return sorted(found, key=lambda quote: quote.as_of)


def _periods(history: Sequence[Quote], since: float, now: float) -> list[tuple[float, float]]:
    """Prices, and the seconds that each was in force between two times."""
    changes = [quote.as_of.timestamp() for quote in history]
    first = max(0, bisect_right(changes, since) - 1)
    found = []
    for index in range(first, len(history)):
        end = changes[index + 1] if index + 1 < len(changes) else now
        seconds = min(end, now) - max(changes[index], since)
        if seconds > 0:
            found.append((float(history[index].usd), seconds))
    return found


def _quantile(periods: Sequence[tuple[float, float]], seconds: float) -> float:
    """The lowest price such that it or a lower one was in force for this many seconds."""
    total = 0.0
    for usd, duration in sorted(periods):
        total += duration
        if total >= seconds:
            return usd
    return max(usd for usd, _ in periods)
