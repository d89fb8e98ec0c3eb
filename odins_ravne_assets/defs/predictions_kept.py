"""Predictions in place of a classifier: kept with a camera's results before a step is launched."""

from collections.abc import Collection

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    is_predictions,
    keep_predictions,
)
from resources.settings.profile import Profile

# What asks for the classifier: units of Stage 1 label what they find.
LABELLING = {"detections", "classifications"}


def with_predictions_kept(profile: Profile, camera: Camera, stages: Collection[str]) -> Profile:
    """The profile as a worker can use it, wherever it runs.

    Raises:
        ModelError: `models.classifier` names predictions that cannot be read.
        StoreError: the store refuses.
    """
    classifier = profile.models.classifier
    if LABELLING.isdisjoint(stages) or not is_predictions(classifier):
        return profile
    key = keep_predictions(classifier, store_of(camera.output_url, profile))
    models = profile.models.model_copy(update={"classifier": key})
    return profile.model_copy(update={"models": models})
