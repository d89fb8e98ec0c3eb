"""The kernels for pictures, run on the CPU and compared with OpenCV and numpy.

Stated tolerance of a fitted picture: one grey level, in at most 15 % of the values (OpenCV
computes with 11 fractional bits, the kernel with 24), and one step of float16 if that is the
output.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import warp as wp
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import plain_manifest
from numpy.typing import NDArray

from gpu_kernels.device import gpu_preprocessing
from gpu_kernels.device.cubins import compile_cubins, load_cubins
from gpu_kernels.device.gpu_preprocessing import (
    StagingBuffer,
    crop_to_host,
    downscale_to_grey,
    fit_into,
    motion_energy,
)
from gpu_kernels.device.streams import load_kernels
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.models.manifest_sections import InputSpec
from gpu_kernels.preprocessing.crop_regions import to_pixels
from gpu_kernels.preprocessing.device_picture import BT601, ColourMatrix, DevicePicture
from gpu_kernels.preprocessing.letterbox import fit, input_size, to_input

Picture = NDArray[np.uint8]
SHARE = 0.15  # maximum share of values that difference by a grey level
MODELS = ["megadetector-lite", "ssd-mobilenet-v2-cam16", "efficientnet-lite3"]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    load_kernels("cpu")


def noise(height: int, width: int, seed: int = 0) -> Picture:
    """Return a picture with structure at every scale."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(1, height // 9), max(1, width // 9), 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = random.integers(-20, 21, (height, width, 3))
    return np.asarray(np.clip(smooth.reshape(height, width, 3) + grain, 0, 255), np.uint8)


def packed(pictures: list[Picture], turns: int = 0) -> tuple[Any, list[DevicePicture]]:
    """Store upright BGR pictures in one buffer, rotated so that `turns` make them upright."""
    stored = [np.ascontiguousarray(np.rot90(picture, -turns)) for picture in pictures]
    starts = np.cumsum([0, *(each.size for each in stored)])
    buffer = wp.array(np.concatenate([each.ravel() for each in stored]), dtype=wp.uint8,
                      device="cpu")  # fmt: skip
    return buffer, [
        DevicePicture(picture.shape[0], picture.shape[1], int(start), each.shape[1] * 3, turns)
        for picture, each, start in zip(pictures, stored, starts[:-1], strict=True)
    ]


def fitted(
    buffer: Any, regions: list[Any], spec: InputSpec, dtype: Any = wp.float32
) -> NDArray[Any]:
    images = wp.empty((len(regions), 3, spec.height, spec.width), dtype=dtype, device="cpu")
    fit_into(images, buffer, regions, spec)
    return np.asarray(images.numpy(), np.float32)


def assert_same(found: NDArray[Any], expected: NDArray[Any], level: float) -> None:
    """Compare within the tolerance.

    Args:
        level: one grey level, in units of the input.
    """
    difference = np.abs(found - expected) / level
    assert difference.max() <= 1.001
    assert (difference > 0.5).mean() <= SHARE


# Fitting


@pytest.mark.parametrize("name", MODELS)
def test_pictures_of_different_sizes_are_fitted_in_one_launch_as_by_opencv(
    name: str,
) -> None:
    manifest = load_manifest(name)
    sizes = [(480, 640), (641, 333), (90, 1600), (1, 1), (300, 300)]
    pictures = [noise(height, width, height) for height, width in sizes]
    buffer, on_device = packed(pictures)
    found = fitted(buffer, [(each, each.whole) for each in on_device], manifest.input)
    expected = to_input([fit(picture, manifest) for picture in pictures], manifest)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, manifest.input.multiply[0])


def test_a_float16_input_is_the_rounded_float32_input() -> None:
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    buffer, (picture,) = packed([noise(200, 300)])
    whole = fitted(buffer, [(picture, picture.whole)], manifest.input)
    half = fitted(buffer, [(picture, picture.whole)], manifest.input, wp.float16)
    np.testing.assert_array_equal(half, whole.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_input_of_any_colour_type_and_size_is_that_of_opencv(
    tmp_path: Path, colour: str, dtype: str
) -> None:
    size = {"long_side": 96, "stride": 32}
    manifest = plain_manifest(
        tmp_path, {**size, "colour": colour, "dtype": dtype}, {"decoding": "end2end"}
    )
    for height, width in [(480, 640), (641, 333), (90, 1600)]:
        picture = noise(height, width, height)
        buffer, (on_device,) = packed([picture])
        full = input_size(height, width, manifest.input)
        images = wp.empty((1, 3, *full), dtype=wp.dtype_from_numpy(np.dtype(dtype)), device="cpu")
        fit_into(images, buffer, [(on_device, on_device.whole)], manifest.input)
        found, expected = images.numpy(), to_input([fit(picture, manifest)], manifest)
        assert found.dtype == expected.dtype == np.dtype(dtype)
        assert_same(
            found.astype(np.float32), expected.astype(np.float32), manifest.input.multiply[0]
        )


def test_a_picture_at_an_integer_ratio_is_fitted_exactly() -> None:
    manifest = load_manifest("megadetector-lite")
    picture = noise(1080, 1920)
    buffer, (on_device,) = packed([picture])
    found = fitted(buffer, [(on_device, on_device.whole)], manifest.input)
    np.testing.assert_array_equal(found, to_input([fit(picture, manifest)], manifest))


def test_a_region_is_fitted_as_the_cropped_picture() -> None:
    """Pixels outside the region have no influence."""
    manifest = load_manifest("efficientnet-lite3")
    picture = noise(400, 600)
    region = to_pixels((0.3, 0.2, 0.25, 0.5), 600, 400)
    left, top, right, bottom = region
    buffer, (on_device,) = packed([picture])
    found = fitted(buffer, [(on_device, region)], manifest.input)
    expected = to_input([fit(picture[top:bottom, left:right], manifest)], manifest)
    assert_same(found, expected, manifest.input.multiply[0])


sides = st.one_of(st.integers(1, 4), st.integers(1, 130), st.sampled_from([255, 256, 257]))


@settings(max_examples=150, deadline=None)
@given(
    height=sides,
    width=sides,
    turns=st.integers(0, 3),
    rule=st.sampled_from(["letterbox-topleft", "letterbox-centre", "stretch"]),
    into=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    cut=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_any_size_rotation_and_region_is_fitted_as_by_opencv(
    height: int, width: int, turns: int, rule: str, into: tuple[int, int], cut: list[float]
) -> None:
    manifest = load_manifest("megadetector-lite")
    spec = InputSpec(
        height=into[0], width=into[1], layout="nchw", colour="rgb",
        multiply=(1.0, 1.0, 1.0), add=(0.0, 0.0, 0.0),
        fit=rule, pad=None if rule == "stretch" else 114,  # type: ignore[arg-type]
    )  # fmt: skip
    picture = noise(height, width, height * 1000 + width)
    (x0, x1), (y0, y1) = sorted(cut[:2]), sorted(cut[2:])
    region = to_pixels((x0, y0, x1 - x0, y1 - y0), width, height)
    left, top, right, bottom = region
    buffer, (on_device,) = packed([picture], turns)
    found = fitted(buffer, [(on_device, region)], spec)
    cropped = np.ascontiguousarray(picture[top:bottom, left:right])
    changed = manifest.model_copy(update={"input": spec})
    expected = to_input([fit(cropped, changed)], changed)
    assert np.abs(found - expected).max() <= 1.001


# NV12, the output of video decoders


def nv12(picture: Picture) -> tuple[Picture, Picture, Picture]:
    """Return luma [h, w], chroma [h/2, w], and OpenCV's conversion of them to BGR."""
    height, width = picture.shape[:2]
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    luma = np.ascontiguousarray(planes[:height])
    cb, cr = planes[height:].reshape(2, height // 2, width // 2)
    chroma = np.stack([cb, cr], axis=-1).reshape(height // 2, width)
    both = np.concatenate([luma, chroma])
    return luma, chroma, np.asarray(cv2.cvtColor(both, cv2.COLOR_YUV2BGR_NV12), np.uint8)


def padded(luma: Picture, chroma: Picture, pitch: int) -> tuple[Any, DevicePicture]:
    """Store planes with rows of `pitch` bytes, as decoders align them, at an offset."""
    height, width = luma.shape
    before = 128
    rows = np.full((height + height // 2, pitch), 200, np.uint8)
    rows[:height, :width], rows[height:, :width] = luma, chroma
    buffer = np.concatenate([np.zeros(before, np.uint8), rows.ravel()])
    picture = DevicePicture(
        height, width, before, pitch, chroma=before + height * pitch, chroma_pitch=pitch
    )
    return wp.array(buffer, dtype=wp.uint8, device="cpu"), picture


def test_nv12_is_converted_as_by_opencv() -> None:
    luma, chroma, expected = nv12(noise(240, 320))
    buffer, picture = padded(luma, chroma, 512)
    (found,) = crop_to_host(buffer, [(picture, picture.whole)], [(240, 320)])
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= SHARE


def test_nv12_is_fitted_as_opencvs_conversion_of_it() -> None:
    manifest = load_manifest("megadetector-lite")
    luma, chroma, expected = nv12(noise(480, 854 - 854 % 2))
    buffer, picture = padded(luma, chroma, 1024)
    found = fitted(buffer, [(picture, picture.whole)], manifest.input)
    difference = np.abs(found - to_input([fit(expected, manifest)], manifest))
    assert difference.max() <= 2  # a level of the colours, and one of the fitting
    assert (difference > 1).mean() <= 0.01


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_nv12_is_rotated_upright(turns: int) -> None:
    luma, chroma, stored = nv12(noise(120, 160))
    upright = np.rot90(stored, turns)
    buffer, flat = padded(luma, chroma, 256)
    height, width = upright.shape[:2]
    turned = DevicePicture(height, width, flat.start, flat.pitch, turns, flat.chroma,
                           flat.chroma_pitch)  # fmt: skip
    (found,) = crop_to_host(buffer, [(turned, turned.whole)], [(height, width)])
    assert np.abs(found.astype(int) - upright.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("colour", "grey", "white"),
    [
        (BT601, 126, 235),
        (ColourMatrix.from_weights(0.2126, 0.0722, full_range=False), 126, 235),
        (ColourMatrix.from_weights(0.299, 0.114, full_range=True), 128, 255),
    ],
)
def test_black_grey_and_white_are_preserved(colour: ColourMatrix, grey: int, white: int) -> None:
    luma = np.array([[white, grey], [round(colour.zero), grey]], np.uint8)
    buffer, flat = padded(luma, np.full((1, 2), 128, np.uint8), 2)
    picture = DevicePicture(2, 2, flat.start, 2, chroma=flat.chroma, chroma_pitch=2, colour=colour)
    (found,) = crop_to_host(buffer, [(picture, picture.whole)], [(2, 2)])
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 0].tolist() == [0, 0, 0]
    assert np.abs(found[0, 1].astype(int) - 128).max() <= 1


# Crops, and the motion gate


def test_crops_of_several_pictures_have_the_requested_sizes() -> None:
    pictures = [noise(100, 150, 1), noise(60, 40, 2)]
    buffer, (one, other) = packed(pictures)
    regions = [(one, (10, 20, 110, 80)), (other, other.whole)]
    first, second = crop_to_host(buffer, regions, [(60, 100), (30, 20)])
    np.testing.assert_array_equal(first, pictures[0][20:80, 10:110])
    expected = cv2.resize(pictures[1], (20, 30), interpolation=cv2.INTER_LINEAR)
    assert np.abs(second.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("limit", "expected"), [(14_000, [2, 1, 1, 1]), (10_000, [1] * 5), (42_000, [5])]
)
def test_many_bytes_of_crops_take_several_launches(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: list[int]
) -> None:
    """The crops have 6,000 to 10,800 bytes, 42,000 in all; a single one may exceed the limit."""
    pictures = [noise(40 + 8 * n, 50, n) for n in range(5)]
    buffer, on_device = packed(pictures)
    sizes = [(each.shape[0], each.shape[1]) for each in pictures]
    monkeypatch.setattr(gpu_preprocessing, "MAX_CROP_BYTES", limit)
    launches: list[int] = []
    crop_batch = gpu_preprocessing._crop_batch

    def counted(buffer: Any, regions: Any, sizes: Any) -> Any:
        launches.append(len(sizes))
        return crop_batch(buffer, regions, sizes)

    monkeypatch.setattr(gpu_preprocessing, "_crop_batch", counted)
    found = crop_to_host(buffer, [(each, each.whole) for each in on_device], sizes)
    assert launches == expected
    for one, other in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_beyond_the_limit_of_an_array_raises_memory_error() -> None:
    """`BatchQueue` then halves the batch."""
    with pytest.raises(MemoryError, match=r"has 2\.3 GiB, the limit is 2"):
        StagingBuffer().reserve(2_469_632_000, "cpu")


def test_without_crops_nothing_is_launched() -> None:
    buffer, _ = packed([noise(4, 4)])
    assert crop_to_host(buffer, [], []) == []


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (333, 517)])
def test_a_picture_is_downscaled_to_grey_as_by_opencv(height: int, width: int) -> None:
    picture = noise(height, width)
    buffer, (on_device,) = packed([picture])
    small = (320, round(320 * height / width))
    found = downscale_to_grey(buffer, on_device, small[1], small[0]).numpy().astype(int)
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    expected = cv2.cvtColor(shrunk, cv2.COLOR_BGR2GRAY).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_motion_energy_is_the_mean_difference_of_each_tile() -> None:
    one, other = (cv2.cvtColor(noise(180, 320, seed), cv2.COLOR_BGR2GRAY) for seed in (1, 2))
    greys = [wp.array(each, dtype=wp.uint8, device="cpu") for each in (one, other)]
    change = cv2.absdiff(one, other).astype(np.float32)
    expected = cv2.resize(change, (40, 22), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(motion_energy(*greys, 22, 40), expected, atol=2e-3)


# Ahead of time


def test_the_kernels_compile_for_every_gpu_of_the_fleet_without_one(tmp_path: Path) -> None:
    for arch in ("sm_75", "sm_86", "sm_89"):
        cubins = compile_cubins(arch, tmp_path)
        assert len(cubins) == 2
        for cubin in cubins:
            assert cubin.name.endswith(f".{arch.replace('_', '')}.cubin")
            assert cubin.read_bytes()[:4] == b"\x7fELF"


def test_cubins_are_not_loaded_on_a_cpu(tmp_path: Path) -> None:
    assert not load_cubins(wp.get_device("cpu"), tmp_path)
