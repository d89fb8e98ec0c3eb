"""The key of Stage 2's journal: a hash of all that its results depend on."""

from gpu_kernels.models.manifest import load_manifest, model_hash
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    is_predictions,
    predictions_hash,
)
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.settings.profile import Profile

# Raise it when a change of the code changes results.
STAGE2_VERSION = 1


def stage2_key(profile: Profile, stage1: str) -> str:
    """Return a hash of the model and settings that Stage 2's results depend on.

    Args:
        stage1: the key of the journal with the boxes.

    Raises:
        ModelError: the model's manifest cannot be read.
    """
    dependencies = {
        "version": STAGE2_VERSION,
        "stage1": stage1,
        "model": _classifier_hash(profile.models.classifier),
        "auto_ok_threshold": profile.pipeline.stage2.auto_ok_threshold,
    }
    return journal_key(dependencies)


def _classifier_hash(classifier: str) -> str:
    if is_predictions(classifier):
        return predictions_hash(classifier)
    return model_hash(load_manifest(classifier))
