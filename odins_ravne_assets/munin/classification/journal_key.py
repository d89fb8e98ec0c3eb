"""Which of Stage 2's answers a profile asks for: the key of their journal."""

from gpu_kernels.models.manifest import load_manifest, model_hash
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    is_predictions,
    predictions_hash,
)
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.settings.profile import Profile

# Changes when the code comes to give other answers.
STAGE2_VERSION = 1


def stage2_key(profile: Profile, stage1: str) -> str:
    """A hash of the model and settings that Stage 2's answers depend on.

    Args:
        stage1: the key of the journal whose boxes are labelled.

    Raises:
        ModelError: the model's manifest cannot be read.
    """
    depends_on = {
        "version": STAGE2_VERSION,
        "stage1": stage1,
        "model": _hash_of(profile.models.classifier),
        "auto_ok_threshold": profile.pipeline.stage2.auto_ok_threshold,
    }
    return journal_key(depends_on)


def _hash_of(classifier: str) -> str:
    if is_predictions(classifier):
        return predictions_hash(classifier)
    return model_hash(load_manifest(classifier))
