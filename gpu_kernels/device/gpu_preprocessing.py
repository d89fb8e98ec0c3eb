"""Preprocessing on a device: upload pictures, resize them into a model's input, crop, compare.

The counterpart of `gpu_kernels.preprocessing` for a GPU, `cuda:0`, or for `cpu`, on which the same
code is tested. Pictures are in one buffer in the decoder's format: NV12 for frames of the video
decoder, BGR for stills. The kernels apply the rotation while they read.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device import picture_kernels
from gpu_kernels.device.streams import load_kernels, to_numpy, use_stream
from gpu_kernels.models.manifest import InputSpec
from gpu_kernels.preprocessing.crop_regions import PixelRegion
from gpu_kernels.preprocessing.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.preprocessing.letterbox import placement

# The limit of a Warp array.
MAX_ARRAY_BYTES = 2**31 - 1
# Limit of the crops of one launch, in bytes; a single crop may exceed it.
MAX_CROP_BYTES = 2**26


@cache
def _crop_stream(device: str) -> Any:
    """Return a stream for crops, so that they do not wait for inference; None on the CPU."""
    return wp.Stream(device) if wp.get_device(device).is_cuda else None


def _axis_fields(
    size: int, flipped: bool, span: tuple[int, int], target: tuple[int, int]
) -> dict[str, Any]:
    """Return fields of `picture_kernels.Axis`.

    Args:
        size: of the upright picture in this direction, pixels.
        flipped: True if the picture is stored in the opposite direction.
        span: begin and end of the region, upright.
        target: the first pixel in the output, and the number of pixels.
    """
    begin, end = span
    return {
        "size": end - begin,
        "first": size - 1 - begin if flipped else begin,
        "direction": -1 if flipped else 1,
        "target": target[0],
        "target_size": target[1],
        "scale": np.float32(end - begin) / np.float32(target[1]),
    }


def _region_descriptors(
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    targets: Sequence[tuple[int, int, int, int]],
) -> NDArray[Any]:
    """Return rows of `picture_kernels.RegionDescriptor`.

    Args:
        targets: top, left, height and width of each region in the output.
    """
    descriptor: Any = picture_kernels.RegionDescriptor
    rows: NDArray[Any] = np.zeros(len(regions), descriptor.numpy_dtype())
    for row, (picture, (left, top, right, bottom)), target in zip(
        rows, regions, targets, strict=True
    ):
        row["format"] = picture_kernels.BGR if picture.chroma is None else picture_kernels.NV12
        for name in ("zero", "scale", "red_cr", "green_cb", "green_cr", "blue_cb"):
            row[name] = getattr(picture.colour, name)
        vertical = _axis_fields(picture.height, picture.turns in (1, 2), (top, bottom), target[::2])
        horizontal = _axis_fields(
            picture.width, picture.turns in (2, 3), (left, right), target[1::2]
        )
        row_strides = {"stride": picture.pitch, "chroma_stride": picture.chroma_pitch}
        column_strides = (
            {"stride": 3, "chroma_stride": 0}
            if picture.chroma is None
            else {"stride": 1, "chroma_stride": 2}
        )
        strides = (row_strides, column_strides)
        if picture.turns % 2:
            strides = (column_strides, row_strides)
        starts = {"start": picture.start, "chroma_start": picture.chroma or 0}
        for name, value in (vertical | strides[0]).items():
            row["rows"][name] = value
        for name, value in (horizontal | strides[1] | starts).items():
            row["columns"][name] = value
    return rows


@cache
def _scratch_arrays(device: str, stream: Any, dtype: Any) -> list[Any]:
    """Return the list of the one array that the current launch on a stream reads or writes.

    The array is reused, because Warp frees memory on CUDA's default stream, which synchronizes
    with all others: no batch could be filled while another one is computed.
    """
    return []


def _scratch_array(count: int, dtype: Any, device: Any, stream: Any) -> Any:
    """Return an array of at least `count`, valid until the next call for this stream."""
    arrays = _scratch_arrays(str(device), stream, dtype)
    if not arrays or arrays[0].size < count:
        arrays[:] = [wp.empty(2 * count, dtype=dtype, device=device)]
    return arrays[0]


def _copy_to_device(values: NDArray[Any], dtype: Any, device: Any, stream: Any) -> Any:
    """Copy values to the device, valid until the next call for this stream."""
    target = _scratch_array(len(values), dtype, device, stream)
    source = wp.array(values, dtype=dtype, device="cpu")
    wp.copy(target, source, count=len(values), stream=stream)
    return target


def fit_descriptors(
    regions: Sequence[tuple[DevicePicture, PixelRegion]], spec: InputSpec
) -> NDArray[Any]:
    """Return the descriptors of regions for `launch_fit`, on the host."""
    targets = []
    for _, (left, top, right, bottom) in regions:
        place = placement(bottom - top, right - left, spec)
        targets.append((place.y, place.x, place.height, place.width))
    return _region_descriptors(regions, targets)


def launch_fit(
    images: Any, buffer: Any, descriptors: Any, count: int, spec: InputSpec, record: bool = False
) -> Any:
    """Launch the kernel of `fit_into`, on Warp's current stream.

    Args:
        descriptors: Warp array of `count` or more `RegionDescriptor`.
        record: return a command that launches it repeatedly, instead of launching it.
    """
    assert images.is_contiguous
    return wp.launch(
        picture_kernels.fit_regions,
        dim=picture_kernels.fit_threads(count, spec.height, spec.width),
        inputs=[
            buffer, descriptors, wp.vec3(*spec.multiply), wp.vec3(*spec.add), float(spec.pad or 0)
        ],
        outputs=[images],
        device=images.device,
        record_cmd=record,
    )  # fmt: skip


def fit_into(
    images: Any,
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    spec: InputSpec,
    stream: Any = None,
) -> Any:
    """Resize regions of pictures of any size into a model's input, in one launch.

    Args:
        images: contiguous Warp array [N or more, 3, H, W], float16 or float32; the first N are
            written.
        buffer: Warp array of bytes that contains the pictures, on the same device.
        regions: N pictures with the region to use; `picture.whole` for all of it.
        spec: the model's input.
        stream: where to launch; None for the device's default.

    Returns:
        The arguments of the launch, to be referenced until it has finished.
    """
XXREST
