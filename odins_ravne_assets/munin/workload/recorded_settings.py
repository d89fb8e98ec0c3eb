"""The record of the models and settings that a camera's results are made with.

    journal/settings/stage1.json    written before Stage 1's first part is committed
    journal/settings/stage2.json    written before Stage 2's first labels are

Each is one JSON object: `models`, the models as the profile named them; `names`, as their manifests
name them; and `depends_on`, all that the journal's key is a hash of, with the hashes of the models.
It is written whole, and the jobs of one launch have the same settings, so that they may write it at
the same time.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gpu_kernels.models.manifest import load_manifest
from odins_ravne_assets.munin.classification.journal_key import stage2_dependencies
from odins_ravne_assets.munin.classification.speciesnet_predictions import is_predictions
from odins_ravne_assets.munin.detection.journal_key import profile_detector, stage1_dependencies
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.errors import StoreError
from resources.settings.profile import Models, Profile
from resources.storage import layout
from resources.storage.object_store import ObjectStore

# Bounds of a record, which is a file that anyone with access to the results can change.
MAX_NAMES = 2  # a detector and a category detector; an ensemble has one name
MAX_SETTINGS = 64
MAX_TEXT = 4096


class StageSettings(BaseModel):
    """The models and settings of one stage.

    Attributes:
        models: role (a key of the profile's `models`), and the model as the profile names it.
        names: the models as their manifests name them.
        depends_on: what the journal's key is a hash of; for Stage 2 without Stage 1's key.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    models: dict[str, str | None]
    names: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_NAMES)]
    depends_on: Annotated[dict[str, Any], Field(max_length=MAX_SETTINGS)]

    @model_validator(mode="after")
    def _values_are_plain(self) -> Self:
        """Refuse values that no version writes, or that do not fit a line for the user."""
        texts: list[Any] = [*self.names, *self.models, *self.models.values(), *self.depends_on]
        for value in self.depends_on.values():
            texts += value if isinstance(value, list) else [value]
        if len(texts) > MAX_SETTINGS * 2 or not all(_is_plain(text) for text in texts):
            raise ValueError("contains values that no version writes")
        return self

    @cached_property
    def key(self) -> str:
        """A hash of all that results depend on; for Stage 1 the key of its journal."""
        return journal_key(self.depends_on)


def _is_plain(value: Any) -> bool:
    """Return True for a number, None, or a short text without control characters."""
    if not isinstance(value, str):
        return value is None or isinstance(value, int | float)
    controls = {"Cc", "Cs"}  # and surrogates, which no terminal prints
    return len(value) <= MAX_TEXT and not any(unicodedata.category(c) in controls for c in value)


@dataclass(frozen=True)
class SettingsRecord:
    """Where the settings of a stage are: in OUTPUT and in the profile.

    Args:
        stored_key: of the record, below OUTPUT.
        section: of the profile's `pipeline`.
        roles: keys of the profile's `models`.
        dependencies: return what the journal's key is a hash of.
        names: return the models as their manifests name them.
    """

    stored_key: str
    section: str
    roles: tuple[str, ...]
    dependencies: Callable[[Profile], dict[str, Any]]
    names: Callable[[Profile], tuple[str, ...]]

    def of_profile(self, profile: Profile) -> StageSettings:
        """Return the settings of a profile.

        Raises:
            ModelError: a model cannot be found.
        """
        models = {role: getattr(profile.models, role) for role in self.roles}
        return StageSettings(
            models=models, names=self.names(profile), depends_on=self.dependencies(profile)
        )

    def read(self, output: ObjectStore) -> StageSettings | None:
        """Return the settings of a camera's results; None if there is no record of them.

        Raises:
            StoreError: the record is damaged, or has models that this version does not know.
        """
        if not output.exists(self.stored_key):
            return None
        try:
            settings = StageSettings.model_validate_json(output.read_bytes(self.stored_key))
            if unknown := settings.models.keys() - set(self.roles):
                raise StoreError(
                    f"{output.url}/{self.stored_key}: has models that this version of the program "
                    f"does not know ({', '.join(sorted(unknown))}); use the version that wrote it"
                )
            Models.model_validate(settings.models)
            if settings.models.keys() == set(self.roles):
                return settings
        except ValidationError:
            pass
        raise StoreError(
            f"{output.url}/{self.stored_key}: is damaged; delete it: a run with the profile "
            "that made the results writes it again"
        )

    def save(self, output: ObjectStore, settings: StageSettings) -> None:
        """Write the record, unless it is the same.

        Raises:
            StoreError: the store refuses.
        """
        data = json.dumps(settings.model_dump(mode="json"), indent=1, sort_keys=True).encode()
        if not output.exists(self.stored_key) or output.read_bytes(self.stored_key) != data:
            output.write_bytes(self.stored_key, data)

    def apply(
        self, profile: Profile, models: Mapping[str, str | None], values: Mapping[str, Any]
    ) -> Profile:
        """Return the profile with these models, and these values of its section.

        Args:
            values: other keys than those of the section are ignored, as those of `depends_on`.

        Raises:
            ValidationError: a value is not allowed.
        """
        section = getattr(profile.pipeline, self.section)
        known = {key: value for key, value in values.items() if key in type(section).model_fields}
        changed = type(section).model_validate({**section.model_dump(), **known})
        pipeline = profile.pipeline.model_copy(update={self.section: changed})
        chosen = profile.models.model_copy(update=dict(models))
        return profile.model_copy(update={"models": chosen, "pipeline": pipeline})


def _detector_names(profile: Profile) -> tuple[str, ...]:
    return profile_detector(profile.models).names


def _classifier_names(profile: Profile) -> tuple[str, ...]:
    name = profile.models.classifier
    if is_predictions(name):
        return ("SpeciesNet predictions",)
    return (load_manifest(name, profile.models.folder).name,)


STAGE1 = SettingsRecord(
    layout.STAGE1_SETTINGS,
    "stage1",
    ("detector", "category_detector"),
    stage1_dependencies,
    _detector_names,
)
STAGE2 = SettingsRecord(
    layout.STAGE2_SETTINGS, "stage2", ("classifier",), stage2_dependencies, _classifier_names
)
