"""A study's own facts: what lives there, where its cameras stand, what may be told of it.

Species and deployments are spreadsheets, CSV files that the profile names. They are read when the
profile is, so that what runs elsewhere, on AWS, has them with it.
"""

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from resources.settings.clock_corrections import parse_shift, parse_utc_offset
from resources.settings.csv_models import csv_validator

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
# Those that mean something here; the others are handed on as they are.
UNDERSTOOD = {
    "deploymentID",
    "latitude",
    "longitude",
    "coordinateUncertainty",
    "deploymentStart",
    "deploymentEnd",
    "cameraID",
}
DEPLOYMENT_REMARKS = tuple(name for name in DEPLOYMENT_COLUMNS if name not in UNDERSTOOD)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ListedSpecies(_Part):
    """A taxon that lives where the cameras stand; the ranks are for one the taxonomy lacks."""

    scientific_name: Annotated[str, Field(min_length=1)]
    common_name: str | None = None
    class_: Annotated[str | None, Field(alias="class")] = None
    order: str | None = None
    family: str | None = None
    genus: str | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Deployment(_Part):
    """A camera at a place for a time: a row of Camtrap DP's deployments, by its column names.

    Two columns are ours, for Camtrap DP has none: `clockShift` is added to what the camera wrote
    in this deployment, `utcOffset` says what zone the result is in; see docs/footage.md.
    """

    cameraID: Annotated[str, Field(min_length=1)]  # noqa: N815
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    deploymentID: str | None = None  # noqa: N815
    coordinateUncertainty: Annotated[int, Field(ge=1)] | None = None  # noqa: N815
    deploymentStart: str | None = None  # noqa: N815
    deploymentEnd: str | None = None  # noqa: N815
    clockShift: str | None = None  # noqa: N815
    utcOffset: str | None = None  # noqa: N815
    remarks: dict[str, str] = Field(default_factory=dict)

    @property
    def starts(self) -> datetime | None:
        """By the clock of the place; None: open."""
        return _wall_clock(self.deploymentStart, time.min)

    @property
    def ends(self) -> datetime | None:
        """By the clock of the place; a day is over at its end. None: open."""
        return _wall_clock(self.deploymentEnd, time(23, 59, 59))

    @property
    def shift(self) -> timedelta:
        """What is to be added to what the camera wrote."""
        return parse_shift(self.clockShift) if self.clockShift else timedelta()

    @property
    def utc_offset_minutes(self) -> int | None:
        """Of the corrected time; None: what the camera says, if anything."""
        return parse_utc_offset(self.utcOffset) if self.utcOffset else None

    @field_validator("deploymentStart", "deploymentEnd")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        try:
            datetime.fromisoformat(text or "2026-05-28")
        except ValueError:
            raise ValueError(
                "allowed is a day or a time, as 2026-05-28 or 2026-05-28T09:30:00+02:00"
            ) from None
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

    @model_validator(mode="after")
    def _in_order(self) -> "Deployment":
        if self.starts and self.ends and self.ends < self.starts:
            raise ValueError(
                f"deploymentEnd {self.deploymentEnd} lies before deploymentStart "
                f"{self.deploymentStart}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _remarks_apart(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "remarks" in row:
            return row
        kept = {name: row[name] for name in DEPLOYMENT_REMARKS if row.get(name)}
        return {k: v for k, v in row.items() if k not in DEPLOYMENT_REMARKS} | {"remarks": kept}


def _wall_clock(text: str | None, when_only_a_day: time) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    return datetime.combine(moment, when_only_a_day) if len(text) == len("2026-05-01") else moment


SpeciesList = Annotated[tuple[ListedSpecies, ...], csv_validator(ListedSpecies)]
Deployments = Annotated[tuple[Deployment, ...], csv_validator(Deployment)]


class Project(_Part):
    title: str = Field("Camera traps", description="What the study is called.")
    contributors: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("not named",), min_length=1, description="Who made it, the contact first."
    )
    sampling_design: Literal[
        "simpleRandom",
        "systematicRandom",
        "clusteredRandom",
        "experimental",
        "targeted",
        "opportunistic",
    ] = Field("opportunistic", description="How places were chosen, in Camtrap DP's words.")
    capture_method: Literal["activityDetection", "timeLapse"] = Field(
        "activityDetection", description="What makes the cameras take pictures."
    )
    utc_offset: Annotated[str, Field(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] | None = Field(
        None,
        description="Offset from UTC of the clocks of cameras that do not write theirs, as +01:00.",
    )
    species: SpeciesList = Field(
        (),
        description="CSV of what lives here: scientific_name, common_name, class, order, family, "
        "genus. Without it, anything may.",
    )
    deployments: Deployments = Field(
        (),
        description="CSV of where cameras stand: Camtrap DP's deployments, of which cameraID, "
        "latitude and longitude are needed. Without it, deployments.csv beside the footage.",
    )
