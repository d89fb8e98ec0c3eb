"""Unknown animals that are probably part of a person, or furniture next to one.

A detector gives a person who sits, bends or leaves the picture to the class animal in some frames,
and finds an animal in a chair or a bag. In a sequence with people, an animal without a name is left
out if one of these holds:

- at least half of its box, or of a person's box, overlaps with the other, in the same frame or in
  the one before or after, at most NEIGHBOUR_MS away;
- it may be a person itself: `person_confidence`, below the threshold for people, is present;
- it does not move: boxes without a name are in the same place in at least STATIC_FRAMES frames, or
  in two that are at least STATIC_MS apart.

Animals with a name, as a dog with its owner, are never left out, and neither is what a reviewer
labelled. Only people who count (see `min_confidence`) leave out animals. All detections stay in the
tables.
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    LEFT_OUT,
    NEAR_PERSON,
    UNKNOWN_NAME,
    Identifications,
)
from odins_ravne_assets.hugin.identification.sequence_vote import sequence_numbers
from odins_ravne_assets.munin.tables.instants import instants
from resources.settings.profile import Stage3

# The longest gap between two detections of a sequence, if the setting `burst_gap` is shorter.
MIN_GAP_SECONDS = 10.0
NEIGHBOUR_MS = 10_000
MIN_OVERLAP = 0.5  # intersection / the smaller box
# The same place: intersection over union of two boxes.
STATIC_FRAMES, STATIC_MS, STATIC_OVERLAP = 3, 5_000, 0.7
# Sequences are divided into blocks of this length, so that the boxes of a busy day are not all
# compared with each other.
BLOCK_MS = 600_000

Boxes = NDArray[np.float64]  # [N, 4]: x0, y0, x1, y1
Numbers = NDArray[np.int64]


def leave_out_near_people(
    identified: Identifications, detections: pl.LazyFrame, settings: Stage3
) -> Identifications:
    """Return the identifications with `left_out` set for the unknown animals of this module.

    Args:
        identified: identifications after corrections, with `review`; the order of rows does not
            change.
        detections: rows of `tables.DETECTIONS`.
        settings: min_confidence, burst_gap.
    """
    candidates = _candidates(identified, settings)
    if candidates.is_empty():
        return identified
    boxes = detections.select(
        *BOX_KEY,
        "person_confidence",
        x0=pl.col("x").cast(pl.Float64),
        y0=pl.col("y").cast(pl.Float64),
        x1=pl.col("x").cast(pl.Float64) + pl.col("w"),
        y1=pl.col("y").cast(pl.Float64) + pl.col("h"),
    )
    located = (
        boxes.join(candidates.lazy(), on=BOX_KEY)
        .sort("block", "time", "path", "frame_number", "box_number")
        .collect(engine="streaming")
    )
    rows = [
        block["row"].filter(pl.Series(_left_out(block)))
        for block in located.partition_by("block", maintain_order=True)
    ]
    near_person = np.zeros(identified.rows.height, dtype=np.bool_)
    near_person[pl.concat(rows).to_numpy()] = True
    reason = pl.lit(NEAR_PERSON, LEFT_OUT)
    left_out = pl.when(pl.Series(near_person)).then(reason).otherwise("left_out")
    return replace(identified, rows=identified.rows.with_columns(left_out=left_out))


def _candidates(identified: Identifications, settings: Stage3) -> pl.DataFrame:
    """People and unknown animals of blocks with both: row, BOX_KEY, block, time, person."""
    confident = pl.col("confidence").fill_nan(None) >= settings.min_confidence
    is_box = pl.col("box_number").is_not_null() & pl.col("left_out").is_null()
    person = is_box & (pl.col("category") == "person") & confident
    unknown = (
        is_box
        & (pl.col("category") == "animal")
        & (pl.col("name") == identified.names.code(UNKNOWN_NAME))
        & pl.col("review").is_null()
        & ~pl.col("repeat")
    )
    masks = identified.rows.select(person=person.fill_null(False), unknown=unknown)
    if not (masks["person"].any() and masks["unknown"].any()):
        masks = masks.select(pl.all() & False)
    rows = (
        identified.rows.select(
            "camera_id", *BOX_KEY, "captured_at", "utc_offset_minutes", "time_offset_ms"
        )
        .with_row_index("row")
        .with_columns(masks["person"])
        .filter(masks["person"] | masks["unknown"])
    )
    gap = max(settings.burst_gap, MIN_GAP_SECONDS)
    rows = rows.with_columns(
        sequence=pl.Series(sequence_numbers(rows, gap)),
        time=pl.coalesce(instants(rows), "time_offset_ms"),
    )
    block_of_time = pl.col("time") // BLOCK_MS
    rows = rows.with_columns(block=pl.struct("sequence", block_of_time).rank("dense"))
    people = pl.col("person").any().over("block")
    both = rows.filter(people & (~pl.col("person")).any().over("block"))
    return both.select("row", *BOX_KEY, "block", "time", "person")


def _left_out(block: pl.DataFrame) -> NDArray[np.bool_]:
    """True for the rows of a block that are left out."""
    person = block["person"].to_numpy()
    frame = block.select(pl.struct("path", "frame_number").rle_id()).to_series()
    frames = frame.cast(pl.Int64).to_numpy()
    times = block["time"].to_numpy()
    boxes = block.select("x0", "y0", "x1", "y1").to_numpy()
    result: NDArray[np.bool_] = ~person & block["person_confidence"].is_not_null().to_numpy()
    unknown = ~person
    result[unknown] |= _overlaps_person(
        boxes[unknown],
        frames[unknown],
        times[unknown],
        boxes[person],
        frames[person],
        times[person],
    )
    result[unknown] |= _is_static(boxes[unknown], frames[unknown], times[unknown])
    return result


def _overlaps_person(
    boxes: Boxes,
    frames: Numbers,
    times: Numbers,
    people: Boxes,
    people_frames: Numbers,
    people_times: Numbers,
) -> NDArray[np.bool_]:
    """True for boxes that overlap with a person in their frame or its neighbours."""
    # Frames are numbered in order of time, so people in neighbouring frames are adjacent.
    first = np.searchsorted(people_frames, frames - 1, side="left")
    last = np.searchsorted(people_frames, frames + 1, side="right")
    result = np.zeros(len(boxes), dtype=np.bool_)
    for index, (begin, end) in enumerate(zip(first, last, strict=True)):
        near = np.abs(people_times[begin:end] - times[index]) <= NEIGHBOUR_MS
        if near.any():
            result[index] = _overlaps(boxes[index], people[begin:end][near])
    return result


def _overlaps(box: Boxes, others: Boxes) -> bool:
    smaller = np.minimum(_area(box), _area(others))
    return bool((_intersection(box, others) >= MIN_OVERLAP * smaller).any())


def _is_static(boxes: Boxes, frames: Numbers, times: Numbers) -> NDArray[np.bool_]:
    """True for boxes that stay in the same place."""
    result = np.zeros(len(boxes), dtype=np.bool_)
    for index, box in enumerate(boxes):
        if result[index]:
            continue
        intersection = _intersection(box, boxes)
        union = _area(box) + _area(boxes) - intersection
        same = intersection >= STATIC_OVERLAP * union
        if np.unique(frames[same]).size >= STATIC_FRAMES or np.ptp(times[same]) >= STATIC_MS:
            result |= same
    return result


def _intersection(box: Boxes, others: Boxes) -> Boxes:
    sides = np.minimum(box[..., 2:], others[..., 2:]) - np.maximum(box[..., :2], others[..., :2])
    product: Boxes = np.clip(sides, 0, None).prod(axis=-1)
    return product


def _area(boxes: Boxes) -> Boxes:
    product: Boxes = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return product
