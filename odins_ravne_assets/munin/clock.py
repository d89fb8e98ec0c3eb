"""The owner's corrections of camera clocks, read from one CSV file.

    camera_id,from,until,shift,utc_offset
    ridge-7,,2021-03-28T02:00,-00:04:30,+01:00
    ridge-7,2021-03-28T02:00,,+00:55:30,+02:00

`from` (inclusive) and `until` (exclusive) are times as the camera wrote them; an empty one is
open. `shift` is added to what the camera wrote: ±seconds, or ±[D.]HH:MM[:SS]. `utc_offset`
(±HH:MM) says what zone the corrected time is in, and stands over what the camera says. Either may
be empty, not both.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from odins_ravne_assets.cameras import camera_id
from odins_ravne_assets.munin.capture_time import parse_offset
from resources.errors import UsageError

COLUMNS = ("camera_id", "from", "until", "shift", "utc_offset")
# A clock that was reset to its factory year is off by decades; more is a slip of the pen.
MAX_SHIFT = timedelta(days=36_525)

_SECONDS = re.compile(r"([+-]?)(\d{1,10})")
_CLOCK = re.compile(r"([+-]?)(?:(\d{1,5})\.)?([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_UTC_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True)
class Correction:
    """What is wrong with one camera's clock during one period."""

    start: datetime  # as the camera wrote; datetime.min when open
    until: datetime  # exclusive; datetime.max when open
    shift: timedelta
    utc_offset_minutes: int | None
    line: int  # of the CSV

    def holds_at(self, recorded_at: datetime) -> bool:
        return self.start <= recorded_at < self.until


@dataclass(frozen=True)
class CameraClock:
    """The corrections of one camera, in order of time; no two hold at once."""

    corrections: tuple[Correction, ...] = ()

    def correction_at(self, recorded_at: datetime) -> Correction | None:
        """The correction that holds for what the camera wrote then."""
        return next((one for one in self.corrections if one.holds_at(recorded_at)), None)

    def corrected(
        self, recorded_at: datetime | None, utc_offset_minutes: int | None
    ) -> tuple[datetime | None, int | None]:
        """The time of capture and its offset. A time that is missing stays missing."""
        correction = self.correction_at(recorded_at) if recorded_at else None
        if recorded_at is None or correction is None:
            return recorded_at, utc_offset_minutes
        stated = correction.utc_offset_minutes
        return (
            recorded_at + correction.shift,
            utc_offset_minutes if stated is None else stated,
        )


@dataclass(frozen=True)
class Corrections:
    """The clocks of all cameras that have corrections, by camera id."""

    clocks: Mapping[str, CameraClock]

    @classmethod
    def none(cls) -> "Corrections":
        return cls({})

    def of(self, identifier: str) -> CameraClock:
        """A camera's clock, which is right when nothing is known of it."""
        return self.clocks.get(identifier, CameraClock())


def load_corrections(path: str | Path) -> Corrections:
    """Read the CSV of clock corrections.

    Raises:
        UsageError: it cannot be read, or something in it is not allowed; names the line, the
            value and what is allowed.
    """
    found: dict[str, list[Correction]] = {}
    for identifier, correction in _read(Path(path)):
        found.setdefault(identifier, []).append(correction)
    clocks = {}
    for identifier, corrections in found.items():
        ordered = sorted(corrections, key=lambda one: (one.start, one.line))
        for before, after in pairwise(ordered):
            if after.start < before.until:
                first, second = sorted((before.line, after.line))
                raise UsageError(
                    f"{path}, lines {first} and {second}: two corrections of camera {identifier} "
                    "hold at the same time; end one where the other begins"
                )
        clocks[identifier] = CameraClock(tuple(ordered))
    return Corrections(clocks)


def _read(path: Path) -> Iterator[tuple[str, Correction]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield _Line(path, reader.line_num, header, cells).read()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"clock corrections {path}: cannot be read: {reason}") from None


def _check_header(path: Path, header: list[str]) -> None:
    if sorted(header) == sorted(COLUMNS):
        return
    missing = [name for name in COLUMNS if name not in header]
    surplus = [name for name in header if name not in COLUMNS] or header
    said = f"column {missing[0]} is missing" if missing else f"column {surplus[0]!r} is surplus"
    raise UsageError(
        f"clock corrections {path}, line 1: {said}; the first line must be {','.join(COLUMNS)}"
    )


class _Line:
    """One line of the file, which knows how to complain."""

    def __init__(self, path: Path, number: int, header: list[str], cells: list[str]) -> None:
        self._where = f"clock corrections {path}, line {number}"
        self._number = number
        if len(cells) != len(header):
            raise UsageError(
                f"{self._where}: has {len(cells)} values instead of {len(header)}, "
                "separated by commas"
            )
        self._cells = dict(zip(header, (cell.strip() for cell in cells), strict=True))

    def read(self) -> tuple[str, Correction]:
        """The camera and its correction."""
        try:
            identifier = camera_id(self._cells["camera_id"])
        except UsageError as error:
            raise UsageError(f"{self._where}: {error}") from None
        correction = Correction(
            self._time("from", datetime.min),
            self._time("until", datetime.max),
            self._shift(),
            self._utc_offset(),
            self._number,
        )
        if correction.start >= correction.until:
            self._refuse("until", "it must be later than from")
        if not self._cells["shift"] and not self._cells["utc_offset"]:
            self._refuse("shift", "shift and utc_offset cannot both be empty")
        return identifier, correction

    def _time(self, column: str, when_empty: datetime) -> datetime:
        text = self._cells[column]
        if not text:
            return when_empty
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self._refuse(column, "allowed is a time as the camera wrote it, as 2021-05-28T09:30:11")
        if time.tzinfo is not None:
            self._refuse(column, "it must be a time as the camera wrote it, without an offset")
        return time

    def _shift(self) -> timedelta:
        text = self._cells["shift"]
        if not text:
            return timedelta()
        if match := _SECONDS.fullmatch(text):
            shift = timedelta(seconds=int(match[2]))
        elif match := _CLOCK.fullmatch(text):
            days, hours, minutes, seconds = (int(match[group] or 0) for group in (2, 3, 4, 5))
            shift = timedelta(days, seconds, hours=hours, minutes=minutes)
        else:
            self._refuse("shift", "allowed are ±seconds and ±[D.]HH:MM[:SS], as -3600 or +1.02:30")
        if shift > MAX_SHIFT:
            self._refuse("shift", "it is more than a hundred years")
        return -shift if match[1] == "-" else shift

    def _utc_offset(self) -> int | None:
        text = self._cells["utc_offset"]
        if not text:
            return None
        minutes = parse_offset(text) if _UTC_OFFSET.fullmatch(text) else None
        if minutes is None:
            self._refuse("utc_offset", "allowed is ±HH:MM up to 14 hours, as +02:00")
        return minutes

    def _refuse(self, column: str, why: str) -> NoReturn:
        raise UsageError(f"{self._where}: {column} {self._cells[column]!r} is not allowed: {why}")
