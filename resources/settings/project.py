"""Settings of a study: its species, its deployments, metadata of exports.

Species and deployments are CSV files. They are read with the profile, so that jobs on AWS have
their content.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from resources.settings.deployments import TABLE_COLUMNS, Deployment, arrange_deployments
from resources.settings.table_models import table_validator
from resources.settings.time_zones import parse_time_zone


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


SPECIES_COLUMNS = ("scientific_name", "common_name", "class", "order", "family", "genus")
SpeciesList = Annotated[tuple[ListedSpecies, ...], table_validator(ListedSpecies, SPECIES_COLUMNS)]
Deployments = Annotated[
    tuple[Deployment, ...],
    AfterValidator(arrange_deployments),
    table_validator(Deployment, TABLE_COLUMNS, arrange_deployments),
]


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
    time_zone: str | None = Field(
        None,
        description="Instead of utc_offset: the time zone of cameras whose clocks follow summer "
        "time and that do not record their offset, as Europe/Stockholm.",
    )
    species: SpeciesList = Field(
        (),
        description="CSV or XLSX of the species of the study area: scientific_name, common_name, "
        "class, order, family, genus; empty: any species.",
    )
    deployments: Deployments = Field(
        (),
        description="CSV or XLSX of deployments in Camtrap DP's format, of which cameraID, "
        "latitude and longitude are required; empty: deployments.csv or .xlsx next to the footage.",
    )

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name:
            parse_time_zone(name)
        return name

    @model_validator(mode="after")
    def _zone_of_deployments(self) -> Self:
        if self.utc_offset and self.time_zone:
            raise ValueError("project.utc_offset and project.time_zone exclude each other")
        # Frozen: the validated value is replaced before anyone has the object.
        object.__setattr__(self, "deployments", self.in_its_zone(self.deployments))
        return self

    def in_its_zone(self, deployments: Iterable[Deployment]) -> tuple[Deployment, ...]:
        """Return deployments whose instants are local times of the project's zone.

        Rows with a zone of their own keep it.
        """
        zone = self.utc_offset or self.time_zone
        return tuple(row.model_copy(update={"project_zone": zone}) for row in deployments)
