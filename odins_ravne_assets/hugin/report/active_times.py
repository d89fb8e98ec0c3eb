"""The times in which a camera was active: its deployments without its outages.

A missing start is the day of the first file of that time, a missing end the day of the last one.
Times are local; intervals end before their end.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from resources.settings.deployments import Deployment

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
LAST_SECOND = time(23, 59, 59)


class Interval(NamedTuple):
    """A time in which a camera was active; the end is exclusive."""

    start: datetime
    end: datetime


def whole_days(first: date, last: date) -> Interval:
    """Return the interval from one day to another, both included."""
    return Interval(datetime.combine(first, time()), datetime.combine(last, time()) + DAY)


def active_intervals(
    deployments: Iterable[Deployment],
    first: datetime | None,
    last: datetime | None,
    now: datetime,
) -> list[Interval]:
    """Return the times in which a camera was active, in order.

    Args:
        deployments: of one camera; they do not overlap.
        first, last: the times of its first and last file; None: none has a time.
        now: local time. A planned end after it, and after the last file, is not reached yet.
    """
    found: list[Interval] = []
    reached = max(now, last) if last else now
    for row in deployments:
        whole = _whole(row, first, last, reached)
        if whole:
            found += _without_outages(whole, row)
    return sorted(found)


def total_days(intervals: Iterable[Interval]) -> float:
    """Return the length of intervals in days."""
    return sum(((each.end - each.start) / DAY for each in intervals), 0.0)


def contains(intervals: Sequence[Interval], moment: datetime) -> bool:
    """Return True if one of the intervals contains a time."""
    return any(each.start <= moment < each.end for each in intervals)


def place_interval(row: Deployment) -> Interval:
    """Return the time in which a camera was at the place of a deployment; open ends are extreme."""
    return Interval(row.starts or datetime.min, _exclusive(row.ends) if row.ends else datetime.max)


def _whole(
    row: Deployment, first: datetime | None, last: datetime | None, reached: datetime
) -> Interval | None:
    """A deployment without regard to outages; None if it has no length."""
    start = row.starts or (first and datetime.combine(first, time()))
    if row.ends:
        end: datetime | None = min(_exclusive(row.ends), reached)
    else:
        end = datetime.combine(last, time()) + DAY if last else None
    return Interval(start, end) if start and end and start < end else None


def _exclusive(end: datetime) -> datetime:
    """The end of a day instead of its last second."""
    return end + SECOND if end.time() == LAST_SECOND else end


def _without_outages(whole: Interval, row: Deployment) -> Iterable[Interval]:
    start = whole.start
    for begins, ends in sorted(row.outage_times()):
        if start < min(begins, whole.end):
            yield Interval(start, min(begins, whole.end))
        start = max(start, datetime.max if ends == datetime.max else _exclusive(ends))
    if start < whole.end:
        yield Interval(start, whole.end)
