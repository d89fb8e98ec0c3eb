"""Boxes decoded by kernels, on the CPU, compared with those decoded by numpy.

Both must select the same boxes. Rounding is the same in each step except exp and tanh in SSD's
heads, hence the tolerance.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from finished_slot import FinishedSlot, decode_on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.heads.box_decoding import MAX_CANDIDATES, Boxes, decode_boxes
from gpu_kernels.heads.gpu_box_decoding import CANDIDATE_CAPACITY, GpuBoxDecoder
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.preprocessing.letterbox import fit, to_input
from resources.errors import ModelError

Outputs = list[NDArray[Any]]
YOLOX, SSD = "megadetector-lite", "ssd-mobilenet-v2-cam16"
ROWS = 8400  # of MegadetectorLite


def assert_same(found: list[Boxes], expected: list[Boxes]) -> None:
    for some, others in zip(found, expected, strict=True):
        assert some.class_index.tolist() == others.class_index.tolist()
        np.testing.assert_allclose(some.confidence, others.confidence, atol=1e-6)
        np.testing.assert_allclose(some.xywh, others.xywh, atol=1e-5)


def yolox_rows(count: int, seed: int, spread: float = 1.0) -> NDArray[np.float32]:
    """Return rows [1, ROWS, 6], of which `count` random ones may reach a threshold."""
    random = np.random.default_rng(seed)
    rows = np.zeros((1, ROWS, 6), np.float32)
    places = random.permutation(ROWS)[:count]
    rows[0, places, :2] = random.uniform(-40, 680, (count, 2))
    rows[0, places, 2:4] = random.uniform(0, 250, (count, 2))
    rows[0, places, 4:] = random.uniform(1 - spread, 1, (count, 2))
    return rows


def ssd_heads(quiet: float, seed: int) -> Outputs:
    """Return the outputs for two pictures; a larger `quiet` gives fewer candidates."""
    random = np.random.default_rng(seed)
    offsets = random.normal(0, 1, (2, 1917, 4)).astype(np.float32)
    return [offsets, random.normal(-quiet, 2, (2, 1917, 16)).astype(np.float32)]


@settings(max_examples=60, deadline=None)
@given(
    count=st.sampled_from([0, 1, 2, 30, 300]),
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.1, 0.25, 0.9, 1.0]),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
def test_yolox_outputs_give_the_same_boxes_as_numpy(
    count: int, seed: int, threshold: float, size: tuple[int, int]
) -> None:
    manifest, rows = load_manifest(YOLOX), yolox_rows(count, seed)
    found = decode_on_device([rows], manifest, [size], threshold)
    assert_same(found, decode_boxes([rows], manifest, [size], threshold))


@pytest.mark.parametrize("quiet", [5.0, 7.0, 30.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_ssd_outputs_give_the_same_boxes_as_numpy(quiet: float, seed: int) -> None:
    manifest, outputs = load_manifest(SSD), ssd_heads(quiet, seed)
    sizes = [(480, 640), (700, 333)]
    threshold = manifest.detector_output.threshold
    found = decode_on_device(outputs, manifest, sizes, threshold)
    assert_same(found, decode_boxes(outputs, manifest, sizes, threshold))
    assert all(len(boxes) == 0 for boxes in found) == (quiet == 30.0)


def test_float16_outputs_give_the_same_boxes_as_numpy() -> None:
    manifest, outputs = load_manifest(SSD), [each.astype(np.float16) for each in ssd_heads(7.0, 3)]
    sizes = [(300, 300), (640, 480)]
    found = decode_on_device(outputs, manifest, sizes, 0.3)
    assert_same(found, decode_boxes(outputs, manifest, sizes, 0.3))
    assert len(found[0]) > 10


def test_of_equal_boxes_the_first_row_is_selected() -> None:
    """Fifty boxes of equal confidence, in pairs with little difference; 25 remain."""
    manifest = load_manifest(YOLOX)
    rows = np.zeros((1, ROWS, 6), np.float32)
    for number in range(50):
        rows[0, 8399 - number] = (60 * (number % 25) % 600, 40 * (number % 25), 50, 30 + number,
                                  0.8, 0.9)  # fmt: skip
    (found,) = decode_on_device([rows], manifest, [(1280, 1280)], 0.25)
    (expected,) = decode_boxes([rows], manifest, [(1280, 1280)], 0.25)
    np.testing.assert_array_equal(found.xywh, expected.xywh)
    assert len(set(found.confidence.tolist())) == 1
    assert 0 < len(found) < 50


def test_without_overlap_all_boxes_up_to_the_capacity_remain() -> None:
    """A grid of boxes that do not touch, as many as the capacity."""
    manifest = load_manifest(YOLOX)
    rows = np.zeros((1, ROWS, 6), np.float32)
    place = np.arange(CANDIDATE_CAPACITY)
    rows[0, :CANDIDATE_CAPACITY, 0], rows[0, :CANDIDATE_CAPACITY, 1] = (
        place % 50 * 12 + 6,
        place // 50 * 12 + 6,
    )
    rows[0, :CANDIDATE_CAPACITY, 2:4], rows[0, :CANDIDATE_CAPACITY, 4:] = 8.0, 0.9
    (found,) = decode_on_device([rows], manifest, [(640, 640)], 0.25)
    assert len(found) == CANDIDATE_CAPACITY == MAX_CANDIDATES
    assert_same([found], decode_boxes([rows], manifest, [(640, 640)], 0.25))


@pytest.mark.parametrize("over", [0, 1, 5000])
def test_candidates_beyond_the_capacity_lose_no_box(over: int) -> None:
    """Only the picture with too many candidates is decoded on the host."""
    manifest = load_manifest(YOLOX)
    crowded, few = yolox_rows(CANDIDATE_CAPACITY + over + 200, 1, 0.1), yolox_rows(9, 2, 0.1)
    sizes = [(640, 640)] * 3
    outputs = [np.concatenate([few, crowded, few])]
    slot = FinishedSlot(outputs)
    found = GpuBoxDecoder(manifest, 0.25).start(slot, sizes)()
    assert_same(found, decode_boxes(outputs, manifest, sizes, 0.25))
    assert len(found[1]) > len(found[0]) > 0


def test_rows_without_an_area_in_the_picture_are_ignored() -> None:
    manifest = load_manifest(YOLOX)
    rows = np.zeros((1, ROWS, 6), np.float32)
    rows[0, 100] = (300, 200, 80, 80, 0.9, 0.9)
    rows[0, 101] = (300, 200, 3e38, 80, 1.0, 1.0)
    rows[0, 102] = (300, 200, 0, 80, 1.0, 1.0)
    rows[0, 103] = (300, 900, 80, 80, 1.0, 1.0)  # beyond the picture
    rows[0, 104] = (300, 490, 80, 80, 1.0, 1.0)  # three eighths of it inside
    rows[0, 105] = (300, np.nan, 80, 80, 0.1, 1.0)  # below the threshold
    (found,) = decode_on_device([rows], manifest, [(480, 640)], 0.25)
    assert_same([found], decode_boxes([rows], manifest, [(480, 640)], 0.25))
    assert len(found) == 1


def test_a_reused_slot_has_no_boxes_of_the_previous_batch() -> None:
    manifest = load_manifest(YOLOX)
    decoder, slot = GpuBoxDecoder(manifest, 0.25), FinishedSlot([yolox_rows(300, 1)])
    (many,) = decoder.start(slot, [(640, 640)])()
    slot.outputs[0].assign(yolox_rows(2, 3, 0.1))
    (few,) = decoder.start(slot, [(640, 640)])()
    assert len(many) > len(few) == 2


def test_outputs_that_do_not_match_the_manifest_are_refused() -> None:
    with pytest.raises(ModelError, match=r"correct output\.decoding, output\.outputs or"):
        decode_on_device([np.zeros((1, ROWS, 7), np.float32)], load_manifest(YOLOX), [(9, 9)], 0.25)


@pytest.mark.footage
@pytest.mark.parametrize("name", [YOLOX, SSD])
def test_outputs_on_real_pictures_give_the_same_boxes_as_numpy(footage: Path, name: str) -> None:
    manifest = load_manifest(name)
    paths = sorted(p for p in footage.rglob("*.[jJ][pP][gG]") if p.stat().st_size)[::6][:8]
    pictures = [cv2.imdecode(np.fromfile(p, np.uint8), cv2.IMREAD_REDUCED_COLOR_4) for p in paths]
    real = [np.asarray(each, np.uint8) for each in pictures if each is not None]
    outputs = open_engine(manifest, "onnxruntime", 2).run(
        to_input([fit(each, manifest) for each in real], manifest)
    )
    sizes = [(each.shape[0], each.shape[1]) for each in real]
    own = manifest.detector_output.threshold
    for threshold in (own, own / 3):
        found = decode_on_device(outputs, manifest, sizes, threshold)
        assert_same(found, decode_boxes(outputs, manifest, sizes, threshold))
        assert sum(map(len, found)) > 4
