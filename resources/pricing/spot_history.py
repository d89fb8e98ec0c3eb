"""How spot prices have moved: how far a price of now may lie from one of tomorrow's, and what
waiting for a lower one is worth."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from resources.pricing.prices import PriceBook, Quote

# How far back is looked; AWS keeps 90 days.
SPOT_LOOKBACK_SECONDS = 14 * 24 * 3600.0
# The price that is worth waiting for: it was this or lower for a tenth of the time.
LOW_PRICE_SHARE = 0.1
# Standard deviation of a price's logarithm: the least, as prices move slowly and always; and of a
# price that has no history, as those that ship.
MIN_PRICE_LOG_STD = 0.02
UNKNOWN_PRICE_LOG_STD = 0.15


@dataclass(frozen=True)
class SpotPriceStats:
    """A machine type's spot price in a zone, over the last weeks. USD per hour.

    Args:
        low: it was this or lower for LOW_PRICE_SHARE of the time; None: no change of it is known.
        spread: standard deviation of its logarithm.
    """

    now: float
    low: float | None
    spread: float


def spot_price_stats(book: PriceBook, instance_type: str, zone: str, now: float) -> SpotPriceStats:
    """How a spot price has moved until `now`, each price weighed by the time it was in force.

    Raises:
        RavneError: no spot price of this type is known.
    """
    price = float(book.spot(instance_type, zone, now).usd)
    since = now - SPOT_LOOKBACK_SECONDS
    stretches = _stretches(_history(book, instance_type, zone), since, now)
    if len(stretches) < 2:
        return SpotPriceStats(price, None, UNKNOWN_PRICE_LOG_STD)
    known = sum(seconds for _, seconds in stretches)
    mean = sum(log(usd) * seconds for usd, seconds in stretches) / known
    variance = sum((log(usd) - mean) ** 2 * seconds for usd, seconds in stretches) / known
    spread = max(MIN_PRICE_LOG_STD, sqrt(variance))
    return SpotPriceStats(price, _quantile(stretches, LOW_PRICE_SHARE * known), spread)


def _history(book: PriceBook, instance_type: str, zone: str) -> list[Quote]:
    found = [
        quote
        for quote in book.quotes
        if quote.market == "spot" and quote.item == instance_type and quote.zone == zone
    ]
    return sorted(found, key=lambda quote: quote.as_of)


def _stretches(history: Sequence[Quote], since: float, now: float) -> list[tuple[float, float]]:
    """Prices and for how many seconds each was in force, between two moments."""
    moments = [quote.as_of.timestamp() for quote in history]
    first = max(0, bisect_right(moments, since) - 1)
    found = []
    for place in range(first, len(history)):
        end = moments[place + 1] if place + 1 < len(moments) else now
        seconds = min(end, now) - max(moments[place], since)
        if seconds > 0:
            found.append((float(history[place].usd), seconds))
    return found


def _quantile(stretches: Sequence[tuple[float, float]], seconds: float) -> float:
    """The least price that was in force, or a lower one was, for so many seconds."""
    passed = 0.0
    for usd, lasted in sorted(stretches):
        passed += lasted
        if passed >= seconds:
            return usd
    return max(usd for usd, _ in stretches)
