"""Run a model on regions of pictures, on the CPU or on a GPU.

For an engine on the CPU, OpenCV fits each region to the input. For an engine on the GPU a kernel
does, straight into the engine's input: frames that the GPU decoded stay there, and of pictures on
the host only the bytes of the regions are copied, a quarter of the fitted floats. A detector's
boxes come back to the host; the outputs of its network do not.

A GPU accepts a batch before the answer of the previous one is read. On the CPU the next pictures
are fitted during inference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.engines.batch_queue import BatchSlot, FillSlot, read_outputs
from gpu_kernels.engines.engine import DeviceEngine, Engine
from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.preprocessing.crop_regions import PixelRegion, crop_pixels
from gpu_kernels.preprocessing.device_picture import DeviceFrame, DevicePicture
from gpu_kernels.preprocessing.letterbox import fit, input_size, to_input
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import ThreadTiming

HostPicture = npt.NDArray[np.uint8]
PictureRegion = tuple[HostPicture | DeviceFrame, PixelRegion]
# Fitted pictures that may wait for an engine on the CPU.
MAX_FITTED_AHEAD = 2


@dataclass(frozen=True)
class LoadedModel:
    """A model and the engine that runs it.

    Attributes:
        fitting: receives the time of fitting pictures on the CPU.
    """

    manifest: ModelManifest
    engine: Engine
    fitting: ThreadTiming = field(default_factory=ThreadTiming)

    @property
    def max_pending(self) -> int:
        """Batches that may be started before the answer of an earlier one is read.

        One on a GPU, which computes while the next batch is prepared; none on the CPU.
        """
        return int(self.engine.device is not None)


def whole_picture(picture: HostPicture | DeviceFrame) -> PictureRegion:
    """Return the region that is all of a picture."""
    return picture, (0, 0, picture.shape[1], picture.shape[0])


class DetectorRunner:
    """Runs a detector on regions of pictures and decodes its boxes."""

    def __init__(self, model: LoadedModel, threshold: float) -> None:
        """Args:
        model: a detector.
        threshold: least confidence of a box.
        """
        self._model = model
        self._threshold = threshold
        self._gpu_decoder: Any = None  # on a device
        if model.engine.device is not None:
            from gpu_kernels.heads.gpu_box_decoding import GpuBoxDecoder

            self._gpu_decoder = GpuBoxDecoder(model.manifest, threshold)

    def start(self, regions: Sequence[PictureRegion]) -> Callable[[], list[Boxes]]:
        """Start inference on a batch.

        Args:
            regions: pictures with the pixels to use; pictures on the host are uint8 BGR
                [h, w, 3], pictures on a device only if the engine is on it.

        Returns:
            A function that waits, and returns the boxes of each region, as fractions of it.
        """
        model = self._model
        if self._gpu_decoder is None:
            found = self._decode_on_host(regions)
            return lambda: found
        answers = [self._start_on_device(group) for group in _groups_of_one_size(model, regions)]
        return lambda: [boxes for answer in answers for boxes in answer()]

    def _start_on_device(self, regions: Sequence[PictureRegion]) -> Callable[[], list[Boxes]]:
        """Start inference on regions whose inputs have one size."""
        sizes = _sizes(regions)

        def read(slot: BatchSlot, start: int, stop: int) -> Callable[[], list[Boxes]]:
            boxes: Callable[[], list[Boxes]] = self._gpu_decoder.start(slot, sizes[start:stop])
            return boxes

        engine = cast(DeviceEngine, self._model.engine)
        answers = engine.start(len(regions), _filler(self._model, regions), read)
        return lambda: list(chain.from_iterable(answers()))

    def _decode_on_host(self, regions: Sequence[PictureRegion]) -> list[Boxes]:
        """Decode each run of the engine on its own: the outputs of runs can differ in shape."""
        sizes = _sizes(regions)
        found: list[Boxes] = []
        for outputs in _run_on_host(self._model, regions):
            of_run = sizes[len(found) : len(found) + len(outputs[0])]
            found += decode_boxes(outputs, self._model.manifest, of_run, self._threshold)
        return found


def start_classification(
    model: LoadedModel, regions: Sequence[PictureRegion]
) -> Callable[[], npt.NDArray[Any]]:
    """Start classification of a batch; see `DetectorRunner.start`.

    Returns:
        A function that waits, and returns the scores [N, classes] in the order of the regions.
    """
    if model.engine.device is None:
        scores = np.concatenate([outputs[0] for outputs in _run_on_host(model, regions)])
        return lambda: scores
    engine = cast(DeviceEngine, model.engine)
    answers = [
        engine.start(len(group), _filler(model, group), read_outputs)
        for group in _groups_of_one_size(model, regions)
    ]
    return lambda: np.concatenate([outputs[0] for answer in answers for outputs in answer()])


def _sizes(regions: Sequence[PictureRegion]) -> list[tuple[int, int]]:
    """Return height and width of each region, in pixels."""
    return [(bottom - top, right - left) for _, (left, top, right, bottom) in regions]


def _run_on_host(
    model: LoadedModel, regions: Sequence[PictureRegion]
) -> Iterator[list[npt.NDArray[Any]]]:
    """Yield the outputs of each run of an engine on the CPU."""

    def fit_regions(group: Sequence[PictureRegion]) -> npt.NDArray[Any]:
        fitted = []
        for picture, pixels in group:
            assert not isinstance(picture, DeviceFrame)  # only for an engine on the GPU
            fitted.append(fit(crop_pixels(picture, pixels), model.manifest))
        return to_input(fitted, model.manifest)

    groups = _groups_of_one_size(model, regions, model.engine.fixed_batch)
    with BackgroundWorker(fit_regions, MAX_FITTED_AHEAD, model.fitting) as fitting:
        for images in fitting.map(groups):
            yield model.engine.run(images)


def _groups_of_one_size(
    model: LoadedModel, regions: Sequence[PictureRegion], most: int | None = None
) -> list[Sequence[PictureRegion]]:
    """Return successive regions in groups of at most `most`, whose inputs have one size."""
    spec = model.manifest.input
    groups: list[Sequence[PictureRegion]] = []
    for _, members in groupby(regions, key=lambda each: input_size(*_sizes([each])[0], spec)):
        of_size = list(members)
        step = most or len(of_size)
        groups += [of_size[at : at + step] for at in range(0, len(of_size), step)]
    return groups


def _filler(model: LoadedModel, regions: Sequence[PictureRegion]) -> FillSlot:
    """Return the function that fits a range of the regions, of one size, into a slot's input."""
    from gpu_kernels.device.gpu_preprocessing import fit_into, upload

    size = input_size(*_sizes(regions)[0], model.manifest.input)

    def fill(slot: BatchSlot, start: int, stop: int) -> None:
        slot.set_size(*size)
        batch = regions[start:stop]
        cuts = [crop_pixels(p, region) for p, region in batch if not isinstance(p, DeviceFrame)]
        uploaded = iter(upload(cuts, str(model.engine.device), slot.staging, slot.stream))
        on_device: list[tuple[Any, DevicePicture, PixelRegion]] = []
        for picture, region in batch:
            if isinstance(picture, DeviceFrame):
                on_device.append((picture.buffer, picture.picture, region))
            else:
                frame = next(uploaded)
                on_device.append((frame.buffer, frame.picture, frame.picture.whole))
        done = 0
        # A kernel launch reads one buffer; each decoding process has its own.
        for _, group in groupby(on_device, key=lambda each: id(each[0])):
            members = list(group)
            target = slot.input[done : done + len(members)]
            pictures = [(device_picture, region) for _, device_picture, region in members]
            buffer = members[0][0]
            # Held until the slot has finished: the GPU reads them later.
            slot.references.append((buffer, fit_into(target, buffer, pictures, model.manifest.input,
                                               slot.stream)))  # fmt: skip
            done += len(members)

    return fill
