"""Stage 1's queues: rows are complete however many batches are pending, each frame released once.

The decoder is a fake, because the moment of a real crash cannot be chosen; the journal, the thread
that cuts crops and the JPEGs are real.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
import warp as wp

from gpu_kernels.preprocessing.device_picture import DeviceFrame, DevicePicture
from odins_ravne_assets.munin.detection import decode_pool
from odins_ravne_assets.munin.detection.decode_pool import (
    Frame,
    Medium,
    MediumEnded,
    MediumFailed,
    MediumStarted,
)
from odins_ravne_assets.munin.detection.detector import Box
from odins_ravne_assets.munin.detection.stage1 import Stage1
from odins_ravne_assets.munin.inference.timing import STAGE1_STEPS, StageTiming
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from resources.storage.local_store import LocalStore

ONE, TWO = (Medium(name * 8, f"{name}.mp4", "video", "mp4", 64, 48, 0, 0) for name in "ab")
BOX = Box((0.25, 0.25, 0.5, 0.5), "animal", 0.9, None)


class Slots:
    """Counts how often each frame was released."""

    def __init__(self) -> None:
        self.released: Counter[int] = Counter()

    def release(self, slot: int) -> None:
        self.released[slot] += 1


class FakeDecoder:
    """Replays events of a decoder; at a pause (None) no event is ready."""

    capacity = 99
    seconds = 0.0

    def __init__(self, events: Sequence[decode_pool.DecodeEvent | None]) -> None:
        self._events = list(events)

    def events(self) -> Iterator[decode_pool.DecodeEvent]:
        while self._events:
            if (event := self._events.pop(0)) is not None:
                yield event

    def no_event_ready(self) -> bool:
        return not self._events or self._events[0] is None

    def frames_in_use(self) -> int:
        return 1

    def stop(self) -> None:
        self._events.clear()

    def close(self) -> None:
        pass


class FakeDetector:
    """Finds a box in every frame whose first byte is odd, and counts pending batches."""

    def __init__(self, max_pending: int) -> None:
        self.max_pending = max_pending
        self.pending = self.most_pending = 0

    def start(self, pictures: Sequence[Any]) -> Callable[[], list[list[Box]]]:
        self.pending += 1
        self.most_pending = max(self.most_pending, self.pending)

        def finish() -> list[list[Box]]:
            self.pending -= 1
            return [[BOX] * int(picture.flat[0] % 2) for picture in pictures]

        return finish


class NoBoxes(FakeDetector):
    """Finds nothing."""

    def __init__(self) -> None:
        super().__init__(0)

    def start(self, pictures: Sequence[Any]) -> Callable[[], list[list[Box]]]:
        return lambda: [[] for _ in pictures]


class Camera:
    """Stage 1 over the events of a fake decoder."""

    def __init__(self, folder: Path) -> None:
        self.journal = Stage1Journal(LocalStore(folder), "key")
        self.slots = Slots()
        self._slot = 0

    def frames(self, medium: Medium, numbers: range, moved: bool = True) -> Any:
        for number in numbers:
            self._slot += 1
            picture = np.full((48, 64, 3), number, np.uint8)
            yield Frame(medium, picture, number, number * 40, moved, self._slot, self.slots)  # type: ignore[arg-type]

    def run(
        self, events: Sequence[decode_pool.DecodeEvent | None], max_pending: int, batch: int = 2
    ) -> FakeDetector:
        detector = FakeDetector(max_pending)
        stage = Stage1(
            detector,  # type: ignore[arg-type]
            self.journal, batch, lambda _: None, lambda: None, StageTiming(STAGE1_STEPS),
        )  # fmt: skip
        stage.run(FakeDecoder(events), Event(), 5.0)  # type: ignore[arg-type]
        assert self.slots.released == Counter(range(1, self._slot + 1))
        return detector

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        found = []
        for part in self.journal.parts():
            with self.journal.reading(part, table) as path:
                found += pl.read_parquet(path, columns=["content_hash", "frame_number"]).rows()
        return found


@pytest.mark.parametrize("max_pending", [0, 1])
def test_media_are_complete_for_any_number_of_pending_batches(
    tmp_path: Path, max_pending: int
) -> None:
    camera = Camera(tmp_path)
    events = [
        *(MediumStarted(ONE), *camera.frames(ONE, range(7)), MediumEnded(ONE, None)),
        *(MediumStarted(TWO), *camera.frames(TWO, range(3)), MediumEnded(TWO, None)),
    ]
    detector = camera.run(events, max_pending)
    assert detector.most_pending == max_pending + 1
    processed = [(m.content_hash, n) for m, count in ((ONE, 7), (TWO, 3)) for n in range(count)]
    assert sorted(camera.rows("frames")) == processed
    found = [(content, number) for content, number in processed if number % 2]
    assert sorted(camera.rows("boxes")) == sorted(camera.rows("crops")) == found


def test_frames_from_before_a_crash_of_the_decoder_are_discarded_even_if_in_progress(
    tmp_path: Path,
) -> None:
    """Two batches are pending, with crops, when the medium starts again with fewer frames."""
    camera = Camera(tmp_path)
    first = list(camera.frames(ONE, range(5)))
    again = list(camera.frames(ONE, range(2)))
    camera.run(
        [MediumStarted(ONE), *first, MediumStarted(ONE), *again, MediumEnded(ONE, None)],
        max_pending=1,
    )
    assert camera.rows("frames") == [(ONE.content_hash, 0), (ONE.content_hash, 1)]
    assert camera.rows("crops") == [(ONE.content_hash, 1)]


def test_a_medium_that_fails_in_progress_leaves_no_rows(tmp_path: Path) -> None:
    camera = Camera(tmp_path)
    camera.run(
        [MediumStarted(ONE), *camera.frames(ONE, range(5)), MediumFailed(ONE, "died")],
        max_pending=1,
    )
    assert camera.rows("frames") == camera.rows("crops") == []


def test_no_frame_is_pending_while_no_event_is_ready(tmp_path: Path) -> None:
    """Pending frames hold the slots that the decoder waits for."""
    camera = Camera(tmp_path)
    released: list[int] = []

    class PausingDecoder(FakeDecoder):
        def events(self) -> Iterator[decode_pool.DecodeEvent]:
            for event in super().events():
                if self._events and self._events[0] is None:
                    yield event
                    released.append(sum(camera.slots.released.values()))
                else:
                    yield event

    first, then = camera.frames(ONE, range(3)), camera.frames(ONE, range(3, 5))
    events = [MediumStarted(ONE), *first, None, *then, MediumEnded(ONE, None)]
    stage = Stage1(
        FakeDetector(1),  # type: ignore[arg-type]
        camera.journal, 2, lambda _: None, lambda: None, StageTiming(STAGE1_STEPS),
    )  # fmt: skip
    stage.run(PausingDecoder(events), Event(), 5.0)  # type: ignore[arg-type]
    assert released == [3]


def test_the_motion_gate_knows_the_boxes_of_all_earlier_frames_before_it_skips_one(
    tmp_path: Path,
) -> None:
    """Frames without motion are processed until two in a row have no box."""
    camera = Camera(tmp_path)
    moving = camera.frames(ONE, range(1, 2))
    still = camera.frames(ONE, range(2, 16, 2), moved=False)
    camera.run(
        [MediumStarted(ONE), *moving, *still, MediumEnded(ONE, None)], max_pending=1, batch=4
    )
    assert [number for _, number in camera.rows("frames")] == [1, 2, 4]


@pytest.mark.parametrize("where", ["host", "device"])
def test_the_strips_of_the_first_frame_are_recorded(tmp_path: Path, where: str) -> None:
    camera = Camera(tmp_path)
    printed = np.full((240, 320, 3), 120, np.uint8)
    printed[::2, ::3] = 60
    printed[:20] = 0
    cv2.putText(printed, "2026-05-01 04:14  M 1/3  12 C", (4, 15), 0, 0.5, (255, 255, 255), 1)
    picture: Any = printed
    if where == "device":
        buffer = wp.from_numpy(printed.reshape(-1), dtype=wp.uint8, device="cpu")
        picture = DeviceFrame(buffer, DevicePicture(240, 320, 0, 3 * 320))
    frames = [
        Frame(ONE, picture, number, number * 40, True, number + 1, camera.slots)  # type: ignore[arg-type]
        for number in range(3)
    ]
    camera._slot = 3
    stage = Stage1(
        NoBoxes(), camera.journal, 2, lambda _: None, lambda: None, StageTiming(STAGE1_STEPS)
    )  # type: ignore[arg-type]
    events = [MediumStarted(ONE), *frames, MediumEnded(ONE, None)]
    stage.run(FakeDecoder(events), Event(), 5.0)  # type: ignore[arg-type]
    (part,) = camera.journal.parts()
    with camera.journal.reading(part, "frames") as path:
        first, *others = pl.read_parquet(path)["edge_strips"].to_list()
    (strip,) = [each for each in first if each["lettered"]]
    assert (strip["edge"], strip["level"]) == ("top", 0)
    assert strip["depth"] == pytest.approx(20 / 240, abs=1 / 240)
    assert others == [None, None]
