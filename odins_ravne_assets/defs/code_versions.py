"""The code version of each asset: it changes when settings or models would give other rows.

Dagster shows a camera's asset as stale when it was made with another code version; so after a
change of Stage 3's settings, `observations` and its downstream assets are stale, and nothing
upstream. Detections and classifications have the version of the settings that they were made with,
so they stay stale after a run that adds new media under older settings, until an update. Facts of
single cameras, their clocks and deployments, make nothing stale: code versions apply to all
cameras.
"""

import hashlib
import json
from typing import Any

from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from resources.errors import ModelError
from resources.settings.profile import Profile

# Increased when the code of a stage gives other rows; Stages 1 and 2 have versions of their own.
FOOTAGE, OBSERVATIONS, EXPORTS = 1, 2, 2


def code_versions(profile: Profile, boxes: str | None = None) -> dict[str, str]:
    """Return the code version of each asset.

    A model that cannot be found is reported by the run that needs it, not here.

    Args:
        boxes: the key of the settings of the boxes that are labelled; None: those of the profile.
    """
    pipeline = profile.pipeline
    try:
        stage1 = boxes or stage1_key(profile)
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
