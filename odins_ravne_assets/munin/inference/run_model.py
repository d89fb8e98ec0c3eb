"""Shows regions of pictures to a model, wherever the pictures and the model are.

An engine of the CPU is handed pictures that OpenCV fitted. For an engine of the GPU a kernel fits
them, straight into the engine's input: frames that the GPU decoded never come to the host, and of
pictures of the host the shown bytes go up, a quarter of what the fitted floats would be. What a
detector found there comes back as boxes; the network's outputs stay.

On a GPU a look may be started before the one before it was waited for. On the CPU a picture is
looked at while the next ones are fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.engines.engine import DeviceEngine, Engine
from gpu_kernels.engines.lanes import Fill, Lane, to_host
from gpu_kernels.heads.decode import Boxes, decode
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.preprocessing.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.preprocessing.letterbox import Pixels, fit, shown, to_input
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import ThreadTiming

HostPicture = npt.NDArray[np.uint8]
PictureRegion = tuple[HostPicture | DeviceFrame, Pixels]
# Pictures that may be fitted, or under way, before an engine of the CPU takes the next one.
MAX_FITTED_AHEAD = 2


@dataclass(frozen=True)
class LoadedModel:
    """A model on the engine that runs it."""

    manifest: ModelManifest
    engine: Engine
    fitted: ThreadTiming = field(
        default_factory=ThreadTiming
    )  # told of pictures that are fitted on the CPU

    @property
    def looks_ahead(self) -> bool:
        """A GPU looks at a batch while the next one is made ready; the CPU has none to spare."""
        return self.engine.device is not None


def whole_picture(picture: HostPicture | DeviceFrame) -> PictureRegion:
    """All of a picture."""
    return picture, (0, 0, picture.shape[1], picture.shape[0])


class DetectorRunner:
    """Shows regions to a detector, and gives its boxes."""

    def __init__(self, model: LoadedModel, threshold: float) -> None:
        """Args:
        model: a detector.
        threshold: least confidence of a box.
        """
        self._model = model
        self._threshold = threshold
        self._heads: Any = None  # of a device
        if model.engine.device is not None:
            from gpu_kernels.heads.gpu_decode import HeadsOnDevice

            self._heads = HeadsOnDevice(model.manifest, threshold)

    def start(self, regions: Sequence[PictureRegion]) -> Callable[[], list[Boxes]]:
        """Start looking.

        Args:
            regions: pictures, of the host uint8 BGR [h, w, 3], with the pixels that are shown;
                of a device only if the engine is of it.

        Returns:
            What waits, and gives the boxes of each region, as fractions of it.
        """
        sizes = [(bottom - top, right - left) for _, (left, top, right, bottom) in regions]
        if self._heads is None:
            outputs = _seen_by_host(self._model, regions)
            found = decode(outputs, self._model.manifest, sizes, self._threshold)
            return lambda: found

        def read(lane: Lane, start: int, stop: int) -> Callable[[], list[Boxes]]:
            boxes: Callable[[], list[Boxes]] = self._heads.read(lane, sizes[start:stop])
            return boxes

        engine = cast(DeviceEngine, self._model.engine)
        answers = engine.start(len(regions), _filling(self._model, regions), read)
        return lambda: list(chain.from_iterable(answers()))


def start_classification(
    model: LoadedModel, regions: Sequence[PictureRegion]
) -> Callable[[], npt.NDArray[Any]]:
    """Start classifying regions of pictures; see `DetectorRunner.start`.

    Returns:
        What waits, and gives a classifier's scores [N, classes], in the order of the regions.
    """
    if model.engine.device is None:
        scores = _seen_by_host(model, regions)[0]
        return lambda: scores
    engine = cast(DeviceEngine, model.engine)
    answers = engine.start(len(regions), _filling(model, regions), to_host)
    return lambda: np.concatenate([outputs[0] for outputs in answers()])


def _seen_by_host(model: LoadedModel, regions: Sequence[PictureRegion]) -> list[npt.NDArray[Any]]:
    def fitted(region: PictureRegion) -> npt.NDArray[np.float32]:
        picture, pixels = region
        return to_input([fit(shown(_of_host(picture), pixels), model.manifest)], model.manifest)

    with BackgroundWorker(fitted, MAX_FITTED_AHEAD, model.fitted) as fitting:
        outputs = [model.engine.run(image) for image in fitting.through(regions)]
    return [np.concatenate(each) for each in zip(*outputs, strict=True)]


def _of_host(picture: HostPicture | DeviceFrame) -> HostPicture:
    assert not isinstance(picture, DeviceFrame)  # frames stay on the GPU for an engine of it only
    return picture


def _filling(model: LoadedModel, regions: Sequence[PictureRegion]) -> Fill:
    from gpu_kernels.device.gpu_preprocess import fit_into, upload

    def fill(lane: Lane, start: int, stop: int) -> None:
        some = regions[start:stop]
        cuts = [shown(p, region) for p, region in some if not isinstance(p, DeviceFrame)]
        uploaded = iter(upload(cuts, str(model.engine.device), lane.staging, lane.stream))
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
            lane.held.append((buffer, fit_into(place, buffer, shown_of, model.manifest.input,
                                               lane.stream)))  # fmt: skip
            done += len(of_one)

    return fill
