"""Recognise the settings of results whose version did not record them, by the keys of journals.

A key is a hash of the settings. The profile of such results named what differed from the defaults
of its version; so settings of today's profile are tried, combined with those defaults.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from odins_ravne_assets.munin.workload.recorded_settings import SettingsRecord, StageSettings
from resources.errors import ModelError
from resources.settings.profile import Profile
from resources.storage.layout import PREDICTIONS_FOLDER
from resources.storage.object_store import ObjectStore

# The defaults of version 0.1.0: by the key of the profile's `models`, or of its section of
# `pipeline`. Frozen: results that exist do not change with the defaults.
DEFAULTS_0_1_0: dict[str, Any] = {
    "detector": "megadetector-lite",
    "category_detector": "ssd-mobilenet-v2-cam16",
    "classifier": "efficientnet-lite3",
    "conf_threshold": None,
    "sampling": "fps",
    "frames_per_second": 1.0,
    "every_nth_frame": 30,
    "motion_gate": True,
    "motion_threshold": 0.002,
    "auto_ok_threshold": 0.5,
}


def recognise(
    record: SettingsRecord,
    output: ObjectStore,
    profile: Profile,
    named: dict[str, str],
    is_theirs: Callable[[dict[str, Any]], bool],
) -> StageSettings | None:
    """Return the settings of a stage's results; None if they are not recognised.

    Args:
        named: the names of the models in the stage's table, by role; may be empty.
        is_theirs: return True if the results depend on this; see `StageSettings.depends_on`.
    """
    for candidate in _candidates(record, output, profile, named):
        try:
            settings = record.of_profile(candidate)
        except ModelError:
            continue  # a name of that time: not the model of these results, if they have one
        if is_theirs(settings.depends_on):
            return settings
    return None


def _candidates(
    record: SettingsRecord, output: ObjectStore, profile: Profile, named: dict[str, str]
) -> Iterator[Profile]:
    """Yield the profile, and its combinations with the defaults of version 0.1.0."""
    section = getattr(profile.pipeline, record.section)
    choices: dict[str, list[Any]] = {}
    for role in record.roles:
        known = [getattr(profile.models, role), DEFAULTS_0_1_0[role]]
        if role in named:
            known.append(named[role])
        if role == "category_detector":
            known.append(None)  # a profile that named none
        if role == "classifier":
            known += [found.key for found in output.list(PREDICTIONS_FOLDER)]
        choices[role] = _unique(known)
    for key in type(section).model_fields:
        if key in DEFAULTS_0_1_0:
            choices[key] = _unique([getattr(section, key), DEFAULTS_0_1_0[key]])
    for values in product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        models = {role: chosen.pop(role) for role in record.roles}
        yield record.apply(profile, models, chosen)


def _unique(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]
