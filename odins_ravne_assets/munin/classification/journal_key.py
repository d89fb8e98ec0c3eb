"""The key of Stage 2's journal: a hash of all that its results depend on."""

from typing import Any

from gpu_kernels.models.manifest import load_manifest, model_hash
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    is_predictions,
    predictions_hash,
)
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.settings.profile import Models, Profile

# Raise it when a change of the code changes results.
STAGE2_VERSION = 1


def stage2_dependencies(profile: Profile) -> dict[str, Any]:
    """Return the hash of the model, and the settings, that Stage 2's results depend on.

    They depend on Stage 1's boxes too.

    Raises:
        ModelError: the model's manifest, or the file of predictions, cannot be read.
    """
    return {
        "version": STAGE2_VERSION,
        "model": _classifier_hash(profile.models),
        "auto_ok_threshold": profile.pipeline.stage2.auto_ok_threshold,
    }


def stage2_key(profile: Profile, stage1: str) -> str:
    """Return the key of the journal of a profile's classifier and settings.

    Args:
        stage1: the key of the journal with the boxes.

    Raises:
        ModelError: see `stage2_dependencies`.
    """
    return journal_key({**stage2_dependencies(profile), "stage1": stage1})


def _classifier_hash(models: Models) -> str:
    if is_predictions(models.classifier):
        return predictions_hash(models.classifier)
    return model_hash(load_manifest(models.classifier, models.folder))
