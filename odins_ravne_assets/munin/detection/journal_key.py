"""The key of Stage 1's journal: a hash of all that its results depend on."""

from typing import Any

from gpu_kernels.models.ensemble import DetectorModels, load_detector
from odins_ravne_assets.munin.tables.journal import Stage1Journal, journal_key
from resources.settings.profile import Models, Profile
from resources.storage.object_store import ObjectStore

# Raise it when a change of the code changes results.
STAGE1_VERSION = 1
# Engines agree within a tolerance, so results do not depend on the engine. Version 0.1.0 had a
# journal for each engine: the key keeps the name of one, so that its journals stay valid.
ENGINE = "onnxruntime"
OTHER_ENGINES = ("tensorrt",)


def profile_detector(models: Models) -> DetectorModels:
    """Return the detector of a profile, with all models that it consists of.

    Raises:
        ModelError: a manifest cannot be read.
    """
    return load_detector(models.detector, models.category_detector, models.folder)


def stage1_dependencies(profile: Profile) -> dict[str, Any]:
    """Return the hashes of the models, and the settings, that Stage 1's results depend on.

    Raises:
        ModelError: a model's manifest cannot be read.
    """
    models, stage1 = profile.models, profile.pipeline.stage1
    dependencies = {
        "version": STAGE1_VERSION,
        "models": profile_detector(models).hashes,
        "engine": ENGINE,
        "conf_threshold": stage1.conf_threshold,
        "sampling": stage1.sampling,
        "motion_gate": stage1.motion_gate,
    }
    if stage1.sampling == "fps":
        dependencies["frames_per_second"] = stage1.frames_per_second
    if stage1.sampling == "every":
        dependencies["every_nth_frame"] = stage1.every_nth_frame
    if stage1.motion_gate:
        dependencies["motion_threshold"] = stage1.motion_threshold
    return dependencies


def stage1_key(profile: Profile) -> str:
    """Return the key of the journal of a profile's models and settings.

    Raises:
        ModelError: a model's manifest cannot be read.
    """
    return journal_key(stage1_dependencies(profile))


def stage1_keys(dependencies: dict[str, Any]) -> list[str]:
    """Return the keys that journals of these dependencies may have: today's, then older ones."""
    older = [journal_key({**dependencies, "engine": engine}) for engine in OTHER_ENGINES]
    return [journal_key(dependencies), *older]


def stage1_journal_key(output: ObjectStore, profile: Profile) -> str:
    """Return the key under which a camera's results have the journal of a profile's settings.

    Of an older version's journals, one for each engine, it is the one with the most media.

    Raises:
        ModelError: a model's manifest cannot be read.
    """
    journals = [Stage1Journal(output, key) for key in stage1_keys(stage1_dependencies(profile))]
    used = [journal for journal in journals if journal.has_finished()]
    if len(used) > 1:
        return max(used, key=lambda journal: len(journal.finished())).key
    return used[0].key if used else journals[0].key
