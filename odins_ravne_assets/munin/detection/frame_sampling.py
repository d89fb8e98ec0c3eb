"""Frame sampling: the frames of a video that Stage 1 decodes for the detector."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from odins_ravne_assets.munin.media.probe import MAX_INT32, MAX_VIDEO_SECONDS
from resources.errors import MediaError

# Frames that a video may lack, by its header, before it counts as truncated.
ALLOWED_MISSING_FRAMES, ALLOWED_MISSING_SHARE = 2, 0.1


class SamplingPlan(NamedTuple):
    """The settings of frame sampling; fields as in the profile's `stage1`."""

    sampling: str
    frames_per_second: float
    every_nth_frame: int
    motion_gate: bool
    motion_threshold: float

    def select(
        self, frames: Iterable[Any], rate: float
    ) -> Iterator[tuple[int, int, Any]]:  # number, milliseconds, frame
        """Yield the first frame and then those that the plan asks for.

        Args:
            rate: average frames per second; numbers key frames, and dates frames without a time.

        Raises:
            MediaError: a time or a number is beyond the bounds, after the frames before it.
        """
        start: float | None = None
        next_due = 0.0
        for index, frame in enumerate(frames):
            time = frame.time
            if start is None:
                start = time if time is not None else 0.0
            seconds = max(0.0, time - start) if time is not None else index / rate
            if seconds > MAX_VIDEO_SECONDS:
                raise MediaError(f"frame {index + 1} is dated {seconds:.3g} s after the first")
            number = round(seconds * rate) if self.sampling == "keyframes" else index
            if number > MAX_INT32:
                raise MediaError(f"its frame rate is not plausible: {rate:.3g} per second")
            if self.sampling == "every":
                due = index % self.every_nth_frame == 0
            elif self.sampling == "fps":
                # Half a frame of tolerance, so that rounded times skip no frame.
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

    def raise_if_truncated(self, expected: int) -> None:
        """Compare the count with the header: decoders stop silently where a file is truncated.

        Many headers announce a frame too many, so some may be missing.

        Args:
            expected: number of frames in the header; 0 if it has none.

        Raises:
            MediaError: too many frames are missing.
        """
        if expected - self._count > max(ALLOWED_MISSING_FRAMES, ALLOWED_MISSING_SHARE * expected):
            raise MediaError(f"it holds {self._count} of the {expected} frames in its header")
