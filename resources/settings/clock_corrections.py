"""Corrections of camera clocks, read from a table: CSV or XLSX.

    camera_id,from,until,shift,utc_offset
    ridge-7,,2021-03-28T02:00,-00:04:30,+01:00
    ridge-7,2021-03-28T02:00,,+00:55:30,+02:00

`from` (inclusive) and `until` (exclusive) are times as the camera wrote them; an empty one is
open. `shift` is added to the camera's time: ±seconds, or ±[D.]HH:MM[:SS]. `utc_offset` (±HH:MM) is
the time zone of the corrected time, and overrides the camera's. Either may be empty, not both.
Both are read without the plus, which spreadsheets remove.

The table is read with the profile, so that jobs on AWS have its content.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id
from resources.spreadsheets.ignored_columns import warn_of_ignored_columns
from resources.spreadsheets.tables import Row, read_table
from resources.spreadsheets.values import parse_time
from resources.user_path import user_path

Parsed = TypeVar("Parsed")

CLOCK_CORRECTION_COLUMNS = ("camera_id", "from", "until", "shift", "utc_offset")
# A clock that was reset to its factory year is wrong by decades; more is a typo.
MAX_SHIFT = timedelta(days=36_525)
MAX_UTC_OFFSET_MINUTES = 14 * 60

_SECONDS = re.compile(r"([+-]?)(\d{1,10})")
_CLOCK = re.compile(r"([+-]?)(?:(\d{1,5})\.)?([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
# Of a spreadsheet, +02:00 may come back as 2:00 or 02:00:00.
_UTC_OFFSET = re.compile(r"([+-]?)(0?\d|1[0-4]):([0-5]\d)(?::00)?")


class ClockCorrection(BaseModel):
    """The correction of a camera's clock during a period.

    Attributes:
        start: as the camera wrote it; datetime.min if open.
        until: exclusive; datetime.max if open.
        time_zone: the name of the zone of corrected times that have no UTC offset.
        line: of the table; 0: of none.
    """

    camera_id: str
    start: datetime = datetime.min
    until: datetime = datetime.max
    shift: timedelta = timedelta()
    utc_offset_minutes: int | None = None
    time_zone: str | None = None
    line: int = 0

    model_config = ConfigDict(extra="forbid", frozen=True)

    def applies_at(self, recorded_at: datetime) -> bool:
        """Return True if the camera wrote this time during the period."""
        return self.start <= recorded_at < self.until


def read_clock_corrections(path: str | Path) -> tuple[ClockCorrection, ...]:
    """Read the table of clock corrections; those of a camera in order of time.

    Raises:
        UsageError: it cannot be read, or a value is invalid; names the line, the value and what
            is allowed.
    """
    found = sorted(_read(Path(path)), key=lambda one: (one.camera_id, one.start, one.line))
    for identifier, corrections in groupby(found, key=lambda one: one.camera_id):
        for before, after in pairwise(corrections):
            if after.start < before.until:
                first, second = sorted((before.line, after.line))
                raise UsageError(
                    f"{path}, lines {first} and {second}: two corrections of camera {identifier} "
                    "apply at the same time; end one where the other begins"
                )
    return tuple(found)


def _rows(value: Any) -> Any:
    """Read the table of a setting; parsed rows pass through."""
    if not isinstance(value, str):
        return value
    try:
        return read_clock_corrections(user_path(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


ClockCorrections = Annotated[tuple[ClockCorrection, ...], BeforeValidator(_rows)]


def _read(path: Path) -> Iterator[ClockCorrection]:
    table = read_table(path, required=CLOCK_CORRECTION_COLUMNS)
    warn_of_ignored_columns(table, CLOCK_CORRECTION_COLUMNS)
    for row in table.rows:
        yield _Line(path, row).read()


class _Line:
    """One line of the table, with error messages that name it."""

    def __init__(self, path: Path, row: Row) -> None:
        self._where = f"{path}, line {row.line}"
        self._number = row.line
        self._cells = row.cells

    def read(self) -> ClockCorrection:
        """Parse the correction."""
        try:
            identifier = parse_camera_id(self._cells["camera_id"])
        except UsageError as error:
            raise UsageError(f"{self._where}: {error}") from None
        start, until = self._time("from", datetime.min), self._time("until", datetime.max)
        if start >= until:
            self._refuse("until", "it must be later than from")
        if not self._cells["shift"] and not self._cells["utc_offset"]:
            self._refuse("shift", "shift and utc_offset cannot both be empty")
        return ClockCorrection(
            camera_id=identifier,
            start=start,
            until=until,
            shift=self._optional("shift", parse_shift) or timedelta(),
            utc_offset_minutes=self._optional("utc_offset", parse_utc_offset),
            line=self._number,
        )

    def _time(self, column: str, when_empty: datetime) -> datetime:
        text = self._cells[column]
        if not text:
            return when_empty
        try:
            time = parse_time(text)
        except ValueError as error:
            self._refuse(column, str(error))
        if time.tzinfo is not None:
            self._refuse(column, "it must be a time as the camera wrote it, without an offset")
        return time

    def _optional(self, column: str, parse: Callable[[str], Parsed]) -> Parsed | None:
        text = self._cells[column]
        try:
            return parse(text) if text else None
        except ValueError as error:
            self._refuse(column, str(error))

    def _refuse(self, column: str, reason: str) -> NoReturn:
        raise UsageError(
            f"{self._where}: {column} {self._cells[column]!r} is not allowed: {reason}"
        )


def parse_shift(text: str) -> timedelta:
    """Parse the time to add to a camera's time.

    Raises:
        ValueError: it is invalid; the message says what is allowed.
    """
    if match := _SECONDS.fullmatch(text):
        shift = timedelta(seconds=int(match[2]))
    elif match := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(match[group] or 0) for group in (2, 3, 4, 5))
        shift = timedelta(days, seconds, hours=hours, minutes=minutes)
    else:
        raise ValueError("allowed are ±seconds and ±[D.]HH:MM[:SS], as -3600 or +1.02:30")
    if shift > MAX_SHIFT:
        raise ValueError("it is more than a hundred years")
    return -shift if match[1] == "-" else shift


def parse_utc_offset(text: str) -> int:
    """Parse an offset from UTC into minutes.

    Raises:
        ValueError: it is invalid; the message says what is allowed.
    """
    match = _UTC_OFFSET.fullmatch(text)
    if match is None or (minutes := int(match[2]) * 60 + int(match[3])) > MAX_UTC_OFFSET_MINUTES:
        raise ValueError("allowed is ±HH:MM up to 14 hours, as +02:00")
    return -minutes if match[1] == "-" else minutes
