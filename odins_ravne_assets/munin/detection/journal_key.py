"""The key of Stage 1's journal: a hash of all that its results depend on."""

from gpu_kernels.engines.engine import EngineKind
from gpu_kernels.models.manifest import load_manifest, model_hash
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.settings.profile import Profile

# Raise it when a change of the code changes results.
STAGE1_VERSION = 1


def stage1_key(profile: Profile, engine: EngineKind) -> str:
    """Return a hash of the models and settings that Stage 1's results depend on.

    Args:
        engine: runs the models; results of engines agree only within a tolerance.

    Raises:
        ModelError: a model's manifest cannot be read.
    """
    models, stage1 = profile.models, profile.pipeline.stage1
    names = [models.detector, models.category_detector]
    dependencies = {
        "version": STAGE1_VERSION,
        "models": [model_hash(load_manifest(name)) for name in names if name],
        "engine": engine,
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
    return journal_key(dependencies)
