"""Cuts the media of a camera into work units: ranges of its media table for one worker each.

The start of a machine is a fixed cost: 11 % of an hour's work, 650 % of a minute's. Media are
streamed, twice, so that a million of them are never in memory at once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from resources.pricing.economics import Overheads
from resources.settings.profile import CostOptimization, Stage1Settings

# vCPUs of one job: all those of the smallest GPU machines.
JOB_VCPUS = 4
# Half of the job definition's time limit: estimates are off by a factor.
MAX_UNIT_SECONDS = 7200.0
# Assumed for a video whose container gives neither its duration nor its frame rate.
DEFAULT_VIDEO_SECONDS = 15.0
DEFAULT_FRAMES_PER_SECOND = 30.0
# Typical of cameras and phones.
KEYFRAMES_PER_SECOND = 1.0


@dataclass(frozen=True)
class ExpectedMedium:
    """A medium and the number of its frames that will be analysed."""

    path: str
    frames: int


@dataclass(frozen=True)
class WorkUnit:
    """Consecutive media, in order of path.

    Args:
        number: 0-based.
        start, stop: the range of its media in the whole sequence, half open.
        first_path, last_path: the paths of its first and last medium.
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
    """Return the frames of a medium that Stage 1 analyses without the motion gate, at least 1.

    Args:
        kind: image or video.
        duration_seconds, fps: of a video, from its container; None if not given there.
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
    """Return the best number of units for the work, at least one.

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
        read: returns all media in order of path, the same at each call.
        per_frame: expected seconds for one frame.

    Returns:
        The units in order, at most `unit_count`. The frames of each differ from an equal share by
        at most those of the largest medium.
    """
    total = sum(medium.frames for medium in read())
    count = unit_count(total * per_frame, overheads, cost)
    return list(_cut(read(), total, count, per_frame))


def _cut(
    media: Iterable[ExpectedMedium], total: int, count: int, per_frame: float
) -> Iterator[WorkUnit]:
    """Assign each medium to the share that contains its middle, in exact integer arithmetic."""
    current: _Range | None = None
    number = 0
    before = 0
    for position, medium in enumerate(media):
        share = (2 * before + medium.frames) * count // (2 * total)
        if current is not None and share != current.share:
            yield current.to_unit(number, position, per_frame)
            number += 1
            current = None
        if current is None:
            current = _Range(share, position, medium.path)
        current.last_path = medium.path
        current.frames += medium.frames
        before += medium.frames
        end = position + 1
    if current is not None:
        yield current.to_unit(number, end, per_frame)


@dataclass
class _Range:
    """The media of one share that were read so far."""

    share: int
    start: int
    first_path: str
    last_path: str = ""
    frames: int = 0

    def to_unit(self, number: int, stop: int, per_frame: float) -> WorkUnit:
        return WorkUnit(
            number,
            self.start,
            stop,
            self.first_path,
            self.last_path,
            self.frames,
            self.frames * per_frame,
        )
