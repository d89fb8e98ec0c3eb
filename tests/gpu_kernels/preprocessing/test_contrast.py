"""Local contrast: which pictures are grey, and what becomes of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_kernels.models.ensemble import Contrast
from gpu_kernels.preprocessing.contrast import is_grey, raise_contrast

CONTRAST = Contrast(clip_limit=3.0, tiles=8)
SIDE = 64


def noise(low: int, high: int) -> NDArray[np.uint8]:
    """Return a grey picture of random pixels."""
    grey = np.random.default_rng(0).integers(low, high, (SIDE, SIDE, 1), np.uint8)
    return np.repeat(grey, 3, axis=2)


def test_a_picture_of_equal_channels_is_grey() -> None:
    assert is_grey(noise(0, 255))


def test_the_chroma_noise_of_jpeg_is_no_colour() -> None:
    picture = noise(50, 100)
    picture[:, :, 2] += np.random.default_rng(1).integers(0, 8, (SIDE, SIDE), np.uint8)
    assert is_grey(picture)


@pytest.mark.parametrize(("rows", "expected"), [(5, True), (8, False), (SIDE, False)])
def test_a_strip_with_a_coloured_logo_leaves_a_picture_grey(rows: int, expected: bool) -> None:
    picture = noise(50, 100)
    picture[-rows:] = (20, 100, 220)
    assert is_grey(picture) is expected


def test_dark_animals_stand_out_after_raising_the_contrast() -> None:
    picture = noise(20, 24)
    picture[20:40, 20:40] += 12
    inside, outside = np.s_[20:40, 20:40], np.s_[:16, :16]

    def step(shown: NDArray[np.uint8]) -> float:
        return float(shown[inside].mean() - shown[outside].mean())

    raised = raise_contrast(picture, CONTRAST)
    assert raised.shape == picture.shape and raised.dtype == np.uint8
    assert step(raised) > 1.5 * step(picture)
    assert (raised.max(axis=2) == raised.min(axis=2)).all()


def test_the_picture_itself_does_not_change() -> None:
    picture = noise(20, 60)
    before = picture.copy()
    raise_contrast(picture, CONTRAST)
    np.testing.assert_array_equal(picture, before)
