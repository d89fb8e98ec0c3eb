"""Stage 3: compress identified detections into observations, one row per visit of a species.

Rules
- Detections are grouped by camera, category, species and `repeat`. The rows of a group, in order of
  time, are split into observations by `observation_starts`.
- Animals count from their detector's threshold; `min_confidence` applies to their names
  (`name_threshold`). People, vehicles and repeat detections count from `min_confidence`.
- Rows are sorted and subtracted as instants (`munin/tables/instants.py`): where
  `utc_offset_minutes` changes (summer time, a corrected clock), 02:30+02:00 and 02:34+01:00 are 64
  minutes apart. Start and end are times of the camera's clock, each with the offset of its own row,
  or of the row before it.
- The rows of a medium without a time are one observation without start, end and duration.
- Observations on video alone that are shorter than `min_duration` are dropped and counted; those
  without a time by the time between their frames. Those with a still are retained, however short.
- Confidences are compared as Float32, as stored: 0.7 reaches a threshold of 0.7.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from odins_ravne_assets.hugin.formats import seconds
from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    LEFT_OUT,
    UNKNOWN_ANIMAL,
)
from odins_ravne_assets.hugin.identification.observation_ids import observation_id
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.review.corrections import ReviewedIdentifications
from odins_ravne_assets.hugin.visits.observation_windows import observation_starts, window_ms
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.instants import instants
from resources.settings.profile import Stage3

# Columns with few distinct values: as integers they sort and copy many times faster than as text.
LOW_CARDINALITY_COLUMNS = ("camera_id", "category", "kind")

# Sorts after every time.
AFTER_ALL_TIMES = 2**63 - 1


@dataclass(frozen=True)
class CompressionResult:
    """Observations, and the number of rows that were used and left out.

    `rows_in` is `rows_rejected` + the sum of `rows_left_out` + `rows_below_confidence` +
    `rows_too_short` + the sum of `detection_count`. Rows are detections; missed detections of
    reviewers are not counted.

    Attributes:
        observations: rows of `tables.OBSERVATIONS`, ordered by camera_id, instant of the start
            (null last), species, source_video, category.
        rows_in: all detections.
        rows_rejected: detections that a reviewer labelled as empty.
        left_out: rows of `tables.LEFT_OUT_DETECTIONS`, ordered by path, frame_number, box_number.
        rows_below_confidence: people, vehicles and repeat detections with a confidence below the
            setting, and detections without a confidence.
        rows_lowered: animals among the rest that are unknown animals because the confidence of
            their name is below the setting; they are not left out.
        rows_without_time: detections without a time among the rest; they are not left out.
        observations_too_short: observations on video alone that were dropped.
        rows_too_short: detections of these observations.
    """

    observations: pl.DataFrame
    rows_in: int
    rows_rejected: int
    left_out: pl.DataFrame
    rows_below_confidence: int
    rows_lowered: int
    rows_without_time: int
    observations_too_short: int
    rows_too_short: int

    @property
    def rows_left_out(self) -> dict[str, int]:
        """The number of detections of `left_out` for each reason of LEFT_OUT."""
        boxes = self.left_out.filter(pl.col("box_number").is_not_null())
        counts = dict(boxes["reason"].value_counts().iter_rows())
        return {reason: counts.get(reason, 0) for reason in LEFT_OUT.categories}


def compress(
    reviewed: ReviewedIdentifications, taxonomy: Taxonomy, settings: Stage3
) -> CompressionResult:
    """Compress identified detections into observations, by the rules of this module.

    The result does not depend on the order of the rows. An `observation_id` depends on the camera
    and the `detection_id` of the first row (content hash, frame and box), see `observation_ids`;
    not on file names, species, or rows that are added after the first one.

    Args:
        reviewed: the result of `apply_corrections`.
        taxonomy: the ranks of the species.
        settings: windows, durations and thresholds.
    """
    rows = reviewed.identified.rows
    rows_in = int(rows["box_number"].count()) + reviewed.rows_rejected
    left_out = _left_out_detections(reviewed)
    counted = rows if left_out.is_empty() else rows.filter(pl.col("left_out").is_null())
    counted = counted.with_columns(instants(counted))
    ordered = _sorted_in_groups(counted.filter(_is_confident(settings.min_confidence)))
    confident_rows = ordered.height
    is_box = pl.col("box_number").is_not_null()
    lowered = pl.col("lowered") & pl.col("review").is_null()
    rows_without_time, rows_lowered = ordered.select(
        (pl.col("captured_at").is_null() & is_box).sum().alias("without_time"),
        lowered.sum().alias("lowered"),
    ).row(0)
    aggregated = _aggregate(ordered.with_columns(_observation_numbers(ordered, settings)))
    aggregated = _with_names_and_reviewers(aggregated, reviewed)
    del ordered
    too_short = (pl.col("video_only") & pl.col("review").is_null()) & (
        pl.col("duration_ms") < round(settings.min_duration * 1000)
    )
    short = aggregated.filter(too_short)
    return CompressionResult(
        observations=_observations_table(aggregated.filter(~too_short), taxonomy, settings),
        rows_in=rows_in,
        rows_rejected=reviewed.rows_rejected,
        left_out=left_out,
        rows_below_confidence=counted.height - confident_rows,
        rows_lowered=rows_lowered,
        rows_without_time=rows_without_time,
        observations_too_short=short.height,
        rows_too_short=int(short["detection_count"].sum()),
    )


def _left_out_detections(reviewed: ReviewedIdentifications) -> pl.DataFrame:
    """Rows of `tables.LEFT_OUT_DETECTIONS`."""
    labels = reviewed.corrections.with_row_index("review").select(
        "review",
        staff_label="species",
        staff_labelled_by="reviewed_by",
        staff_labelled_on="reviewed_on",
    )
    rows = reviewed.identified.rows
    return (
        rows.filter(pl.col("left_out").is_not_null())
        .select(*BOX_KEY, "captured_at", "review", reason=pl.col("left_out").cast(pl.String))
        .join(labels, on="review", how="left")
        .select(pl.col(name).cast(kind) for name, kind in schemas.LEFT_OUT_DETECTIONS.items())
        .sort(*BOX_KEY, "staff_label")
    )


def _is_confident(min_confidence: float) -> pl.Expr:
    """True for rows that count; a row without a confidence never does."""
    free = (pl.col("category") == "animal") & ~pl.col("repeat")
    confidence = pl.col("confidence").fill_nan(None)
    return confidence.is_not_null() & (free | (confidence >= min_confidence))


def _sorted_in_groups(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by group, instant (null last), path, frame and box: a total order.

    Group and instant are packed into one 128-bit integer, because sorting by one integer takes a
    fraction of the time of sorting by seven columns.
    """
    rows = rows.with_columns(
        pl.col(name).cast(pl.Enum(rows[name].drop_nulls().unique().sort()))
        for name in LOW_CARDINALITY_COLUMNS
    )
    group = pl.col("name").cast(pl.Int64) * 2 + pl.col("repeat")
    for column in ("category", "camera_id"):
        codes = pl.col(column).to_physical().cast(pl.Int64)
        group = group * rows[column].n_unique() + codes
    time = pl.col("instant").fill_null(AFTER_ALL_TIMES)
    return (
        rows.with_columns(group=group)
        .with_columns(
            group_and_time=pl.col("group").cast(pl.Int128) * pl.lit(2**64, pl.Int128) + time
        )
        .sort("group_and_time", "path", "frame_number", "box_number")
        .drop("group_and_time")
    )


def _observation_numbers(ordered: pl.DataFrame, settings: Stage3) -> pl.Series:
    """The number of each row's observation, from 1 and increasing."""
    undated_path = pl.when(pl.col("captured_at").is_null()).then("path")
    group_starts, times = ordered.select(
        (
            pl.col("group").ne_missing(pl.col("group").shift())
            | undated_path.ne_missing(undated_path.shift())
        ).alias("group_starts"),
        pl.col("instant").fill_null(0).alias("times"),
    )
    starts = observation_starts(
        group_starts.to_numpy(),
        times.to_numpy(),
        window_ms(settings.compression_window),
        settings.mode,
    )
    return pl.Series("observation", np.cumsum(starts, dtype=np.uint32)).set_sorted()


def _aggregate(ordered: pl.DataFrame) -> pl.DataFrame:
    """One row per observation: the columns of `tables.OBSERVATIONS`, and what they depend on."""
    between_frames = pl.col("time_offset_ms").max() - pl.col("time_offset_ms").min()
    between_times = pl.col("instant").last() - pl.col("instant").first()
    return (
        _numbered_in_frames(ordered)
        .group_by("observation", maintain_order=True)
        .agg(
            pl.first("camera_id", "category", "name", "utc_offset_minutes"),
            first_detection=pl.col("detection_id").first(),
            start_at=pl.col("captured_at").first(),
            end_at=pl.col("captured_at").last(),
            start_instant=pl.col("instant").first(),
            end_utc_offset_minutes=pl.col("utc_offset_minutes").forward_fill().last(),
            detection_offsets=pl.col("utc_offset_minutes").forward_fill(),
            duration_ms=pl.coalesce(between_times, between_frames),
            video_only=(pl.col("kind") == "video").all(),
            max_confidence=pl.col("confidence").max(),
            avg_confidence=pl.col("confidence").cast(pl.Float64).mean(),
            detection_count=pl.col("box_number").count(),
            frame_count=(pl.col("nth_in_frame") == 1).sum(),
            count=pl.coalesce("counted", "nth_in_frame").max(),
            media_count=pl.col("path").n_unique(),
            source_video=pl.col("path").first(),
            detection_timeline=pl.struct(
                "path", "frame_number", "box_number", "captured_at", "time_offset_ms", "confidence"
            ),
            vote_share=pl.col("vote_share").min(),
            relabelled=pl.col("relabelled").sum(),
            disputed=pl.col("disputed").any(),
            repeat=pl.col("repeat").first(),
            review=pl.col("review").max(),
            machine_name=pl.col("machine_name").drop_nulls().first(),
        )
    )


def _with_names_and_reviewers(
    aggregated: pl.DataFrame, reviewed: ReviewedIdentifications
) -> pl.DataFrame:
    """Add the names of the codes, and the reviewers."""
    names = reviewed.identified.names.table()
    machine_names = names.select("name", machine_species="species")
    corrections = reviewed.corrections.with_row_index("review")
    return (
        aggregated.join(names, on="name", how="left", maintain_order="left")
        .join(
            machine_names,
            left_on="machine_name",
            right_on="name",
            how="left",
            maintain_order="left",
        )
        .join(
            corrections.select("review", "reviewed_by", "reviewed_on"),
            on="review",
            how="left",
            maintain_order="left",
        )
    )


def _numbered_in_frames(ordered: pl.DataFrame) -> pl.DataFrame:
    """Add `nth_in_frame`: 1 for the first box of an observation in a frame, and so on.

    The boxes of a frame have the same time, so their rows are adjacent.
    """
    frame_key = ("observation", "path", "frame_number")
    begins = ordered.select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in frame_key)
    )
    starts = begins.to_series().to_numpy()
    number = np.arange(starts.size, dtype=np.int32)
    first = np.maximum.accumulate(np.where(starts, number, 0)) if starts.size else number
    return ordered.with_columns(nth_in_frame=pl.Series(number - first + 1, dtype=pl.Int32))


def _observations_table(
    aggregated: pl.DataFrame, taxonomy: Taxonomy, settings: Stage3
) -> pl.DataFrame:
    machine = pl.col("review").is_null()
    uncertain = pl.col("max_confidence") < settings.review_below
    ranks = taxonomy.table().drop("common_name").rename({"rank": "taxon_rank"})
    return (
        aggregated.join(ranks, on="scientific_name", how="left")
        .sort("camera_id", "start_instant", "species", "source_video", "category", nulls_last=True)
        .with_columns(
            detection_offsets=pl.when(
                pl.col("detection_offsets").list.drop_nulls().list.n_unique() > 1
            ).then("detection_offsets"),
            duration_seconds=pl.when(pl.col("start_at").is_not_null()).then(seconds("duration_ms")),
            label_source=pl.when(machine).then(pl.lit("machine")).otherwise(pl.lit("reviewer")),
            needs_review=machine
            & ~pl.col("repeat")
            & (uncertain | pl.col("disputed") | (pl.col("species") == UNKNOWN_ANIMAL)),
            flags=_flags({"votes_disagree": "disputed", "repeat_detection": "repeat"}),
        )
        .pipe(lambda table: table.with_columns(_observation_ids(table)))
        .select(pl.col(name).cast(kind) for name, kind in schemas.OBSERVATIONS.items())
    )


def _flags(columns: Mapping[str, str]) -> pl.Expr:
    """A list of the flags whose column is true."""
    raised = [pl.when(column).then(pl.lit(flag)) for flag, column in columns.items()]
    return pl.concat_list(raised).list.drop_nulls()


def _observation_ids(aggregated: pl.DataFrame) -> pl.Series:
    firsts = aggregated.select("camera_id", "first_detection").iter_rows()
    return pl.Series("observation_id", [observation_id(*row) for row in firsts], dtype=pl.String)
