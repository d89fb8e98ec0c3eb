"""Consistency checks of a camera's tables, shown as asset checks in Dagster."""

from contextlib import ExitStack
from typing import NamedTuple

import polars as pl

from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import scan_parquet


class CheckResult(NamedTuple):
    """The result of one check, with its name in `odins_ravne_assets.defs.checks`."""

    name: str
    passed: bool
    severity: str  # ERROR | WARN
    counts: dict[str, int]


def times_present(store: ObjectStore) -> CheckResult:
    """Check that every usable medium has a capture time."""
    with ExitStack() as stack:
        media = _scan(store, layout.MEDIA_TABLE, stack).filter(pl.col("status") == "ok")
        usable, timeless = (
            media.select(usable=pl.len(), timeless=pl.col("captured_at").is_null().sum())
            .collect(engine="streaming")
            .row(0)
        )
    return CheckResult(
        "times_present", timeless == 0, "WARN", {"usable": usable, "timeless": timeless}
    )


def nothing_lost(store: ObjectStore) -> CheckResult:
    """Check that Stage 1 processed every medium of Stage 0, or recorded a reason."""
    with ExitStack() as stack:
        media = _scan(store, layout.MEDIA_TABLE, stack).select("path")
        processed = _scan(store, layout.PROCESSED_TABLE, stack).select("path", "status", "reason")
        missing = media.join(processed, on="path", how="anti").select(pl.len()).collect().item()
        pending, unexplained = (
            processed.select(
                pending=(pl.col("status") == "pending").sum(),
                unexplained=(
                    pl.col("status").is_in(["failed", "duplicate"]) & pl.col("reason").is_null()
                ).sum(),
            )
            .collect(engine="streaming")
            .row(0)
        )
    counts = {"missing": missing, "pending": pending, "failed_without_reason": unexplained}
    return CheckResult("nothing_lost", not any(counts.values()), "ERROR", counts)


def detections_sane(store: ObjectStore) -> CheckResult:
    """Check that confidences are fractions, boxes within the picture, and no box is repeated."""
    tolerance = 1e-4  # of sums of float32 numbers
    with ExitStack() as stack:
        boxes = _scan(store, layout.DETECTIONS_TABLE, stack)
        total, distinct, confidence, outside = (
            boxes.select(
                total=pl.len(),
                distinct=pl.struct("path", "frame_number", "box_number").n_unique(),
                confidence=(~_is_fraction("confidence")).sum(),
                outside=(
                    (pl.col("x") < -tolerance)
                    | (pl.col("y") < -tolerance)
                    | (pl.col("x") + pl.col("w") > 1 + tolerance)
                    | (pl.col("y") + pl.col("h") > 1 + tolerance)
                    | (pl.col("w") <= 0)
                    | (pl.col("h") <= 0)
                ).sum(),
            )
            .collect(engine="streaming")
            .row(0)
        )
    counts = {
        "confidence_outside_0_to_1": confidence,
        "box_outside_picture": outside,
        "twice": total - distinct,
    }
    return CheckResult("detections_sane", not any(counts.values()), "ERROR", counts)


def every_box_labelled(store: ObjectStore) -> CheckResult:
    """Check that every box of Stage 1 has a label, with a confidence that is a fraction."""
    with ExitStack() as stack:
        boxes = _scan(store, layout.DETECTIONS_TABLE, stack).select("path", "detection_id")
        labels = _scan(store, layout.CLASSIFICATIONS_TABLE, stack)
        unlabelled = (
            boxes.join(labels, on=["path", "detection_id"], how="anti")
            .select(pl.len())
            .collect(engine="streaming")
            .item()
        )
        confidence = labels.select((~_is_fraction("confidence")).sum()).collect().item()
    counts = {"unlabelled": unlabelled, "confidence_outside_0_to_1": confidence}
    return CheckResult("every_box_labelled", not any(counts.values()), "ERROR", counts)


def rows_accounted_for(
    rows_in: int,
    rejected: int,
    left_out: int,
    below_confidence: int,
    too_short: int,
    in_visits: int,
) -> CheckResult:
    """Check that each row that Stage 3 read is in a visit, or left out for a known reason.

    Args:
        rows_in: labelled boxes that Stage 3 read. Of these:
        rejected: boxes that a reviewer marked as empty.
        left_out: in a camera's strip, or probably part of a person or furniture next to one.
        below_confidence: people, vehicles and repeat detections left out by `min_confidence`.
        too_short: in visits left out by `min_duration`.
        in_visits: in visits.
    """
    unexplained = rows_in - rejected - left_out - below_confidence - too_short - in_visits
    counts = {
        "rows": rows_in,
        "rejected_by_reviewers": rejected,
        "left_out": left_out,
        "below_confidence": below_confidence,
        "in_visits_too_short": too_short,
        "in_visits": in_visits,
        "unexplained": unexplained,
    }
    return CheckResult("rows_accounted_for", unexplained == 0, "ERROR", counts)


def _is_fraction(column: str) -> pl.Expr:
    return pl.col(column).is_between(0.0, 1.0) & pl.col(column).is_not_nan()


def _scan(store: ObjectStore, key: str, stack: ExitStack) -> pl.LazyFrame:
    return scan_parquet(stack.enter_context(store.reading(key)))
