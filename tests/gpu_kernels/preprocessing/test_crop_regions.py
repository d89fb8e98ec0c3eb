"""Regions of pictures that are cropped around boxes."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels.preprocessing.crop_regions import crop_picture, crop_region, to_pixels

sizes = st.one_of(
    st.integers(1, 3),
    st.integers(1, 300),
    st.sampled_from([1, 2, 63, 64, 65, 127, 1920, 2999]),
)


def test_a_square_region_is_square_in_pixels_around_the_box() -> None:
    region = crop_region((0.4, 0.4, 0.1, 0.2), "square", 0.25, width=1000, height=500)
    # 100 x 100 pixels, a quarter more on each side: 150 pixels around (450, 250).
    assert region == pytest.approx((0.375, 0.35, 0.15, 0.3))


def test_a_square_region_moves_to_stay_inside_the_picture() -> None:
    region = crop_region((0.0, 0.9, 0.1, 0.1), "square", 0.5, width=1000, height=1000)
    assert region == pytest.approx((0.0, 0.8, 0.2, 0.2))


def test_a_square_region_larger_than_the_picture_is_clipped_at_its_edges() -> None:
    region = crop_region((0.2, 0.0, 0.6, 1.0), "square", 0.0, width=1000, height=500)
    assert region == pytest.approx((0.2, 0.0, 0.6, 1.0))
    region = crop_region((0.0, 0.4, 1.0, 0.2), "square", 0.0, width=1000, height=500)
    assert region == pytest.approx((0.0, 0.0, 1.0, 1.0))


def test_a_box_region_preserves_its_aspect_ratio_and_is_clipped() -> None:
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
def test_a_region_is_in_the_picture_and_contains_its_box(
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
