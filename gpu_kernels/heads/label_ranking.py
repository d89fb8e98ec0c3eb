"""Rank the labels of a classifier by its scores (top-k)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.score_checks import check_finite, check_probabilities
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError


class RankedLabel(NamedTuple):
    """A label with its probability."""

    label: str
    scientific_name: str | None
    confidence: float
    is_animal: bool


def rank_labels(
    scores: NDArray[Any], manifest: ModelManifest, count: int = 5
) -> list[list[RankedLabel]]:
    """Return the most probable labels of each crop, best first.

    Args:
        scores: [N, classes], the output of a classifier.
        manifest: the classifier; a softmax is applied to scores of decoding `logits`.
        count: the number of labels.

    Raises:
        ModelError: the numbers of scores and labels differ, or a score is impossible; see
            `score_checks`.
    """
    labels = load_labels(manifest)
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ModelError(
            f"model {manifest.name}: outputs {tuple(scores.shape)}, but "
            f"{manifest.classifier_output.labels} has {len(labels)} labels; one score per label "
            "and picture is needed"
        )
    if manifest.classifier_output.decoding == "logits":
        probabilities = _softmax(check_finite(scores, manifest))
    else:
        remedy = 'set output.decoding = "logits" if the graph ends without a softmax'
        probabilities = np.clip(check_probabilities(scores, manifest, remedy), 0.0, 1.0)
    # A stable sort: of equal labels the one listed first wins.
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        [
            RankedLabel(
                labels[k].label, labels[k].scientific_name, float(row[k]), labels[k].is_animal
            )
            for k in order
        ]
        for row, order in zip(probabilities, best.tolist(), strict=True)
    ]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
