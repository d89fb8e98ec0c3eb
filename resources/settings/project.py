"""Settings of a study: its species, its deployments, metadata of exports.

Species and deployments are CSV files. They are read with the profile, so that jobs on AWS have
their content.
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
DEPLOYMENT_REMARKS = tuple(name for name in DEPLOYMENT_COLUMNS if name not in USED_COLUMNS)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ListedSpecies(_Part):
    """A taxon of the study area; the ranks are for one that the taxonomy lacks."""

    scientific_name: Annotated[str, Field(min_length=1)]
    common_name: str | None = None
    class_: Annotated[str | None, Field(alias="class")] = None
    order: str | None = None
    family: str | None = None
    genus: str | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Deployment(_Part):
    """A camera at a location for a time: a row of Camtrap DP's deployments, by its column names.

    Two columns extend Camtrap DP: `clockShift` is added to the camera's times in this deployment,
    `utcOffset` is the time zone of the result; see docs/footage.md.
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
    remarks: dict[str, str] = Field(default_factory=dict)

    @property
    def starts(self) -> datetime | None:
        """The start in local time; None: open."""
        return _wall_clock(self.deploymentStart, time.min)

    @property
    def ends(self) -> datetime | None:
        """The end in local time; of a day, its last second. None: open."""
        return _wall_clock(self.deploymentEnd, time(23, 59, 59))

    @property
    def shift(self) -> timedelta:
        """The time to add to the camera's times."""
        return parse_shift(self.clockShift) if self.clockShift else timedelta()

    @property
    def utc_offset_minutes(self) -> int | None:
        """The UTC offset of the corrected time; None: the camera's, if it has one."""
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
                f"deploymentEnd {self.deploymentEnd} is before deploymentStart "
                f"{self.deploymentStart}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _collect_remarks(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "remarks" in row:
            return row
        remarks = {name: row[name] for name in DEPLOYMENT_REMARKS if row.get(name)}
        return {k: v for k, v in row.items() if k not in DEPLOYMENT_REMARKS} | {"remarks": remarks}


def _wall_clock(text: str | None, when_only_a_day: time) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    return datetime.combine(moment, when_only_a_day) if len(text) == len("2026-05-01") else moment


SpeciesList = Annotated[tuple[ListedSpecies, ...], csv_validator(ListedSpecies)]
Deployments = Annotated[tuple[Deployment, ...], csv_validator(Deployment)]


class Project(_Part):
    title: str = Field("Camera traps", description="Title of the study.")
    contributors: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("not named",), min_length=1, description="Names of the contributors, the contact first."
    )
    sampling_design: Literal[
        "simpleRandom",
        "systematicRandom",
        "clusteredRandom",
        "experimental",
        "targeted",
        "opportunistic",
    ] = Field("opportunistic", description="How locations were chosen, in Camtrap DP's terms.")
    capture_method: Literal["activityDetection", "timeLapse"] = Field(
        "activityDetection", description="What triggers the cameras."
    )
    utc_offset: Annotated[str, Field(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] | None = Field(
        None,
        description="UTC offset of cameras that do not record theirs, as +01:00.",
    )
    species: SpeciesList = Field(
        (),
        description="CSV of the species of the study area: scientific_name, common_name, class, "
        "order, family, genus; empty: any species.",
    )
    deployments: Deployments = Field(
        (),
        description="CSV of deployments in Camtrap DP's format, of which cameraID, latitude and "
        "longitude are required; empty: deployments.csv next to the footage.",
    )
