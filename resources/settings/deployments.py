"""Deployments of cameras: rows of a table in the format of Camtrap DP's `deployments.csv`.

Four kinds of columns extend the format: `clockShift`, `utcOffset` and `timeZone` describe the
camera's clock, `Problem1_from`, `Problem1_to`, `Problem2_from` … (of camtrapR) the times in which
the camera did not work.

A time with an offset or `Z` is an instant; one without is local time. A day alone as a start begins
at midnight, as an end it ends with the day.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import groupby, pairwise
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from resources.settings.clock_corrections import parse_shift, parse_utc_offset
from resources.settings.time_zones import parse_time_zone
from resources.spreadsheets.values import (
    is_day_alone,
    parse_boolean,
    parse_date_end,
    parse_number,
    parse_time,
)

# All columns of Camtrap DP 1.0.2's deployments, in the standard's order.
DEPLOYMENT_COLUMNS = (
    "deploymentID",
    "locationID",
    "locationName",
    "latitude",
    "longitude",
    "coordinateUncertainty",
    "deploymentStart",
    "deploymentEnd",
    "setupBy",
    "cameraID",
    "cameraModel",
    "cameraDelay",
    "cameraHeight",
    "cameraDepth",
    "cameraTilt",
    "cameraHeading",
    "detectionDistance",
    "timestampIssues",
    "baitUse",
    "featureType",
    "habitat",
    "deploymentGroups",
    "deploymentTags",
    "deploymentComments",
)
# Columns that are used; the others are passed on unchanged.
USED_COLUMNS = {
    "deploymentID",
    "latitude",
    "longitude",
    "coordinateUncertainty",
    "deploymentStart",
    "deploymentEnd",
    "cameraID",
}
CLOCK_COLUMNS = ("clockShift", "utcOffset", "timeZone")
DEPLOYMENT_REMARKS = tuple(name for name in DEPLOYMENT_COLUMNS if name not in USED_COLUMNS)
# A time in which the camera did not work: https://jniedballa.github.io/camtrapR, cameraOperation.
OUTAGE_COLUMN = re.compile(r"Problem(\d{1,2})_(from|to)")

# The values that Camtrap DP 1.0.2 allows in columns that are passed on.
INTEGER_COLUMNS = frozenset({"cameraDelay", "cameraTilt", "cameraHeading"})
# The least and the largest number.
NUMBER_COLUMNS = {
    "cameraHeight": (0, math.inf),
    "cameraDepth": (0, math.inf),
    "detectionDistance": (0, math.inf),
    "cameraDelay": (0, math.inf),
    "cameraTilt": (-90, 90),
    "cameraHeading": (0, 360),
}
BOOLEAN_COLUMNS = frozenset({"timestampIssues", "baitUse"})
FEATURE_TYPES = (
    "roadPaved",
    "roadDirt",
    "trailHiking",
    "trailGame",
    "roadUnderpass",
    "roadOverpass",
    "roadBridge",
    "culvert",
    "burrow",
    "nestSite",
    "carcass",
    "waterSource",
    "fruitingTree",
)
MOST_OUTAGES = 50
MOST_COMPARED = 200  # rows whose coordinates are compared with those of all others
# All columns of the table that are read.
TABLE_COLUMNS = (
    *DEPLOYMENT_COLUMNS,
    *CLOCK_COLUMNS,
    *(f"Problem{number}_{end}" for number in range(1, MOST_OUTAGES + 1) for end in ("from", "to")),
)


def to_local(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return a time as a clock of the zone shows it, without a zone.

    A time without an offset is local already. Without a zone, one with an offset is taken as it is
    written.
    """
    if moment.tzinfo is None:
        return moment
    return (moment.astimezone(zone) if zone else moment).replace(tzinfo=None)


class Outage(NamedTuple):
    """A time in which a camera did not work, as text; an empty end lasts to the deployment's."""

    start: str
    end: str | None


class Deployment(BaseModel):
    """A camera at a location for a time: a row of the table, by its column names.

    Attributes:
        outages: of the columns Problem1_from, Problem1_to …, in their order.
        project_zone: the zone of the project, `±HH:MM` or a name, for times that are instants.
        table, line: the name of its table, and the line of the row; 0: of none.
        remarks: the other columns of Camtrap DP.
    """

    cameraID: Annotated[str, Field(min_length=1)]  # noqa: N815
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    deploymentID: str | None = None  # noqa: N815
    # Metres; at most half of the earth's circumference.
    coordinateUncertainty: Annotated[int, Field(ge=1, le=20_040_000)] | None = None  # noqa: N815
    deploymentStart: str | None = None  # noqa: N815
    deploymentEnd: str | None = None  # noqa: N815
    clockShift: str | None = None  # noqa: N815
    utcOffset: str | None = None  # noqa: N815
    timeZone: str | None = None  # noqa: N815
    outages: tuple[Outage, ...] = ()
    project_zone: str | None = None
    table: str = ""
    line: int = 0
    remarks: dict[str, str] = Field(default_factory=dict)

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @property
    def where(self) -> str:
        """The table and the line of the row, for messages."""
        return f"{self.table}, line {self.line}" if self.line else "project.deployments"

    @property
    def start(self) -> datetime | None:
        """The start: an instant, or local time without a zone; None: open."""
        return parse_time(self.deploymentStart) if self.deploymentStart else None

    @property
    def end(self) -> datetime | None:
        """The end, inclusive, like `start`; None: open."""
        return parse_date_end(self.deploymentEnd) if self.deploymentEnd else None

    @property
    def zone(self) -> tzinfo | None:
        """The time zone at the camera: of the row, else of the project; None: unknown."""
        return _zone(self.utcOffset or self.timeZone or self.project_zone)

    @property
    def starts(self) -> datetime | None:
        """The start in local time; None: open."""
        return to_local(self.start, self.zone) if self.start else None

    @property
    def ends(self) -> datetime | None:
        """The end in local time, inclusive; None: open."""
        return to_local(self.end, self.zone) if self.end else None

    @property
    def shift(self) -> timedelta:
        """The time to add to the camera's times."""
        return parse_shift(self.clockShift) if self.clockShift else timedelta()

    @property
    def utc_offset_minutes(self) -> int | None:
        """The UTC offset of the corrected time; None: the camera's, if it has one."""
        return parse_utc_offset(self.utcOffset) if self.utcOffset else None

    def outage_times(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the local start and end of each outage; an open end is the deployment's."""
        for each in self.outages:
            end = to_local(parse_date_end(each.end), self.zone) if each.end else self.ends
            yield to_local(parse_time(each.start), self.zone), end or datetime.max

    @field_validator("deploymentStart", "deploymentEnd")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text:
            parse_time(text)
        return text

    @field_validator("clockShift")
    @classmethod
    def _is_a_shift(cls, text: str | None) -> str | None:
        if text:
            parse_shift(text)
        return text

    @field_validator("utcOffset")
    @classmethod
    def _is_an_offset(cls, text: str | None) -> str | None:
        if text:
            parse_utc_offset(text)
        return text

    @field_validator("timeZone")
    @classmethod
    def _is_a_zone(cls, text: str | None) -> str | None:
        if text:
            parse_time_zone(text)
        return text

    @field_validator("latitude", "longitude", mode="before")
    @classmethod
    def _decimal_comma(cls, value: Any) -> Any:
        """Read 59,32 as 59.32: a coordinate has no separators of thousands."""
        return value.replace(",", ".", 1) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self._ends_before_start():
            raise ValueError(
                f"deploymentEnd {self.deploymentEnd} is before deploymentStart "
                f"{self.deploymentStart}"
            )
        if self.utcOffset and self.timeZone:
            raise ValueError(
                "utcOffset and timeZone both set the time zone; leave one of the two empty"
            )
        self._check_outages()
        return self

    def _ends_before_start(self) -> bool:
        """True if the end is before the start; of two instants, whatever their offsets are."""
        if self.start and self.end and self.start.tzinfo and self.end.tzinfo:
            return self.end < self.start
        return bool(self.starts and self.ends and self.ends < self.starts)

    def _check_outages(self) -> None:
        for number, (start, end) in enumerate(self.outage_times(), start=1):
            if end < start:
                raise ValueError(f"problem {number} ends before it begins")
            if (self.ends and start > self.ends) or (self.starts and end < self.starts):
                raise ValueError(f"problem {number} is outside of the deployment")

    @model_validator(mode="before")
    @classmethod
    def _collect_columns(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        _check_swapped(row)
        if "remarks" in row:
            return row
        outages = _outages(row)
        remarks = {
            name: _remark(name, str(row[name])) for name in DEPLOYMENT_REMARKS if row.get(name)
        }
        others = {
            name: value
            for name, value in row.items()
            if name not in DEPLOYMENT_REMARKS and not OUTAGE_COLUMN.fullmatch(name)
        }
        return ({"outages": outages} if outages else {}) | others | {"remarks": remarks}


def _zone(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text[0] in "+-0123456789":
        return timezone(timedelta(minutes=parse_utc_offset(text)))
    return parse_time_zone(text)


def _remark(column: str, text: str) -> str:
    """The value of a column that is passed on, in the form that Camtrap DP requires."""
    try:
        if column in NUMBER_COLUMNS:
            return _number(column, text)
        if column in BOOLEAN_COLUMNS:
            return str(parse_boolean(text)).lower()
        if column == "featureType" and text not in FEATURE_TYPES:
            raise ValueError(f"allowed are {', '.join(FEATURE_TYPES)}")
    except ValueError as error:
        raise ValueError(f"{column} {text!r} is not allowed: {error}") from None
    return text


def _number(column: str, text: str) -> str:
    number = parse_number(text, decimal_comma=True)
    least, largest = NUMBER_COLUMNS[column]
    if not least <= number <= largest:
        limit = f" and at most {largest:g}" if largest < math.inf else ""
        raise ValueError(f"it must be at least {least:g}{limit}")
    if column in INTEGER_COLUMNS and number != round(number):
        raise ValueError("allowed is a whole number")
    return f"{number:.10g}"


def _check_swapped(row: Mapping[str, Any]) -> None:
    try:
        latitude, longitude = (
            float(str(row[name]).replace(",", ".", 1)) for name in ("latitude", "longitude")
        )
    except (KeyError, ValueError):
        return  # the fields report it
    if 90 < abs(latitude) <= 180 and abs(longitude) <= 90:
        raise ValueError(
            f"latitude {latitude:g} is not allowed: it is above 90, and probably swapped with "
            f"longitude {longitude:g}"
        )


def _outages(row: Mapping[str, Any]) -> list[Outage]:
    """The outages of the columns Problem1_from, Problem1_to …; names the column of a mistake."""
    found: dict[int, dict[str, str]] = {}
    for column, value in row.items():
        if (match := OUTAGE_COLUMN.fullmatch(column)) and value:
            try:
                parse_time(str(value))
            except ValueError as error:
                raise ValueError(f"{column} {value!r} is not allowed: {error}") from None
            found.setdefault(int(match[1]), {})[match[2].lower()] = str(value)
    for number, each in found.items():
        if "from" not in each:
            raise ValueError(f"Problem{number}_to has no Problem{number}_from")
    return [Outage(each["from"], each.get("to")) for _, each in sorted(found.items())]


def arrange_deployments(rows: Iterable[Deployment], name: str = "") -> tuple[Deployment, ...]:
    """Check the deployments of a table together.

    Deployments of one camera may touch: at the same minute, or on a day that one of them states
    without a time. Such a day belongs to the one that states a time, and to the later one if none
    does; the other bound is set to it. A row without a start begins where the one before it ends.

    Args:
        name: of the table, for messages; empty: rows that know theirs, or a list in the profile.

    Raises:
        ValueError: two rows have the same deploymentID, or those of one camera overlap; names both
            lines. Or the coordinates of a row are swapped, by those of all others.
    """
    arranged = [row.model_copy(update={"table": name}) if name else row for row in rows]
    _check_order_of_coordinates(arranged)
    ids: dict[str, Deployment] = {}
    for row in arranged:
        if row.deploymentID and (other := ids.setdefault(row.deploymentID, row)) is not row:
            raise ValueError(
                f"{_where(other, row)}deploymentID {row.deploymentID} occurs twice; give "
                "each deployment a different one"
            )
    for camera, some in groupby(
        sorted(range(len(arranged)), key=lambda each: _order(arranged[each])),
        key=lambda each: arranged[each].cameraID,
    ):
        for before, after in pairwise(list(some)):
            arranged[before], arranged[after] = _meeting(arranged[before], arranged[after], camera)
    return tuple(arranged)


def _check_order_of_coordinates(rows: list[Deployment]) -> None:
    """Refuse a row that is far from all others, and near two of them if it is swapped."""
    places = {row.cameraID: (row.latitude, row.longitude) for row in rows[:MOST_COMPARED]}
    for row in rows:
        here = (row.latitude, row.longitude)
        others = [place for camera, place in places.items() if camera != row.cameraID]
        swapped = [place for place in others if _is_near(here[::-1], place, 1)]
        if len(swapped) > 1 and not any(_is_near(here, place, 5) for place in others):
            raise ValueError(
                f"{row.where}: latitude {here[0]:g} and longitude {here[1]:g} are probably "
                f"swapped: another row has {swapped[0][0]:g} and {swapped[0][1]:g}"
            )


def _is_near(place: tuple[float, ...], other: tuple[float, float], degrees: float) -> bool:
    return all(abs(a - b) <= degrees for a, b in zip(place, other, strict=True))


def _order(row: Deployment) -> tuple[str, datetime, datetime, int]:
    """By the end, for a start may be missing in any row, an end only in the last one."""
    return row.cameraID, row.ends or datetime.max, row.starts or datetime.min, row.line


def _meeting(before: Deployment, after: Deployment, camera: str) -> tuple[Deployment, Deployment]:
    """The two rows, of which the first ends where the second begins if they meet on a day."""
    start, end = after.start, before.end
    if start is None and end and before.ends and before.ends < (after.ends or datetime.max):
        begins = (end + timedelta(seconds=1)).isoformat()
        return before, after.model_copy(update={"deploymentStart": begins})
    if start and end and _minute(end, start) > _minute(start, end):
        end_has_time, start_has_time = map(_has_time, (before.deploymentEnd, after.deploymentStart))
        same_day = before.ends and after.starts and before.ends.date() == after.starts.date()
        if same_day and not end_has_time:
            return before.model_copy(
                update={"deploymentEnd": (start - timedelta(seconds=1)).isoformat()}
            ), after
        if same_day and not start_has_time:
            return before, after.model_copy(update={"deploymentStart": end.isoformat()})
    if start is None or end is None or _minute(end, start) > _minute(start, end):
        raise ValueError(
            f"{_where(before, after)}deployments of camera {camera} overlap: one "
            f"{_period(before)}, the other {_period(after)}; end one where the other begins"
        )
    return before, after


def _minute(moment: datetime, other: datetime) -> datetime:
    """A time in whole minutes; without its offset if the other has none."""
    whole = moment.replace(second=0, microsecond=0)
    return whole if other.tzinfo else whole.replace(tzinfo=None)


def _has_time(text: str | None) -> bool:
    return bool(text) and not is_day_alone(str(text))


def _period(row: Deployment) -> str:
    start = f"begins {row.deploymentStart}" if row.deploymentStart else "has no start"
    return f"{start} and {f'ends {row.deploymentEnd}' if row.deploymentEnd else 'has no end'}"


def _where(one: Deployment, other: Deployment) -> str:
    if not one.line or not other.line:
        return ""
    first, second = sorted((one, other), key=lambda row: (row.table, row.line))
    if first.table != second.table:
        return f"{first.where}, and {second.where}: "
    return f"{first.table}, lines {first.line} and {second.line}: "
