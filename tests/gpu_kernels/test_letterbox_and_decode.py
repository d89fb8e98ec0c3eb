"""Preprocessing, its inverse, the decoding of network outputs, and what categories follow."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.heads.category_refinement import (
    RefinedCategory,
    RefinementCrop,
    min_score,
    refine_categories,
    refinement_crop,
)
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.models.manifest import InputSpec, ModelManifest, load_manifest
from gpu_kernels.preprocessing.crop_regions import crop_picture, crop_region, to_pixels
from gpu_kernels.preprocessing.letterbox import fit, placement, to_input
from resources.errors import ModelError

ANCHORS = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]], dtype=np.float32)
FITS = ["letterbox-topleft", "letterbox-centre", "stretch"]
SIDE = 64  # of the square input of most models here


def a_detector(
    folder: Path,
    decoding: str = "yolo-objectness",
    fit_rule: str = "stretch",
    classes: Sequence[str] = ("deer", "fox"),
    nms_iou: float = 0.5,
) -> ModelManifest:
    """A manifest of a network that need not exist: these tests make its outputs by hand."""
    np.save(folder / "anchors.npy", ANCHORS)
    lines = [
        'name = "hand-made"',
        'task = "detector"',
        'file = "none.onnx"',
        f'sha256 = "{"0" * 64}"',
        *(f'{key} = "-"' for key in ("honest", "licence", "source", "home")),
        "[input]",
        f'height = {SIDE}\nwidth = {SIDE}\nlayout = "nchw"\ncolour = "rgb"',
        f'multiply = [1.0, 1.0, 1.0]\nadd = [0.0, 0.0, 0.0]\nfit = "{fit_rule}"',
        "" if fit_rule == "stretch" else "pad = 114",
        "[output]",
        f'decoding = "{decoding}"\nthreshold = 0.25',
        "" if decoding == "rtdetr" else f"nms_iou = {nms_iou}",
        f'anchors = "anchors.npy"\nanchors_sha256 = "{"0" * 64}"' if decoding == "ssd" else "",
        "classes = [" + ", ".join(f'{{name = "{name}"}}' for name in classes) + "]",
    ]
    path = folder / f"{decoding}-{fit_rule}-{len(classes)}-{nms_iou}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load_manifest(str(path))


def rows(*values: Sequence[float]) -> NDArray[np.float32]:
    """Rows of one picture's output, as a batch of one."""
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


# Decoding: small arrays with known answers


def test_yolo_objectness_multiplies_objectness_and_the_best_class(tmp_path: Path) -> None:
    output = rows([32, 32, 16, 32, 0.8, 0.25, 0.5], [10, 10, 4, 4, 0.9, 0.1, 0.2])
    (found,) = decode_boxes([output], a_detector(tmp_path), [(100, 200)], 0.25)
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]], [0.4], [1])


def test_yolo_anchor_free_reads_columns(tmp_path: Path) -> None:
    output = rows([32, 32, 16, 32, 0.1, 0.6], [10, 10, 4, 4, 0.2, 0.1]).transpose(0, 2, 1)
    manifest = a_detector(tmp_path, "yolo-anchor-free")
    (found,) = decode_boxes([output], manifest, [(100, 200)], 0.25)
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]], [0.6], [1])


def test_rtdetr_reads_fractions_and_suppresses_nothing(tmp_path: Path) -> None:
    centres = rows([0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 0.25, 0.5])
    scores = rows([0.3, 0.1], [0.9, 0.7])
    (found,) = decode_boxes([centres, scores], a_detector(tmp_path, "rtdetr"), [(9, 9)], 0.25)
    assert_boxes(found, [[0.375, 0.25, 0.25, 0.5]] * 3, [0.9, 0.7, 0.3], [0, 1, 0])


def test_ssd_offsets_move_and_scale_anchors(tmp_path: Path) -> None:
    # ty, tx in tenths of the anchor's size; th, tw in fifths of a natural logarithm.
    offsets = rows([2.0, 4.0, 5 * np.log(0.5), 5 * np.log(2.0)], [0.0, 0.0, 0.0, 0.0])
    logits = rows([np.log(3.0), -9.0], [-9.0, 0.0])  # sigmoids 0.75 and 0.5
    (found,) = decode_boxes([offsets, logits], a_detector(tmp_path, "ssd"), [(9, 9)], 0.25)
    # Anchor 0 has its centre at 0.25, 0.25 and size 0.5: centre y 0.35, x 0.45, h 0.25, w 1.0.
    assert_boxes(found, [[0.0, 0.225, 0.95, 0.25], [0.25, 0.25, 0.5, 0.5]], [0.75, 0.5], [0, 1])


def test_the_weaker_of_two_overlapping_boxes_goes_within_its_class_only(tmp_path: Path) -> None:
    output = rows(
        [32, 32, 20, 20, 1.0, 0.6, 0.0],
        [33, 32, 20, 20, 1.0, 0.9, 0.0],
        [33, 32, 20, 20, 1.0, 0.0, 0.5],
        [60, 60, 4, 4, 1.0, 0.3, 0.0],
    )
    (found,) = decode_boxes([output], a_detector(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert found.class_index.tolist() == [0, 1, 0]


def test_a_suppressed_box_suppresses_nothing(tmp_path: Path) -> None:
    # Each overlaps the next by 0.6; the first and the third by 1/3 only.
    output = rows(*([20 + 5 * k, 32, 20, 20, 1.0, 0.9 - 0.1 * k, 0.0] for k in range(3)))
    (found,) = decode_boxes([output], a_detector(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7])


def test_boxes_of_equal_confidence_keep_one_order(tmp_path: Path) -> None:
    output = rows(
        [50, 10, 4, 4, 1.0, 0.0, 0.5], [10, 10, 4, 4, 1.0, 0.5, 0.0], [30, 10, 4, 4, 1.0, 0.5, 0.0]
    )
    (found,) = decode_boxes([output], a_detector(tmp_path), [(64, 64)], 0.25)
    assert found.class_index.tolist() == [0, 0, 1]
    assert found.xywh[:, 0].tolist() == pytest.approx([8 / 64, 28 / 64, 48 / 64])


def test_the_threshold_itself_is_enough(tmp_path: Path) -> None:
    output = rows([32, 32, 8, 8, 1.0, 0.25, 0.0], [8, 8, 8, 8, 1.0, 0.2499, 0.0])
    (found,) = decode_boxes([output], a_detector(tmp_path), [(64, 64)], 0.25)
    assert found.confidence.tolist() == [0.25]


@pytest.mark.parametrize(
    "row",
    [
        [np.nan, 32, 8, 8, 1.0, 0.9, 0.0],
        [32, 32, np.inf, 8, 1.0, 0.9, 0.0],
        [32, 32, 8, 8, np.nan, 0.9, 0.0],
        [32, 32, 8, 8, 1.0, np.nan, np.nan],
        [32, 32, 0, 8, 1.0, 0.9, 0.0],
        [32, 32, -8, 8, 1.0, 0.9, 0.0],
        [-32, 32, 8, 8, 1.0, 0.9, 0.0],
        [100, 32, 8, 8, 1.0, 0.9, 0.0],
    ],
)
def test_boxes_without_area_or_number_are_dropped(tmp_path: Path, row: list[float]) -> None:
    good = [32, 32, 8, 8, 1.0, 0.0, 0.5]
    (found,) = decode_boxes([rows(row, good)], a_detector(tmp_path), [(64, 64)], 0.25)
    assert found.class_index.tolist() == [1]


def test_a_class_that_is_no_number_does_not_hide_another(tmp_path: Path) -> None:
    (found,) = decode_boxes(
        [rows([32, 32, 8, 8, 1.0, np.nan, 0.5])], a_detector(tmp_path), [(64, 64)], 0.25
    )
    assert found.class_index.tolist() == [1]


def test_a_box_in_the_padding_of_a_letterbox_is_dropped(tmp_path: Path) -> None:
    manifest = a_detector(tmp_path, fit_rule="letterbox-topleft")
    output = rows([32, 60, 8, 8, 1.0, 0.9, 0.0], [32, 16, 8, 8, 1.0, 0.0, 0.5])
    (found,) = decode_boxes([output], manifest, [(50, 100)], 0.25)
    assert_boxes(found, [[28 / 64, 12 / 32, 8 / 64, 8 / 32]], [0.5], [1])


def test_a_threshold_of_nothing_keeps_the_strongest_boxes_and_ends_soon(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    output = random.uniform(0, SIDE, (1, 30_000, 7)).astype(np.float32)
    output[:, :, 2:4] = 0.01  # nothing overlaps, the worst case
    output[:, :, 4:] = random.uniform(0, 1, (1, 30_000, 3))
    began = time.perf_counter()
    (found,) = decode_boxes([output], a_detector(tmp_path), [(64, 64)], 0.0)
    assert time.perf_counter() - began < 5
    assert len(found) > 1900
    best = (output[0, :, 4] * output[0, :, 5:].max(axis=1)).max()
    assert found.confidence[0] == pytest.approx(best)


def test_no_boxes_are_empty_arrays(tmp_path: Path) -> None:
    for decoding, outputs in {
        "yolo-objectness": [np.zeros((1, 3, 7), np.float32)],
        "yolo-anchor-free": [np.zeros((1, 6, 0), np.float32)],
        "rtdetr": [np.zeros((1, 3, 4), np.float32), np.zeros((1, 3, 2), np.float32)],
        "ssd": [np.zeros((1, 2, 4), np.float32), np.full((1, 2, 2), -9.0, np.float32)],
    }.items():
        (found,) = decode_boxes(outputs, a_detector(tmp_path, decoding), [(9, 9)], 0.25)
        assert found.xywh.shape == (0, 4)
        assert len(found) == len(found.confidence) == len(found.class_index) == 0


def test_each_picture_of_a_batch_gets_its_own_boxes(tmp_path: Path) -> None:
    output = np.concatenate(
        [rows([32, 32, 8, 8, 1.0, 0.5, 0.0]), rows([32, 32, 8, 8, 1.0, 0.0, 0.0])]
    )
    first, second = decode_boxes([output], a_detector(tmp_path), [(64, 64), (64, 64)], 0.25)
    assert (len(first), len(second)) == (1, 0)


@pytest.mark.parametrize("decoding", ["yolo-objectness", "yolo-anchor-free", "rtdetr", "ssd"])
def test_outputs_that_do_not_fit_the_manifest_are_refused(tmp_path: Path, decoding: str) -> None:
    manifest = a_detector(tmp_path, decoding)
    with pytest.raises(ModelError, match=rf"but {decoding} with 2 class\(es\) reads .*correct"):
        decode_boxes([np.zeros((1, 84, 8400), np.float32)], manifest, [(9, 9)], 0.25)


# Ranking


def test_labels_are_ranked_and_equal_ones_keep_their_order() -> None:
    scores = np.zeros((2, 1000), np.float32)
    scores[0, [281, 277]] = 0.4
    scores[1, 386] = 0.9
    first, second = rank_labels(scores, load_manifest("efficientnet-lite3"))
    assert [label.label for label in first[:2]] == ["red fox", "tabby cat"]
    assert second[0][:2] == ("African elephant", "Loxodonta africana")
    assert second[0].confidence == pytest.approx(0.9)
    assert second[0].is_animal


def test_logits_become_probabilities(tmp_path: Path) -> None:
    shipped = load_manifest("efficientnet-lite3")
    text = (shipped.path.parent / "efficientnet-lite3.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(text.replace('"probabilities"', '"logits"'))
    labels = shipped.beside(shipped.classifier_output.labels)
    (tmp_path / labels.name).write_bytes(labels.read_bytes())
    scores = np.full((1, 1000), -1000.0, np.float32)
    scores[0, 277] = 1000.0
    scores[0, 281] = 1000.0 + np.log(3.0)
    ((best, second, *_),) = rank_labels(scores, load_manifest(str(tmp_path / "own.toml")))
    assert (best.label, second.label) == ("tabby cat", "red fox")
    assert best.confidence == pytest.approx(0.75, abs=1e-4)
    assert second.confidence == pytest.approx(0.25, abs=1e-4)


def test_another_number_of_scores_than_labels_is_refused() -> None:
    with pytest.raises(ModelError, match=r"gives \(1, 1001\).* has 1000 labels"):
        rank_labels(np.zeros((1, 1001), np.float32), load_manifest("efficientnet-lite3"))


# Pictures into inputs


@pytest.mark.parametrize("fit_rule", FITS)
def test_a_fitted_picture_lies_where_placement_says_and_the_rest_is_padding(
    tmp_path: Path, fit_rule: str
) -> None:
    manifest = a_detector(tmp_path, fit_rule=fit_rule)
    fitted = fit(np.full((30, 60, 3), 200, np.uint8), manifest)
    place = placement(30, 60, manifest.input)
    assert (place.x, place.y, place.width, place.height) == {
        "letterbox-topleft": (0, 0, 64, 32),
        "letterbox-centre": (0, 16, 64, 32),
        "stretch": (0, 0, 64, 64),
    }[fit_rule]
    inside = np.zeros((SIDE, SIDE), bool)
    inside[place.y : place.y + place.height, place.x : place.x + place.width] = True
    assert fitted.shape == (SIDE, SIDE, 3)
    assert (fitted[inside] == 200).all()
    assert (fitted[~inside] == 114).all()


def test_input_is_rgb_planes_scaled_and_shifted() -> None:
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    blue, green, red = 0, 255, 51
    fitted = np.full((300, 300, 3), (blue, green, red), np.uint8)
    images = to_input([fitted, fitted], manifest)
    assert images.shape == (2, 3, 300, 300)
    assert images.dtype == np.float32
    assert images.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(images[1, :, 9, 9], [51 / 127.5 - 1, 1.0, -1.0], atol=1e-6)


sizes = st.one_of(
    st.integers(1, 3),
    st.integers(1, 300),
    st.sampled_from([1, 2, 63, 64, 65, 127, 1920, 2999]),
)


@settings(max_examples=300, deadline=None)
@given(
    height=sizes,
    width=sizes,
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    fit_rule=st.sampled_from(FITS),
)
def test_a_box_survives_fit_and_decode_within_one_input_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    corners: list[float],
    fit_rule: str,
) -> None:
    """A white box is painted, the picture fitted, the box found in the fitted pixels, decoded."""
    left, right = sorted(round(x * width) for x in corners[:2])
    top, bottom = sorted(round(y * height) for y in corners[2:])
    manifest = a_detector(tmp_path_factory.getbasetemp(), fit_rule=fit_rule)
    place = placement(height, width, manifest.input)
    across, down = place.width / width, place.height / height
    # What is thinner than two input pixels can fall between the pixels that are looked at.
    assume((right - left) * across >= min(2, place.width) and right > left)
    assume((bottom - top) * down >= min(2, place.height) and bottom > top)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top:bottom, left:right] = 255
    fitted = fit(picture, manifest)
    region = np.zeros((SIDE, SIDE), bool)
    region[place.y : place.y + place.height, place.x : place.x + place.width] = True
    ys, xs = np.nonzero((fitted[:, :, 0] > 127) & region)
    x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    output = rows([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 1.0, 1.0, 0.0])
    (found,) = decode_boxes([output], manifest, [(height, width)], 0.25)
    x, y, w, h = (float(value) for value in found.xywh[0])
    for got, drawn, scale in [
        (x * width, left, across),
        ((x + w) * width, right, across),
        (y * height, top, down),
        ((y + h) * height, bottom, down),
    ]:
        assert abs(got - drawn) * scale <= 1.0 + 1e-3


@given(height=sizes, width=sizes, fit_rule=st.sampled_from(FITS))
def test_every_picture_has_at_least_a_pixel_inside_the_input(
    height: int, width: int, fit_rule: str
) -> None:
    spec = InputSpec.model_validate(
        {
            "height": 48,
            "width": 96,
            "layout": "nchw",
            "colour": "rgb",
            "multiply": (1, 1, 1),
            "add": (0, 0, 0),
            "fit": fit_rule,
            "pad": None if fit_rule == "stretch" else 0,
        }
    )
    place = placement(height, width, spec)
    assert place.width >= 1 and place.height >= 1
    assert place.x >= 0 and place.x + place.width <= 96
    assert place.y >= 0 and place.y + place.height <= 48


# Regions to cut out


def test_a_square_region_is_square_in_pixels_around_the_box() -> None:
    region = crop_region((0.4, 0.4, 0.1, 0.2), "square", 0.25, width=1000, height=500)
    # 100 x 100 pixels, a quarter more on each side: 150 pixels around (450, 250).
    assert region == pytest.approx((0.375, 0.35, 0.15, 0.3))


def test_a_square_region_moves_to_stay_inside_the_picture() -> None:
    region = crop_region((0.0, 0.9, 0.1, 0.1), "square", 0.5, width=1000, height=1000)
    assert region == pytest.approx((0.0, 0.8, 0.2, 0.2))


def test_a_square_region_larger_than_the_picture_is_cut_off_at_its_edges() -> None:
    region = crop_region((0.2, 0.0, 0.6, 1.0), "square", 0.0, width=1000, height=500)
    assert region == pytest.approx((0.2, 0.0, 0.6, 1.0))
    region = crop_region((0.0, 0.4, 1.0, 0.2), "square", 0.0, width=1000, height=500)
    assert region == pytest.approx((0.0, 0.0, 1.0, 1.0))


def test_a_box_region_keeps_its_proportions_and_is_clamped() -> None:
    region = crop_region((0.4, 0.4, 0.2, 0.1), "box", 0.5, width=10, height=10)
    assert region == pytest.approx((0.3, 0.35, 0.4, 0.2))
    region = crop_region((0.0, 0.4, 0.2, 0.1), "box", 0.5, width=10, height=10)
    assert region == pytest.approx((0.0, 0.35, 0.3, 0.2))


SHAPES: list[Literal["square", "box"]] = ["square", "box"]
boxes_inside = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda c: (min(c[0], c[1]), min(c[2], c[3]), abs(c[1] - c[0]), abs(c[3] - c[2]))
)


@given(
    box=boxes_inside,
    shape=st.sampled_from(SHAPES),
    margin=st.floats(0, 5),
    width=sizes,
    height=sizes,
)
def test_a_region_stays_in_the_picture_and_holds_its_box(
    box: tuple[float, float, float, float],
    shape: Literal["square", "box"],
    margin: float,
    width: int,
    height: int,
) -> None:
    x, y, w, h = crop_region(box, shape, margin, width, height)
    slack = 1e-9
    for start, size, box_start, box_size in ((x, w, box[0], box[2]), (y, h, box[1], box[3])):
        assert 0 <= start <= box_start + slack
        assert box_start + box_size - slack <= start + size <= 1 + slack
    side = max(box[2] * width, box[3] * height) * (1 + 2 * margin)
    if shape == "square" and side <= min(width, height):
        assert w * width == pytest.approx(side)
        assert h * height == pytest.approx(side)
    cropped = crop_picture(np.zeros((height, width, 3), np.uint8), (x, y, w, h))
    assert cropped.shape[0] >= 1
    assert cropped.shape[1] >= 1


def test_a_region_of_no_size_at_the_edge_still_has_a_pixel() -> None:
    assert to_pixels((1.0, 1.0, 0.0, 0.0), width=10, height=4) == (9, 3, 10, 4)


# Categories


TELLER = load_manifest("ssd-mobilenet-v2-cam16")
CLASSES = [c.name for c in TELLER.detector_output.classes]
LAST = 1916  # the anchor that covers almost the whole crop
CORNER = 0  # a small anchor in the top left corner


def seen_by_ssd(*scores: tuple[str, float, int]) -> list[NDArray[np.float32]]:
    """Raw outputs of SSD for one crop, with a class's score at each of the named anchors."""
    logits = np.full((1, 1917, len(CLASSES)), -20.0, np.float32)
    for name, score, anchor in scores:
        logits[0, anchor, CLASSES.index(name)] = np.log(score / (1 - score))
    return [np.zeros((1, 1917, 4), np.float32), logits]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([], RefinedCategory("animal", None)),
        ([("person", 0.6, LAST)], RefinedCategory("person", 0.6)),
        ([("person", 0.45, LAST)], RefinedCategory("animal", None)),
        ([("truck", 0.3, LAST)], RefinedCategory("vehicle", 0.3)),
        ([("truck", 0.15, LAST)], RefinedCategory("animal", None)),
        ([("dog", 0.7, LAST)], RefinedCategory("animal", 0.7)),
        ([("person", 0.8, LAST), ("bear", 0.9, LAST)], RefinedCategory("animal", 0.9)),
        ([("person", 0.9, LAST), ("bear", 0.8, LAST)], RefinedCategory("person", 0.9)),
        ([("person", 0.9, LAST), ("car", 0.8, LAST)], RefinedCategory("person", 0.9)),
        ([("person", 0.8, LAST), ("car", 0.9, LAST)], RefinedCategory("vehicle", 0.9)),
        ([("person", 0.4, LAST), ("car", 0.3, LAST)], RefinedCategory("vehicle", 0.3)),
        ([("person", 0.9, CORNER)], RefinedCategory("animal", None)),
        ([("person", 0.9, CORNER), ("dog", 0.5, LAST)], RefinedCategory("animal", 0.5)),
    ],
)
def test_a_box_is_an_animal_unless_a_person_or_vehicle_there_scores_more(
    scores: list[tuple[str, float, int]], told: RefinedCategory
) -> None:
    look = RefinementCrop((0, 0, 90, 90), (0.33, 0.33, 0.34, 0.34))
    seen = decode_boxes(seen_by_ssd(*scores), TELLER, [look.size], min_score(TELLER))
    (found,) = refine_categories(seen, TELLER, [look])
    assert found.category == told.category
    assert found.confidence == (told.confidence and pytest.approx(told.confidence, abs=1e-5))


def test_a_look_is_a_generous_square_crop_and_the_box_in_it() -> None:
    picture = np.arange(200 * 400 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 400, 3)
    look = refinement_crop(
        *picture.shape[:2], (0.5, 0.5, 0.1, 0.1), TELLER
    )  # 40 x 20 pixels at (200, 100)
    assert look.region == (160, 50, 280, 170)
    assert look.box == pytest.approx((40 / 120, 50 / 120, 40 / 120, 20 / 120))


def test_no_boxes_have_no_categories() -> None:
    assert refine_categories([], TELLER, []) == []


def test_a_model_without_a_telling_section_is_refused() -> None:
    detector = load_manifest("megadetector-lite")
    with pytest.raises(ModelError, match=r"needs a \[telling\] section"):
        refinement_crop(9, 9, (0, 0, 1, 1), detector)
