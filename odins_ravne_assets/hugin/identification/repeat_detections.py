"""Repeat detections: false positives that recur in the same place for weeks, such as a branch.

An animal detection is a repeat if, at one camera, detections that overlap with it (intersection
over union of at least `repeat_overlap`) are in at least `repeat_media` media, on at least three
days, and the first and the last of them are at least `repeat_days` days apart. Time separates a
branch from an animal that sleeps in front of the camera: a hundred detections in an hour are no
repeat, a hundred in a month are. Media without a time are ignored.

Repeats are marked, never removed: they get separate observations with the flag `repeat_detection`,
and do not vote. With `repeat_media: 0` nothing is marked.

Counting per camera and the overlap of 0.9 follow MegaDetector's repeat detection elimination
(`repeat_detections_core`), which lists time as a future improvement.
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.identifications import BOX_KEY, Identifications
from resources.settings.profile import Stage3

MS_PER_DAY = 86_400_000
MIN_DAYS = 3
# Prefilter: among many boxes in one place, some agree in all four corners to this fraction of the
# picture. Such cells are few, and only boxes that overlap with one are checked.
CELL_SIZE = 0.02
MIN_MEDIA_PER_CELL = 3
CORNERS = ("x0", "y0", "x1", "y1")

FloatArray = NDArray[np.float64]


def mark_repeat_detections(
    identified: Identifications, detections: pl.LazyFrame, settings: Stage3
) -> Identifications:
    """Return the identifications with `repeat` set for repeat detections.

    Args:
        identified: the result of `identify`; the order of rows does not change.
        detections: rows of `tables.DETECTIONS`.
        settings: repeat_media (0: none), repeat_days, repeat_overlap.
    """
    found = find_repeat_detections(detections, settings)
    if found.is_empty():
        return identified
    marked = found.with_columns(marked=pl.lit(True))
    rows = identified.rows.join(marked, on=BOX_KEY, how="left", maintain_order="left")
    # A classifier may have named a person or a vehicle, which are no repeats.
    repeat = pl.col("marked").fill_null(False) & (pl.col("category") == "animal")
    return replace(identified, rows=rows.with_columns(repeat=repeat).drop("marked"))


def find_repeat_detections(detections: pl.LazyFrame, settings: Stage3) -> pl.DataFrame:
    """Return the keys of repeat detections: path, frame_number, box_number."""
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
    candidates = boxes.join(cells.lazy().select("camera_id").unique(), on="camera_id", how="semi")
    found = [
        _camera_repeats(camera_boxes, cells.filter(pl.col("camera_id") == camera), settings)
        for (camera,), camera_boxes in candidates.collect().group_by("camera_id")
    ]
    return pl.concat([boxes.clear().collect(), *found]).select(BOX_KEY)


def _crowded_cells(boxes: pl.LazyFrame) -> pl.DataFrame:
    """Places with boxes of several media and days, the most crowded first: camera_id, CORNERS."""
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


def _overlap(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Intersection over union of a box [4] with boxes [N, 4], all x0, y0, x1, y1."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas - intersection
    result: FloatArray = intersection / np.maximum(union, np.finfo(np.float64).tiny)
    return result
