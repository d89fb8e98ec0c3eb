"""Stage 1's queues: whatever is started ahead, rows are whole, and every frame is given back once.

What a decoder tells is played here, since the moment at which one dies cannot be chosen; the
journal, the thread that cuts crops and the JPEGs are real.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest

from odins_ravne_assets.munin.detection import decode_pool
from odins_ravne_assets.munin.detection.decode_pool import MediumStarted, MediumFailed, Frame, Medium, MediumEnded
from odins_ravne_assets.munin.detection.detector import Box
from odins_ravne_assets.munin.detection.stage1 import Stage1
from odins_ravne_assets.munin.inference.timing import STAGE1_STEPS, StageTiming
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from resources.storage.local_store import LocalStore

ONE, TWO = (Medium(name * 8, f"{name}.mp4", "video", 64, 48) for name in "ab")
BOX = Box((0.25, 0.25, 0.5, 0.5), "animal", 0.9, None)


class Slots:
    """Counts how often a frame was given back."""

    def __init__(self) -> None:
        self.released: Counter[int] = Counter()

    def release(self, slot: int) -> None:
        self.released[slot] += 1


class Played:
    """A decoder's events; a pause (None) is a moment in which it has nothing new."""

    room = 99
    seconds = 0.0

    def __init__(self, events: Sequence[decode_pool.DecodeEvent | None]) -> None:
        self._events = list(events)

    def events(self) -> Iterator[decode_pool.DecodeEvent]:
        while self._events:
            if (event := self._events.pop(0)) is not None:
                yield event

    def nothing_waiting(self) -> bool:
        return not self._events or self._events[0] is None

    def frames_in_hand(self) -> int:
        return 1

    def stop(self) -> None:
        self._events.clear()

    def close(self) -> None:
        pass


class Finds:
    """Finds a box in every frame whose first byte is odd, and tells when it was asked for it."""

    def __init__(self, looks_ahead: bool) -> None:
        self.looks_ahead = looks_ahead
        self.under_way = self.most_under_way = 0

    def start(self, pictures: Sequence[Any]) -> Callable[[], list[list[Box]]]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

        def finish() -> list[list[Box]]:
            self.under_way -= 1
            return [[BOX] * int(picture.flat[0] % 2) for picture in pictures]

        return finish


class Card:
    """Stage 1 over what a decoder tells."""

    def __init__(self, folder: Path) -> None:
        self.journal = Stage1Journal(LocalStore(folder), "key")
        self.slots = Slots()
        self._slot = 0

    def frames(self, medium: Medium, numbers: range, moved: bool = True) -> Any:
        for number in numbers:
            self._slot += 1
            picture = np.full((48, 64, 3), number, np.uint8)
            yield Frame(medium, picture, number, number * 40, moved, self._slot, self.slots)  # type: ignore[arg-type]

    def run(self, events: Sequence[decode_pool.DecodeEvent | None], ahead: bool, batch: int = 2) -> Finds:
        detector = Finds(ahead)
        stage = Stage1(
            detector,  # type: ignore[arg-type]
            self.journal, batch, lambda _: None, lambda: None, StageTiming(STAGE1_STEPS),
        )  # fmt: skip
        stage.run(Played(events), Event(), 5.0)  # type: ignore[arg-type]
        assert self.slots.released == Counter(range(1, self._slot + 1))
        return detector

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        found = []
        for part in self.journal.parts():
            with self.journal.reading(part, table) as path:
                found += pl.read_parquet(path, columns=["content_hash", "frame_number"]).rows()
        return found


@pytest.mark.parametrize("ahead", [False, True])
def test_media_are_whole_however_far_ahead_their_frames_are_looked_at(
    tmp_path: Path, ahead: bool
) -> None:
    card = Card(tmp_path)
    events = [MediumStarted(ONE), *card.frames(ONE, range(7)), MediumEnded(ONE, None),
              MediumStarted(TWO), *card.frames(TWO, range(3)), MediumEnded(TWO, None)]  # fmt: skip
    detector = card.run(events, ahead)
    assert detector.most_under_way == (2 if ahead else 1)
    looked_at = [(m.content_hash, n) for m, count in ((ONE, 7), (TWO, 3)) for n in range(count)]
    assert sorted(card.rows("frames")) == looked_at
    found = [(content, number) for content, number in looked_at if number % 2]
    assert sorted(card.rows("boxes")) == sorted(card.rows("crops")) == found


def test_what_a_decoder_told_before_it_died_is_void_also_if_it_is_being_looked_at(
    tmp_path: Path,
) -> None:
    """Two batches are under way, with crops, when the medium begins anew with fewer frames."""
    card = Card(tmp_path)
    first = list(card.frames(ONE, range(5)))
    again = list(card.frames(ONE, range(2)))
    card.run([MediumStarted(ONE), *first, MediumStarted(ONE), *again, MediumEnded(ONE, None)], ahead=True)
    assert card.rows("frames") == [(ONE.content_hash, 0), (ONE.content_hash, 1)]
    assert card.rows("crops") == [(ONE.content_hash, 1)]


def test_a_medium_that_fails_while_it_is_looked_at_leaves_no_rows(tmp_path: Path) -> None:
    card = Card(tmp_path)
    card.run([MediumStarted(ONE), *card.frames(ONE, range(5)), MediumFailed(ONE, "died")], ahead=True)
    assert card.rows("frames") == card.rows("crops") == []


def test_nothing_is_left_in_hand_while_the_decoder_has_nothing_new(tmp_path: Path) -> None:
    """Frames that wait for an answer hold the slots that the decoder waits for."""
    card = Card(tmp_path)
    seen: list[int] = []

    class Waits(Played):
        def events(self) -> Iterator[decode_pool.DecodeEvent]:
            for event in super().events():
                if self._events and self._events[0] is None:
                    yield event
                    seen.append(sum(card.slots.released.values()))
                else:
                    yield event

    events = [MediumStarted(ONE), *card.frames(ONE, range(3)), None, *card.frames(ONE, range(3, 5)),
              MediumEnded(ONE, None)]  # fmt: skip
    stage = Stage1(
        Finds(True),  # type: ignore[arg-type]
        card.journal, 2, lambda _: None, lambda: None, StageTiming(STAGE1_STEPS),
    )  # fmt: skip
    stage.run(Waits(events), Event(), 5.0)  # type: ignore[arg-type]
    assert seen == [3]


def test_the_motion_gate_knows_all_answers_before_it_skips_a_frame(tmp_path: Path) -> None:
    """Still frames are looked at until two looks in a row found nothing."""
    card = Card(tmp_path)
    moving = card.frames(ONE, range(1, 2))
    still = card.frames(ONE, range(2, 16, 2), moved=False)
    card.run([MediumStarted(ONE), *moving, *still, MediumEnded(ONE, None)], ahead=True, batch=4)
    assert [number for _, number in card.rows("frames")] == [1, 2, 4]
