"""The code version of each asset: it changes when the settings or models come to give other rows.

Dagster shows a camera's asset as stale when it was made with another one; so after a change of
Stage 3's settings, `observations` and what follows are stale, and nothing before them. What is said
of single cameras, their clocks and their places, makes nothing stale: code versions are those of
all cameras.
"""

import hashlib
import json
from typing import Any

from gpu_kernels.engines.engine import EngineKind
from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from resources.errors import ModelError
from resources.settings.profile import Profile

# Changes when the code of a stage comes to give other rows; Stages 1 and 2 have their own.
FOOTAGE, OBSERVATIONS, EXPORTS = 1, 1, 1
# Machines differ in engines, which agree within a tolerance: that makes nothing stale.
ANY_ENGINE: EngineKind = "onnxruntime"


def code_versions(profile: Profile) -> dict[str, str]:
    """By asset. A model that cannot be found is told when a run wants it, not here."""
    pipeline = profile.pipeline
    try:
        stage1 = stage1_key(profile, ANY_ENGINE)
        stage2 = stage2_key(profile, stage1)
    except ModelError as error:
        stage1 = stage2 = _hash(str(error))
    return {
        "footage": _hash(
            [FOOTAGE, pipeline.stage0.model_dump(mode="json", exclude={"clock_corrections"})]
        ),
        "detections": stage1[:12],
        "classifications": stage2[:12],
        "observations": _hash(
            [
                OBSERVATIONS,
                pipeline.stage3.model_dump(mode="json"),
                [each.model_dump(mode="json") for each in profile.project.species],
            ]
        ),
        "exports": _hash(
            [
                EXPORTS,
                profile.privacy.model_dump(mode="json"),
                profile.project.model_dump(mode="json", exclude={"species", "deployments"}),
            ]
        ),
    }


def _hash(depends_on: Any) -> str:
    text = json.dumps(depends_on, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
