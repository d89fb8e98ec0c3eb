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
from gpu_kernels.models.manifest_sections import InputSpec
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
        dim=picture_kernels.fit_threads(count, *images.shape[2:]),
        inputs=[
            buffer, descriptors, wp.vec3(*spec.multiply), wp.vec3(*spec.add),
            float(spec.pad or 0), spec.colour == "bgr",
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
        images: contiguous Warp array [N or more, 3, H, W], float16, float32 or uint8; the first N
            are written.
        buffer: Warp array of bytes that contains the pictures, on the same device.
        regions: N pictures with the region to use, `picture.whole` for all of it, whose
            `letterbox.input_size` is H, W.
        spec: the model's input.
        stream: where to launch; None for the device's default.

    Returns:
        The arguments of the launch, to be referenced until it has finished.
    """

    load_kernels(str(images.device))
    with use_stream(stream):
        descriptors = _copy_to_device(
            fit_descriptors(regions, spec), picture_kernels.RegionDescriptor, images.device, stream
        )
        launch_fit(images, buffer, descriptors, len(regions), spec)
    return descriptors


class StagingBuffer:
    """Memory for uploading pictures: pinned on the host, and of the same size on the device.

    Pinning memory takes longer than filling it, so the buffer is reused and grows as needed. It
    belongs to one batch slot.
    """

    def __init__(self) -> None:
        self._host: Any = None
        self._device: Any = None

    def reserve(self, size: int, device: str) -> tuple[Any, Any]:
        """Return Warp arrays of at least `size` bytes on the host and on the device.

        Raises:
            MemoryError: they would exceed the limit of an array.
        """
        if size > MAX_ARRAY_BYTES:
            raise MemoryError(f"a batch of pictures has {size / 2**30:.1f} GiB, the limit is 2")
        if self._host is None or self._host.size < size:
            self._host = self._device = None  # free the old ones first
            pinned = wp.get_device(device).is_cuda
            self._host = wp.empty(size, dtype=wp.uint8, device="cpu", pinned=pinned)
            self._device = wp.empty(size, dtype=wp.uint8, device=device)
        return self._host, self._device


def upload(
    pictures: Sequence[NDArray[np.uint8]],
    device: str,
    staging: StagingBuffer,
    stream: Any = None,
) -> list[DeviceFrame]:
    """Copy pictures of the host (uint8 BGR [h, w, 3]) to a device at once, from pinned memory.

    They are valid until `staging` is used again.
    """
    if not pictures:
        return []
    load_kernels(device)
    starts = np.cumsum([0, *(picture.size for picture in pictures)])
    size = int(starts[-1])
    with use_stream(stream):
        on_host, on_device = staging.reserve(size, device)
    packed = on_host.numpy()
    for picture, start in zip(pictures, starts[:-1], strict=True):
        packed[start : start + picture.size].reshape(picture.shape)[:] = picture
    wp.copy(on_device, on_host, count=size, stream=stream)
    return [
        DeviceFrame(on_device, _packed_picture(int(start), picture))
        for picture, start in zip(pictures, starts[:-1], strict=True)
    ]


def _packed_picture(start: int, picture: NDArray[np.uint8]) -> DevicePicture:
    height, width = picture.shape[:2]
    return DevicePicture(height, width, start, width * 3)


def crop_to_host(
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    sizes: Sequence[tuple[int, int]],
) -> list[NDArray[np.uint8]]:
    """Return regions as pictures on the host: uint8 BGR [height, width, 3] of the given sizes."""
    load_kernels(str(buffer.device))
    return [
        crop
        for batch in _crop_batches(sizes)
        for crop in _crop_batch(buffer, regions[batch], sizes[batch])
    ]


def _crop_batches(sizes: Sequence[tuple[int, int]]) -> Iterator[slice]:
    """Yield the range of crops of each launch: as many as MAX_CROP_BYTES allows, at least one."""
    begin, total = 0, 0
    for number, (height, width) in enumerate(sizes):
        total += height * width * 3
        if total > MAX_CROP_BYTES and number > begin:
            yield slice(begin, number)
            begin, total = number, height * width * 3
    if sizes:
        yield slice(begin, len(sizes))


def _crop_batch(
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    sizes: Sequence[tuple[int, int]],
) -> list[NDArray[np.uint8]]:
    device = buffer.device
    stream = _crop_stream(str(device))
    targets = [(0, 0, height, width) for height, width in sizes]
    ends = np.cumsum([height * width * 3 for height, width in sizes])
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    rows = _region_descriptors(regions, targets)
    with use_stream(stream):
        descriptors = _copy_to_device(rows, picture_kernels.RegionDescriptor, device, stream)
        crops = _scratch_array(int(ends[-1]), wp.uint8, device, stream)
        wp.launch(
            picture_kernels.crop_regions,
            dim=(len(regions), max(h for h, _ in sizes), max(w for _, w in sizes)),
            inputs=[buffer, descriptors, _copy_to_device(starts, wp.int64, device, stream)],
            outputs=[crops],
            device=device,
        )
        # Copied inside the lock: the crops of the next call reuse this array.
        packed = to_numpy(crops[: int(ends[-1])], stream).copy()
    return [
        packed[start : start + height * width * 3].reshape(height, width, 3)
        for start, (height, width) in zip(starts, sizes, strict=True)
    ]


def downscale_to_grey(buffer: Any, picture: DevicePicture, height: int, width: int) -> Any:
    """Downscale a picture to grey for the motion gate: Warp array uint8 [height, width]."""
    device = buffer.device
    load_kernels(str(device))
    row = _region_descriptors([(picture, picture.whole)], [(0, 0, height, width)])
    with use_stream(None):
        descriptors = _copy_to_device(row, picture_kernels.RegionDescriptor, device, None)
        grey = wp.empty((height, width), dtype=wp.uint8, device=device)
        wp.launch(
            picture_kernels.downscale_to_grey, dim=(height, width), inputs=[buffer, descriptors],
            outputs=[grey], device=device,
        )  # fmt: skip
    return grey


def motion_energy(one: Any, other: Any, rows: int, columns: int) -> NDArray[np.float32]:
    """Return the mean difference of two grey pictures in each tile, [rows, columns]."""
    differences = wp.empty((rows, columns), dtype=wp.float32, device=one.device)
    wp.launch(
        picture_kernels.tile_differences, dim=(rows, columns), inputs=[one, other],
        outputs=[differences], device=one.device,
    )  # fmt: skip
    energy: NDArray[np.float32] = differences.numpy()
    return energy
