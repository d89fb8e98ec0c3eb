"""Small copies of pictures on the host, whether the pictures are there or on a GPU."""

from collections.abc import Sequence

import cv2
import numpy as np

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.inference.run_model import HostPicture


def resize_to_host(
    pictures: Sequence[HostPicture | DeviceFrame], sizes: Sequence[tuple[int, int]]
) -> list[HostPicture]:
    """Return pictures resized to (height, width) pixels, uint8 BGR, on the host.

    Pictures on a GPU are resized there, and one launch serves all pictures of a buffer. Both
    interpolate bilinearly, and differ by at most one of 255.
    """
    resized: list[HostPicture | None] = [None] * len(pictures)
    by_buffer: dict[int, list[int]] = {}
    for number, (picture, (height, width)) in enumerate(zip(pictures, sizes, strict=True)):
        if isinstance(picture, DeviceFrame):
            by_buffer.setdefault(id(picture.buffer), []).append(number)
        else:
            small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            resized[number] = np.asarray(small, np.uint8)
    for numbers in by_buffer.values():
        from gpu_kernels.device.gpu_preprocessing import crop_to_host  # loads Warp

        frames = [picture for n in numbers if isinstance(picture := pictures[n], DeviceFrame)]
        wholes = [(frame.picture, frame.picture.whole) for frame in frames]
        copies = crop_to_host(frames[0].buffer, wholes, [sizes[n] for n in numbers])
        for number, copy in zip(numbers, copies, strict=True):
            resized[number] = copy
    return [picture for picture in resized if picture is not None]
