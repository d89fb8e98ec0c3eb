"""Stage 1: run the detector on media, and write boxes and crops to the journal.

A pipeline of bounded queues: processes decode frames, this thread runs the detector, another one
encodes crops. A frame holds its slot until its crops are encoded, so decoders wait for all of them.
A GPU processes a batch while the next one is prepared. Results depend neither on the frames that
share a batch nor on the order in which media finish.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import NamedTuple

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.detection.crops import RawCrop, cut_crops, encode_crop
from odins_ravne_assets.munin.detection.decode_pool import (
    DecodeEvent,
    DecodePool,
    Frame,
    Medium,
    MediumEnded,
    MediumFailed,
    MediumStarted,
    MediumUnavailable,
)
from odins_ravne_assets.munin.detection.detector import Box, Detector, PendingBoxes, Picture
from odins_ravne_assets.munin.detection.edge_strips import edge_strips
from odins_ravne_assets.munin.detection.motion_gate import MotionGate
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import INFERENCE, INPUT_WAIT, SAVING, StageTiming
from odins_ravne_assets.munin.tables.journal import Row, Stage1Journal


@dataclass
class MediumState:
    """The state of a medium in progress."""

    medium: Medium
    gate: MotionGate = field(default_factory=MotionGate)
    decoded: int = 0
    skipped: int = 0
    pending: int = 0  # frames without an answer of the detector
    uncropped: int = 0  # frames whose crops are not encoded
    frames: list[Row] = field(default_factory=list)
    boxes: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    ended: MediumEnded | None = None


Batch = list[tuple[MediumState, Frame]]


class FrameWithBoxes(NamedTuple):
    """A frame with its boxes cut out."""

    state: MediumState
    frame: Frame
    keys: Row  # content hash and number of the frame
    raw_crops: list[RawCrop]

    def encode(self) -> tuple[MediumState, list[Row]]:
        """Release the frame and return the rows of its crops."""
        try:
            crops = [encode_crop(raw) for raw in self.raw_crops]
        finally:
            self.frame.release()
        rows = [{**self.keys, "box_number": n, **crop} for n, crop in enumerate(crops)]
        return self.state, rows


@dataclass
class Stage1Progress:
    """Counts of finished media and processed frames."""

    media: int = 0
    images: int = 0
    video_seconds: float = 0.0
    frames: int = 0


class Stage1:
    """One pass over media that are not in the journal."""

    def __init__(
        self,
        detector: Detector,
        journal: Stage1Journal,
        batch_size: int,
        on_progress: Callable[[Stage1Progress], None],
        on_finished: Callable[[], None],
        timing: StageTiming,
    ) -> None:
        """Args:
        on_progress: called with the counts after each medium.
        on_finished: called after each medium, whether it succeeded or failed; may flush.
        timing: receives seconds by step.
        """
        self._detector = detector
        self._journal = journal
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._on_finished = on_finished
        self._timing = timing
        self._states: dict[str, MediumState] = {}
        self._batch: Batch = []  # being filled
        self._pending: deque[tuple[Batch, PendingBoxes]] = deque()
        self.progress = Stage1Progress()
        self.unavailable: list[tuple[str, str]] = []  # path and reason

    def run(self, decoder: DecodePool, stop: Event, grace: float) -> None:
        """Process all frames of the decoder, and journal the results.

        Args:
            stop: when set, no further medium is started.
            grace: seconds that media in progress may still take after that; unfinished media are
                left to the next run.
        """
        events = decoder.events()
        self._decoder = decoder
        self._timing.frames.capacity = decoder.capacity
        self._crops = BackgroundWorker(FrameWithBoxes.encode, self._batch_size, self._timing.crops)
        try:
            with self._crops:
                self._process_events(events, stop, grace)
                self._finish_crops()
        finally:
            decoder.close()
            self._timing.decoding_seconds = decoder.seconds
        self._journal.flush()

    def _process_events(self, events: Iterator[DecodeEvent], stop: Event, grace: float) -> None:
        deadline: float | None = None
        while (event := self._next(events)) is not None:
            self._handle(event)
            if len(self._batch) >= self._batch_size:
                self._start_batch()
            if self._decoder.no_event_ready():
                self._finish_pending()
            self._collect(self._crops.take_finished())
            if self._journal.due():
                with self._timing.timed(SAVING):
                    self._journal.flush()
            if stop.is_set():
                self._decoder.stop()
                deadline = deadline or monotonic() + grace
                if monotonic() > deadline:
                    return
        self._finish_pending()

    def _next(self, events: Iterator[DecodeEvent]) -> DecodeEvent | None:
        with self._timing.timed(INPUT_WAIT):
            return next(events, None)

    def _handle(self, event: DecodeEvent) -> None:
        content_hash = event.medium.content_hash
        if isinstance(event, MediumStarted):
            self._drop_frames_of(content_hash)
            self._states[content_hash] = MediumState(event.medium)
        elif isinstance(event, Frame):
            self._add_frame(self._states[content_hash], event)
        elif isinstance(event, MediumEnded):
            state = self._states[content_hash]
            state.ended = event
            self._finish_if_complete(state)
        else:
            self._drop_frames_of(content_hash)
            self._states.pop(content_hash, None)
            self._fail(event)

    def _add_frame(self, state: MediumState, frame: Frame) -> None:
        """Add the frame to the batch, unless the motion gate skips it."""
        state.decoded += 1
        if state.pending and not frame.moved:
            self._finish_batches()  # the gate needs the boxes of all earlier frames
        if state.gate.opens(frame.moved):
            state.pending += 1
            self._batch.append((state, frame))
        else:
            state.skipped += 1
            frame.release()

    def _start_batch(self) -> None:
        """Start inference on the batch."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._timing.frames.record(self._decoder.frames_in_use())
        self._timing.frames_on_gpu += sum(isinstance(f.picture, DeviceFrame) for _, f in batch)
        with self._timing.timed(INFERENCE):
            boxes = self._detector.start([frame.picture for _, frame in batch])
        self._pending.append((batch, boxes))
        while len(self._pending) > self._detector.max_pending:
            self._finish_batch()

    def _finish_batches(self) -> None:
        self._start_batch()
        while self._pending:
            self._finish_batch()

    def _finish_pending(self) -> None:
        """Finish all frames in progress, before a wait for new ones."""
        self._finish_batches()
        self._finish_crops()

    def _finish_batch(self) -> None:
        """Take the boxes of the oldest pending batch."""
        batch, pending = self._pending.popleft()
        with self._timing.timed(INFERENCE):
            found = pending()
        with self._timing.timed(SAVING):
            raw = cut_crops([(f.picture, b) for (_, f), b in zip(batch, found, strict=True)])
        for (state, frame), boxes, raw_crops in zip(batch, found, raw, strict=True):
            if not self._is_current(state):
                frame.release()
                continue
            state.pending -= 1
            state.gate.record(len(boxes))
            self._add_rows(state, frame, boxes, raw_crops)
            self.progress.frames += 1
        for state, _ in batch:
            self._finish_if_complete(state)

    def _add_rows(
        self, state: MediumState, frame: Frame, boxes: Sequence[Box], raw_crops: list[RawCrop]
    ) -> None:
        keys = {"content_hash": frame.medium.content_hash, "frame_number": frame.number}
        state.frames.append(
            {
                **keys,
                "time_offset_ms": frame.time_ms,
                "boxes": len(boxes),
                # A camera prints the same strips on all frames.
                "edge_strips": None if state.frames else _edge_strips(frame.picture),
            }
        )
        if not boxes:
            frame.release()
            return
        for number, box in enumerate(boxes):
            state.boxes.append(
                {
                    **keys,
                    "box_number": number,
                    "time_offset_ms": frame.time_ms,
                    **box.as_row(),
                },
            )
        state.uncropped += 1
        if self._crops.full:
            with self._timing.timed(SAVING):
                oldest = self._crops.take()
            self._collect([oldest])
        self._crops.submit(FrameWithBoxes(state, frame, keys, raw_crops))

    def _collect(self, encoded: Iterable[tuple[MediumState, list[Row]]]) -> None:
        """Add encoded crops to their media."""
        for state, crops in encoded:
            state.crops += crops
            state.uncropped -= 1
            self._finish_if_complete(state)

    def _finish_crops(self) -> None:
        """Wait for all crops."""
        with self._timing.timed(SAVING):
            encoded = list(self._crops.take_all())
        self._collect(encoded)

    def _is_current(self, state: MediumState) -> bool:
        """Return False if the medium was restarted or failed since."""
        return self._states.get(state.medium.content_hash) is state

    def _finish_if_complete(self, state: MediumState) -> None:
        if state.ended is None or state.pending or state.uncropped or not self._is_current(state):
            return
        medium = state.medium
        del self._states[medium.content_hash]
        row = {
            "content_hash": medium.content_hash,
            "status": "done",
            "reason": state.ended.remark,
            "frames_decoded": state.decoded,
            "frames_skipped": state.skipped,
            "boxes": len(state.boxes),
        }
        with self._timing.timed(SAVING):
            self._journal.append(row, state.frames, state.boxes, state.crops)
        self.progress.images += medium.kind == "image"
        self.progress.video_seconds += medium.duration_seconds or 0.0
        self._count_finished()

    def _fail(self, event: MediumFailed | MediumUnavailable) -> None:
        if isinstance(event, MediumFailed):
            row = {
                "content_hash": event.medium.content_hash,
                "status": "failed",
                "reason": event.reason,
                "frames_decoded": 0,
                "frames_skipped": 0,
                "boxes": 0,
            }
            self._journal.append(row, [], [], [])
        else:  # not an error of the medium, so not journaled: the next run retries it
            self.unavailable.append((event.medium.path, event.reason))
        self._count_finished()

    def _count_finished(self) -> None:
        self.progress.media += 1
        self._on_progress(self.progress)
        self._on_finished()

    def _drop_frames_of(self, content_hash: str) -> None:
        for _, frame in self._batch:
            if frame.medium.content_hash == content_hash:
                frame.release()
        self._batch = [pair for pair in self._batch if pair[1].medium.content_hash != content_hash]


def _edge_strips(picture: Picture) -> list[Row]:
    if not isinstance(picture, DeviceFrame):
        return edge_strips(picture)
    from gpu_kernels.device.gpu_preprocessing import crop_to_host

    height, width = picture.shape[:2]
    whole = (picture.picture, (0, 0, width, height))
    return edge_strips(crop_to_host(picture.buffer, [whole], [(height, width)])[0])


def skip_finished(media: Iterator[Medium], finished: Container[str]) -> Iterator[Medium]:
    """Return an iterator over the media that are not in the journal."""
    return (medium for medium in media if medium.content_hash not in finished)
