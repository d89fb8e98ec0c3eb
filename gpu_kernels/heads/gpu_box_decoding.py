"""Decode the raw outputs of a detector into boxes on a device: `heads.box_decoding` for a GPU.

The raw outputs stay on the device; only the number of boxes of each picture, and then the boxes,
are copied to the host. For a picture with more candidates than CANDIDATE_CAPACITY, or with a value
that is refused, and for outputs of types without a kernel, the outputs are copied to the host and
decoded there, so no box is lost and an error is the same. The device is a GPU, or `cpu`, on which
the same code is tested.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device import head_kernels
from gpu_kernels.device.streams import load_kernels, to_numpy, use_stream
from gpu_kernels.engines.batch_queue import BatchSlot
from gpu_kernels.heads.box_decoding import MAX_CANDIDATES, Boxes, decode_boxes, nms_iou
from gpu_kernels.heads.output_shapes import check_output_shapes
from gpu_kernels.heads.row_layouts import Rows, rows_of
from gpu_kernels.heads.ssd_anchors import load_anchors
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import SsdOutput
from gpu_kernels.preprocessing.letterbox import input_size, placement

# Candidates of a picture. The host compares that many at most, too, so below it both give the
# same boxes.
CANDIDATE_CAPACITY = MAX_CANDIDATES
# No IoU exceeds it, so nothing is suppressed.
NO_SUPPRESSION = 2.0


class _Buffers(NamedTuple):
    """Arrays of the kernels for the pictures of a batch slot."""

    placements: Any  # vec4 [max_batch]: each picture in the input: x, y, width, height
    counts: Any  # int32 [COUNT_ROWS, max_batch]: candidates, boxes, faults
    candidates: Any  # float32 [max_batch, CANDIDATE_CAPACITY, CANDIDATE_COLUMNS]
    ranked: Any  # the same, by falling confidence
    selected: Any  # int32 [max_batch, CANDIDATE_CAPACITY]
    boxes: Any  # float32 [CANDIDATE_CAPACITY, max_batch, BOX_COLUMNS]
    host_counts: Any  # `counts` on the host, pinned

    @classmethod
    def allocate(cls, device: Any, max_batch: int) -> "_Buffers":
        columns = head_kernels.CANDIDATE_COLUMNS
        capacity, rows = CANDIDATE_CAPACITY, head_kernels.COUNT_ROWS
        with wp.ScopedDevice(device):
            return cls(
                wp.empty(max_batch, dtype=wp.vec4),
                wp.empty((rows, max_batch), dtype=wp.int32),
                wp.empty((max_batch, capacity, columns), dtype=wp.float32),
                wp.empty((max_batch, capacity, columns), dtype=wp.float32),
                wp.empty((max_batch, capacity), dtype=wp.int32),
                wp.empty((capacity, max_batch, head_kernels.BOX_COLUMNS), dtype=wp.float32),
                wp.empty((rows, max_batch), dtype=wp.int32, device="cpu", pinned=device.is_cuda),
            )


class GpuBoxDecoder:
    """Decodes the outputs of one detector, one batch slot at a time."""

    def __init__(self, manifest: ModelManifest, threshold: float) -> None:
        """Args:
        manifest: a detector of any decoding.
        threshold: minimum confidence, inclusive.
        """
        self._manifest = manifest
        self._threshold = threshold
        self._buffers: dict[int, tuple[BatchSlot, _Buffers]] = {}
        self._anchors: Any = None

    def start(self, slot: BatchSlot, sizes: Sequence[tuple[int, int]]) -> Callable[[], list[Boxes]]:
        """Start decoding the outputs of a batch slot, on its stream.

        Args:
            sizes: (height, width) in pixels of each picture before `fit`.

        Returns:
            A function that returns the boxes of each picture, to be called after the slot has
            finished.

        Raises:
            ModelError: the shapes of the outputs do not match the manifest's decoding.
        """
        count = len(sizes)
        shapes = [(count, *output.shape[1:]) for output in slot.outputs]
        check_output_shapes(shapes, self._manifest, count)
        if not _has_kernel(slot.outputs, self._manifest):
            return lambda: self._decode_on_host(slot, slice(0, count), sizes)
        with use_stream(slot.stream):
            buffers = self._buffers_of(slot)
            self._launch(slot, buffers, sizes)
            wp.copy(buffers.host_counts, buffers.counts, stream=slot.stream)
        return lambda: self._read_boxes(slot, buffers, sizes)

    def _buffers_of(self, slot: BatchSlot) -> _Buffers:
        """Return the buffers of a slot, which are reused by all its batches.

        Stored with the slot, so that no other slot can get the same id.
        """
        known = self._buffers.get(id(slot))
        if known is None:
            device = slot.outputs[0].device
            load_kernels(str(device))
            known = slot, _Buffers.allocate(device, slot.outputs[0].shape[0])
            self._buffers[id(slot)] = known
        return known[1]

    def _launch(self, slot: BatchSlot, to: _Buffers, sizes: Sequence[tuple[int, int]]) -> None:
        head, device, count = self._manifest.detector_output, slot.outputs[0].device, len(sizes)
        placements = wp.array(self._placements(sizes), dtype=wp.vec4, device="cpu")
        wp.copy(to.placements, placements, count=count)
        to.counts.zero_()
        common = [to.placements, self._threshold, to.counts, to.candidates]
        height, width = input_size(*sizes[0], self._manifest.input)
        if isinstance(head, SsdOutput):
            dim = (count, slot.outputs[0].shape[1])
            size = wp.vec2(float(width), float(height))
            inputs = [*slot.outputs[:2], self._anchors_on(device), size, *common]
            wp.launch(head_kernels.ssd_candidates, dim, inputs, device=device)
        else:
            rows = rows_of(slot.outputs, self._manifest, (height, width))
            dim = (count, rows.rows)
            inputs = [*rows.arrays, rows.layout, *common]
            wp.launch(_kernel(rows), dim, inputs, device=device)
        inputs = [to.counts, to.candidates, to.ranked]
        wp.launch(head_kernels.sort_candidates, (count, CANDIDATE_CAPACITY), inputs, device=device)
        max_iou = nms_iou(self._manifest)
        max_iou = NO_SUPPRESSION if max_iou is None else max_iou
        inputs = [to.ranked, to.placements, max_iou, to.counts, to.selected, to.boxes]
        wp.launch(head_kernels.non_maximum_suppression, count, inputs, device=device)

    def _placements(self, sizes: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Return each picture's placement in the input: x, y, width, height."""
        places = [placement(height, width, self._manifest.input) for height, width in sizes]
        return np.array([(p.x, p.y, p.width, p.height) for p in places], np.float32)

    def _anchors_on(self, device: Any) -> Any:
        if self._anchors is None:
            anchors = load_anchors(self._manifest)
            self._anchors = wp.array(anchors, dtype=wp.float32, device=device)
            wp.synchronize_device(device)  # the streams of all slots read them
        return self._anchors

    def _read_boxes(
        self, slot: BatchSlot, buffers: _Buffers, sizes: Sequence[tuple[int, int]]
    ) -> list[Boxes]:
        counts = buffers.host_counts.numpy()[:, : len(sizes)].copy()
        box_counts = counts[head_kernels.BOXES]
        fits = (counts[head_kernels.CANDIDATES] <= CANDIDATE_CAPACITY) & (
            counts[head_kernels.FAULTS] == 0
        )
        max_boxes = int(box_counts[fits].max(initial=0))
        rows = np.empty((0, len(sizes), head_kernels.BOX_COLUMNS), np.float32)
        if max_boxes:
            rows = to_numpy(buffers.boxes[:max_boxes], slot.stream)
        return [
            _boxes(rows[: box_counts[number], number])
            if fits[number]
            else self._decode_on_host(slot, slice(number, number + 1), sizes[number : number + 1])[
                0
            ]
            for number in range(len(sizes))
        ]

    def _decode_on_host(
        self, slot: BatchSlot, pictures: slice, sizes: Sequence[tuple[int, int]]
    ) -> list[Boxes]:
        outputs = [to_numpy(output[pictures], slot.stream) for output in slot.outputs]
        return decode_boxes(outputs, self._manifest, sizes, self._threshold)


def _boxes(rows: NDArray[np.float32]) -> Boxes:
    # Copies, since on the CPU the rows are the slot's memory.
    return Boxes(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int64))


def _kernel(rows: Rows) -> Any:
    if len(rows.arrays) == 3:
        return head_kernels.numbered_candidates
    return head_kernels.dense_candidates


def _has_kernel(outputs: Sequence[Any], manifest: ModelManifest) -> bool:
    """Return whether the kernels are compiled for the types of the outputs."""
    ranks = manifest.output.output_ranks
    types = [output.dtype for output in outputs[: len(ranks)]]
    if manifest.output.decoding == "boxes-labels-scores":
        boxes, labels, scores = types
        return (
            boxes == scores
            and boxes in head_kernels.FLOAT_TYPES
            and (labels == boxes or labels in head_kernels.LABEL_TYPES)
        )
    return len(set(types)) == 1 and types[0] in head_kernels.FLOAT_TYPES
