"""Read a date and a time from the texts that cameras and programs write.

Read are: the year first, with `:`, `-`, `/`, `.` or spaces between the numbers, or without any; the
English name of the month; seconds, fractions and am or pm, or none; an offset (`Z`, `UTC`,
`+02:00`, `+0200`, `+2`) at the end. Dates with the day first are not: 05/06/2021 is two dates.
"""

import re
from datetime import datetime, timedelta
from typing import NamedTuple

# No digital camera trap is older, but the epochs of unset clocks are: 1970 (Unix), 1904
# (QuickTime), 1980 (FAT).
FIRST_YEAR, LAST_YEAR = 1990, 2099
MAX_OFFSET_MINUTES = 14 * 60
# A longer text is no time; the patterns below are tried on this many characters.
_MAX_LENGTH = 64

_CLOCK = (
    r"(?P<hour>\d{1,2})\s*(?P<colon>[:.\s-])\s*(?P<minute>\d{1,2})"
    r"(?:\s*(?P=colon)\s*(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?:(?P<half>[AaPp])\.?[Mm]?\.?)?"
)
_OFFSET_TEXT = r"(?:Z|z|(?:UTC|GMT)?\s*[+-]\d{1,2}(?::?\d{2})?|UTC|GMT)"
_ZONE = rf"\s*(?P<offset>{_OFFSET_TEXT})?"
_MONTH = r"(?P<name>[A-Za-z]{3,9})\.?"
_WEEKDAY = r"(?:[A-Za-z]{3,9}[.,]?\s+)?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?P<year>\d{4})\s*[-:/.\s]\s*(?P<month>\d{1,2})\s*[-:/.\s]\s*(?P<day>\d{1,2})"
        rf"\s*[T\s/:_-]\s*{_CLOCK}{_ZONE}",
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)[T\s_-]?(?P<hour>\d\d)(?P<minute>\d\d)"
        rf"(?P<second>\d\d)(?:[.,](?P<fraction>\d{{1,9}}))?(?P<half>(?!.)x)?{_ZONE}",
        # AVI: Fri May 28 09:30:11 2021
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+{_CLOCK}{_ZONE}\s+(?P<year>\d{{4}})",
        # RFC 1123: Fri, 28 May 2021 09:30:11 GMT
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-]{_MONTH}[\s-](?P<year>\d{{4}})\s+{_CLOCK}{_ZONE}",
    )
)
_MONTH_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-])(\d{1,2})(?::?(\d{2}))?")
_UTC = frozenset({"Z", "UTC", "GMT"})


class TimeText(NamedTuple):
    """A time of a text, without a zone, or the reason why there is none.

    Attributes:
        at: to the millisecond; None if there is a problem.
        utc_offset_minutes: None if the text has no offset.
        problem: "blank or zeros", "not a time: …" or "not plausible: …"; None with a time.
    """

    at: datetime | None
    utc_offset_minutes: int | None = None
    problem: str | None = None


def clean_text(value: object) -> str:
    """Return the text of a tag up to its first NUL, without padding; empty if it is none."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.lstrip("\0").partition("\0")[0].strip() if isinstance(value, str) else ""


def parse_time_text(text: str) -> TimeText:
    """Read the time of a text."""
    text = text.lstrip("\0").partition("\0")[0].strip()
    shown = repr(text[:40])
    if set(text) <= set("0: -/.T"):
        return TimeText(None, problem="blank or zeros")
    match = _match(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        return TimeText(None, problem=f"not a time: {shown}")
    found = match.groupdict()
    month = found.get("month") or _MONTHS.get((found.get("name") or "")[:3].lower())
    if month is None:
        return TimeText(None, problem=f"not a time: {shown}")
    numbers = (found["year"], month, found["day"], _hour(found), found["minute"], found["second"])
    at = plausible_time([int(number or 0) for number in numbers])
    if at is None:
        return TimeText(None, problem=f"not plausible: {shown}")
    at += timedelta(milliseconds=int((found["fraction"] or "0")[:3].ljust(3, "0")))
    return TimeText(at, parse_offset(found["offset"] or ""))


def parse_offset(text: str) -> int | None:
    """Return the minutes of `+02:00`, `-0330`, `+2` or `Z`; None if it is not a valid offset."""
    text = text.strip()
    if text.upper() in _UTC:
        return 0
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if int(match[3] or 0) > 59 or minutes > MAX_OFFSET_MINUTES:
        return None
    return -minutes if match[1] == "-" else minutes


def hour_of_day(hour: int, half: str | None) -> int:
    """Return the hour from 0 of one with `a` or `p` (am, pm), or None.

    Some cameras add pm to 13:30 too.
    """
    if half is None or not 1 <= hour <= 12:
        return hour
    return hour % 12 + (12 if half.lower() == "p" else 0)


def plausible_time(numbers: list[int], first_year: int = FIRST_YEAR) -> datetime | None:
    """Return the time of year, month, day, hour, minute and second; None if it is invalid."""
    if not first_year <= numbers[0] <= LAST_YEAR:
        return None
    try:
        return datetime(*numbers)  # type: ignore[arg-type]
    except ValueError:
        return None


def _match(text: str) -> re.Match[str] | None:
    return next((match for form in _FORMS if (match := form.fullmatch(text))), None)


def _hour(found: dict[str, str | None]) -> int:
    return hour_of_day(int(found["hour"] or 0), found["half"])
