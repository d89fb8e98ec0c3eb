"""Boxes from a detector's outputs that lie on a device: the GPU's form of `heads.decode`.

The raw outputs stay there; what comes to the host is how many boxes each picture has, and then, if
there are any, these boxes. A picture with more candidates than there is room for loses none: its
outputs are brought to the host and decoded there, as those of decodings that the kernels do not
know are. The device is a GPU; or `cpu`, on which the same code is tested.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device import head_kernels
from gpu_kernels.device.streams import load_kernels, to_numpy, use_stream
from gpu_kernels.engines.batch_queue import BatchSlot
from gpu_kernels.heads.box_decoding import (
    MAX_CANDIDATES,
    Boxes,
    check_output_shapes,
    decode_boxes,
    load_anchors,
)
from gpu_kernels.models.manifest import ModelManifest, SsdOutput, YoloOutput
from gpu_kernels.preprocessing.letterbox import placement

# Decodings that the kernels know.
GPU_DECODINGS = {"yolo-objectness", "ssd"}
# Candidates of a picture that there is room for. `heads` compares the strongest so many, so as
# long as they fit nothing is left out, here or there.
CANDIDATE_CAPACITY = MAX_CANDIDATES


class _Buffers(NamedTuple):
    """What the kernels write for the pictures of a lane."""

    fitted: Any  # vec4 [most]: where each picture lies in the input: x, y, width, height
    totals: Any  # int32 [2, most]: candidates, and boxes that are kept
    found: Any  # float32 [most, ROOM, COLUMNS]
    ordered: Any
    chosen: Any  # int32 [most, ROOM]
    kept: Any  # float32 [ROOM, most, KEPT_COLUMNS]
    told: Any  # `totals` on the host, pinned

    @classmethod
    def on(cls, device: Any, most: int) -> "_Buffers":
        columns = head_kernels.CANDIDATE_COLUMNS
        with wp.ScopedDevice(device):
            return cls(
                wp.empty(most, dtype=wp.vec4),
                wp.empty((2, most), dtype=wp.int32),
                wp.empty((most, CANDIDATE_CAPACITY, columns), dtype=wp.float32),
                wp.empty((most, CANDIDATE_CAPACITY, columns), dtype=wp.float32),
                wp.empty((most, CANDIDATE_CAPACITY), dtype=wp.int32),
                wp.empty((CANDIDATE_CAPACITY, most, head_kernels.KEPT_COLUMNS), dtype=wp.float32),
                wp.empty((2, most), dtype=wp.int32, device="cpu", pinned=device.is_cuda),
            )


class GpuBoxDecoder:
    """Reads the outputs of one detector, lane by lane."""

    def __init__(self, manifest: ModelManifest, threshold: float) -> None:
        """Args:
        manifest: a detector of any decoding.
        threshold: least confidence, edge included.
        """
        self._manifest = manifest
        self._threshold = threshold
        self._buffers: dict[int, tuple[BatchSlot, _Buffers]] = {}
        self._anchors: Any = None

    def read(self, lane: BatchSlot, sizes: Sequence[tuple[int, int]]) -> Callable[[], list[Boxes]]:
        """Start reading what a lane computes.

        Args:
            sizes: (height, width) in pixels of each picture before it was fitted.

        Returns:
            To be called when the lane is done: gives the boxes of each picture.

        Raises:
            ModelError: the outputs are not of the shape that the manifest's decoding reads.
        """
        count = len(sizes)
        shapes = [(count, *output.shape[1:]) for output in lane.outputs]
        check_output_shapes(shapes, self._manifest, count)
        if self._manifest.detector_output.decoding not in GPU_DECODINGS:
            return lambda: self._on_host(lane, slice(0, count), sizes)
        with use_stream(lane.stream):
            buffers = self._buffers_of(lane)
            self._launch(lane, buffers, sizes)
            wp.copy(buffers.told, buffers.totals, stream=lane.stream)
        return lambda: self._answers(lane, buffers, sizes)

    def _buffers_of(self, lane: BatchSlot) -> _Buffers:
        """Kept from batch to batch; with the lane, so that no other can come to have its id."""
        known = self._buffers.get(id(lane))
        if known is None:
            device = lane.outputs[0].device
            load_kernels(str(device))
            known = lane, _Buffers.on(device, lane.outputs[0].shape[0])
            self._buffers[id(lane)] = known
        return known[1]

    def _launch(self, lane: BatchSlot, to: _Buffers, sizes: Sequence[tuple[int, int]]) -> None:
        head, device, count = self._manifest.detector_output, lane.outputs[0].device, len(sizes)
        assert isinstance(head, YoloOutput | SsdOutput)
        places = wp.array(self._places(sizes), dtype=wp.vec4, device="cpu")
        wp.copy(to.fitted, places, count=count)
        to.totals.zero_()
        each_row = (count, lane.outputs[0].shape[1])
        gathered = [to.fitted, self._threshold, to.totals, to.found]
        if isinstance(head, SsdOutput):
            size = wp.vec2(float(self._manifest.input.width), float(self._manifest.input.height))
            inputs = [*lane.outputs[:2], self._anchors_on(device), size, *gathered]
            wp.launch(head_kernels.candidates_of_ssd, each_row, inputs, device=device)
        else:
            inputs = [lane.outputs[0], *gathered]
            wp.launch(head_kernels.candidates_of_yolo, each_row, inputs, device=device)
        inputs = [to.totals, to.found, to.ordered]
        wp.launch(head_kernels.put_in_order, (count, CANDIDATE_CAPACITY), inputs, device=device)
        inputs = [to.ordered, to.fitted, head.nms_iou, to.totals, to.chosen, to.kept]
        wp.launch(head_kernels.keep_strongest, count, inputs, device=device)

    def _places(self, sizes: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Where each picture lies in the input: x, y, width, height."""
        places = [placement(height, width, self._manifest.input) for height, width in sizes]
        return np.array([(p.x, p.y, p.width, p.height) for p in places], np.float32)

    def _anchors_on(self, device: Any) -> Any:
        if self._anchors is None:
            anchors = load_anchors(self._manifest)
            self._anchors = wp.array(anchors, dtype=wp.float32, device=device)
            wp.synchronize_device(device)  # all lanes read them, and only this one's stream waits
        return self._anchors

    def _answers(
        self, lane: BatchSlot, buffers: _Buffers, sizes: Sequence[tuple[int, int]]
    ) -> list[Boxes]:
        found, kept = buffers.told.numpy()[:, : len(sizes)].copy()
        fits = found <= CANDIDATE_CAPACITY
        most = int(kept[fits].max(initial=0))
        rows = np.empty((0, len(sizes), 6), np.float32)
        if most:
            rows = to_numpy(buffers.kept[:most], lane.stream)
        return [
            _boxes(rows[: kept[number], number])
            if fits[number]
            else self._on_host(lane, slice(number, number + 1), sizes[number : number + 1])[0]
            for number in range(len(sizes))
        ]

    def _on_host(
        self, lane: BatchSlot, pictures: slice, sizes: Sequence[tuple[int, int]]
    ) -> list[Boxes]:
        outputs = [to_numpy(output[pictures], lane.stream) for output in lane.outputs]
        return decode_boxes(outputs, self._manifest, sizes, self._threshold)


def _boxes(rows: NDArray[np.float32]) -> Boxes:
    return Boxes(np.ascontiguousarray(rows[:, :4]), rows[:, 4].copy(), rows[:, 5].astype(np.int64))
