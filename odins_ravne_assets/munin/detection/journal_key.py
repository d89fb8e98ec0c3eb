"""Which of Stage 1's answers a profile asks for: the key of their journal."""

from gpu_kernels.engines.engine import EngineKind
from gpu_kernels.models.manifest import load_manifest, model_hash
from odins_ravne_assets.munin.tables.journal import journal_key
from resources.settings.profile import Profile

# Changes when the code comes to give other answers.
STAGE1_VERSION = 1


def stage1_key(profile: Profile, engine: EngineKind) -> str:
    """A hash of the models and settings that Stage 1's answers depend on.

    Args:
        engine: what runs them: engines agree within a tolerance, not to the last digit.

    Raises:
        ModelError: a model's manifest cannot be read.
    """
    models, stage1 = profile.models, profile.pipeline.stage1
    names = [models.detector, models.category_detector]
    depends_on = {
        "version": STAGE1_VERSION,
        "models": [model_hash(load_manifest(name)) for name in names if name],
        "engine": engine,
        "conf_threshold": stage1.conf_threshold,
        "sampling": stage1.sampling,
        "motion_gate": stage1.motion_gate,
    }
    if stage1.sampling == "fps":
        depends_on["frames_per_second"] = stage1.frames_per_second
    if stage1.sampling == "every":
        depends_on["every_nth_frame"] = stage1.every_nth_frame
    if stage1.motion_gate:
        depends_on["motion_threshold"] = stage1.motion_threshold
    return journal_key(depends_on)
