"""Named time zones, as Europe/Stockholm, and the local times that they repeat or skip.

The rules are those of the IANA time zone database: of the operating system, or of the package
`tzdata` where the system has none.
"""

import difflib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

MINUTE = timedelta(minutes=1)


def parse_time_zone(name: str) -> ZoneInfo:
    """Return the zone of a name.

    Raises:
        ValueError: there is no such zone; the message says what is allowed.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        known = {each.casefold(): each for each in available_timezones()}
        close = difflib.get_close_matches(name.casefold(), known, n=1)
        hint = f"; did you mean {known[close[0]]}?" if close else ""
        raise ValueError(
            f"allowed is a name of the IANA time zone database, as Europe/Stockholm{hint}"
        ) from None


def zone_offset(zone: ZoneInfo, local: datetime) -> int:
    """Return the UTC offset in minutes at a local time.

    Of a time that occurs twice it is the first one's, in summer time; of one that is skipped, the
    offset before the change.
    """
    offset = local.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    return round(offset / MINUTE)


def zone_remark(zone: ZoneInfo, local: datetime) -> str | None:
    """Return one line about a local time that a zone repeats or skips; None for all others."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is None or second is None or first == second:
        return None
    what = "occurs twice" if first > second else "does not exist"
    hours, minutes = divmod(abs(zone_offset(zone, local)), 60)
    sign = "-" if first < timedelta() else "+"
    return (
        f"{local:%Y-%m-%d %H:%M} {what} in {zone.key}, where the clocks change: "
        f"{sign}{hours:02d}:{minutes:02d} is assumed"
    )
