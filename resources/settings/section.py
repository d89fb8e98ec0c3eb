"""A section of the profile: the base of its models, and its text with descriptions."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Settings that belong together; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_text_is_none(cls, values: Any) -> Any:
        """Read "" as a setting that is empty, where it may be: it names no folder, no bucket."""
        if not isinstance(values, dict):
            return values
        optional = {
            key for key, field in cls.model_fields.items()
            if type(None) in get_args(field.annotation)
        }  # fmt: skip
        return {
            key: None if key in optional and isinstance(value, str) and not value.strip() else value
            for key, value in values.items()
        }


def commented_yaml(section: BaseModel, depth: int) -> Iterator[str]:
    """Yield every key of a section with its value and description, as lines of YAML."""
    indent = "  " * depth
    for key, setting in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield f"{indent}{key}:  # {setting.description}"
            yield from commented_yaml(value, depth + 1)
        elif isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
            yield f"{indent}{key}: [{len(value)} rows]  # {setting.description}"
        else:
            text = yaml.safe_dump(
                list(value) if isinstance(value, tuple) else value, default_flow_style=True
            )
            yield f"{indent}{key}: {text.splitlines()[0]}  # {setting.description}"
