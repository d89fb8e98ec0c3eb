"""Pictures on a device, and what the kernels do with them: the GPU's form of `preprocess`.

The device is a GPU, `cuda:0`; or `cpu`, on which the very same code is tested. Pictures lie in one
buffer, as the decoder left them: NV12 of the video decoder, BGR of stills. They are not turned
upright in memory; the kernels do that as they read.
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

# Warp's arrays have less than 2 GiB.
MAX_ARRAY_BYTES = 2**31 - 1
# Bytes of crops that are cut in one launch, if they are several.
MAX_CROP_BYTES = 2**26


@cache
def _crop_stream(device: str) -> Any:
    """Of what cuts crops, so that it waits for no network; None on the CPU."""
    return wp.Stream(device) if wp.get_device(device).is_cuda else None


def _axis_fields(
    size: int, turned: bool, region: tuple[int, int], to: tuple[int, int]
) -> dict[str, Any]:
    """Args:
    size: of the upright picture in this direction, pixels.
    turned: it is stored the other way round.
    region: from where to where, upright.
    to: the first pixel in what is made, and how many.
    """
    begin, end = region
    return {
        "size": end - begin,
        "first": size - 1 - begin if turned else begin,
        "turn": -1 if turned else 1,
        "to": to[0],
        "to_size": to[1],
        "scale": np.float32(end - begin) / np.float32(to[1]),
    }


def _region_descriptors(
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    places: Sequence[tuple[int, int, int, int]],
) -> NDArray[Any]:
    """Rows for `kernels.Item`; places are top, left, height and width in what is made."""
    row: Any = picture_kernels.Item
    items: NDArray[Any] = np.zeros(len(regions), row.numpy_dtype())
    for item, (picture, (left, top, right, bottom)), place in zip(
        items, regions, places, strict=True
    ):
        item["form"] = picture_kernels.BGR if picture.chroma is None else picture_kernels.NV12
        for name in ("zero", "scale", "red_cr", "green_cb", "green_cr", "blue_cb"):
            item[name] = getattr(picture.colour, name)
        down = _axis_fields(picture.height, picture.turns in (1, 2), (top, bottom), place[::2])
        across = _axis_fields(picture.width, picture.turns in (2, 3), (left, right), place[1::2])
        rows = {"step": picture.pitch, "chroma_step": picture.chroma_pitch}
        columns = (
            {"step": 3, "chroma_step": 0}
            if picture.chroma is None
            else {"step": 1, "chroma_step": 2}
        )
        steps = (columns, rows) if picture.turns % 2 else (rows, columns)
        starts = {"start": picture.start, "chroma_start": picture.chroma or 0}
        for name, value in (down | steps[0]).items():
            item["down"][name] = value
        for name, value in (across | steps[1] | starts).items():
            item["across"][name] = value
    return items


@cache
def _scratch_arrays(device: str, stream: Any, dtype: Any) -> list[Any]:
    """Of one array on the device: what the launch reads or writes that a stream has under way.

    Kept, because Warp frees memory on CUDA's default stream, which waits for all others and has
    them wait: no lane could be filled while another one computes.
    """
    return []


def _scratch_array(count: int, dtype: Any, device: Any, stream: Any) -> Any:
    """An array of at least `count`, until the next one is asked for on this stream."""
    kept = _scratch_arrays(str(device), stream, dtype)
    if not kept or kept[0].size < count:
        kept[:] = [wp.empty(2 * count, dtype=dtype, device=device)]
    return kept[0]


def _copy_to_device(values: NDArray[Any], dtype: Any, device: Any, stream: Any) -> Any:
    """Values of the host on the device, until the next ones are asked for on this stream."""
    there = _scratch_array(len(values), dtype, device, stream)
    here = wp.array(values, dtype=dtype, device="cpu")
    wp.copy(there, here, count=len(values), stream=stream)
    return there


def fit_descriptors(
    regions: Sequence[tuple[DevicePicture, PixelRegion]], spec: InputSpec
) -> NDArray[Any]:
    """What `launch_fit` reads, on the host: a row of `kernels.Item` for each region."""
    places = []
    for _, (left, top, right, bottom) in regions:
        place = placement(bottom - top, right - left, spec)
        places.append((place.y, place.x, place.height, place.width))
    return _region_descriptors(regions, places)


def launch_fit(
    images: Any, buffer: Any, items: Any, count: int, spec: InputSpec, record: bool = False
) -> Any:
    """Launch the kernel of `fit_into`, on Warp's current stream.

    Args:
        items: Warp array of `kernels.Item` with `count` or more.
        record: only return what launches it, again and again.
    """
    assert images.is_contiguous
    return wp.launch(
        picture_kernels.fit_regions,
        dim=picture_kernels.fit_threads(count, spec.height, spec.width),
        inputs=[buffer, items, wp.vec3(*spec.multiply), wp.vec3(*spec.add), float(spec.pad or 0)],
        outputs=[images],
        device=images.device,
        record_cmd=record,
    )


def fit_into(
    images: Any,
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    spec: InputSpec,
    stream: Any = None,
) -> Any:
    """Regions of pictures of any sizes into a model's input, in one launch.

    Args:
        images: Warp array [N or more, 3, H, W], float16 or float32, without gaps: the first N are
            written.
        buffer: Warp array of bytes that holds the pictures, on the same device.
        regions: N pictures, with the pixels of each that are shown; `picture.whole` for all.
        spec: the model's input.
        stream: what to launch on; the device's own when not given.

    Returns:
        What the launch reads, to be kept until it has ended.
    """
    load_kernels(str(images.device))
    with use_stream(stream):
        items = _copy_to_device(
            fit_descriptors(regions, spec), picture_kernels.Item, images.device, stream
        )
        launch_fit(images, buffer, items, len(regions), spec)
    return items


class StagingBuffer:
    """Memory for pictures of the host on their way to a device: pinned here, and there.

    To pin memory takes longer than to fill it, so it is kept, and grows when it must. It is one
    lane's, and used again when the lane is done.
    """

    def __init__(self) -> None:
        self._here: Any = None
        self._there: Any = None

    def room(self, size: int, device: str) -> tuple[Any, Any]:
        """Warp arrays of at least `size` bytes, here and there.

        Raises:
            MemoryError: they would be larger than an array can be.
        """
        if size > MAX_ARRAY_BYTES:
            raise MemoryError(f"a batch of pictures has {size / 2**30:.1f} GiB, 2 are the most")
        if self._here is None or self._here.size < size:
            self._here = self._there = None  # before there is more
            pinned = wp.get_device(device).is_cuda
            self._here = wp.empty(size, dtype=wp.uint8, device="cpu", pinned=pinned)
            self._there = wp.empty(size, dtype=wp.uint8, device=device)
        return self._here, self._there


def upload(
    pictures: Sequence[NDArray[np.uint8]], device: str, staging: StagingBuffer, stream: Any = None
) -> list[DeviceFrame]:
    """Pictures of the host (uint8 BGR [h, w, 3]) to a device, in one copy, from pinned memory.

    They are there until `staging` is used again.
    """
    if not pictures:
        return []
    load_kernels(device)
    starts = np.cumsum([0, *(picture.size for picture in pictures)])
    size = int(starts[-1])
    with use_stream(stream):
        here, there = staging.room(size, device)
    packed = here.numpy()
    for picture, start in zip(pictures, starts[:-1], strict=True):
        packed[start : start + picture.size].reshape(picture.shape)[:] = picture
    wp.copy(there, here, count=size, stream=stream)
    return [
        DeviceFrame(there, _packed_at(int(start), picture))
        for picture, start in zip(pictures, starts[:-1], strict=True)
    ]


def _packed_at(start: int, picture: NDArray[np.uint8]) -> DevicePicture:
    height, width = picture.shape[:2]
    return DevicePicture(height, width, start, width * 3)


def crop_to_host(
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    sizes: Sequence[tuple[int, int]],
) -> list[NDArray[np.uint8]]:
    """Regions as pictures on the host: uint8 BGR [height, width, 3] of the sizes asked for."""
    load_kernels(str(buffer.device))
    return [
        crop
        for some in _crop_batches(sizes)
        for crop in _crop_batch(buffer, regions[some], sizes[some])
    ]


def _crop_batches(sizes: Sequence[tuple[int, int]]) -> Iterator[slice]:
    """Which crops are cut in one launch: as many in a row as MOST_CUT allows, at least one."""
    begin, taken = 0, 0
    for number, (height, width) in enumerate(sizes):
        taken += height * width * 3
        if taken > MAX_CROP_BYTES and number > begin:
            yield slice(begin, number)
            begin, taken = number, height * width * 3
    if sizes:
        yield slice(begin, len(sizes))


def _crop_batch(
    buffer: Any,
    regions: Sequence[tuple[DevicePicture, PixelRegion]],
    sizes: Sequence[tuple[int, int]],
) -> list[NDArray[np.uint8]]:
    device = buffer.device
    stream = _crop_stream(str(device))
    places = [(0, 0, height, width) for height, width in sizes]
    ends = np.cumsum([height * width * 3 for height, width in sizes])
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    with use_stream(stream):
        items = _copy_to_device(
            _region_descriptors(regions, places), picture_kernels.Item, device, stream
        )
        crops = _scratch_array(int(ends[-1]), wp.uint8, device, stream)
        wp.launch(
            picture_kernels.cut_regions,
            dim=(len(regions), max(h for h, _ in sizes), max(w for _, w in sizes)),
            inputs=[buffer, items, _copy_to_device(starts, wp.int64, device, stream)],
            outputs=[crops],
            device=device,
        )
        # A copy, before it is another thread's turn: the next regions are written where these are.
        packed = to_numpy(crops[: int(ends[-1])], stream).copy()
    return [
        packed[start : start + height * width * 3].reshape(height, width, 3)
        for start, (height, width) in zip(starts, sizes, strict=True)
    ]


def downscale_to_grey(buffer: Any, picture: DevicePicture, height: int, width: int) -> Any:
    """A picture as a small grey one, a Warp array uint8 [height, width], for the motion gate."""
    device = buffer.device
    load_kernels(str(device))
    row = _region_descriptors([(picture, picture.whole)], [(0, 0, height, width)])
    with use_stream(None):
        items = _copy_to_device(row, picture_kernels.Item, device, None)
        grey = wp.empty((height, width), dtype=wp.uint8, device=device)
        wp.launch(
            picture_kernels.shrink_to_grey, dim=(height, width), inputs=[buffer, items],
            outputs=[grey], device=device,
        )  # fmt: skip
    return grey


def motion_energy(one: Any, other: Any, rows: int, columns: int) -> NDArray[np.float32]:
    """Mean difference of two small grey pictures over each tile, [rows, columns], grey levels."""
    change = wp.empty((rows, columns), dtype=wp.float32, device=one.device)
    wp.launch(
        picture_kernels.tile_change, dim=(rows, columns), inputs=[one, other], outputs=[change],
        device=one.device,
    )  # fmt: skip
    energy: NDArray[np.float32] = change.numpy()
    return energy
