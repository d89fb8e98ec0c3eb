"""Shows regions of pictures to a model, wherever the pictures and the model are.

An engine of the CPU is handed pictures that OpenCV fitted. For an engine of the GPU a kernel fits
them, straight into the engine's input: frames that the GPU decoded never come to the host, and of
pictures of the host the shown bytes go up, a quarter of what the fitted floats would be.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.engine import DeviceEngine, Engine
from gpu_kernels.manifest import ModelManifest
from gpu_kernels.preprocess import Pixels, fit, shown, to_input

HostPicture = npt.NDArray[np.uint8]
Shown = tuple[HostPicture | DeviceFrame, Pixels]


def run_on(
    engine: Engine, manifest: ModelManifest, regions: Sequence[Shown]
) -> list[npt.NDArray[Any]]:
    """The network's outputs for regions of pictures, in their order.

    Args:
        engine: of the model; one of a device if any picture is a DeviceFrame.
        regions: pictures, of the host uint8 BGR [h, w, 3], with the pixels that are shown.
    """
    if engine.device is None:
        pictures = [fit(shown(_of_host(each), region), manifest) for each, region in regions]
        return engine.run(to_input(pictures, manifest))
    return _on_device(cast(DeviceEngine, engine), manifest, regions)


def whole(picture: HostPicture | DeviceFrame) -> Shown:
    """All of a picture."""
    return picture, (0, 0, picture.shape[1], picture.shape[0])


def _of_host(picture: HostPicture | DeviceFrame) -> HostPicture:
    assert not isinstance(picture, DeviceFrame)  # frames stay on the GPU for an engine of it only
    return picture


def _on_device(
    engine: DeviceEngine, manifest: ModelManifest, regions: Sequence[Shown]
) -> list[npt.NDArray[Any]]:
    from gpu_kernels.device import fit_into, upload

    def fill(lane: Any, start: int, stop: int) -> None:
        some = regions[start:stop]
        cuts = [shown(p, region) for p, region in some if not isinstance(p, DeviceFrame)]
        uploaded = iter(upload(cuts, str(engine.device), lane.stream))
        there: list[tuple[Any, DevicePicture, Pixels]] = []
        for picture, region in some:
            if isinstance(picture, DeviceFrame):
                there.append((picture.buffer, picture.picture, region))
            else:
                frame = next(uploaded)
                there.append((frame.buffer, frame.picture, frame.picture.whole))
        done = 0
        # A launch reads one buffer: frames of one decoding process lie in one.
        for _, group in groupby(there, key=lambda each: id(each[0])):
            of_one = list(group)
            place = lane.input[done : done + len(of_one)]
            shown_of = [(shown_picture, region) for _, shown_picture, region in of_one]
            buffer = of_one[0][0]
            # Kept until the lane has ended: the GPU reads them later.
            lane.held.append((buffer, fit_into(place, buffer, shown_of, manifest.input,
                                               lane.stream)))  # fmt: skip
            done += len(of_one)

    return engine.run_filled(len(regions), fill)
