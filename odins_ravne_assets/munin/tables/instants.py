"""Compare times of camera clocks as instants, where their UTC offsets are known.

Tables hold the camera's wall clock and its offset, which changes with summer time or a corrected
clock. What is subtracted or sorted is the instant: wall clock minus offset. The offset of a row
without one is taken to be that of the camera's last row before it that has one, by the wall clock,
or of the first one after it if there is none before; without any at the camera, it is zero. So a
camera with one offset, or none, is compared by its wall clock.

What people read stays in the camera's time: calendar days, hours of the day, start and end.
"""

import polars as pl

_MS_PER_MINUTE = 60_000


def instant(
    time: str = "captured_at", offset: str = "utc_offset_minutes", camera: str = "camera_id"
) -> pl.Expr:
    """Return milliseconds since 1970 UTC (Int64) of each row; null where there is no time.

    Args:
        time, offset, camera: columns: wall clock, minutes east of UTC or null, camera.
    """
    dated = pl.when(pl.col(time).is_not_null()).then(offset)
    known = dated.forward_fill().backward_fill().over(camera, order_by=[time, offset])
    return _milliseconds(time) - known.fill_null(0).cast(pl.Int64) * _MS_PER_MINUTE


def instants(rows: pl.DataFrame) -> pl.Series:
    """Return `instant` of rows with captured_at, utc_offset_minutes and camera_id.

    Rows with at most one offset are not sorted: their wall clock has the same differences.
    """
    one_zone = rows["utc_offset_minutes"].drop_nulls().n_unique() <= 1
    return rows.select(instant=_milliseconds("captured_at") if one_zone else instant()).to_series()


def _milliseconds(time: str) -> pl.Expr:
    return pl.col(time).cast(pl.Datetime("ms")).to_physical()
