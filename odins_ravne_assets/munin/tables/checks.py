"""What must hold of a camera's tables; the asset checks show the findings in Dagster."""

from contextlib import ExitStack
from typing import NamedTuple

import polars as pl

from resources.storage import layout
from resources.storage.object_store import ObjectStore


class CheckResult(NamedTuple):
    """The outcome of one check, under the name that `odins_ravne_assets.defs.checks` gives it."""

    check: str
    passed: bool
    severity: str  # ERROR | WARN
    numbers: dict[str, int]


def times_present(store: ObjectStore) -> CheckResult:
    """Every usable medium has a capture time."""
    with ExitStack() as stack:
        media = _scan(store, layout.MEDIA_TABLE, stack).filter(pl.col("status") == "ok")
        usable, timeless = (
            media.select(usable=pl.len(), timeless=pl.col("captured_at").is_null().sum())
            .collect(engine="streaming")
            .row(0)
        )
    return CheckResult("times_present", timeless == 0, "WARN", {"usable": usable, "timeless": timeless})


def nothing_lost(store: ObjectStore) -> CheckResult:
    """Every medium of Stage 0 was looked at by Stage 1, or has a reason why not."""
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
    numbers = {"missing": missing, "pending": pending, "failed_without_reason": unexplained}
    return CheckResult("nothing_lost", not any(numbers.values()), "ERROR", numbers)


def detections_sane(store: ObjectStore) -> CheckResult:
    """Confidences are fractions, boxes lie within the picture, and none is there twice."""
    slack = 1e-4  # of float32 sums
    with ExitStack() as stack:
        boxes = _scan(store, layout.DETECTIONS_TABLE, stack)
        total, distinct, confidence, outside = (
            boxes.select(
                total=pl.len(),
                distinct=pl.struct("path", "frame_number", "box_number").n_unique(),
                confidence=(~_is_fraction("confidence")).sum(),
                outside=(
                    (pl.col("x") < -slack)
                    | (pl.col("y") < -slack)
                    | (pl.col("x") + pl.col("w") > 1 + slack)
                    | (pl.col("y") + pl.col("h") > 1 + slack)
                    | (pl.col("w") <= 0)
                    | (pl.col("h") <= 0)
                ).sum(),
            )
            .collect(engine="streaming")
            .row(0)
        )
    numbers = {
        "confidence_outside_0_to_1": confidence,
        "box_outside_picture": outside,
        "twice": total - distinct,
    }
    return CheckResult("detections_sane", not any(numbers.values()), "ERROR", numbers)


def every_box_labelled(store: ObjectStore) -> CheckResult:
    """Every box of Stage 1 has a label, with a confidence that is a fraction."""
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
    numbers = {"unlabelled": unlabelled, "confidence_outside_0_to_1": confidence}
    return CheckResult("every_box_labelled", not any(numbers.values()), "ERROR", numbers)


def rows_accounted_for(
    rows_in: int, rejected: int, below_confidence: int, too_short: int, kept: int
) -> CheckResult:
    """Args:
    rows_in: labelled boxes that Stage 3 read.
    rejected: of them, boxes in which a reviewer saw nothing.
    below_confidence: of them, left out by `min_confidence`.
    too_short: of them, in visits left out by `min_duration`.
    kept: of them, in visits.
    """
    unexplained = rows_in - rejected - below_confidence - too_short - kept
    numbers = {
        "rows": rows_in,
        "rejected_by_reviewers": rejected,
        "below_confidence": below_confidence,
        "in_visits_too_short": too_short,
        "in_visits": kept,
        "unexplained": unexplained,
    }
    return CheckResult("rows_accounted_for", unexplained == 0, "ERROR", numbers)


def _is_fraction(column: str) -> pl.Expr:
    return pl.col(column).is_between(0.0, 1.0) & pl.col(column).is_not_nan()


def _scan(store: ObjectStore, key: str, stack: ExitStack) -> pl.LazyFrame:
    return pl.scan_parquet(stack.enter_context(store.reading(key)))
