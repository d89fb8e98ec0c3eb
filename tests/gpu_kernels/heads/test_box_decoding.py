"""Decoding of a detector's outputs into boxes, with NMS."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from model_files import SIDE, detector_manifest
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from resources.errors import ModelError


def rows(*values: Sequence[float]) -> NDArray[np.float32]:
    """Return the rows of one picture's output, as a batch of one."""
    return np.array([values], dtype=np.float32)


def assert_boxes(
    found: Boxes,
    xywh: Sequence[Sequence[float]],
    confidence: Sequence[float],
    classes: Sequence[int],
) -> None:
    assert found.xywh.dtype == np.float32
    assert found.confidence.dtype == np.float32
    np.testing.assert_allclose(found.xywh, np.reshape(xywh, (-1, 4)), atol=1e-6)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-6)
    assert found.class_index.tolist() == list(classes)


def test_yolo_objectness_multiplies_objectness_and_the_best_class(tmp_path: Path) -> None:
    output = rows([32, 32, 16, 32, 0.8, 0.25, 0.5], [10, 10, 4, 4, 0.9, 0.1, 0.2])
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(100, 200)], 0.25)
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]], [0.4], [1])


def test_yolo_anchor_free_reads_columns(tmp_path: Path) -> None:
    output = rows([32, 32, 16, 32, 0.1, 0.6], [10, 10, 4, 4, 0.2, 0.1]).transpose(0, 2, 1)
    manifest = detector_manifest(tmp_path, "yolo-anchor-free")
    (found,) = decode_boxes([output], manifest, [(100, 200)], 0.25)
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]], [0.6], [1])


def test_rtdetr_reads_fractions_and_suppresses_nothing(tmp_path: Path) -> None:
    centres = rows([0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 0.25, 0.5])
    scores = rows([0.3, 0.1], [0.9, 0.7])
    (found,) = decode_boxes(
        [centres, scores], detector_manifest(tmp_path, "rtdetr"), [(9, 9)], 0.25
    )
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]] * 3, [0.9, 0.7, 0.3], [0, 1, 0])


def test_ssd_offsets_move_and_scale_anchors(tmp_path: Path) -> None:
    # ty, tx in tenths of the anchor's size; th, tw in fifths of a natural logarithm.
    offsets = rows([2.0, 4.0, 5 * np.log(0.5), 5 * np.log(2.0)], [0.0, 0.0, 0.0, 0.0])
    logits = rows([np.log(3.0), -9.0], [-9.0, 0.0])  # sigmoids 0.75 and 0.5
    (found,) = decode_boxes([offsets, logits], detector_manifest(tmp_path, "ssd"), [(9, 9)], 0.25)
    # Anchor 0 has its centre at 0.25, 0.25 and size 0.5: centre y 0.35, x 0.45, h 0.25, w 1.0.
    assert_boxes(found, [[0.0, 0.225, 0.95, 0.25], [0.25, 0.25, 0.5, 0.5]], [0.75, 0.5], [0, 1])


def test_the_weaker_of_two_overlapping_boxes_of_a_class_is_removed(tmp_path: Path) -> None:
    output = rows(
        [32, 32, 20, 20, 1.0, 0.6, 0.0],
        [33, 32, 20, 20, 1.0, 0.9, 0.0],
        [33, 32, 20, 20, 1.0, 0.0, 0.5],
        [60, 60, 4, 4, 1.0, 0.3, 0.0],
    )
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert found.class_index.tolist() == [0, 1, 0]


def test_a_suppressed_box_suppresses_nothing(tmp_path: Path) -> None:
    # Each overlaps the next by 0.6; the first and the third by 1/3 only.
    output = rows(*([20 + 5 * k, 32, 20, 20, 1.0, 0.9 - 0.1 * k, 0.0] for k in range(3)))
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7])


def test_boxes_of_equal_confidence_have_a_stable_order(tmp_path: Path) -> None:
    output = rows(
        [50, 10, 4, 4, 1.0, 0.0, 0.5], [10, 10, 4, 4, 1.0, 0.5, 0.0], [30, 10, 4, 4, 1.0, 0.5, 0.0]
    )
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert found.class_index.tolist() == [0, 0, 1]
    assert found.xywh[:, 0].tolist() == pytest.approx([8 / 64, 28 / 64, 48 / 64])


def test_the_threshold_is_inclusive(tmp_path: Path) -> None:
    output = rows([32, 32, 8, 8, 1.0, 0.25, 0.0], [8, 8, 8, 8, 1.0, 0.2499, 0.0])
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == [0.25]


@pytest.mark.parametrize(
    "row",
    [
        [32, 32, 0, 8, 1.0, 0.9, 0.0],
        [32, 32, -8, 8, 1.0, 0.9, 0.0],
        [-32, 32, 8, 8, 1.0, 0.9, 0.0],
        [100, 32, 8, 8, 1.0, 0.9, 0.0],
        [32, 32, 3e38, 8, 1.0, 0.9, 0.0],
        [32, 32, 8, 3e38, 1.0, 0.9, 0.0],
    ],
)
def test_boxes_without_an_area_in_the_picture_are_dropped(tmp_path: Path, row: list[float]) -> None:
    good = [32, 32, 8, 8, 1.0, 0.0, 0.5]
    (found,) = decode_boxes([rows(row, good)], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert found.class_index.tolist() == [1]


@pytest.mark.parametrize(
    ("centre", "found"), [(0.5, 1), (0.0, 1), (-0.5, 0), (63.5, 1), (64.0, 1), (64.5, 0)]
)
def test_a_box_with_less_than_half_its_area_inside_the_picture_is_dropped(
    tmp_path: Path, centre: float, found: int
) -> None:
    output = rows([centre, 32, 8, 8, 1.0, 0.9, 0.0])
    (boxes,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.25)
    assert len(boxes) == found


def test_a_box_in_the_padding_of_a_letterbox_is_dropped(tmp_path: Path) -> None:
    manifest = detector_manifest(tmp_path, fit_rule="letterbox-topleft")
    output = rows([32, 60, 8, 8, 1.0, 0.9, 0.0], [32, 16, 8, 8, 1.0, 0.0, 0.5])
    (found,) = decode_boxes([output], manifest, [(50, 100)], 0.25)
    assert_boxes(found, [[28 / 64, 12 / 32, 8 / 64, 8 / 32]], [0.5], [1])


def test_a_threshold_of_zero_selects_the_strongest_boxes_within_seconds(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    output = random.uniform(0, SIDE, (1, 30_000, 7)).astype(np.float32)
    output[:, :, 2:4] = 0.01  # no overlap, the worst case
    output[:, :, 4:] = random.uniform(0, 1, (1, 30_000, 3))
    started = time.perf_counter()
    (found,) = decode_boxes([output], detector_manifest(tmp_path), [(64, 64)], 0.0)
    assert time.perf_counter() - started < 5
    assert len(found) > 1900
    best = (output[0, :, 4] * output[0, :, 5:].max(axis=1)).max()
    assert found.confidence[0] == pytest.approx(best)


def test_without_boxes_the_arrays_are_empty(tmp_path: Path) -> None:
    for decoding, outputs in {
        "yolo-objectness": [np.zeros((1, 3, 7), np.float32)],
        "yolo-anchor-free": [np.zeros((1, 6, 0), np.float32)],
        "rtdetr": [np.zeros((1, 3, 4), np.float32), np.zeros((1, 3, 2), np.float32)],
        "ssd": [np.zeros((1, 2, 4), np.float32), np.full((1, 2, 2), -9.0, np.float32)],
    }.items():
        (found,) = decode_boxes(outputs, detector_manifest(tmp_path, decoding), [(9, 9)], 0.25)
        assert found.xywh.shape == (0, 4)
        assert len(found) == len(found.confidence) == len(found.class_index) == 0


def test_each_picture_of_a_batch_has_its_own_boxes(tmp_path: Path) -> None:
    output = np.concatenate(
        [rows([32, 32, 8, 8, 1.0, 0.5, 0.0]), rows([32, 32, 8, 8, 1.0, 0.0, 0.0])]
    )
    first, second = decode_boxes([output], detector_manifest(tmp_path), [(64, 64), (64, 64)], 0.25)
    assert (len(first), len(second)) == (1, 0)


@pytest.mark.parametrize("decoding", ["yolo-objectness", "yolo-anchor-free", "rtdetr", "ssd"])
def test_outputs_that_do_not_match_the_manifest_are_refused(tmp_path: Path, decoding: str) -> None:
    manifest = detector_manifest(tmp_path, decoding)
    with pytest.raises(ModelError, match=rf"but {decoding} with 2 class\(es\) needs .*correct"):
        decode_boxes([np.zeros((1, 84, 8400), np.float32)], manifest, [(9, 9)], 0.25)
