"""Ranking of a classifier's labels."""

from pathlib import Path

import numpy as np
import pytest
from model_files import CLASSIFIER, copy_model

from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import load_manifest
from resources.errors import ModelError


def test_labels_are_ranked_and_ties_keep_their_order() -> None:
    scores = np.zeros((2, 1000), np.float32)
    scores[0, [281, 277]] = 0.4
    scores[1, 386] = 0.9
    first, second = rank_labels(scores, load_manifest(CLASSIFIER))
    assert [label.label for label in first[:2]] == ["red fox", "tabby cat"]
    assert second[0][:2] == ("African elephant", "Loxodonta africana")
    assert second[0].confidence == pytest.approx(0.9)
    assert second[0].is_animal


def test_logits_become_probabilities(tmp_path: Path) -> None:
    path = copy_model(tmp_path, CLASSIFIER, ('"probabilities"', '"logits"'))
    scores = np.full((1, 1000), -1000.0, np.float32)
    scores[0, 277] = 1000.0
    scores[0, 281] = 1000.0 + np.log(3.0)
    ((best, second, *_),) = rank_labels(scores, load_manifest(str(path)))
    assert (best.label, second.label) == ("tabby cat", "red fox")
    assert best.confidence == pytest.approx(0.75, abs=1e-4)
    assert second.confidence == pytest.approx(0.25, abs=1e-4)


def test_different_numbers_of_scores_and_labels_are_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs \(1, 1001\).* has 1000 labels"):
        rank_labels(np.zeros((1, 1001), np.float32), load_manifest(CLASSIFIER))


@pytest.mark.parametrize(
    ("decoding", "score", "expected"),
    [
        ("probabilities", 2.69, 'gives a score of 2.69, .* set output.decoding = "logits"'),
        ("probabilities", -3.0, 'gives a score of -3, .* set output.decoding = "logits"'),
        ("probabilities", np.nan, "gives a score that is not finite"),
        ("logits", np.nan, "gives a score that is not finite"),
        ("logits", np.inf, "gives a score that is not finite"),
        ("logits", -np.inf, "gives a score that is not finite"),
    ],
)
def test_an_impossible_score_is_refused(
    tmp_path: Path, decoding: str, score: float, expected: str
) -> None:
    path = copy_model(tmp_path, CLASSIFIER, ('"probabilities"', f'"{decoding}"'))
    scores = np.zeros((2, 1000), np.float32)
    scores[1, 5] = score
    with pytest.raises(ModelError, match=expected) as caught:
        rank_labels(scores, load_manifest(str(path)))
    assert "\n" not in str(caught.value)


def test_a_rounded_probability_is_limited_to_one() -> None:
    scores = np.zeros((1, 1000), np.float32)
    scores[0, 5] = 1.0008
    ((best, *_),) = rank_labels(scores, load_manifest(CLASSIFIER))
    assert best.confidence == 1.0
