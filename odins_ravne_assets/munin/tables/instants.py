"""Compare times of camera clocks as instants, where their UTC offsets are known.

Tables hold the camera's wall clock and its offset, which changes with summer time or a corrected
clock. What is subtracted or sorted is the instant: wall clock minus offset. The offset of a row
without one is taken to be that of the camera's last row up to it that has one, by the wall clock,
or of the first one after it if there is none before; without any at the camera, it is zero. So a
camera with one offset, or none, is compared by its wall clock.

What people read stays in the camera's time: calendar days, hours of the day, start and end.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

_MS_PER_MINUTE = 60_000
# Above every offset in minutes: packs time and offset into one integer to sort by.
_OFFSET_RANGE = 2**12

Numbers = NDArray[np.int64]


def instant(
    time: str = "captured_at", offset: str = "utc_offset_minutes", camera: str = "camera_id"
) -> pl.Expr:
    """Return milliseconds since 1970 UTC (Int64) of each row; null where there is no time.

    Args:
        time, offset, camera: columns: wall clock, minutes east of UTC or null, camera.
    """
    columns = pl.struct(camera_id=camera, captured_at=time, utc_offset_minutes=offset)
    return columns.map_batches(lambda rows: instants(rows.struct.unnest()), return_dtype=pl.Int64())


def instants(rows: pl.DataFrame) -> pl.Series:
    """Return `instant` of rows with captured_at, utc_offset_minutes and camera_id.

    Rows with at most one offset are not sorted: their wall clock has the same differences.
    """
    times = rows["captured_at"].cast(pl.Datetime("ms")).to_physical().alias("instant")
    offsets = rows["utc_offset_minutes"].cast(pl.Int64)
    if offsets.drop_nulls().n_unique() <= 1:
        return times
    if (offsets.is_null() & times.is_not_null()).any():
        offsets = _filled(rows["camera_id"], times, offsets)
    return times - offsets * _MS_PER_MINUTE


def _filled(cameras: pl.Series, times: pl.Series, offsets: pl.Series) -> pl.Series:
    """The offsets of all rows by the rule of this module."""
    camera = cameras.cast(pl.Categorical).to_physical().cast(pl.Int64).to_numpy()
    # Rows without a time lend no offset.
    known = (offsets.is_not_null() & times.is_not_null()).to_numpy()
    minutes = offsets.fill_null(_OFFSET_RANGE // 2 - 1).to_numpy()
    key = times.fill_null(0).to_numpy() * _OFFSET_RANGE + minutes
    order = np.lexsort((key, camera))
    known, minutes = known[order], np.where(known, minutes, 0)[order]
    begins = np.diff(camera[order], prepend=-1) != 0
    ends = np.append(begins[1:], True)
    before = _last_known(known, begins)
    after = _last_known(known[::-1], ends[::-1])[::-1]
    nearest = np.where(before >= 0, before, known.size - 1 - after)
    filled = np.where((before >= 0) | (after >= 0), minutes[np.minimum(nearest, known.size - 1)], 0)
    result = np.empty(known.size, dtype=np.int64)
    result[order] = filled
    return pl.Series(result)


def _last_known(known: NDArray[np.bool_], begins: NDArray[np.bool_]) -> Numbers:
    """The index of the last known row up to each row of its camera; -1 if there is none.

    Args:
        begins: True at the first row of each camera.
    """
    index = np.arange(known.size)
    last = np.maximum.accumulate(np.where(known, index, -1))
    first = np.maximum.accumulate(np.where(begins, index, 0))
    return np.where(last >= first, last, -1)
