"""Stage 1: looks at media and journals the boxes and crops.

One thread, this one, runs the detector; decoding goes on meanwhile in its own processes. The
answers do not depend on which frames share a batch, nor on the order in which media finish.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from time import monotonic

import cv2
import numpy as np

from gpu_kernels.device_picture import DeviceFrame
from gpu_kernels.preprocess import Picture, Region, cut, cut_region, pixels
from odins_ravne_assets.munin import decoding
from odins_ravne_assets.munin.decoding import (
    Began,
    Decoder,
    Ended,
    Failed,
    Frame,
    Medium,
    Unreadable,
)
from odins_ravne_assets.munin.detector import Box, Detector
from odins_ravne_assets.munin.journal import Row, Stage1Journal
from odins_ravne_assets.munin.motion import Gate
from odins_ravne_assets.munin.pace import KEEPING, LOOKING, WAITING, Pace

# Crops keep this much room around the box, as a share of its longer side, so that classifiers
# with other crop rules can be tried later without decoding the footage again.
CROP_MARGIN = 0.1
CROP_QUALITY = 90
# Longest side of a kept crop, in pixels; classifiers take 224 to 600.
CROP_SIDE = 640


@dataclass
class Looks:
    """What is known of one medium while it is looked at."""

    medium: Medium
    gate: Gate = field(default_factory=Gate)
    decoded: int = 0
    skipped: int = 0
    waiting: int = 0  # frames in the batch being gathered
    frames: list[Row] = field(default_factory=list)
    boxes: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    ended: Ended | None = None


@dataclass
class Progress:
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
        on_progress: Callable[[Progress], None],
        on_settled: Callable[[], None],
        pace: Pace,
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
        self._looks: dict[str, Looks] = {}
        self._batch: list[Frame] = []
        self.progress = Progress()
        self.unreadable: list[tuple[str, str]] = []

    def run(self, decoder: Decoder, stop: Event, grace: float) -> None:
        """Look at everything the decoder gives, and journal it.

        Args:
            stop: when set, no further medium is begun.
            grace: seconds that media in hand may still take after that; what is not finished by
                then is left for the next run.
        """
        deadline: float | None = None
        events = decoder.events()
        self._decoder = decoder
        self._pace.room = decoder.room
        try:
            while (event := self._next(events)) is not None:
                self._take(event)
                if len(self._batch) >= self._batch_size or (
                    self._batch and decoder.nothing_waiting()
                ):
                    self._look()
                if self._journal.due():
                    with self._pace.timed(KEEPING):
                        self._journal.flush()
                if stop.is_set():
                    decoder.stop()
                    deadline = deadline or monotonic() + grace
                    if monotonic() > deadline:
                        break
            else:
                self._look()
        finally:
            decoder.close()
        self._journal.flush()

    def _next(self, events: Iterator[decoding.Event]) -> decoding.Event | None:
        with self._pace.timed(WAITING):
            return next(events, None)

    def _take(self, event: decoding.Event) -> None:
        content_hash = event.medium.content_hash
        if isinstance(event, Began):
            self._drop_frames_of(content_hash)
            self._looks[content_hash] = Looks(event.medium)
        elif isinstance(event, Frame):
            self._consider(self._looks[content_hash], event)
        elif isinstance(event, Ended):
            looks = self._looks[content_hash]
            looks.ended = event
            self._finish_if_complete(looks)
        else:
            self._drop_frames_of(content_hash)
            self._looks.pop(content_hash, None)
            self._fail(event)

    def _consider(self, looks: Looks, frame: Frame) -> None:
        """Put the frame into the batch, or let the gate skip it."""
        looks.decoded += 1
        if looks.waiting and not frame.moved:
            self._look()  # the gate needs to know what the last look found
        if frame.moved or looks.gate.look(moved=False):
            looks.waiting += 1
            self._batch.append(frame)
        else:
            looks.skipped += 1
            frame.release()

    def _look(self) -> None:
        """Run the detector on the batch."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._pace.looked(self._decoder.frames_in_hand())
        self._pace.on_device += sum(isinstance(each.picture, DeviceFrame) for each in batch)
        with self._pace.timed(LOOKING):
            found = self._detector.find([frame.picture for frame in batch])
        for frame, boxes in zip(batch, found, strict=True):
            looks = self._looks[frame.medium.content_hash]
            looks.waiting -= 1
            looks.gate.seen(len(boxes))
            with self._pace.timed(KEEPING):
                self._note(looks, frame, boxes)
            frame.release()
            self.progress.frames += 1
            self.progress.boxes += len(boxes)
        for content_hash in {frame.medium.content_hash for frame in batch}:
            self._finish_if_complete(self._looks[content_hash])

    def _note(self, looks: Looks, frame: Frame, boxes: Sequence[Box]) -> None:
        place = {"content_hash": frame.medium.content_hash, "frame_number": frame.number}
        looks.frames.append({**place, "time_offset_ms": frame.time_ms, "boxes": len(boxes)})
        for number, box in enumerate(boxes):
            numbered = {**place, "box_number": number}
            looks.boxes.append(
                {**numbered, "time_offset_ms": frame.time_ms, **box.as_row()},
            )
            looks.crops.append({**numbered, **cut_crop(frame.picture, box)})

    def _finish_if_complete(self, looks: Looks) -> None:
        if looks.ended is None or looks.waiting:
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
        self._journal.append(row, looks.frames, looks.boxes, looks.crops)
        self.progress.images += medium.kind == "image"
        self.progress.video_seconds += medium.duration_seconds or 0.0
        self._settle()

    def _fail(self, event: Failed | Unreadable) -> None:
        if isinstance(event, Failed):
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
        for frame in self._batch:
            if frame.medium.content_hash == content_hash:
                frame.release()
        self._batch = [f for f in self._batch if f.medium.content_hash != content_hash]


def cut_crop(picture: Picture | DeviceFrame, box: Box) -> Row:
    """The region around a box as a JPEG, with where it lies in the picture.

    Args:
        picture: uint8 BGR [height, width, 3], upright; of a frame on the GPU, only the crop comes
            to the host.
    """
    height, width = picture.shape[:2]
    region = cut_region(box.xywh, "square", CROP_MARGIN, width, height)
    crop = (
        cut_from_device(picture, region)
        if isinstance(picture, DeviceFrame)
        else cut(picture, region)
    )
    longest = max(crop.shape[:2])
    if longest > CROP_SIDE:
        size = (
            max(1, round(crop.shape[1] * CROP_SIDE / longest)),
            max(1, round(crop.shape[0] * CROP_SIDE / longest)),
        )
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    encoded, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, CROP_QUALITY])
    if not encoded:
        raise AssertionError("a crop of pixels can always be encoded")
    return {
        **dict(zip(("crop_x", "crop_y", "crop_w", "crop_h"), region, strict=True)),
        "jpeg": jpeg.tobytes(),
    }


def cut_from_device(frame: DeviceFrame, region: Region) -> Picture:
    """The pixels of a region (x, y, w, h as fractions) of a frame on the GPU, as they are there."""
    from gpu_kernels.device import cut_out

    left, top, right, bottom = pixels(region, frame.picture.width, frame.picture.height)
    shown = [(frame.picture, (left, top, right, bottom))]
    return cut_out(frame.buffer, shown, [(bottom - top, right - left)])[0]


def only_new(media: Iterator[Medium], finished: Container[str]) -> Iterator[Medium]:
    """The media that the journal does not know, each content once."""
    return (medium for medium in media if medium.content_hash not in finished)
