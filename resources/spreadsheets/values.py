"""Values of cells: counts, numbers, days and times as people and spreadsheets write them.

Each function takes the text of a cell and raises ValueError with what is allowed; the caller names
the file, line and column.
"""

import re
from datetime import date, datetime, time

MAX_DIGITS = 15  # a spreadsheet stores no more digits of a number

# Booleans as spreadsheets save them, in English, Swedish, Norwegian, Danish, German,
# Dutch, French, Spanish, Portuguese, Italian, Finnish, Polish.
TRUE_WORDS = frozenset(
    {"true", "1", "yes", "sant", "sann", "sand", "wahr", "waar", "vrai", "verdadero", "verdadeiro"}
    | {"vero", "tosi", "prawda"}
)
FALSE_WORDS = frozenset(
    {"false", "0", "no", "falskt", "usann", "falsk", "falsch", "onwaar", "faux", "falso"}
    | {"epätosi", "fałsz"}
)

_COUNT = re.compile(rf"(\d{{1,{MAX_DIGITS}}})(?:[.,]0{{1,{MAX_DIGITS}}})?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_DAY = r"(?P<day>(?P<a>\d{1,4})(?P<separator>[-/.])(?P<b>\d{1,2})(?P=separator)(?P<c>\d{1,4})\.?)"
_CLOCK = (
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<fraction>\d{1,6}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?\s*(?P<offset>Z|z|[+-]\d{2}:?\d{2})?"
)
_LOCAL = re.compile(rf"{_DAY}(?:[T\s,]\s*{_CLOCK})?")
_BASIC_DAY = re.compile(r"\d{8}")
_ALLOWED = "allowed is a day or a time, as 2026-05-28 or 2026-05-28T09:30:00+02:00"


def parse_count(text: str) -> int:
    """Return a whole number that is not negative: `2`, and `2.0` or `2,0` of a spreadsheet.

    Raises:
        ValueError: the text is something else.
    """
    match = _COUNT.fullmatch(text) if text.isascii() else None
    if match is None:
        raise ValueError("allowed is a whole number in digits, as 2")
    return int(match[1])


def parse_number(text: str, *, decimal_comma: bool) -> float:
    """Return a number.

    Args:
        decimal_comma: `59,32` is a number (`Table.decimal_comma`); `59.32` always is.

    Raises:
        ValueError: the text is something else, or has separators of thousands.
    """
    plain = text.replace("−", "-")
    if decimal_comma and plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    if not _NUMBER.fullmatch(plain):
        hint = "" if decimal_comma or "," not in text else "; this table has no decimal commas"
        raise ValueError(f"allowed is a number, as 59.32, without separators of thousands{hint}")
    return float(plain)


def parse_boolean(text: str) -> bool:
    """Return True or False: `true`, and the words of a spreadsheet in its language.

    Raises:
        ValueError: the text is something else.
    """
    word = text.casefold()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError("allowed are true and false")
    return word in TRUE_WORDS


def parse_time(text: str) -> datetime:
    """Return a day (its beginning) or a time; without an offset if the text has none.

    Read are ISO 8601 (`2026-05-28`, `20260528`, `2026-05-28T09:30:00+02:00`) and a local form that
    has one meaning only: year first, or a day above 12 (`28/05/2026 09:30`, `5/28/2026 9:30 AM`).

    Raises:
        ValueError: the text is something else, or could be two days.
    """
    return _day_and_time(text)[0]


def parse_date_end(text: str) -> datetime:
    """Return a time as `parse_time` does; of a day alone its last second.

    Raises: see `parse_time`.
    """
    moment, is_day = _day_and_time(text)
    return datetime.combine(moment, time(23, 59, 59)) if is_day else moment


def is_day_alone(text: str) -> bool:
    """Return True if a text that `parse_time` reads is a day without a time."""
    return _day_and_time(text)[1]


def _day_and_time(text: str) -> tuple[datetime, bool]:
    """The time, and whether it is a day alone."""
    if _BASIC_DAY.fullmatch(text):
        return _iso(text), True
    match = _LOCAL.fullmatch(text)
    if match is None:
        if text.isdecimal():
            raise ValueError(
                f"it is a plain number; format the cell as a date, or write the date: {_ALLOWED}"
            )
        return _iso(text), _is_iso_day(text)
    day = _day(match)
    if match["hour"] is None:
        return datetime.combine(day, time()), True
    return _at_clock(day, match), False


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_ALLOWED) from None


def _is_iso_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _day(match: re.Match[str]) -> date:
    first, second, third = match["a"], match["b"], match["c"]
    if len(first) == 4:
        year, month, day = int(first), int(second), int(third)
    elif len(third) == 4:
        year, month, day = int(third), *_month_and_day(int(first), int(second))
    else:
        raise ValueError(f"the year must have four digits: {_ALLOWED}")
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"there is no such day; {_ALLOWED}") from None


def _month_and_day(first: int, second: int) -> tuple[int, int]:
    if first <= 12 and second <= 12 and first != second:
        raise ValueError(
            f"day and month could be read either way; write the year first: {_ALLOWED}"
        )
    return (second, first) if first > 12 else (first, second)


def _at_clock(day: date, match: re.Match[str]) -> datetime:
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"there is no such time; {_ALLOWED}")
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    fraction = f".{match['fraction']:0<6}" if match["fraction"] else ""
    clock = f"{hour:02d}:{match['minute']}:{match['second'] or '00'}{fraction}"
    offset = (match["offset"] or "").upper()
    try:
        return datetime.fromisoformat(f"{day.isoformat()}T{clock}{offset}")
    except ValueError:
        raise ValueError(f"there is no such time; {_ALLOWED}") from None
