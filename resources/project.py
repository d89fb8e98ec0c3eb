"""A study's own facts: what lives there, where its cameras stand, what may be told of it.

Species and deployments are spreadsheets, CSV files that the profile names. They are read when the
profile is, so that what runs elsewhere, on AWS, has them with it.
"""

import csv
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

# Columns of Camtrap DP 1.0.2's deployments that are handed on as they are.
DEPLOYMENT_REMARKS = (
    "locationID",
    "locationName",
    "setupBy",
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
Row = dict[str, Any]


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
    """A camera at a place for a time: a row of Camtrap DP's deployments, by its column names."""

    cameraID: Annotated[str, Field(min_length=1)]  # noqa: N815
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    deploymentID: str | None = None  # noqa: N815
    coordinateUncertainty: Annotated[int, Field(ge=1)] | None = None  # noqa: N815
    deploymentStart: str | None = None  # noqa: N815
    deploymentEnd: str | None = None  # noqa: N815
    remarks: dict[str, str] = Field(default_factory=dict)

    @field_validator("deploymentStart", "deploymentEnd")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text:
            datetime.fromisoformat(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _remarks_apart(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "remarks" in row:
            return row
        kept = {name: row[name] for name in DEPLOYMENT_REMARKS if row.get(name)}
        return {k: v for k, v in row.items() if k not in DEPLOYMENT_REMARKS} | {"remarks": kept}


def _csv_of(model: type[BaseModel]) -> BeforeValidator:
    """The rows of the CSV file that a profile names, each one valid; what is rows already stays."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        path = Path(value).expanduser()
        return [_valid(model, row, path, line) for line, row in _rows(path)]

    return BeforeValidator(read)


def _rows(path: Path) -> list[tuple[int, Row]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(enumerate(csv.DictReader(file, strict=True), start=2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be read: {reason}") from None
    if not rows:
        raise ValueError(f"{path} has no row below its first line")
    return rows


def _valid(model: type[BaseModel], row: Row, path: Path, line: int) -> BaseModel:
    if None in row:
        raise ValueError(f"{path}, line {line}: has more values than the first line has columns")
    cells = {str(name).strip(): (value or "").strip() for name, value in row.items()}
    try:
        return model.model_validate({name: value for name, value in cells.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = ".".join(str(part) for part in first["loc"])
        said = {"missing": "is missing", "extra_forbidden": "is no column of this table"}.get(
            first["type"], f"{first['input']!r} is not allowed: {first['msg'].lower()}"
        )
        raise ValueError(f"{path}, line {line}: {column} {said}") from None


SpeciesList = Annotated[tuple[ListedSpecies, ...], _csv_of(ListedSpecies)]
Deployments = Annotated[tuple[Deployment, ...], _csv_of(Deployment)]


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
        "latitude and longitude are needed.",
    )
