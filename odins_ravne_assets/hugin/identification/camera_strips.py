"""Camera strips: the bars with logo, time and temperature that a camera prints on its pictures.

A detector may take their letters and logos for animals. Stage 1 records the uniform strips at the
edges of each picture (`edge_strips`). One of them is a camera strip if pictures of one camera, kind
and size agree on it:

- at least MIN_PICTURES of them, and MIN_SHARE of all that were recorded, have a strip with letters
  and a straight end at that edge,
- of the same depth and the same grey level. A dark sky or snow has neither by day and night.

A detection is in the strip if more than half of its box is, and if its own picture has rows of that
grey level there. It is left out of votes and observations, and stays in all tables.
"""

from dataclasses import replace

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    IN_CAMERA_STRIP,
    LEFT_OUT,
    Identifications,
)

MIN_PICTURES, MIN_SHARE = 5, 0.5
# Differences within which strips are the same: of their depth, as a fraction of the picture, and of
# their grey level.
DEPTH_TOLERANCE, LEVEL_TOLERANCE = 0.006, 12
MIN_BOX_SHARE = 0.5  # of the box, within the strip

# Pictures with the same strips.
SHAPE = ["camera_id", "kind", "width", "height"]


def leave_out_camera_strips(
    identified: Identifications,
    detections: pl.LazyFrame,
    frames: pl.LazyFrame,
    media: pl.LazyFrame,
) -> Identifications:
    """Return the identifications with `left_out` set for detections in camera strips.

    Args:
        identified: the result of `identify`; the order of rows does not change.
        detections, frames, media: rows of the tables of these names.
    """
    strips = media_strips(frames, media)
    if strips.is_empty():
        return identified
    found = _boxes_in_strips(detections, strips)
    if found.is_empty():
        return identified
    reason = pl.lit(IN_CAMERA_STRIP, LEFT_OUT)
    rows = identified.rows.join(
        found.with_columns(in_strip=pl.lit(True)), on=BOX_KEY, how="left", maintain_order="left"
    )
    left_out = pl.when("in_strip").then(reason).otherwise("left_out")
    return replace(identified, rows=rows.with_columns(left_out=left_out).drop("in_strip"))


def media_strips(frames: pl.LazyFrame, media: pl.LazyFrame) -> pl.DataFrame:
    """Return the camera strips of each medium: path, edge, and depth as a fraction of the side."""
    pictures = (
        frames.filter(pl.col("edge_strips").is_not_null())
        .select("path", "edge_strips")
        .join(media.select("path", *SHAPE), on="path")
        .collect(engine="streaming")
    )
    recorded = (
        pictures.explode("edge_strips").drop_nulls("edge_strips").unnest("edge_strips").drop_nulls()
    )
    camera_strips = _camera_strips(recorded, pictures.group_by(SHAPE).len("pictures"))
    # The picture's own rows may be deeper, if a dark scene begins behind the strip.
    return (
        recorded.join(camera_strips, on=[*SHAPE, "edge"])
        .filter(
            (pl.col("depth") >= pl.col("strip_depth") - DEPTH_TOLERANCE)
            & _same_level("strip_level")
        )
        .select("path", "edge", depth="strip_depth")
    )


def _camera_strips(recorded: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """The strips that pictures of one shape agree on: SHAPE, edge, strip_depth, strip_level."""
    of_edge = [*SHAPE, "edge"]
    lettered = recorded.filter("lettered").with_columns(
        strip_depth=pl.col("depth").median().over(of_edge),
        strip_level=pl.col("level").cast(pl.Float32).median().over(of_edge),
    )
    agreeing = (pl.col("depth") - pl.col("strip_depth")).abs() <= DEPTH_TOLERANCE
    return (
        lettered.filter(agreeing & _same_level("strip_level"))
        .group_by(*of_edge, "strip_depth", "strip_level")
        .len("agreeing")
        .join(counts, on=SHAPE)
        .filter(
            (pl.col("agreeing") >= MIN_PICTURES)
            & (pl.col("agreeing") >= MIN_SHARE * pl.col("pictures"))
        )
        .select(*of_edge, "strip_depth", "strip_level")
    )


def _same_level(strip_level: str) -> pl.Expr:
    return (pl.col("level").cast(pl.Float32) - pl.col(strip_level)).abs() <= LEVEL_TOLERANCE


def _boxes_in_strips(detections: pl.LazyFrame, strips: pl.DataFrame) -> pl.DataFrame:
    """BOX_KEY of the detections in the strips."""
    low = {"top": "y", "bottom": "y", "left": "x", "right": "x"}
    size = {"y": "h", "x": "w"}
    inside = pl.lit(0.0)
    for edge, start in low.items():
        end = pl.col(start) + pl.col(size[start])
        if edge in ("top", "left"):
            depth = pl.min_horizontal(end, "depth") - pl.col(start)
        else:
            depth = end - pl.max_horizontal(start, 1 - pl.col("depth"))
        share = depth.clip(0) / pl.col(size[start])
        inside = pl.when(pl.col("edge") == edge).then(share).otherwise(inside)
    return (
        detections.select(*BOX_KEY, "x", "y", "w", "h")
        .join(strips.lazy(), on="path")
        .filter(inside > MIN_BOX_SHARE)
        .select(BOX_KEY)
        .unique()
        .collect(engine="streaming")
    )
