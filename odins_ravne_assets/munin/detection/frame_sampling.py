"""Which frames of a video are looked at."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from resources.errors import MediaError

# How many frames less than its header says a video may hold without being called cut.
ALLOWED_MISSING_FRAMES, ALLOWED_MISSING_SHARE = 2, 0.1


class SamplingPlan(NamedTuple):
    """Which frames of a video are looked at; fields as in the profile's `stage1`."""

    sampling: str
    frames_per_second: float
    every_nth_frame: int
    motion_gate: bool
    motion_threshold: float

    def choose(
        self, frames: Iterable[Any], rate: float
    ) -> Iterator[tuple[int, int, Any]]:  # number, milliseconds, frame
        """The first frame and then those that the plan asks for.

        Args:
            rate: average frames per second; numbers key frames, and dates frames without a time.
        """
        start: float | None = None
        next_due = 0.0
        for index, frame in enumerate(frames):
            time = frame.time
            if start is None:
                start = time if time is not None else 0.0
            seconds = max(0.0, time - start) if time is not None else index / rate
            number = round(seconds * rate) if self.sampling == "keyframes" else index
            if self.sampling == "every":
                due = index % self.every_nth_frame == 0
            elif self.sampling == "fps":
                # Half a frame of slack, so that rounding in the times skips no frame.
                due = seconds >= next_due - 0.5 / rate
                if due:
                    step = 1.0 / self.frames_per_second
                    next_due = (math.floor((seconds + 0.5 / rate) / step) + 1) * step
            else:
                due = True
            if due:
                yield number, round(seconds * 1000), frame


class FrameCounter:
    """Passes frames on and counts them."""

    def __init__(self, frames: Iterator[Any]) -> None:
        self._frames = frames
        self._count = 0

    def __iter__(self) -> Iterator[Any]:
        for frame in self._frames:
            self._count += 1
            yield frame

    def complain_if_short(self, promised: int) -> None:
        """Decoders end quietly where a file was cut; many headers promise a frame too many.

        Args:
            promised: frames, by the header; 0 when it does not say.
        """
        if promised - self._count > max(ALLOWED_MISSING_FRAMES, ALLOWED_MISSING_SHARE * promised):
            raise MediaError(f"it holds {self._count} of the {promised} frames its header promises")
