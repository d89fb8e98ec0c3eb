"""Settings of stored data: storage classes of objects, and the history of runs."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from resources.settings.section import PositiveInt, Section

# S3's minimum of days between two moves of an object.
MIN_DAYS_IN_IA = 30


class Lifecycle(Section):
    transition_to_ia: Annotated[int, Field(ge=30)] = Field(
        30, description="Days until footage moves to infrequent access (30 or more)."
    )
    transition_to_glacier: Annotated[int, Field(ge=60)] = Field(
        90, description="Days until footage moves to Glacier; 30 or more after infrequent access."
    )
    delete_old_versions: PositiveInt = Field(
        30, description="Days until overwritten and deleted versions are deleted permanently."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Lifecycle":
        minimum = self.transition_to_ia + MIN_DAYS_IN_IA
        if self.transition_to_glacier < minimum:
            raise PydanticCustomError(
                "order",
                "transition_to_glacier must be {minimum} or more: objects stay in infrequent "
                "access for at least 30 days",
                {"minimum": minimum},
            )
        return self


class Storage(Section):
    lifecycle: Lifecycle = Field(
        Lifecycle(), description="When stored footage moves to cheaper storage classes."
    )


class History(Section):
    keep_days: PositiveInt | None = Field(
        90,
        description="Days after which Dagster's records of a run are deleted, unless later work "
        "needs them; results and costs stay. Empty: never.",
    )
