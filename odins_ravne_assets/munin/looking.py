"""Shows regions of pictures to a model, wherever the pictures and the model are.

An engine of the CPU is handed pictures that OpenCV fitted. For an engine of the GPU a kernel fits
them, straight into the engine's input: frames that the GPU decoded never come to the host, and of
pictures of the host the shown bytes go up, a quarter of what the fitted floats would be. What a
detector found there comes back as boxes; the network's outputs stay.

On a GPU a look may be started before the one before it was waited for.
"""

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.engine import DeviceEngine, Engine
from gpu_kernels.heads import Boxes, decode
from gpu_kernels.lanes import Fill, Lane, to_host
from gpu_kernels.manifest import ModelManifest
from gpu_kernels.preprocess import Pixels, fit, shown, to_input

HostPicture = npt.NDArray[np.uint8]
Shown = tuple[HostPicture | DeviceFrame, Pixels]


def whole(picture: HostPicture | DeviceFrame) -> Shown:
    """All of a picture."""
    return picture, (0, 0, picture.shape[1], picture.shape[0])


class Finder:
    """Shows regions to a detector, and gives its boxes."""

    def __init__(self, engine: Engine, manifest: ModelManifest, threshold: float) -> None:
        """Args:
        threshold: least confidence of a box.
        """
        self._engine = engine
        self._manifest = manifest
        self._threshold = threshold
        self._heads: Any = None  # of a device
        if engine.device is not None:
            from gpu_kernels.heads_on_device import HeadsOnDevice

            self._heads = HeadsOnDevice(manifest, threshold)

    def start(self, regions: Sequence[Shown]) -> Callable[[], list[Boxes]]:
        """Start looking.

        Args:
            regions: pictures, of the host uint8 BGR [h, w, 3], with the pixels that are shown;
                of a device only if the engine is of it.

        Returns:
            What waits, and gives the boxes of each region, as fractions of it.
        """
        sizes = [(bottom - top, right - left) for _, (left, top, right, bottom) in regions]
        if self._heads is None:
            outputs = _seen_by_host(self._engine, self._manifest, regions)
            found = decode(outputs, self._manifest, sizes, self._threshold)
            return lambda: found

        def read(lane: Lane, start: int, stop: int) -> Callable[[], list[Boxes]]:
            boxes: Callable[[], list[Boxes]] = self._heads.read(lane, sizes[start:stop])
            return boxes

        engine = cast(DeviceEngine, self._engine)
        answers = engine.start(len(regions), _filling(engine, self._manifest, regions), read)
        return lambda: list(chain.from_iterable(answers()))


def scores_of(
    engine: Engine, manifest: ModelManifest, regions: Sequence[Shown]
) -> npt.NDArray[Any]:
    """A classifier's scores [N, classes] for regions of pictures, in their order; see `Finder`."""
    if engine.device is None:
        return _seen_by_host(engine, manifest, regions)[0]
    on_device = cast(DeviceEngine, engine)
    fill = _filling(on_device, manifest, regions)
    parts = on_device.start(len(regions), fill, to_host)()
    return np.concatenate([outputs[0] for outputs in parts])


def _seen_by_host(
    engine: Engine, manifest: ModelManifest, regions: Sequence[Shown]
) -> list[npt.NDArray[Any]]:
    pictures = [fit(shown(_of_host(each), region), manifest) for each, region in regions]
    return engine.run(to_input(pictures, manifest))


def _of_host(picture: HostPicture | DeviceFrame) -> HostPicture:
    assert not isinstance(picture, DeviceFrame)  # frames stay on the GPU for an engine of it only
    return picture


def _filling(engine: Engine, manifest: ModelManifest, regions: Sequence[Shown]) -> Fill:
    from gpu_kernels.device import fit_into, upload

    def fill(lane: Lane, start: int, stop: int) -> None:
        some = regions[start:stop]
        cuts = [shown(p, region) for p, region in some if not isinstance(p, DeviceFrame)]
        uploaded = iter(upload(cuts, str(engine.device), lane.staging, lane.stream))
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

    return fill
