"""`report.json`: counts of processed media, detections and observations, and exclusions.

It has no time of writing: the same tables and settings give the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.formats import FIRST_TIME, LAST_TIME, first_and_last, with_instants
from odins_ravne_assets.hugin.identification.identifications import (
    CAMERA_CALIBRATION,
    CAMERA_SETUP,
    IN_CAMERA_STRIP,
    NEAR_PERSON,
)
from odins_ravne_assets.hugin.visits.observations import CompressionResult
from odins_ravne_assets.hugin.visits.species_summary import IS_ANIMAL_SPECIES, species_summary
from resources.printable import escaped_json
from resources.settings.profile import Privacy, Stage3

GENERATOR = "odins-ravne"
MEDIA_KINDS = ("image", "video")
MAX_EXAMPLES = 20  # paths of truncated media; processed.parquet has all
PROCESSING_STATUSES = ("done", "failed", "duplicate", "pending")
LEFT_OUT_DESCRIPTIONS = {
    IN_CAMERA_STRIP: "in the camera's strip with its logo, time or temperature",
    NEAR_PERSON: "unknown animals that are probably part of a person, or furniture next to one",
    CAMERA_SETUP: "people who set up, check or pick up the camera, by a reviewer",
    CAMERA_CALIBRATION: "people who calibrate the camera, by a reviewer",
}
CATEGORIES = ("animal", "person", "vehicle")

Json = dict[str, Any]


@dataclass(frozen=True)
class Stage3Tables:
    """The tables of a camera that Stage 3 reads, with the schemas of `munin.tables.schemas`."""

    media: pl.LazyFrame
    processed: pl.LazyFrame
    frames: pl.LazyFrame
    detections: pl.LazyFrame
    classifications: pl.LazyFrame


def build_report(
    tables: Stage3Tables,
    compressed: CompressionResult,
    settings: Stage3,
    models: Mapping[str, str],
    privacy: Privacy,
) -> Json:
    """Return the content of `report.json`, keys in a fixed order.

    Args:
        tables: the input of Stage 3.
        compressed: the result of `compress`.
        settings: the settings of Stage 3.
        models: the name and version of each model by role ("detector").
        privacy: the privacy settings of reports and exports.
    """
    observations = compressed.observations
    return {
        "generated_by": {"name": GENERATOR, "version": version(GENERATOR)},
        "settings": settings.model_dump(),
        "privacy": privacy.model_dump(mode="json"),
        "models": dict(sorted(models.items())),
        "time_range": {
            "media": _time_range(tables.media, "captured_at", "captured_at"),
            "observations": _time_range(observations.lazy(), "start_at", "end_at"),
        },
        "totals": _totals(tables, compressed),
        **_sources(tables.media),
        "media_by_kind_and_status": _media_by_kind_and_status(tables.processed),
        "failed_by_reason": dict(_counts(_failed(tables.processed), "reason")),
        "failed_examples": _paths(_failed(tables.processed)),
        "truncated_examples": _paths(truncated(tables.processed)),
        "detections_by_category": _by_category(tables.detections),
        "observations_by_category": _by_category(observations.lazy()),
        "left_out": _exclusions(tables, compressed, settings),
        "species": species_summary(observations).to_dicts(),
        "cameras": _cameras(tables, observations).to_dicts(),
    }


def encode_json(content: Json) -> bytes:
    """Encode indented JSON as UTF-8, keys in insertion order."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    return escaped_json(text).encode() + b"\n"


def _sources(media: pl.LazyFrame) -> Json:
    """Return the media of each source, if the camera has several: munin/media/sources.py."""
    counts = media.group_by("source", maintain_order=True).agg(pl.len()).collect()
    if counts.height < 2:
        return {}
    return {"sources": [{"name": name, "media": count} for name, count in counts.iter_rows()]}


def _totals(tables: Stage3Tables, compressed: CompressionResult) -> Json:
    processed, observations = tables.processed, compressed.observations
    empty = (pl.col("status") == "done") & (pl.col("boxes") == 0)
    undated = (pl.col("status") == "ok") & pl.col("captured_at").is_null()
    skipped = processed.select(pl.col("frames_skipped").cast(pl.Int64).sum()).collect()
    return {
        "media": _row_count(processed),
        "stills": _row_count(processed.filter(pl.col("kind") == "image")),
        "videos": _row_count(processed.filter(pl.col("kind") == "video")),
        "failed": _row_count(_failed(processed)),
        "truncated": _row_count(truncated(processed)),
        "media_without_detections": _row_count(processed.filter(empty)),
        "media_without_time": _row_count(tables.media.filter(undated)),
        "frames_looked_at": _row_count(tables.frames),
        "frames_skipped_by_motion_gate": skipped.item(),
        "detections": _row_count(tables.detections),
        "classified": compressed.rows_in,
        "in_observations": int(observations["detection_count"].cast(pl.Int64).sum()),
        "classified_without_time": compressed.rows_without_time,
        "names_below_min_confidence": compressed.rows_lowered,
        "observations": observations.height,
        "needs_review": int(observations["needs_review"].sum()),
        "observations_without_time": observations["start_at"].null_count(),
        "visits_too_short": compressed.observations_too_short,
    }


def _media_by_kind_and_status(processed: pl.LazyFrame) -> dict[str, dict[str, int]]:
    counts = {kind: dict.fromkeys(PROCESSING_STATUSES, 0) for kind in MEDIA_KINDS}
    for kind, status, count in _counts(processed, "kind", "status"):
        # A folder that could not be listed is a row without a kind.
        counts.setdefault(kind or "folder", dict.fromkeys(PROCESSING_STATUSES, 0))[status] = count
    return counts


def truncated(processed: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of media of which a part is missing, and the rest was used."""
    is_truncated = pl.col("reason").str.contains("truncated", literal=True)
    return processed.filter((pl.col("status") == "done") & is_truncated)


def _paths(processed: pl.LazyFrame) -> list[str]:
    """Return the first paths, in their order."""
    first = processed.select(pl.col("path").bottom_k(MAX_EXAMPLES).sort())
    return first.collect(engine="streaming")["path"].to_list()


def _failed(processed: pl.LazyFrame) -> pl.LazyFrame:
    return processed.filter(pl.col("status") == "failed")


def _exclusions(
    tables: Stage3Tables, compressed: CompressionResult, settings: Stage3
) -> list[Json]:
    """Media and detections that are in no observation, by stage and reason."""
    counts = dict(_counts(tables.processed, "status"))
    unreadable = _row_count(tables.media.filter(pl.col("status") == "failed"))
    unlabelled = tables.detections.join(tables.classifications, on="detection_id", how="anti")
    exclusions = [
        (0, "media", unreadable, "could not be read (see failed_by_reason)"),
        (0, "media", counts.get("duplicate", 0), "duplicates of another medium"),
        (
            1,
            "media",
            counts.get("failed", 0) - unreadable,
            "could not be decoded (see failed_by_reason)",
        ),
        (1, "media", counts.get("pending", 0), "not processed yet: run Stage 1 again"),
        (2, "detections", _row_count(unlabelled), "not classified yet: run Stage 2 again"),
        (3, "detections", compressed.rows_rejected, "labelled as empty by a reviewer"),
        *(
            (3, "detections", compressed.rows_left_out[reason], why)
            for reason, why in LEFT_OUT_DESCRIPTIONS.items()
        ),
        (
            3,
            "detections",
            compressed.rows_below_confidence,
            "people, vehicles and repeat detections with a confidence below min_confidence, "
            f"{settings.min_confidence:g}",
        ),
        (
            3,
            "detections",
            compressed.rows_too_short,
            f"visits on video alone, shorter than min_duration, {settings.min_duration:g} s",
        ),
    ]
    return [dict(zip(("stage", "what", "count", "why"), each, strict=True)) for each in exclusions]


def _cameras(tables: Stage3Tables, observations: pl.DataFrame) -> pl.DataFrame:
    """One row per camera, with the first and last time of its media."""
    counts = [
        tables.frames.group_by("camera_id").len("frames_looked_at"),
        tables.detections.group_by("camera_id").len("detections"),
        observations.lazy()
        .group_by("camera_id")
        .agg(
            pl.len().alias("observations"),
            pl.col("species").filter(IS_ANIMAL_SPECIES).n_unique().alias("animal_species"),
        ),
    ]
    media = with_instants(tables.media, "captured_at", "captured_at")
    cameras = media.group_by("camera_id").agg(
        pl.len().alias("media"), *first_and_last("captured_at", "captured_at")
    )
    for table in counts:
        cameras = cameras.join(table, on="camera_id", how="left")
    numbers = ("media", "frames_looked_at", "detections", "observations", "animal_species")
    return (
        cameras.sort("camera_id")
        .select("camera_id", *(pl.col(n).fill_null(0) for n in numbers), FIRST_TIME, LAST_TIME)
        .collect(engine="streaming")
    )


def _by_category(rows: pl.LazyFrame) -> dict[str, int]:
    return dict.fromkeys(CATEGORIES, 0) | dict(_counts(rows, "category"))


def _counts(rows: pl.LazyFrame, *keys: str) -> list[tuple[Any, ...]]:
    """Each combination of values of the keys, and its number of rows; sorted."""
    return rows.group_by(keys).len().sort(keys).collect(engine="streaming").rows()


def _row_count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


def _time_range(rows: pl.LazyFrame, start: str, end: str) -> Json:
    timed = with_instants(rows, start, end)
    times = timed.select(first_and_last(start, end)).select(FIRST_TIME, LAST_TIME)
    return times.collect(engine="streaming").to_dicts()[0]
