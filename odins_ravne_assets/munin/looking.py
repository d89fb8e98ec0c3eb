"""Shows regions of pictures to a model, wherever the pictures are.

Pictures of the host are fitted by OpenCV and handed to the engine. Frames that the GPU decoded are
fitted there, by a kernel, straight into the engine's input; they never come to the host.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.device_picture import DeviceFrame
from gpu_kernels.engine import DeviceEngine, Engine
from gpu_kernels.manifest import ModelManifest
from gpu_kernels.preprocess import Pixels, fit, shown, to_input

HostPicture = npt.NDArray[np.uint8]
Outputs = list[npt.NDArray[Any]]


def run_on(
    engine: Engine,
    manifest: ModelManifest,
    regions: Sequence[tuple[HostPicture | DeviceFrame, Pixels]],
) -> Outputs:
    """The network's outputs for regions of pictures, in their order.

    Args:
        engine: of the model; a DeviceEngine if any picture is a DeviceFrame.
        regions: pictures, with the pixels of each that are shown.
    """
    on_host = [n for n, (picture, _) in enumerate(regions) if isinstance(picture, np.ndarray)]
    on_device = [n for n in range(len(regions)) if n not in set(on_host)]
    if not on_device:
        return _from_host(engine, manifest, regions)
    outputs = _from_device(engine, manifest, [regions[n] for n in on_device])
    if not on_host:
        return outputs
    others = _from_host(engine, manifest, [regions[n] for n in on_host])
    order = np.argsort([*on_device, *on_host])
    return [np.concatenate(both)[order] for both in zip(outputs, others, strict=True)]


def _from_host(engine: Engine, manifest: ModelManifest, regions: Sequence[Any]) -> Outputs:
    pictures = [fit(shown(picture, region), manifest) for picture, region in regions]
    return engine.run(to_input(pictures, manifest))


def _from_device(engine: Engine, manifest: ModelManifest, regions: Sequence[Any]) -> Outputs:
    from gpu_kernels.device import fit_into

    def fill(lane: Any, start: int, stop: int) -> None:
        done = 0
        # Frames of one decoding process lie in one buffer.
        for _, group in groupby(regions[start:stop], key=lambda each: id(each[0].buffer)):
            some = list(group)
            place = lane.input[done : done + len(some)]
            shown_of = [(frame.picture, region) for frame, region in some]
            fit_into(place, some[0][0].buffer, shown_of, manifest.input, lane.stream)
            done += len(some)

    return cast(DeviceEngine, engine).run_filled(len(regions), fill)
