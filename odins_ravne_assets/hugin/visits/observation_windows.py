"""Where visits begin: the rule of Stage 3 on plain arrays, with nothing of tables in it."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

MS_PER_MINUTE = 60_000
# Longer than any two times with years of four digits are apart.
MAX_WINDOW_MS = 10**15


def window_ms(minutes: float) -> int:
    """A window in whole milliseconds, the resolution of the tables; at least one.

    Rounding matters at the edge: 2.01 minutes are 120599.99999999999 ms in floating point.
    """
    return round(max(1.0, min(minutes * MS_PER_MINUTE, float(MAX_WINDOW_MS))))


def observation_starts(
    lane_starts: NDArray[np.bool_],
    times_ms: NDArray[np.int64],
    window: int,
    mode: Literal["window", "gap"],
) -> NDArray[np.bool_]:
    """Mark the first row of every visit.

    Args:
        lane_starts: per row, whether another lane (one species at one camera) begins with it.
        times_ms: per row, its time in milliseconds, never falling within a lane.
        window: milliseconds, 1 or more. In mode "window" a visit takes every row with
            `time - time of its first row <= window`; in mode "gap" a row joins while
            `time - time of the row before < window`, which is camtrapR's
            `deltaTimeComparedTo = "lastRecord"`.
        mode: see `window`.

    Returns:
        One boolean per row.
    """
    if times_ms.size == 0:
        return np.zeros(0, dtype=np.bool_)
    starts = lane_starts.copy()
    starts[0] = True
    steps = np.diff(times_ms, prepend=times_ms[0])
    if mode == "gap":
        return starts | (steps >= window)
    window = min(window, _longest_group_ms(starts, times_ms))
    # Lanes in one line, each a step too far from the one before; longer pauses are cut to such a
    # step as well, so that sums stay small. Whether two rows are within a window stays the same.
    line = np.cumsum(np.where(starts, window + 1, np.minimum(steps, window + 1)))
    next_visit = np.searchsorted(line, line + window, side="right")
    return _follow_starts(next_visit)


def _longest_group_ms(starts: NDArray[np.bool_], times_ms: NDArray[np.int64]) -> int:
    """Milliseconds of the longest lane: a window longer than that cuts no more than this one."""
    first = np.flatnonzero(starts)
    last = np.append(first[1:], times_ms.size) - 1
    return int((times_ms[last] - times_ms[first]).max())


def _follow_starts(next_visit: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Follow `next_visit` from row 0. Each step depends on the last, so it is a loop: over visits.

    A memoryview because indexing it is several times faster than indexing an array.
    """
    starts = np.zeros(next_visit.size, dtype=np.bool_)
    steps = next_visit.data
    marks = starts.data
    row = 0
    while row < next_visit.size:
        marks[row] = True
        row = steps[row]
    return starts
