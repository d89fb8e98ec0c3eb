"""Pictures are resized into a model's input, and boxes are mapped back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from model_files import (
    CATEGORY_DETECTOR,
    SIDE,
    detector_manifest,
    plain_manifest,
    speciesnet_manifest,
)

from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.models.manifest_sections import InputSpec
from gpu_kernels.preprocessing.letterbox import fit, input_size, placement, to_input

FITS = ["letterbox-topleft", "letterbox-centre", "stretch"]


@pytest.mark.parametrize("fit_rule", FITS)
def test_a_fitted_picture_is_at_its_placement_and_the_rest_is_padding(
    tmp_path: Path, fit_rule: str
) -> None:
    manifest = detector_manifest(tmp_path, fit_rule=fit_rule)
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


def test_the_input_is_normalised_rgb_planes() -> None:
    manifest = load_manifest(CATEGORY_DETECTOR)
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
def test_a_box_is_recovered_from_the_fitted_picture_within_one_input_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    corners: list[float],
    fit_rule: str,
) -> None:
    """Draw a white box, fit the picture, find the box in the fitted pixels, and decode it."""
    left, right = sorted(round(x * width) for x in corners[:2])
    top, bottom = sorted(round(y * height) for y in corners[2:])
    manifest = detector_manifest(tmp_path_factory.getbasetemp(), fit_rule=fit_rule)
    place = placement(height, width, manifest.input)
    across, down = place.width / width, place.height / height
    # A box thinner than two input pixels can fall between the sampled pixels.
    assume((right - left) * across >= min(2, place.width) and right > left)
    assume((bottom - top) * down >= min(2, place.height) and bottom > top)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top:bottom, left:right] = 255
    fitted = fit(picture, manifest)
    region = np.zeros((SIDE, SIDE), bool)
    region[place.y : place.y + place.height, place.x : place.x + place.width] = True
    ys, xs = np.nonzero((fitted[:, :, 0] > 127) & region)
    x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    row = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 1.0, 1.0, 0.0]
    output = np.array([[row]], dtype=np.float32)
    (found,) = decode_boxes([output], manifest, [(height, width)], 0.25)
    x, y, w, h = (float(value) for value in found.xywh[0])
    for decoded, drawn, scale in [
        (x * width, left, across),
        ((x + w) * width, right, across),
        (y * height, top, down),
        ((y + h) * height, bottom, down),
    ]:
        assert abs(decoded - drawn) * scale <= 1.0 + 1e-3


@given(height=sizes, width=sizes, fit_rule=st.sampled_from(FITS))
def test_a_picture_has_at_least_one_pixel_in_the_input(
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


def test_the_input_of_a_model_of_layout_nhwc_has_the_channels_last(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    first = to_input([picture], speciesnet_manifest(tmp_path, "nchw"))
    last = to_input([picture], speciesnet_manifest(tmp_path, "nhwc"))
    assert last.shape == (1, 480, 480, 3)
    assert np.array_equal(last.transpose(0, 3, 1, 2), first)
    assert last[0, 0, 0] == pytest.approx(picture[0, 0, ::-1] / 255)


@pytest.mark.parametrize(
    ("height", "width", "size", "place"),
    [
        (480, 640, (960, 1280), (0, 0, 1280, 960)),
        (640, 480, (1280, 960), (0, 0, 960, 1280)),
        (1080, 1920, (768, 1280), (0, 24, 1280, 720)),
        (1200, 1600, (960, 1280), (0, 0, 1280, 960)),
        (64, 64, (1280, 1280), (0, 0, 1280, 1280)),
        (2, 4000, (64, 1280), (0, 31, 1280, 1)),
    ],
)
def test_a_free_size_has_the_long_side_and_multiples_of_the_stride(
    tmp_path: Path,
    height: int,
    width: int,
    size: tuple[int, int],
    place: tuple[int, int, int, int],
) -> None:
    manifest = plain_manifest(tmp_path, {"long_side": 1280, "stride": 64}, {"decoding": "end2end"})
    assert input_size(height, width, manifest.input) == size
    found = placement(height, width, manifest.input)
    assert (found.x, found.y, found.width, found.height) == place
    picture = np.full((height, width, 3), 200, np.uint8)
    fitted = fit(picture, manifest)
    assert fitted.shape == (*size, 3)
    assert to_input([fitted], manifest).shape == (1, 3, *size)


@given(height=sizes, width=sizes, side=st.integers(1, 300), stride=st.integers(1, 70))
def test_an_input_of_a_free_size_is_never_larger_than_the_largest(
    height: int, width: int, side: int, stride: int
) -> None:
    spec = InputSpec(
        long_side=side, stride=stride, layout="nchw", colour="rgb", multiply=(1, 1, 1),
        add=(0, 0, 0), fit="letterbox-centre", pad=114,
    )  # fmt: skip
    size = input_size(height, width, spec)
    assert all(1 <= each <= most for each, most in zip(size, spec.largest_size, strict=True))
    assert not any(each % stride for each in size)
    place = placement(height, width, spec)
    assert max(place.width, place.height) == side
    assert place.x >= 0 and place.x + place.width <= size[1]
    assert place.y >= 0 and place.y + place.height <= size[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_input_has_the_colours_and_the_type_of_the_manifest(
    tmp_path: Path, dtype: str, colour: str, layout: str
) -> None:
    keys = {"dtype": dtype, "colour": colour, "layout": layout}
    manifest = plain_manifest(tmp_path, keys, {"decoding": "end2end"})
    blue, green, red = 51, 102, 255
    fitted = np.full((SIDE, SIDE, 3), (blue, green, red), np.uint8)
    images = to_input([fitted], manifest)
    assert images.dtype == np.dtype(dtype)
    assert images.flags["C_CONTIGUOUS"]
    pixel = images[0, :, 9, 9] if layout == "nchw" else images[0, 9, 9]
    expected = [red, green, blue] if colour == "rgb" else [blue, green, red]
    scale = 1 if dtype == "uint8" else 255
    assert pixel.tolist() == pytest.approx([each / scale for each in expected], abs=1e-3)


def test_a_colours_factors_are_in_its_order(tmp_path: Path) -> None:
    keys = {"colour": "bgr", "multiply": [1.0, 0.0, 0.0], "add": [0.0, 0.0, 7.0]}
    manifest = plain_manifest(tmp_path, keys, {"decoding": "end2end"})
    images = to_input([np.full((SIDE, SIDE, 3), (51, 102, 255), np.uint8)], manifest)
    assert images[0, :, 0, 0].tolist() == [51.0, 0.0, 7.0]
