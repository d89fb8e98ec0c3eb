"""Cuts the media of a camera into work units: stretches of its media table for one worker each.

Starting a machine costs as much however little it then does: 11 % of an hour's work, 650 % of a
minute's. Media are read as a stream, twice: a million of them are never held at once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from resources.pricing.economics import Overheads
from resources.settings.profile import CostOptimization, Stage1Settings

# What one job takes of a machine; the smallest GPU machines have so many.
JOB_VCPUS = 4
# Half of the time that a job may take (see the job definition): estimates are off by a factor.
MAX_UNIT_SECONDS = 7200.0
# What a video is taken for whose container says neither its length nor its rate.
DEFAULT_VIDEO_SECONDS = 15.0
DEFAULT_FRAMES_PER_SECOND = 30.0
# How often cameras and phones store a frame whole.
KEYFRAMES_PER_SECOND = 1.0


@dataclass(frozen=True)
class ExpectedMedium:
    """A medium and the frames of it that will be looked at."""

    path: str
    frames: int


@dataclass(frozen=True)
class WorkUnit:
    """Consecutive media, in order of path.

    Args:
        number: 0-based.
        start, stop: the positions of its media in the sequence that was cut, half open.
        first_path, last_path: those of its first and last medium, both inclusive.
        seconds: expected seconds of work, without start-up.
    """

    number: int
    start: int
    stop: int
    first_path: str
    last_path: str
    frames: int
    seconds: float


ReadMedia = Callable[[], Iterable[ExpectedMedium]]


def expected_frames(
    kind: str, duration_seconds: float | None, fps: float | None, stage1: Stage1Settings
) -> int:
    """Frames of a medium that Stage 1 looks at, if the motion gate lets all pass; 1 at least.

    Args:
        kind: image or video.
        duration_seconds, fps: of a video, as its container says; None: it does not.
    """
    if kind == "image":
        return 1
    seconds = duration_seconds or DEFAULT_VIDEO_SECONDS
    match stage1.sampling:
        case "fps":
            rate = stage1.frames_per_second
        case "every":
            rate = (fps or DEFAULT_FRAMES_PER_SECOND) / stage1.every_nth_frame
        case "keyframes":
            rate = KEYFRAMES_PER_SECOND
    return max(1, ceil(seconds * rate))


def unit_count(work_seconds: float, overheads: Overheads, cost: CostOptimization) -> int:
    """How many units the work is best cut into, at least one.

    For lowest cost: as few as the longest permitted unit allows. For lowest latency: one for each
    job that may run at once, but none shorter than its own start-up, which at worst doubles the
    bill.
    """
    fewest = max(1, ceil(work_seconds / MAX_UNIT_SECONDS))
    if cost.offline_camera_optimized:
        return fewest
    worthwhile = int(work_seconds // overheads.seconds)
    return max(fewest, min(cost.max_parallel_jobs, worthwhile))


def cut_work_units(
    read: ReadMedia, per_frame: float, overheads: Overheads, cost: CostOptimization
) -> list[WorkUnit]:
    """Cut media into units; every medium is in exactly one, none is empty.

    Args:
        read: gives all media in order of path, the same each time it is called.
        per_frame: expected seconds for one frame.

    Returns:
        The units in order, no more than `unit_count` says. Each is within one largest medium of
        an equal share.
    """
    total = sum(medium.frames for medium in read())
    count = unit_count(total * per_frame, overheads, cost)
    return list(_cut(read(), total, count, per_frame))


def _cut(
    media: Iterable[ExpectedMedium], total: int, count: int, per_frame: float
) -> Iterator[WorkUnit]:
    """A medium belongs to the share in which its middle lies; in whole numbers, so exactly."""
    stretch: _Stretch | None = None
    number = 0
    before = 0
    for position, medium in enumerate(media):
        share = (2 * before + medium.frames) * count // (2 * total)
        if stretch is not None and share != stretch.share:
            yield stretch.as_unit(number, position, per_frame)
            number += 1
            stretch = None
        if stretch is None:
            stretch = _Stretch(share, position, medium.path)
        stretch.last_path = medium.path
        stretch.frames += medium.frames
        before += medium.frames
        end = position + 1
    if stretch is not None:
        yield stretch.as_unit(number, end, per_frame)


@dataclass
class _Stretch:
    """The media of one share, as far as they have been read."""

    share: int
    start: int
    first_path: str
    last_path: str = ""
    frames: int = 0

    def as_unit(self, number: int, stop: int, per_frame: float) -> WorkUnit:
        return WorkUnit(
            number,
            self.start,
            stop,
            self.first_path,
            self.last_path,
            self.frames,
            self.frames * per_frame,
        )
