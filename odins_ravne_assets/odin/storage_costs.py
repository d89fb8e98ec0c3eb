"""Costs of stored footage and results: per month, to date, and forecast.

S3 bills GB-months. S3 does not report when an object changed its storage class: each transition is
assumed on the day that the lifecycle policy sets.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from odins_ravne_assets.odin.storage_prices import STORAGE_CLASS_RATES, StoragePrices
from odins_ravne_assets.odin.totals import ZERO_USD
from resources.pricing.prices import Quote
from resources.retention.inventory import StoredDay
from resources.retention.rules import MinimumSizes
from resources.settings.stored_data import Lifecycle

DAYS_PER_YEAR, MONTHS_PER_YEAR = Decimal("365.25"), 12


class StoragePeriod(NamedTuple):
    """The days that objects are in a storage class; `end` is the day after the last."""

    storage_class: str
    start: date
    end: date


@dataclass(frozen=True)
class LifecycleRules:
    """The lifecycle policy of footage.

    Args:
        min_sizes: the bytes from which on each transition saves money.
    """

    lifecycle: Lifecycle
    min_sizes: MinimumSizes

    def start_days(self, day: StoredDay) -> dict[str, date]:
        """Return the first day in each storage class that objects were in, or will be in.

        Results, and objects too small to save money, stay in their class.
        """
        rules = {
            "STANDARD": (0, 0),
            "STANDARD_IA": (self.lifecycle.transition_to_ia, self.min_sizes.to_ia),
            "GLACIER": (self.lifecycle.transition_to_glacier, self.min_sizes.to_glacier),
        }
        current = list(STORAGE_CLASS_RATES).index(day.storage_class)
        return {
            storage_class: day.day + timedelta(days=age)
            for index, (storage_class, (age, min_size)) in enumerate(rules.items())
            if index <= current or (day.area == "footage" and day.min_size >= min_size)
        }


@dataclass(frozen=True)
class StoredLine:
    """The stored objects of an area and storage class."""

    area: str  # an Area
    storage_class: str
    old: bool  # noncurrent versions: overwritten or deleted
    objects: int
    bytes: int
    usd_per_month: Decimal | None  # None: no price of this class is known
    usd_this_month: Decimal  # since the first of the calendar month, UTC


@dataclass(frozen=True)
class StorageForecast:
    """USD of a future month, if nothing is added or deleted."""

    month: int  # from 1
    usd_with_policy: Decimal  # including transitions
    usd_left_alone: Decimal


@dataclass(frozen=True)
class StorageCosts:
    """Money in USD, all of it estimated.

    Args:
        usd_so_far: since each object was stored.
        usd_this_month: part of it since the first of the calendar month, UTC.
        usd_rest_of_month: from now to the month's end.
        usd_to_take_home: for downloading all results from AWS once.
    """

    lines: tuple[StoredLine, ...]
    usd_per_month: Decimal
    usd_so_far: Decimal
    usd_this_month: Decimal
    usd_rest_of_month: Decimal
    usd_to_take_home: Decimal
    ahead: tuple[StorageForecast, ...]
    quotes: tuple[Quote, ...]


def storage_costs(
    stored: Sequence[StoredDay], prices: StoragePrices, rules: LifecycleRules, now: float
) -> StorageCosts:
    """Calculate the costs of stored objects.

    Args:
        now: seconds since 1970 UTC.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    first = today.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    results = sum(day.bytes for day in stored if day.area == "results" and not day.old)
    return StorageCosts(
        lines=tuple(_lines(stored, prices, rules, today)),
        usd_per_month=sum((prices.usd_per_month(d, d.storage_class) for d in stored), ZERO_USD),
        usd_so_far=_past_usd(stored, prices, rules, date.min, today),
        usd_this_month=_past_usd(stored, prices, rules, first, today),
        usd_rest_of_month=_future_usd(stored, prices, rules, today, today, next_first),
        usd_to_take_home=prices.transfer_out_usd(results),
        ahead=tuple(_forecast(stored, prices, rules, today)),
        quotes=prices.quotes if stored else (),
    )


def _lines(
    stored: Iterable[StoredDay], prices: StoragePrices, rules: LifecycleRules, today: date
) -> Iterator[StoredLine]:
    groups: dict[tuple[str, str, bool], list[StoredDay]] = {}
    for day in stored:
        groups.setdefault((day.area, day.storage_class, day.old), []).append(day)
    for (area, storage_class, old), days in sorted(groups.items()):
        usd = sum((prices.usd_per_month(day, storage_class) for day in days), ZERO_USD)
        yield StoredLine(
            area=area,
            storage_class=storage_class,
            old=old,
            objects=sum(day.objects for day in days),
            bytes=sum(day.bytes for day in days),
            usd_per_month=usd if storage_class in prices.monthly else None,
            usd_this_month=_past_usd(days, prices, rules, today.replace(day=1), today),
        )


def _past_usd(
    stored: Iterable[StoredDay],
    prices: StoragePrices,
    rules: LifecycleRules,
    since: date,
    until: date,
) -> Decimal:
    """USD between two days, from the day on which each object was stored."""
    return sum(
        (
            _period_usd(prices, day, period, since, until)
            for day in stored
            for period in _past_periods(day, rules, until)
        ),
        ZERO_USD,
    )


def _future_usd(
    stored: Iterable[StoredDay],
    prices: StoragePrices,
    rules: LifecycleRules,
    today: date,
    since: date,
    until: date,
) -> Decimal:
    """USD between two days in the future under the policy, including transitions."""
    usd = ZERO_USD
    for day in stored:
        for period in _future_periods(day, rules, today):
            usd += _period_usd(prices, day, period, since, until)
            if period.storage_class != day.storage_class and since <= period.start < until:
                usd += prices.transition_usd(day, period.storage_class)
    return usd


def _period_usd(
    prices: StoragePrices, day: StoredDay, period: StoragePeriod, since: date, until: date
) -> Decimal:
    days = (min(period.end, until) - max(period.start, since)).days
    monthly = prices.usd_per_month(day, period.storage_class)
    return max(0, days) * MONTHS_PER_YEAR / DAYS_PER_YEAR * monthly


def _past_periods(day: StoredDay, rules: LifecycleRules, until: date) -> Iterator[StoragePeriod]:
    """The storage classes up to the current one."""
    if day.storage_class not in STORAGE_CLASS_RATES:
        yield StoragePeriod(day.storage_class, day.day, until)
        return
    starts = []
    for storage_class, start in rules.start_days(day).items():
        starts.append((storage_class, start))
        if storage_class == day.storage_class:
            break
    yield from _periods(starts, until)


def _future_periods(day: StoredDay, rules: LifecycleRules, today: date) -> Iterator[StoragePeriod]:
    """The current storage class and the next ones; an overdue transition happens today."""
    if day.old:
        # S3 does not report since when a version is noncurrent: half of its time on average.
        days = rules.lifecycle.delete_old_versions // 2
        yield StoragePeriod(day.storage_class, today, today + timedelta(days=days))
        return
    starts = rules.start_days(day) if day.storage_class in STORAGE_CLASS_RATES else {}
    later = list(starts)[list(starts).index(day.storage_class) + 1 :] if starts else []
    transitions = [(each, max(starts[each], today)) for each in later]
    yield from _periods([(day.storage_class, today), *transitions], date.max)


def _periods(starts: Sequence[tuple[str, date]], end: date) -> Iterator[StoragePeriod]:
    """The periods that begin at these days; empty periods are left out."""
    ends = [*(start for _, start in starts[1:]), end]
    for (storage_class, start), until in zip(starts, ends, strict=True):
        if start < until:
            yield StoragePeriod(storage_class, start, until)


def _forecast(
    stored: Sequence[StoredDay], prices: StoragePrices, rules: LifecycleRules, today: date
) -> Iterator[StorageForecast]:
    bounds = [
        today + timedelta(days=round(month * DAYS_PER_YEAR / MONTHS_PER_YEAR))
        for month in range(MONTHS_PER_YEAR + 1)
    ]
    unchanged = [(day, StoragePeriod(day.storage_class, today, date.max)) for day in stored]
    for month, (start, end) in enumerate(pairwise(bounds), start=1):
        usd = _future_usd(stored, prices, rules, today, start, end)
        alone = sum(
            (_period_usd(prices, day, period, start, end) for day, period in unchanged), ZERO_USD
        )
        yield StorageForecast(month, usd, alone)
