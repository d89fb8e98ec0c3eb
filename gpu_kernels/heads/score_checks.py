"""Refuse scores that are not probabilities: the manifest is wrong, or the graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.nms import Floats
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import PlainBoxes
from resources.errors import ModelError

# float16 rounds; a score may be outside 0 to 1 by this.
SCORE_TOLERANCE = 1e-3
# Of logits, the scores of boxes that hold no object are negative: most. A few are an error.
MIN_NEGATIVE_LOGITS = 0.1


def check_scores(scores: NDArray[Any], manifest: ModelManifest) -> Floats:
    """Return the scores of a detector as probabilities, float32.

    Raises:
        ModelError: one is not finite, or not from 0 to 1 and the manifest declares probabilities.
    """
    head = manifest.detector_output
    if isinstance(head, PlainBoxes) and head.scores == "sigmoid":
        return sigmoid(scores, manifest)
    remedy = "correct output.decoding, output.outputs or output.classes"
    if negative_share(scores) >= MIN_NEGATIVE_LOGITS:
        remedy = f'set output.scores = "sigmoid" if the graph gives logits, else {remedy}'
    return check_probabilities(scores, manifest, remedy)


def negative_share(scores: NDArray[Any]) -> float:
    """Return the share of scores that are negative, and so no probabilities, 0 to 1.

    Zeros do not count: they may be padding.
    """
    used = np.count_nonzero(scores)
    return float(np.count_nonzero(scores < -SCORE_TOLERANCE) / used) if used else 0.0


def check_probabilities(scores: NDArray[Any], manifest: ModelManifest, remedy: str) -> Floats:
    """Return scores that must be probabilities, float32.

    Args:
        remedy: what to correct in the manifest if they are not.

    Raises:
        ModelError: one is not finite, or not from 0 to 1.
    """
    values = check_finite(scores, manifest)
    if values.size:
        low, high = float(values.min()), float(values.max())
        if low < -SCORE_TOLERANCE or high > 1 + SCORE_TOLERANCE:
            worst = high if high > 1 + SCORE_TOLERANCE else low
            raise ModelError(
                f"model {manifest.name}: gives a score of {worst:.4g}, the manifest declares "
                f"probabilities, 0 to 1; {remedy}"
            )
    return values


def sigmoid(logits: NDArray[Any], manifest: ModelManifest) -> Floats:
    """Return the sigmoid of logits, float32.

    Raises:
        ModelError: one is not finite.
    """
    # The tanh form is exact and cannot overflow.
    return np.asarray(0.5 + 0.5 * np.tanh(check_finite(logits, manifest) / 2), dtype=np.float32)


def check_finite(scores: NDArray[Any], manifest: ModelManifest) -> Floats:
    """Return scores of a detector or a classifier, float32.

    Raises:
        ModelError: one is not finite.
    """
    values = scores.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        raise ModelError(
            f"model {manifest.name}: gives a score that is not finite ({values[~finite][0]}); its "
            "graph overflows or is damaged: export it in float32, or set fp16 = false in its "
            "manifest"
        )
    return values
