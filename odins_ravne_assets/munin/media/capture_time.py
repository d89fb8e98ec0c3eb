"""The capture time of a medium, from its metadata or its name.

Sources; the first one with a time wins:
1. `exif`: DateTimeOriginal, then DateTimeDigitized, then DateTime; then the camera's maker notes,
   then the time of its GPS, in UTC.
2. `xmp`: the capture dates of XMP; see tags/xmp.py.
3. `container`: the creation time of a video.
4. `filename`: a date and a time, to the minute at least, in the file's own name (never a
   folder's). See FILE_NAME_PATTERNS.
5. `file_date`: the file's date in UTC, only if the settings allow it; copying changes it.

Times stay as the camera's wall clock, and missing times stay missing.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from odins_ravne_assets.munin.media.tags import exif_block as exif
from odins_ravne_assets.munin.media.tags.time_text import (
    FIRST_YEAR,
    LAST_YEAR,
    clean_text,
    hour_of_day,
    parse_offset,
    parse_time_text,
    plausible_time,
)

CLOCK_UNSET = "clock looks unset"
# A recorded time cannot be later than the file's date; time zones may account for a day.
MAX_FUTURE = timedelta(days=2)
# Two times of a video that differ by more are not of one moment in one zone: clips last minutes,
# and zones differ by quarters of an hour, up to 26 hours.
MIN_DISAGREEMENT, MAX_ZONE_DIFFERENCE = timedelta(minutes=15), timedelta(hours=26)

# What to do where the time of a container is UTC, which a local one shows.
SET_UTC = "; if the container's is UTC, set pipeline.stage0.container_time: utc"

EPOCH = datetime(1970, 1, 1)

# Names of older files have no reliable times.
FIRST_YEAR_IN_NAMES = 2000

_YEAR = r"(?<!\d)(?P<year>\d{4})"
_DATE = r"(?P<month>\d\d)(?P<day>\d\d)"
_SEPARATOR = r"(?: at |[ _T.-]{1,2})"
_TIME = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
# am or pm, with a space or a sign before it or none; an offset, as in ISO 8601. A minus is a sign
# between numbers more often, and Z is written by cameras that know no zone.
_HALF = r"(?:[\s_-]?(?P<half>[AaPp])\.?[Mm](?![A-Za-z0-9]))?"
_END = rf"{_HALF}(?P<offset>\+\d\d[:_.-]?\d\d)?(?!\d)"
# Dates with the day first are left out because day and month are ambiguous, and four digits after
# a date because they are a counter more often than a time.
FILE_NAME_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "20210528093011 (Reolink, Hikvision, renamed Reconyx), with milliseconds or without",
        re.compile(rf"{_YEAR}{_DATE}{_TIME}(?:\d{{3}})?{_END}"),
    ),
    (
        "20210528_093011, 20210528-093011, 20210528T093011, 20210528_093011_PM (phones, Reolink)",
        re.compile(rf"{_YEAR}{_DATE}{_SEPARATOR}{_TIME}(?:\d{{3}})?{_END}"),
    ),
    (
        "2021-05-28 09-30-11, 2021_05_28_09_30_11, 2021-05-28__09.30.11, 2021-05-28 at 9.30.11 PM "
        "(camtrapR, MapView, WhatsApp, macOS), with seconds or without",
        re.compile(
            rf"{_YEAR}(?P<dash>[-_.])(?P<month>\d\d)(?P=dash)(?P<day>\d\d){_SEPARATOR}"
            rf"(?P<hour>\d\d|\d(?=\D))(?P<colon>[-_.:h])(?P<minute>\d\d)"
            rf"(?:(?:(?P=colon)|m)(?P<second>\d\d)s?)?{_END}"
        ),
    ),
    (
        "2021-05-28_093011, 2021_0528_093011_003 (dashcams)",
        re.compile(
            rf"{_YEAR}(?P<dash>[-_.])(?P<month>\d\d)(?P=dash)?(?P<day>\d\d){_SEPARATOR}{_TIME}{_END}"
        ),
    ),
)

# Time, sub-second and offset tag of EXIF 2.32, in order of preference, and the place of the offset
# in TimeZoneOffset (TIFF/EP).
_EXIF_TIMES = (
    (exif.ORIGINAL, exif.SUBSECOND_ORIGINAL, exif.OFFSET_ORIGINAL, 0),
    (exif.DIGITIZED, exif.SUBSECOND_DIGITIZED, exif.OFFSET_DIGITIZED, None),
    (exif.CHANGED, exif.SUBSECOND, exif.OFFSET, 1),
)
_GPS_TIME, _GPS_DATE = 7, 0x1D


class RecordedTime(NamedTuple):
    """A recorded time without a zone (`at`), or none, with remarks on implausible values."""

    at: datetime | None
    utc_offset_minutes: int | None = None
    remarks: tuple[str, ...] = ()


NO_TIME = RecordedTime(None)


def time_from_exif(tags: Mapping[int, object]) -> RecordedTime:
    """Return the first usable time of EXIF tags (of IFD0 and of the Exif IFD together)."""
    remarks: tuple[str, ...] = ()
    for time_tag, subsecond_tag, offset_tag, place in _EXIF_TIMES:
        text = clean_text(tags.get(time_tag))
        if not text:
            continue
        found = _parse_time(text, "EXIF")
        remarks += found.remarks
        if found.at:
            at = found.at + timedelta(milliseconds=_milliseconds(tags.get(subsecond_tag)))
            offset = found.utc_offset_minutes
            if offset is None:
                offset = parse_offset(clean_text(tags.get(offset_tag)))
            if offset is None and text == clean_text(tags.get(exif.CHANGED)):
                offset = parse_offset(clean_text(tags.get(exif.OFFSET)))
            if offset is None and place is not None:
                offset = _zone_hours(tags.get(exif.TIME_ZONE_HOURS), place)
            return RecordedTime(at, offset, remarks)
    return RecordedTime(None, None, remarks)


def time_from_gps(gps: Mapping[int, object]) -> RecordedTime:
    """Return the time of an EXIF GPS IFD, which is in UTC."""
    clock, date = gps.get(_GPS_TIME), clean_text(gps.get(_GPS_DATE))
    if not isinstance(clock, tuple) or len(clock) != 3:
        return NO_TIME
    if not all(isinstance(part, (int, float)) and 0 <= part < 60 for part in clock):
        return NO_TIME
    at = parse_time_text(f"{date} {clock[0]:02.0f}:{clock[1]:02.0f}:{int(clock[2]):02}").at
    return RecordedTime(at, 0, ("the time is that of the GPS, in UTC",)) if at else NO_TIME


def time_from_xmp(texts: Iterable[str]) -> RecordedTime:
    """Return the first usable time of XMP."""
    return first_time(_parse_time(text, "XMP") for text in texts)


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
            found = match.groupdict()
            hour = hour_of_day(int(found["hour"]), found["half"])
            numbers = [int(found[name]) for name in ("year", "month", "day")]
            numbers += [hour, int(found["minute"]), int(found["second"] or 0)]
            if (at := plausible_time(numbers, FIRST_YEAR_IN_NAMES)) is not None:
                offset = re.sub(r"[_.-]", "", found["offset"] or "")
                return RecordedTime(at, parse_offset(offset))
    return NO_TIME


def time_from_file_date(modified_ns: int) -> RecordedTime:
    """Return the file's date in UTC, to the millisecond."""
    at = EPOCH + timedelta(milliseconds=modified_ns // 1_000_000)
    return RecordedTime(at, 0) if FIRST_YEAR <= at.year <= LAST_YEAR else NO_TIME


def first_time(candidates: Iterable[RecordedTime]) -> RecordedTime:
    """Return the first usable time, with the remarks on those before it."""
    remarks: dict[str, None] = {}
    for found in candidates:
        remarks.update(dict.fromkeys(found.remarks))
        if found.at:
            return found._replace(remarks=tuple(remarks))
    return RecordedTime(None, None, tuple(remarks))


def future_time_remark(recorded_at: datetime, modified_ns: int) -> str | None:
    """Return a remark if the recorded time is later than the file's date."""
    modified = EPOCH + timedelta(milliseconds=modified_ns // 1_000_000)
    if recorded_at <= modified + MAX_FUTURE:
        return None
    return f"recorded after the file's own date, {modified:%Y-%m-%d}: the clock looks wrong"


def remarks_on_time(
    recorded: RecordedTime, key: str, modified_ns: int, zone: Literal["camera", "utc"] | None
) -> list[str]:
    """Return remarks on a recorded time that the file's date or name contradicts.

    Args:
        key, modified_ns: of the file.
        zone: the meaning of a container's time that may be UTC; None: it is another time.
    """
    if recorded.at is None:
        return []
    remarks = [future_time_remark(recorded.at, modified_ns)]
    if zone:
        advice = SET_UTC if zone == "camera" else ""
        remarks.append(local_time_remark(recorded, time_from_file_name(key), "name", advice))
    return [remark for remark in remarks if remark]


def local_time_remark(
    used: RecordedTime, local: RecordedTime, source: str, advice: str
) -> str | None:
    """Return a remark if two times of one video are some hours apart.

    Args:
        used: the time that is used.
        local: a local time of the same video.
        source: of `local`, for the message: "XMP".
        advice: what to do.
    """
    if used.at is None or local.at is None:
        return None
    apart = local.at - used.at
    if used.utc_offset_minutes is not None and local.utc_offset_minutes is not None:
        apart -= timedelta(minutes=local.utc_offset_minutes - used.utc_offset_minutes)
    elif used.utc_offset_minutes is not None and abs(apart) <= MAX_ZONE_DIFFERENCE:
        return None  # the offset of the local time is not known
    if not MIN_DISAGREEMENT <= abs(apart) <= MAX_ZONE_DIFFERENCE:
        return None
    hours = f"{abs(apart) / timedelta(hours=1):.2f}".rstrip("0").rstrip(".")
    return (
        f"container time {used.at:%H:%M:%S} is {hours} h from the local time of its {source}, "
        f"{local.at:%H:%M:%S}{advice}"
    )


def _parse_time(text: str, source: str) -> RecordedTime:
    """Parse a time; an invalid one becomes a remark."""
    found = parse_time_text(text)
    if found.at is None:
        return RecordedTime(None, None, (f"{source} time is {found.problem}",))
    remarks = (CLOCK_UNSET,) if _is_factory_time(found.at) else ()
    return RecordedTime(found.at, found.utc_offset_minutes, remarks)


def _milliseconds(subseconds: object) -> int:
    """Return the milliseconds of the digits after a decimal point, "25" or "250000"."""
    digits = clean_text(subseconds)
    return int(digits[:3].ljust(3, "0")) if digits.isascii() and digits.isdigit() else 0


def _zone_hours(value: object, place: int) -> int | None:
    """Return the offset of TimeZoneOffset in minutes, if it has a plausible one at a place.

    Zero counts as none: Reconyx HyperFire 2 writes it whatever its zone is.
    """
    hours = value if isinstance(value, tuple) else (value,)
    if place >= len(hours) or not isinstance(hours[place], int):
        return None
    signed = hours[place] - 2**16 if hours[place] >= 2**15 else hours[place]
    return 60 * signed if signed and -12 <= signed <= 14 else None


def _is_factory_time(at: datetime) -> bool:
    """Return True for the start of reset clocks: 1 January, at midnight or in 2000."""
    midnight = (at.hour, at.minute, at.second) == (0, 0, 0)
    return (at.month, at.day) == (1, 1) and (midnight or at.year == 2000)
