"""The capture time of a medium, from its metadata or its name.

Sources; the first one with a time wins:
1. `exif`: DateTimeOriginal, then DateTimeDigitized, then DateTime.
2. `container`: the creation time of a video.
3. `filename`: a date and a time, to the minute at least, in the file's own name (never a
   folder's). See FILE_NAME_PATTERNS.
4. `file_date`: the file's date in UTC, only if the settings allow it; copying changes it.

Times stay as the camera's wall clock, and missing times stay missing.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

# No digital camera trap is older, but the epochs of unset clocks are: 1970 (Unix), 1904
# (QuickTime), 1980 (FAT).
FIRST_YEAR, LAST_YEAR = 1990, 2099
# Names of older files have no reliable times.
FIRST_YEAR_IN_NAMES = 2000
CLOCK_UNSET = "clock looks unset"
# A recorded time cannot be later than the file's date; time zones may account for a day.
MAX_FUTURE = timedelta(days=2)

EPOCH = datetime(1970, 1, 1)

_TIME = re.compile(
    r"(\d{4})\s*[-:/.]\s*(\d{1,2})\s*[-:/.]\s*(\d{1,2})[T\s]+(\d{1,2}):(\d{2}):(\d{2})"
    r"(?:[.,](\d+))?\s*(?P<offset>Z|UTC|[+-]\d{2}:?\d{2})?"
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
MAX_OFFSET_MINUTES = 14 * 60

# Time, sub-second and offset tag of EXIF 2.32, in order of preference.
_EXIF_TIMES = (
    (0x9003, 0x9291, 0x9011),  # DateTimeOriginal
    (0x9004, 0x9292, 0x9012),  # DateTimeDigitized
    (0x0132, 0x9290, 0x9010),  # DateTime
)

_YEAR_FIRST = r"(?<!\d)(\d{4})"
_SEPARATOR = r"[ _T.-]{1,2}"
# Dates with the day first are left out because day and month are ambiguous, and four digits after
# a date because they are a counter more often than a time.
FILE_NAME_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "20210528093011 (Reolink, Hikvision, renamed Reconyx), with milliseconds or without",
        re.compile(_YEAR_FIRST + r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\d{3})?(?!\d)"),
    ),
    (
        "20210528_093011, 20210528-093011, 20210528T093011 (phones, Reolink)",
        re.compile(
            _YEAR_FIRST + r"(\d\d)(\d\d)" + _SEPARATOR + r"(\d\d)(\d\d)(\d\d)(?:\d{3})?(?!\d)"
        ),
    ),
    (
        "2021-05-28 09-30-11, 2021_05_28_09_30_11, 2021-05-28__09.30.11 (camtrapR, MapView), "
        "with seconds or without",
        re.compile(
            _YEAR_FIRST
            + r"([-_.])(\d\d)\2(\d\d)"
            + _SEPARATOR
            + r"(\d\d)([-_.:h])(\d\d)(?:\6(\d\d))?(?!\d)"
        ),
    ),
    (
        "2021-05-28_093011",
        re.compile(
            _YEAR_FIRST + r"([-_.])(\d\d)\2(\d\d)" + _SEPARATOR + r"(\d\d)(\d\d)(\d\d)(?!\d)"
        ),
    ),
)


class RecordedTime(NamedTuple):
    """A recorded time without a zone (`at`), or none, with remarks on implausible values."""

    at: datetime | None
    utc_offset_minutes: int | None = None
    remarks: tuple[str, ...] = ()


NO_TIME = RecordedTime(None)


def time_from_exif(tags: Mapping[int, object]) -> RecordedTime:
    """Return the first usable time of EXIF tags (of IFD0 and of the Exif IFD together)."""
    remarks: tuple[str, ...] = ()
    for time_tag, subsecond_tag, offset_tag in _EXIF_TIMES:
        text = _text(tags.get(time_tag))
        if not text:
            continue
        digits = _text(tags.get(subsecond_tag))
        found = _parse_time(f"{text}.{digits}" if digits.isdigit() else text, "EXIF")
        remarks += found.remarks
        if found.at:
            return RecordedTime(found.at, parse_offset(_text(tags.get(offset_tag))), remarks)
    return RecordedTime(None, None, remarks)


def time_from_container(text: str, zone: Literal["stated", "camera", "utc"]) -> RecordedTime:
    """Return the time of a video's metadata.

    Args:
        zone: the meaning of a time without a zone, or marked as UTC. `stated`: as marked;
            `camera`: the camera's wall clock, because the format always marks UTC; `utc`: UTC.
    """
    found = _parse_time(text, "container")
    if found.at is None or zone == "stated":
        return found
    return found._replace(utc_offset_minutes=0 if zone == "utc" else None)


def time_from_file_name(key: str) -> RecordedTime:
    """Return the first date and time in a file's name."""
    stem = PurePosixPath(key).stem
    for _, pattern in FILE_NAME_PATTERNS:
        for match in pattern.finditer(stem):
            numbers = [int(group) for group in match.groups() if group and group.isdigit()]
            if (at := _plausible(numbers, FIRST_YEAR_IN_NAMES)) is not None:
                return RecordedTime(at)
    return NO_TIME


def time_from_file_date(modified_ns: int) -> RecordedTime:
    """Return the file's date in UTC, to the millisecond."""
    at = EPOCH + timedelta(milliseconds=modified_ns // 1_000_000)
    return RecordedTime(at, 0) if FIRST_YEAR <= at.year <= LAST_YEAR else NO_TIME


def future_time_remark(recorded_at: datetime, modified_ns: int) -> str | None:
    """Return a remark if the recorded time is later than the file's date."""
    modified = EPOCH + timedelta(milliseconds=modified_ns // 1_000_000)
    if recorded_at <= modified + MAX_FUTURE:
        return None
    return f"recorded after the file's own date, {modified:%Y-%m-%d}: the clock looks wrong"


def parse_offset(text: str) -> int | None:
    """Return the minutes of `+02:00`, `-0330` or `Z`; None if it is not a valid offset."""
    if text in {"Z", "UTC"}:
        return 0
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if int(match[3]) > 59 or minutes > MAX_OFFSET_MINUTES:
        return None
    return -minutes if match[1] == "-" else minutes


def _parse_time(text: str, source: str) -> RecordedTime:
    """Parse a time; an invalid one becomes a remark."""
    text = text.strip("\0 \t\r\n")
    match = _TIME.fullmatch(text)
    if not match:
        problem = "blank or zeros" if set(text) <= set("0: -/.T") else f"not a time: {text[:40]!r}"
        return RecordedTime(None, None, (f"{source} time is {problem}",))
    numbers = [int(group) for group in match.groups()[:6]]
    at = _plausible(numbers, FIRST_YEAR)
    if at is None:
        problem = "blank or zeros" if not any(numbers) else f"not plausible: {text[:40]!r}"
        return RecordedTime(None, None, (f"{source} time is {problem}",))
    at += timedelta(milliseconds=int((match[7] or "0")[:3].ljust(3, "0")))
    remarks = (CLOCK_UNSET,) if _is_factory_time(at) else ()
    return RecordedTime(at, parse_offset(match["offset"] or ""), remarks)


def _is_factory_time(at: datetime) -> bool:
    """Return True for the start of reset clocks: 1 January, at midnight or in 2000."""
    midnight = (at.hour, at.minute, at.second) == (0, 0, 0)
    return (at.month, at.day) == (1, 1) and (midnight or at.year == 2000)


def _plausible(numbers: Sequence[int], first_year: int) -> datetime | None:
    """Return the time of five or six numbers, year first; None if it is invalid."""
    if not first_year <= numbers[0] <= LAST_YEAR:
        return None
    year, month, day, hour, minute, second = [*numbers, 0][:6]
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""
