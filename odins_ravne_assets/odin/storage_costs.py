"""What stored footage and results cost: a month of it, until now, and in the months to come.

S3 charges GB-months. When an object changed its class is not told: it is taken to have been on the
day that the lifecycle policy says.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from odins_ravne_assets.odin.storage_prices import STORAGE_CLASS_RATES, StoragePrices
from resources.pricing.prices import Quote
from resources.retention.inventory import StoredDay
from resources.retention.rules import MinimumSizes
from resources.settings.profile import Lifecycle

DAYS_OF_YEAR, MONTHS = Decimal("365.25"), 12
ZERO_USD = Decimal(0)

# A storage class, and the first day and the day after the last that objects are in it.
StoragePeriod = tuple[str, date, date]


@dataclass(frozen=True)
class LifecycleRules:
    """How footage ages: what the profile wants, and from how many bytes on each move pays."""

    lifecycle: Lifecycle
    least: MinimumSizes

    def days(self, day: StoredDay) -> dict[str, date]:
        """When some objects come into each class that they have been in, or will be.

        Objects too small to gain by a move stay where they are, and so do results.
        """
        ages = {
            "STANDARD": (0, 0),
            "STANDARD_IA": (self.lifecycle.transition_to_ia, self.least.to_ia),
            "GLACIER": (self.lifecycle.transition_to_glacier, self.least.to_glacier),
        }
        here = list(STORAGE_CLASS_RATES).index(day.storage_class)
        return {
            storage_class: day.day + timedelta(days=age)
            for place, (storage_class, (age, least)) in enumerate(ages.items())
            if place <= here or (day.area == "footage" and day.at_least >= least)
        }


@dataclass(frozen=True)
class StoredLine:
    """What lies in one class."""

    area: str  # an Area
    storage_class: str
    old: bool  # versions that were overwritten or deleted
    objects: int
    bytes: int
    usd_per_month: Decimal | None  # None: no price of this class is known
    usd_this_month: Decimal  # since the first of the calendar month, UTC


@dataclass(frozen=True)
class StorageForecast:
    """USD of a month from now, if nothing is added or taken away."""

    month: int  # from 1
    usd_with_policy: Decimal  # what moving costs included
    usd_left_alone: Decimal


@dataclass(frozen=True)
class StorageCosts:
    """Money in USD, all of it estimated.

    Args:
        usd_so_far: since each object was put there.
        usd_this_month: of that, since the first of the calendar month, UTC.
        usd_rest_of_month: from now to the month's end.
        usd_to_take_home: for copying all results out of AWS once.
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
    stored: Sequence[StoredDay], prices: StoragePrices, ageing: LifecycleRules, now: float
) -> StorageCosts:
    """The costs of what is stored.

    Args:
        now: seconds since 1970 UTC.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    first = today.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    results = sum(day.bytes for day in stored if day.area == "results" and not day.old)
    return StorageCosts(
        lines=tuple(_lines(stored, prices, ageing, today)),
        usd_per_month=sum((prices.usd_per_month(d, d.storage_class) for d in stored), ZERO_USD),
        usd_so_far=_spent(stored, prices, ageing, date.min, today),
        usd_this_month=_spent(stored, prices, ageing, first, today),
        usd_rest_of_month=_coming(stored, prices, ageing, today, today, next_first),
        usd_to_take_home=prices.usd_to_take_out(results),
        ahead=tuple(_ahead(stored, prices, ageing, today)),
        quotes=prices.quotes if stored else (),
    )


def _lines(
    stored: Iterable[StoredDay], prices: StoragePrices, ageing: LifecycleRules, today: date
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
            usd_per_month=usd if storage_class in prices.month else None,
            usd_this_month=_spent(days, prices, ageing, today.replace(day=1), today),
        )


def _spent(
    stored: Iterable[StoredDay],
    prices: StoragePrices,
    ageing: LifecycleRules,
    since: date,
    until: date,
) -> Decimal:
    """USD from one day to another, but for the days before an object was there."""
    return sum(
        (
            _for_days(prices, day, stay, since, until)
            for day in stored
            for stay in _stays_until(day, ageing, until)
        ),
        ZERO_USD,
    )


def _coming(
    stored: Iterable[StoredDay],
    prices: StoragePrices,
    ageing: LifecycleRules,
    today: date,
    since: date,
    until: date,
) -> Decimal:
    """USD from one day to another in the future, under the policy, with what moving costs."""
    usd = ZERO_USD
    for day in stored:
        for stay in _stays_from(day, ageing, today):
            usd += _for_days(prices, day, stay, since, until)
            if stay[0] != day.storage_class and since <= stay[1] < until:
                usd += prices.usd_to_move(day, stay[0])
    return usd


def _for_days(
    prices: StoragePrices, day: StoredDay, stay: StoragePeriod, since: date, until: date
) -> Decimal:
    storage_class, begin, end = stay
    days = (min(end, until) - max(begin, since)).days
    return max(0, days) * MONTHS / DAYS_OF_YEAR * prices.usd_per_month(day, storage_class)


def _stays_until(day: StoredDay, ageing: LifecycleRules, until: date) -> Iterator[StoragePeriod]:
    """The classes that led to the class of today."""
    if day.storage_class not in STORAGE_CLASS_RATES:
        yield day.storage_class, day.day, until
        return
    passed = []
    for storage_class, begin in ageing.days(day).items():
        passed.append((storage_class, begin))
        if storage_class == day.storage_class:
            break
    yield from _stays(passed, until)


def _stays_from(day: StoredDay, ageing: LifecycleRules, today: date) -> Iterator[StoragePeriod]:
    """The classes of today and of the future; what is overdue moves today."""
    if day.old:
        # Since when they are old is not told: on average, half of their time is over.
        days = ageing.lifecycle.delete_old_versions // 2
        yield day.storage_class, today, today + timedelta(days=days)
        return
    begins = ageing.days(day) if day.storage_class in STORAGE_CLASS_RATES else {}
    later = list(begins)[list(begins).index(day.storage_class) + 1 :] if begins else []
    moves = [(day.storage_class, today), *((each, max(begins[each], today)) for each in later)]
    yield from _stays(moves, date.max)


def _stays(moves: Sequence[tuple[str, date]], end: date) -> Iterator[StoragePeriod]:
    """From when each class begins, to stays; those of no day are left out."""
    ends = [*(begin for _, begin in moves[1:]), end]
    for (storage_class, begin), until in zip(moves, ends, strict=True):
        if begin < until:
            yield storage_class, begin, until


def _ahead(
    stored: Sequence[StoredDay], prices: StoragePrices, ageing: LifecycleRules, today: date
) -> Iterator[StorageForecast]:
    days = [today + timedelta(days=round(n * DAYS_OF_YEAR / MONTHS)) for n in range(MONTHS + 1)]
    stays = [(day, (day.storage_class, today, date.max)) for day in stored]
    for month, (begin, end) in enumerate(pairwise(days), start=1):
        usd = _coming(stored, prices, ageing, today, begin, end)
        alone = sum((_for_days(prices, day, stay, begin, end) for day, stay in stays), ZERO_USD)
        yield StorageForecast(month, usd, alone)
