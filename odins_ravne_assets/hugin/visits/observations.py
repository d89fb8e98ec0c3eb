"""Stage 3: labelled detections become observations, one row per visit of a species to a camera.

The rule
- A *lane* is one species of one category at one camera, repeat detections apart from others. Its
  rows with enough confidence, in time order, are cut into visits by `windows.observation_starts`.
- Times are the wall clock the camera wrote, and so is the distance between two of them, also
  where `utc_offset_minutes` changes within a camera (summer time, a newly set clock): nothing is
  converted, and an observation carries the offset of its first row. Where a clock goes back, the
  repeated hour lies on top of the first one.
- A row without a time is never lost and never given one: the rows of one medium are one
  observation without start and end, whose duration is that between its frames.
- Visits seen on video alone that are shorter than `min_duration` are dropped and counted. A visit
  with a still in it is kept, however short.
- Confidences are compared at the tables' own precision (Float32): 0.7 reaches a threshold of 0.7.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from odins_ravne_assets.hugin.formats import seconds
from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.review.corrections import ReviewedIdentifications
from odins_ravne_assets.hugin.visits.observation_windows import observation_starts, window_ms
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Stage3

# Columns of few distinct values: as numbers they sort and move many times faster than as text.
LOW_CARDINALITY_COLUMNS = ("camera_id", "category", "kind")

# Sorts behind every time there is.
AFTER_ALL_TIMES = 2**63 - 1


@dataclass(frozen=True)
class CompressionResult:
    """Observations, and what became of the rows they are made of.

    `rows_in` is `rows_rejected` + `rows_below_confidence` + `rows_too_short` + the sum of
    `detection_count`. Rows are boxes: what reviewers saw without one is in no count of rows.

    Attributes:
        observations: rows of `tables.OBSERVATIONS`, ordered by camera_id, start_at (those without
            a time last), species, source_video, category.
        rows_in: rows that were handed in.
        rows_rejected: of these, boxes in which a reviewer saw nothing.
        rows_below_confidence: of the others, left out for a confidence below the setting, or none.
        rows_without_time: of the others, those whose time is not known. They are not lost.
        visits_too_short: visits on video alone that were dropped.
        rows_too_short: the rows of these visits.
    """

    observations: pl.DataFrame
    rows_in: int
    rows_rejected: int
    rows_below_confidence: int
    rows_without_time: int
    visits_too_short: int
    rows_too_short: int


def compress(
    reviewed: ReviewedIdentifications, taxonomy: Taxonomy, settings: Stage3
) -> CompressionResult:
    """Compress sightings into visits, by the rule at the top of this file.

    The result does not depend on the order of the rows. An `observation_id` is the first 16 digits
    of a SHA-256 over the camera, the category, the species and the visit's first row (its
    `detection_id`: content hash, frame and box). So rows that are added later change no id of a
    visit that has closed before them, and no file name goes into it.

    Args:
        reviewed: what `review` returns.
        taxonomy: the ranks of what was seen.
        settings: minutes, seconds and confidences of the rule.
    """
    seen = reviewed.identified
    rows_in = int(seen.rows["box_number"].count()) + reviewed.rows_rejected
    sure = pl.col("confidence").fill_nan(None) >= settings.min_confidence
    ordered = _sorted_in_groups(seen.rows.filter(sure))
    rows_kept = ordered.height
    is_box = pl.col("box_number").is_not_null()
    rows_without_time = ordered.select((pl.col("captured_at").is_null() & is_box).sum()).item()
    visits = _aggregate(ordered.with_columns(_observation_numbers(ordered, settings)))
    visits = _with_names_and_reviewers(visits, reviewed)
    del ordered
    too_short = (pl.col("video_alone") & pl.col("review").is_null()) & (
        pl.col("duration_ms") < round(settings.min_duration * 1000)
    )
    short = visits.filter(too_short)
    return CompressionResult(
        observations=_observations_table(visits.filter(~too_short), taxonomy, settings),
        rows_in=rows_in,
        rows_rejected=reviewed.rows_rejected,
        rows_below_confidence=seen.rows.height - rows_kept,
        rows_without_time=rows_without_time,
        visits_too_short=short.height,
        rows_too_short=int(short["detection_count"].sum()),
    )


def _sorted_in_groups(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by lane, time (none last), path, frame and box: a total order.

    Lane and time are packed into one integer first: a sort that can decide nearly everything on
    one integer takes a fraction of the time of one on seven columns. 128 bits hold any of both.
    """
    rows = rows.with_columns(
        pl.col(name).cast(pl.Enum(rows[name].drop_nulls().unique().sort()))
        for name in LOW_CARDINALITY_COLUMNS
    )
    lane = pl.col("name").cast(pl.Int64) * 2 + pl.col("repeat")
    for column in ("category", "camera_id"):
        codes = pl.col(column).to_physical().cast(pl.Int64)
        lane = lane * rows[column].n_unique() + codes
    moment = pl.col("captured_at").to_physical().fill_null(AFTER_ALL_TIMES)
    return (
        rows.with_columns(lane=lane)
        .with_columns(
            lane_and_moment=pl.col("lane").cast(pl.Int128) * pl.lit(2**64, pl.Int128) + moment
        )
        .sort("lane_and_moment", "path", "frame_number", "box_number")
        .drop("lane_and_moment")
    )


def _observation_numbers(ordered: pl.DataFrame, settings: Stage3) -> pl.Series:
    """The number of each row's visit, 1-based and never falling."""
    undated_path = pl.when(pl.col("captured_at").is_null()).then("path")
    lane_starts, times = ordered.select(
        (
            pl.col("lane").ne_missing(pl.col("lane").shift())
            | undated_path.ne_missing(undated_path.shift())
        ).alias("lane_starts"),
        pl.col("captured_at").to_physical().fill_null(0).alias("times"),
    )
    starts = observation_starts(
        lane_starts.to_numpy(),
        times.to_numpy(),
        window_ms(settings.compression_window),
        settings.mode,
    )
    return pl.Series("visit", np.cumsum(starts, dtype=np.uint32)).set_sorted()


def _aggregate(ordered: pl.DataFrame) -> pl.DataFrame:
    """One row per visit, all of them: what `tables.OBSERVATIONS` asks for and what decides it."""
    between_frames = pl.col("time_offset_ms").max() - pl.col("time_offset_ms").min()
    between_times = (pl.col("captured_at").last() - pl.col("captured_at").first()).dt
    return (
        _numbered_in_frames(ordered)
        .group_by("visit", maintain_order=True)
        .agg(
            pl.first("camera_id", "category", "name", "utc_offset_minutes"),
            first_detection=pl.col("detection_id").first(),
            start_at=pl.col("captured_at").first(),
            end_at=pl.col("captured_at").last(),
            duration_ms=pl.coalesce(between_times.total_milliseconds(), between_frames),
            video_alone=(pl.col("kind") == "video").all(),
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
    visits: pl.DataFrame, reviewed: ReviewedIdentifications
) -> pl.DataFrame:
    """Visits with the texts that their numbers stand for."""
    names = reviewed.identified.names.table()
    before = names.select("name", machine_species="species")
    words = reviewed.corrections.with_row_index("review")
    return (
        visits.join(names, on="name", how="left", maintain_order="left")
        .join(before, left_on="machine_name", right_on="name", how="left", maintain_order="left")
        .join(
            words.select("review", "reviewed_by", "reviewed_on"),
            on="review",
            how="left",
            maintain_order="left",
        )
    )


def _numbered_in_frames(ordered: pl.DataFrame) -> pl.DataFrame:
    """The rows with `nth_in_frame`: 1 for the first of a visit's boxes in one frame, and so on.

    The boxes of a frame have one time, so they stand together.
    """
    place = ("visit", "path", "frame_number")
    begins = ordered.select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in place)
    )
    starts = begins.to_series().to_numpy()
    number = np.arange(starts.size, dtype=np.int32)
    first = np.maximum.accumulate(np.where(starts, number, 0)) if starts.size else number
    return ordered.with_columns(nth_in_frame=pl.Series(number - first + 1, dtype=pl.Int32))


def _observations_table(visits: pl.DataFrame, taxonomy: Taxonomy, settings: Stage3) -> pl.DataFrame:
    machine = pl.col("review").is_null()
    doubtful = pl.col("max_confidence") < settings.review_below
    ranks = taxonomy.table().drop("common_name").rename({"rank": "taxon_rank"})
    return (
        visits.join(ranks, on="scientific_name", how="left")
        .sort("camera_id", "start_at", "species", "source_video", "category", nulls_last=True)
        .with_columns(
            duration_seconds=seconds("duration_ms"),
            label_source=pl.when(machine).then(pl.lit("machine")).otherwise(pl.lit("reviewer")),
            needs_review=machine
            & ~pl.col("repeat")
            & (doubtful | pl.col("disputed") | (pl.col("species") == UNKNOWN_ANIMAL)),
            flags=_flags({"votes_disagree": "disputed", "repeat_detection": "repeat"}),
        )
        .pipe(lambda table: table.with_columns(_observation_ids(table)))
        .select(pl.col(name).cast(kind) for name, kind in schemas.OBSERVATIONS.items())
    )


def _flags(columns: Mapping[str, str]) -> pl.Expr:
    """A list of the flags whose column is true."""
    raised = [pl.when(column).then(pl.lit(flag)) for flag, column in columns.items()]
    return pl.concat_list(raised).list.drop_nulls()


def _observation_ids(visits: pl.DataFrame) -> pl.Series:
    named = visits.select(
        pl.concat_str("camera_id", "category", "species", "first_detection", separator="\0")
    )
    return pl.Series(
        "observation_id",
        [hashlib.sha256(text.encode()).hexdigest()[:16] for text in named.to_series()],
        dtype=pl.String,
    )
