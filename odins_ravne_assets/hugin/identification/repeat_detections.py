"""Repeat detections: the same box again and again for weeks is a branch, not an animal.

A box of an animal is a repeat when, at one camera, boxes that overlap with it (intersection over
union of `repeat_overlap` or more) are in `repeat_media` media or more, on three different days or
more, the first and the last of them `repeat_days` days apart or more. Time is what tells a branch
from an animal that sleeps in front of the camera: a hundred boxes in an hour are no repeat, a
hundred in a month are. Media without a time take no part.

Repeats are marked, never removed: they have visits of their own, with the flag
`repeat_detection`, and do not vote. With `repeat_media: 0` nothing is marked.

Counting repeats per camera and the overlap of 0.9 are those of MegaDetector's repeat detection
elimination (`repeat_detections_core`); that time belongs to it is on its own list of wishes.
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.identifications import Identifications
from resources.settings.profile import Stage3

MS_PER_DAY = 86_400_000
MIN_DAYS = 3
# A first sieve. Of many boxes in one place, some agree in all four corners to this fraction of the
# picture; such cells are few, and only what overlaps with one is looked at.
CELL_SIZE = 0.02
MIN_MEDIA_PER_CELL = 3
CORNERS = ("x0", "y0", "x1", "y1")
BOX_KEY = ["path", "frame_number", "box_number"]

FloatArray = NDArray[np.float64]


def mark_repeat_detections(
    seen: Identifications, detections: pl.LazyFrame, settings: Stage3
) -> Identifications:
    """The sightings with `repeat` set where a box is one.

    Args:
        seen: as `sightings` gives them; the order of rows is kept.
        detections: rows of `tables.DETECTIONS`.
        settings: repeat_media (0: none is), repeat_days, repeat_overlap.
    """
    found = find_repeat_detections(detections, settings)
    if found.is_empty():
        return seen
    marked = found.with_columns(marked=pl.lit(True))
    rows = seen.rows.join(marked, on=BOX_KEY, how="left", maintain_order="left")
    return replace(
        seen, rows=rows.with_columns(repeat=pl.col("marked").fill_null(False)).drop("marked")
    )


def find_repeat_detections(detections: pl.LazyFrame, settings: Stage3) -> pl.DataFrame:
    """The boxes that are repeats: path, frame_number, box_number."""
    x, y = pl.col("x").cast(pl.Float64), pl.col("y").cast(pl.Float64)
    boxes = detections.filter(
        (pl.col("category") == "animal") & pl.col("captured_at").is_not_null()
    ).select(
        "camera_id",
        *BOX_KEY,
        day=pl.col("captured_at").to_physical() // MS_PER_DAY,
        x0=x,
        y0=y,
        x1=x + pl.col("w"),
        y1=y + pl.col("h"),
    )
    if settings.repeat_media == 0:
        return boxes.select(BOX_KEY).clear().collect()
    cells = _crowded_cells(boxes)
    crowded = boxes.join(cells.lazy().select("camera_id").unique(), on="camera_id", how="semi")
    found = [
        _camera_repeats(of_camera, cells.filter(pl.col("camera_id") == camera), settings)
        for (camera,), of_camera in crowded.collect().group_by("camera_id")
    ]
    return pl.concat([boxes.clear().collect(), *found]).select(BOX_KEY)


def _crowded_cells(boxes: pl.LazyFrame) -> pl.DataFrame:
    """Places with boxes of several media and days, the fullest first: camera_id, CORNERS."""
    cells = [
        (pl.col(corner) / CELL_SIZE).round().cast(pl.Int32).alias(f"{corner}_cell")
        for corner in CORNERS
    ]
    return (
        boxes.group_by("camera_id", *cells)
        .agg(
            *(pl.col(corner).mean() for corner in CORNERS),
            media=pl.col("path").n_unique(),
            days=pl.col("day").n_unique(),
        )
        .filter((pl.col("media") >= MIN_MEDIA_PER_CELL) & (pl.col("days") > 1))
        .sort("media", *CORNERS, descending=[True, False, False, False, False])
        .collect(engine="streaming")
    )


def _camera_repeats(boxes: pl.DataFrame, cells: pl.DataFrame, settings: Stage3) -> pl.DataFrame:
    corners = boxes.select(CORNERS).to_numpy()
    repeat = np.zeros(boxes.height, dtype=np.bool_)
    for place in cells.select(CORNERS).to_numpy():
        members = ~repeat & (_overlap(place, corners) >= settings.repeat_overlap)
        if members.sum() >= settings.repeat_media and _is_repeat(
            boxes.filter(pl.Series(members)), settings
        ):
            repeat |= members
    return boxes.filter(pl.Series(repeat))


def _is_repeat(members: pl.DataFrame, settings: Stage3) -> bool:
    media, days, span = members.select(
        pl.col("path").n_unique(),
        pl.col("day").n_unique().alias("days"),
        (pl.col("day").max() - pl.col("day").min()).alias("span"),
    ).row(0)
    return bool(
        media >= settings.repeat_media and days >= MIN_DAYS and span >= settings.repeat_days
    )


def _overlap(one: FloatArray, many: FloatArray) -> FloatArray:
    """Intersection over union of a box [4] with boxes [N, 4], all x0, y0, x1, y1."""
    sides = np.minimum(one[2:], many[:, 2:]) - np.maximum(one[:2], many[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    total = (one[2:] - one[:2]).prod() + (many[:, 2:] - many[:, :2]).prod(axis=1) - shared
    share: FloatArray = shared / np.maximum(total, np.finfo(np.float64).tiny)
    return share
