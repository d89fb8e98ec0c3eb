"""How each medium was captured, in Camtrap DP's terms: by detected activity, or as time-lapse.

- What the camera recorded is known: a trigger of its maker notes.
- Stills at a regular interval are time-lapse: pictures that follow each other at the same interval,
  to LINK_SECONDS, without a drift of more than DRIFT_SECONDS, for MIN_PICTURES and half an hour, at
  least half of all pictures of this time. Pictures of a herd, or of a branch in the wind, follow
  each other too, but among many others or with a drift.
- Of all other media it is the method of the project.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

ACTIVITY, TIME_LAPSE = "activityDetection", "timeLapse"
# Of the column `trigger` of `tables.MEDIA`; Camtrap DP has no word for the others.
TRIGGERS = {"motion": ACTIVITY, "time_lapse": TIME_LAPSE}
# The intervals that cameras offer, and the most frequent ones of a camera's own pictures.
INTERVALS = (30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 14400, 21600, 43200)
DAILY = 86_400
MIN_INTERVAL, OWN_INTERVALS = 10, 3
LINK_SECONDS, DRIFT_SECONDS = 1, 2
MIN_PICTURES, MIN_DAILY, MIN_SECONDS = 12, 5, 1800

Seconds = NDArray[np.int64]


def capture_methods(media: pl.DataFrame, default: str) -> pl.Series:
    """Return the column `captureMethod`; null where Camtrap DP has no word for the trigger.

    Args:
        media: of one camera: captured_at, offset (minutes), kind, trigger.
        default: the project's method.
    """
    utc = pl.col("captured_at") - pl.duration(minutes=pl.col("offset").fill_null(0))
    seconds = media.select((utc.dt.epoch("ms") // 1000).alias("s"))["s"]
    is_still = media["kind"] == "image"
    regular = np.zeros(media.height, dtype=np.bool_)
    stills = np.flatnonzero((is_still & seconds.is_not_null()).to_numpy())
    regular[stills] = at_regular_intervals(seconds.gather(stills).to_numpy())
    known = pl.col("trigger").replace_strict(TRIGGERS, default=None, return_dtype=pl.String)
    by_time = pl.when(pl.Series(regular)).then(pl.lit(TIME_LAPSE)).otherwise(pl.lit(default))
    method = pl.when(pl.col("trigger").is_null()).then(by_time).otherwise(known)
    return media.select(captureMethod=method).to_series()


def at_regular_intervals(times: Seconds) -> NDArray[np.bool_]:
    """Return True for each picture that is part of a series at a regular interval.

    Args:
        times: in seconds, in any order.
    """
    order = np.argsort(times, kind="stable")
    in_order = times[order]
    # A burst is one picture: the first of each second.
    first = np.concatenate([[True], np.diff(in_order) > 0]) if times.size else np.zeros(0, bool)
    distinct = in_order[first]
    regular = np.zeros(distinct.size, dtype=np.bool_)
    for interval in _intervals(distinct):
        for chain in _chains(distinct, interval):
            if _is_time_lapse(distinct, chain, interval):
                regular[chain] = True
    found = np.zeros(times.size, dtype=np.bool_)
    found[order[first]] = regular
    return found


def _intervals(times: Seconds) -> list[int]:
    """The intervals to look for, the shortest first."""
    steps, counts = np.unique(np.diff(times), return_counts=True)
    often = (counts >= MIN_DAILY) & (steps >= MIN_INTERVAL) & (steps <= DAILY)
    own = steps[often][np.argsort(-counts[often], kind="stable")][:OWN_INTERVALS]
    return sorted({*INTERVALS, DAILY, *own.tolist()})


def _chains(times: Seconds, interval: int) -> Iterator[list[int]]:
    """Yield the indices of pictures that follow each other at an interval; each is in one chain."""
    after = np.searchsorted(times, times + interval - LINK_SECONDS)
    inside = np.minimum(after, times.size - 1)
    linked = (after < times.size) & (times[inside] <= times + interval + LINK_SECONDS)
    seen = np.zeros(times.size, dtype=np.bool_)
    for start in np.flatnonzero(linked):
        if seen[start]:
            continue
        chain = [int(start)]
        while linked[chain[-1]]:
            following = int(inside[chain[-1]])
            drift = times[following] - times[start] - len(chain) * interval
            if abs(drift) > DRIFT_SECONDS or seen[following]:
                break
            chain.append(following)
        seen[chain] = True
        yield chain


def _is_time_lapse(times: Seconds, chain: list[int], interval: int) -> bool:
    least = MIN_DAILY if interval == DAILY else MIN_PICTURES
    if len(chain) < least or times[chain[-1]] - times[chain[0]] < MIN_SECONDS:
        return False
    return 2 * len(chain) >= chain[-1] - chain[0] + 1
