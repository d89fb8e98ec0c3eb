"""Stage 1: looks at media and journals the boxes and crops.

Queues with bounds: processes decode frames, this thread runs the detector on them, another makes
crops. A frame keeps its slot until its crops are made, so that decoding waits for all of them. On a
GPU a batch is looked at while the next one is made ready. The answers do not depend on which frames
share a batch, nor on the order in which media finish.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import NamedTuple

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.detection import decode_pool
from odins_ravne_assets.munin.detection.crops import RawCrop, cut_crops, encode_crop
from odins_ravne_assets.munin.detection.decode_pool import (
    MediumStarted,
    DecodePool,
    MediumFailed,
    Frame,
    Medium,
    MediumEnded,
    MediumUnavailable,
)
from odins_ravne_assets.munin.detection.detector import Box, Detector
from odins_ravne_assets.munin.detection.motion_gate import MotionGate
from odins_ravne_assets.munin.inference.background_worker import BackgroundWorker
from odins_ravne_assets.munin.inference.timing import SAVING, INFERENCE, INPUT_WAIT, StageTiming
from odins_ravne_assets.munin.tables.journal import Row, Stage1Journal


@dataclass
class MediumState:
    """What is known of one medium while it is looked at."""

    medium: Medium
    gate: MotionGate = field(default_factory=MotionGate)
    decoded: int = 0
    skipped: int = 0
    waiting: int = 0  # frames that are not looked at yet
    uncropped: int = 0  # frames whose crops are not made yet
    frames: list[Row] = field(default_factory=list)
    boxes: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    ended: MediumEnded | None = None


class FrameWithBoxes(NamedTuple):
    """A frame in which something was found."""

    looks: MediumState
    frame: Frame
    place: Row  # medium and number of the frame
    cuts: list[RawCrop]

    def cropped(self) -> tuple[MediumState, list[Row]]:
        """The crops' rows; the frame is not needed any more."""
        try:
            crops = [encode_crop(cut) for cut in self.cuts]
        finally:
            self.frame.release()
        rows = [{**self.place, "box_number": n, **crop} for n, crop in enumerate(crops)]
        return self.looks, rows


@dataclass
class Stage1Progress:
    """Counts of a stage while it runs."""

    media: int = 0
    failed: int = 0
    images: int = 0
    video_seconds: float = 0.0
    frames: int = 0
    boxes: int = 0


class Stage1:
    """One pass over media that are not in the journal yet."""

    def __init__(
        self,
        detector: Detector,
        journal: Stage1Journal,
        batch_size: int,
        on_progress: Callable[[Stage1Progress], None],
        on_settled: Callable[[], None],
        pace: StageTiming,
    ) -> None:
        """Args:
        on_progress: told the counts so far after each medium.
        on_settled: called after each medium that was finished, failed or given up; may flush.
        pace: told where the time goes.
        """
        self._detector = detector
        self._journal = journal
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._on_settled = on_settled
        self._pace = pace
        self._looks: dict[str, MediumState] = {}
        self._batch: list[tuple[MediumState, Frame]] = []  # being gathered
        # Batches that the detector has in hand, with what gives its answer.
        self._looking: deque[tuple[list[tuple[MediumState, Frame]], Callable[[], list[list[Box]]]]]
        self._looking = deque()
        self.progress = Stage1Progress()
        self.unreadable: list[tuple[str, str]] = []

    def run(self, decoder: DecodePool, stop: Event, grace: float) -> None:
        """Look at everything the decoder gives, and journal it.

        Args:
            stop: when set, no further medium is begun.
            grace: seconds that media in hand may still take after that; what is not finished by
                then is left for the next run.
        """
        events = decoder.events()
        self._decoder = decoder
        self._pace.frames.room = decoder.room
        self._crops = BackgroundWorker(FrameWithBoxes.cropped, self._batch_size, self._pace.crops)
        try:
            with self._crops:
                self._look_at_all(events, stop, grace)
                self._gather_rest()
        finally:
            decoder.close()
            self._pace.seconds_decoding = decoder.seconds
        self._journal.flush()

    def _look_at_all(self, events: Iterator[decode_pool.DecodeEvent], stop: Event, grace: float) -> None:
        deadline: float | None = None
        while (event := self._next(events)) is not None:
            self._take(event)
            if len(self._batch) >= self._batch_size:
                self._look()
            if self._decoder.nothing_waiting():
                self._catch_up()
            self._gather(self._crops.done())
            if self._journal.due():
                with self._pace.timed(SAVING):
                    self._journal.flush()
            if stop.is_set():
                self._decoder.stop()
                deadline = deadline or monotonic() + grace
                if monotonic() > deadline:
                    return
        self._catch_up()

    def _next(self, events: Iterator[decode_pool.DecodeEvent]) -> decode_pool.DecodeEvent | None:
        with self._pace.timed(INPUT_WAIT):
            return next(events, None)

    def _take(self, event: decode_pool.DecodeEvent) -> None:
        content_hash = event.medium.content_hash
        if isinstance(event, MediumStarted):
            self._drop_frames_of(content_hash)
            self._looks[content_hash] = MediumState(event.medium)
        elif isinstance(event, Frame):
            self._consider(self._looks[content_hash], event)
        elif isinstance(event, MediumEnded):
            looks = self._looks[content_hash]
            looks.ended = event
            self._finish_if_complete(looks)
        else:
            self._drop_frames_of(content_hash)
            self._looks.pop(content_hash, None)
            self._fail(event)

    def _consider(self, looks: MediumState, frame: Frame) -> None:
        """Put the frame into the batch, or let the gate skip it."""
        looks.decoded += 1
        if looks.waiting and not frame.moved:
            self._see_all()  # the gate needs to know what the last look found
        if frame.moved or looks.gate.look(moved=False):
            looks.waiting += 1
            self._batch.append((looks, frame))
        else:
            looks.skipped += 1
            frame.release()

    def _look(self) -> None:
        """Have the detector look at the batch."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._pace.frames.seen(self._decoder.frames_in_hand())
        self._pace.on_device += sum(isinstance(each.picture, DeviceFrame) for _, each in batch)
        with self._pace.timed(INFERENCE):
            found = self._detector.start([frame.picture for _, frame in batch])
        self._looking.append((batch, found))
        while len(self._looking) > self._detector.looks_ahead:
            self._see()

    def _see_all(self) -> None:
        self._look()
        while self._looking:
            self._see()

    def _catch_up(self) -> None:
        """Have all that is in hand done, before it would be waited for anything new."""
        self._see_all()
        self._gather_rest()

    def _see(self) -> None:
        """Take the detector's answer about the oldest batch that it has in hand."""
        batch, answer = self._looking.popleft()
        with self._pace.timed(INFERENCE):
            found = answer()
        with self._pace.timed(SAVING):
            cuts = iter(cut_crops([(f.picture, b) for (_, f), b in zip(batch, found, strict=True)]))
        for (looks, frame), boxes in zip(batch, found, strict=True):
            of_frame = next(cuts)
            if not self._is_current(looks):
                frame.release()
                continue
            looks.waiting -= 1
            looks.gate.seen(len(boxes))
            self._note(looks, frame, boxes, of_frame)
            self.progress.frames += 1
            self.progress.boxes += len(boxes)
        for looks, _ in batch:
            self._finish_if_complete(looks)

    def _note(
        self, looks: MediumState, frame: Frame, boxes: Sequence[Box], cuts: list[RawCrop]
    ) -> None:
        place = {"content_hash": frame.medium.content_hash, "frame_number": frame.number}
        looks.frames.append({**place, "time_offset_ms": frame.time_ms, "boxes": len(boxes)})
        if not boxes:
            frame.release()
            return
        for number, box in enumerate(boxes):
            looks.boxes.append(
                {
                    **place,
                    "box_number": number,
                    "time_offset_ms": frame.time_ms,
                    **box.as_row(),
                },
            )
        looks.uncropped += 1
        if self._crops.full:
            with self._pace.timed(SAVING):
                oldest = self._crops.take()
            self._gather([oldest])
        self._crops.give(FrameWithBoxes(looks, frame, place, cuts))

    def _gather(self, cropped: Iterable[tuple[MediumState, list[Row]]]) -> None:
        """Take crops that are made."""
        for looks, crops in cropped:
            looks.crops += crops
            looks.uncropped -= 1
            self._finish_if_complete(looks)

    def _gather_rest(self) -> None:
        """Wait for all crops."""
        with self._pace.timed(SAVING):
            cropped = list(self._crops.rest())
        self._gather(cropped)

    def _is_current(self, looks: MediumState) -> bool:
        """Whether its medium was not begun anew, or given up, meanwhile."""
        return self._looks.get(looks.medium.content_hash) is looks

    def _finish_if_complete(self, looks: MediumState) -> None:
        if looks.ended is None or looks.waiting or looks.uncropped or not self._is_current(looks):
            return
        medium = looks.medium
        del self._looks[medium.content_hash]
        row = {
            "content_hash": medium.content_hash,
            "status": "done",
            "reason": looks.ended.remark,
            "frames_decoded": looks.decoded,
            "frames_skipped": looks.skipped,
            "boxes": len(looks.boxes),
        }
        with self._pace.timed(SAVING):
            self._journal.append(row, looks.frames, looks.boxes, looks.crops)
        self.progress.images += medium.kind == "image"
        self.progress.video_seconds += medium.duration_seconds or 0.0
        self._settle()

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
        else:  # not the medium's fault, so not for the journal: the next run tries again
            self.unreadable.append((event.medium.path, event.reason))
        self.progress.failed += 1
        self._settle()

    def _settle(self) -> None:
        self.progress.media += 1
        self._on_progress(self.progress)
        self._on_settled()

    def _drop_frames_of(self, content_hash: str) -> None:
        for _, frame in self._batch:
            if frame.medium.content_hash == content_hash:
                frame.release()
        self._batch = [pair for pair in self._batch if pair[1].medium.content_hash != content_hash]


def skip_finished(media: Iterator[Medium], finished: Container[str]) -> Iterator[Medium]:
    """The media that the journal does not know, each content once."""
    return (medium for medium in media if medium.content_hash not in finished)
