"""Split times into observations by a window or a gap: the rule of Stage 3, on arrays."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

MS_PER_MINUTE = 60_000
# Longer than the interval between any two times with four-digit years.
MAX_WINDOW_MS = 10**15


def window_ms(minutes: float) -> int:
    """Return a window in whole milliseconds, the resolution of the tables; at least 1.

    Rounded, because 2.01 minutes are 120599.99999999999 ms in floating point.
    """
    return round(max(1.0, min(minutes * MS_PER_MINUTE, float(MAX_WINDOW_MS))))


def observation_starts(
    group_starts: NDArray[np.bool_],
    times_ms: NDArray[np.int64],
    window: int,
    mode: Literal["window", "gap"],
) -> NDArray[np.bool_]:
    """Mark the first row of every observation.

    Args:
        group_starts: per row, True if a new group (one species at one camera) begins.
        times_ms: per row, its time in milliseconds, ascending within a group.
        window: milliseconds, at least 1. In mode "window" an observation has every row with
            `time - time of its first row <= window`; in mode "gap" every row with
            `time - time of the previous row < window`, which is camtrapR's
            `deltaTimeComparedTo = "lastRecord"`.
        mode: see `window`.

    Returns:
        One boolean per row.
    """
    if times_ms.size == 0:
        return np.zeros(0, dtype=np.bool_)
    starts = group_starts.copy()
    starts[0] = True
    steps = np.diff(times_ms, prepend=times_ms[0])
    if mode == "gap":
        return starts | (steps >= window)
    window = min(window, _longest_group_ms(starts, times_ms))
    # All groups on one time line: groups are more than a window apart, and longer intervals are
    # clipped to that too, which keeps the sums small and changes no comparison with the window.
    timeline = np.cumsum(np.where(starts, window + 1, np.minimum(steps, window + 1)))
    next_start = np.searchsorted(timeline, timeline + window, side="right")
    return _follow_starts(next_start)


def _longest_group_ms(starts: NDArray[np.bool_], times_ms: NDArray[np.int64]) -> int:
    """The duration of the longest group in milliseconds; a longer window has the same effect."""
    first = np.flatnonzero(starts)
    last = np.append(first[1:], times_ms.size) - 1
    return int((times_ms[last] - times_ms[first]).max())


def _follow_starts(next_start: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Follow `next_start` from row 0 in a loop, as each step depends on the previous one.

    A memoryview is several times faster to index than an array.
    """
    starts = np.zeros(next_start.size, dtype=np.bool_)
    steps = next_start.data
    marks = starts.data
    row = 0
    while row < next_start.size:
        marks[row] = True
        row = steps[row]
    return starts
