"""What each stage has to show of its result: the metadata that people read in Dagster.

Keys are flat; what is a number is a number, with its unit in the key, so that Dagster plots it.
Keys that begin with `md:` hold Markdown, those with `path:` a path or URL to copy. Dagster shows
them in this order: what went wrong, then what a person would look for first.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.exports.export import Exported
from odins_ravne_assets.hugin.visits.stage3 import Stage3Result
from odins_ravne_assets.munin.progress import Metadata
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.worker.contact_sheet import contact_sheet
from resources.settings.project import Deployment
from resources.storage import layout
from resources.storage.layout import REPORT_PAGE, STAGE3_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import shown_url

# Reasons that a table of failures shows; the tables hold all.
REASONS_SHOWN = 20


def footage_metadata(
    store: ObjectStore, ignored: dict[str, int], footage_url: str, place: Metadata
) -> Metadata:
    """Args:
    ignored: files that are no media, counted by extension.
    place: where the camera stands, see `asset_metadata.py`.
    """
    with ExitStack() as stack:
        media = _scan(store, layout.MEDIA_TABLE, stack)
        counts = (
            media.select(
                pl.len().alias("media/files"),
                (pl.col("kind") == "image").sum().alias("media/images"),
                (pl.col("kind") == "video").sum().alias("media/videos"),
                (pl.col("status") == "failed").sum().alias("media/failed"),
                (pl.col("status") == "duplicate").sum().alias("media/duplicates"),
                (pl.col("bytes").sum() / 1e6).round(1).alias("media/megabytes"),
                pl.col("duration_seconds").sum().alias("media/video_seconds"),
                pl.col("captured_at").min().alias("time/first"),
                pl.col("captured_at").max().alias("time/last"),
            )
            .collect(engine="streaming")
            .row(0, named=True)
        )
        reasons = _reasons(media.filter(pl.col("status") == "failed"))
        sources = (
            media.filter(pl.col("status") == "ok")
            .group_by("time_source")
            .len()
            .sort("time_source", nulls_last=True)
            .collect(engine="streaming")
        )
    facts: Metadata = {key: value for key, value in counts.items() if not key.startswith("time/")}
    for key in ("time/first", "time/last"):
        facts[key] = counts[key].isoformat(sep=" ") if counts[key] else "unknown"
    for source, count in sources.iter_rows():
        facts[f"time/from_{source}" if source else "time/missing"] = count
    not_media = {"files/not_media": sum(ignored.values())}
    footage = {"path:footage": _shown(footage_url)}
    return {**reasons, **place, **facts, **not_media, **footage}


def detection_metadata(store: ObjectStore, journal: Stage1Journal) -> Metadata:
    """Of Stage 1's tables, with the best crops as a picture.

    Args:
        journal: that the tables were made from; holds the crops.
    """
    with ExitStack() as stack:
        processed = _scan(store, layout.PROCESSED_TABLE, stack)
        counts = (
            processed.select(
                (pl.col("status") == "done").sum().alias("media/done"),
                (pl.col("status") == "failed").sum().alias("media/failed"),
                (pl.col("status") == "duplicate").sum().alias("media/duplicates"),
                (pl.col("boxes") == 0).sum().alias("media/empty"),
                pl.col("frames_looked_at").sum().alias("frames/looked_at"),
                pl.col("frames_skipped").sum().alias("frames/skipped_by_motion_gate"),
            )
            .collect(engine="streaming")
            .row(0, named=True)
        )
        reasons = _reasons(processed.filter(pl.col("status") == "failed"))
        by_category = (
            _scan(store, layout.DETECTIONS_TABLE, stack)
            .group_by("category")
            .len()
            .collect(engine="streaming")
        )
    found = dict(by_category.iter_rows())
    categories = {f"boxes/{name}": found.get(name, 0) for name in ("animal", "person", "vehicle")}
    sheet = contact_sheet(store, journal)
    return {**reasons, **({"md:best crops": sheet} if sheet else {}), **categories, **counts}


def classification_metadata(store: ObjectStore) -> Metadata:
    """Of Stage 2's table."""
    with ExitStack() as stack:
        labels = _scan(store, layout.CLASSIFICATIONS_TABLE, stack)
        boxes, sure = (
            labels.select(boxes=pl.len(), sure=pl.col("auto_ok").sum())
            .collect(engine="streaming")
            .row(0)
        )
        species = (
            labels.filter(pl.col("auto_ok"))
            .group_by("label", "scientific_name")
            .agg(pl.len().alias("boxes"), pl.col("confidence").max().alias("best"))
            .sort("boxes", "label", descending=[True, False])
            .head(REASONS_SHOWN)
            .collect(engine="streaming")
        )
    lines = [
        f"| {cell(label)} | {cell(name or '')} | {count} | {best:.2f} |"
        for label, name, count, best in species.iter_rows()
    ]
    table = "| label | scientific name | boxes | best |\n|---|---|---|---|\n" + "\n".join(lines)
    facts: Metadata = {"boxes/labelled": boxes, "boxes/auto_ok": int(sure)}
    return ({"md:labels": table} if lines else {}) | facts


def observation_metadata(result: Stage3Result, output_url: str) -> Metadata:
    """Args:
    output_url: of the camera; holds the report.
    """
    return {
        "md:species": result.species_table,
        "visits/total": result.observations,
        "path:report": f"{_shown(output_url)}/{REPORT_PAGE}",
        "visits/needs_review": result.needs_review,
        "visits/dropped_as_too_short": result.visits_too_short,
        "rows/below_min_confidence": result.rows_below_confidence,
        "rows/without_time": result.rows_without_time,
    }


def export_metadata(exported: Exported, output_url: str) -> Metadata:
    """Args:
    output_url: of the camera; holds the exports.
    """
    facts: Metadata = {
        "exports/visits": exported.visits,
        "path:exports/folder": f"{_shown(output_url)}/{STAGE3_FOLDER}",
    }
    if exported.camtrap_dp is None:
        return {"exports/no_camtrap_dp_because": exported.why_no_camtrap_dp or "", **facts}
    return facts | {
        "exports/media_left_out_of_camtrap_dp": exported.camtrap_dp.media,
        "exports/visits_left_out_of_camtrap_dp": exported.camtrap_dp.visits,
    }


def _reasons(failed: pl.LazyFrame) -> Metadata:
    """Failures by reason, as a Markdown table; nothing when there are none."""
    reasons = (
        failed.group_by("reason")
        .agg(pl.len().alias("files"), pl.col("path").min().alias("for example"))
        .sort("files", "reason", descending=[True, False])
        .head(REASONS_SHOWN)
        .collect(engine="streaming")
    )
    if reasons.is_empty():
        return {}
    lines = [
        f"| {cell(reason or '')} | {files} | {cell(path)} |"
        for reason, files, path in reasons.iter_rows()
    ]
    head = "| reason | files | for example |\n|---|---|---|\n"
    return {"md:failures": head + "\n".join(lines)}


def _shown(url: str) -> str:
    """A URL as a person writes it; names that are no text have a mark in their place."""
    return shown_url(url).encode(errors="replace").decode()


def cell(text: str) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in text)
    return " ".join(escaped.split())


def _scan(store: ObjectStore, key: str, stack: ExitStack) -> pl.LazyFrame:
    return pl.scan_parquet(stack.enter_context(store.reading(key)))


def deployment_metadata(stays: Sequence[Deployment], now: datetime) -> Metadata:
    """Where the camera stands, or stood last; nothing when nobody told.

    Args:
        stays: the camera's own deployments.
        now: by the clock of the place, more or less: days matter.
    """
    if not stays:
        return {}
    in_order = sorted(stays, key=lambda stay: stay.starts or datetime.min)
    last = in_order[-1]
    facts: Metadata = {"deployment/state": _state(in_order, now), "deployment/place": _place(last)}
    facts["deployment/coordinates"] = f"{last.latitude}, {last.longitude}"
    if last.starts:
        facts["deployment/first_day"] = f"{last.starts:%Y-%m-%d}"
    if last.ends:
        facts["deployment/last_day"] = f"{last.ends:%Y-%m-%d}"
    if last.clockShift or last.utcOffset:
        facts["deployment/clock"] = " ".join(filter(None, (last.clockShift, last.utcOffset)))
    if len(in_order) > 1:
        lines = [
            f"| {cell(_place(stay))} | {stay.latitude}, {stay.longitude} | "
            f"{_day(stay.starts)} | {_day(stay.ends)} |"
            for stay in in_order
        ]
        head = "| place | coordinates | first day | last day |\n|---|---|---|---|\n"
        facts["md:deployments"] = head + "\n".join(lines)
    return facts


def _state(in_order: Sequence[Deployment], now: datetime) -> str:
    if all(stay.ends and stay.ends < now for stay in in_order):
        return "retired"
    begun = any(stay.starts is None or stay.starts <= now for stay in in_order)
    return "standing" if begun else "to be put up"


def _place(stay: Deployment) -> str:
    told = (stay.remarks.get(name) for name in ("locationName", "locationID"))
    return next(filter(None, told), stay.deploymentID or stay.cameraID)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""


def log_line(stage: str, facts: Metadata) -> str:
    """A sentence.

    Args:
        stage: the asset.
        facts: what the stage shows, see `asset_metadata.py`.
    """
    match stage:
        case "footage":
            what = [_some(facts["media/images"], "picture"), _some(facts["media/videos"], "video")]
            times = f"{facts['time/first']} to {facts['time/last']}"
            said = f"{', '.join(what)}, {facts['media/failed']} unusable; {times}"
        case "detections":
            said = (
                f"{facts['media/newly_looked_at']} media looked at now, {facts['media/done']} in "
                f"all, {facts['media/empty']} of them empty; boxes: {facts['boxes/animal']} of "
                f"animals, {facts['boxes/person']} of people, {facts['boxes/vehicle']} of vehicles"
            )
        case "classifications":
            said = (
                f"{_some(facts['boxes/newly_labelled'], 'crop')} labelled now; "
                f"{facts['boxes/auto_ok']} of {_some(facts['boxes/labelled'], 'box')} are sure"
            )
        case "observations":
            said = (
                f"{_some(facts['visits/total'], 'visit')}, {facts['visits/needs_review']} for a "
                f"person to look at; report: {facts['path:report']}"
            )
        case _:
            visits = _some(facts["exports/visits"], "visit")
            said = f"{visits} written to {facts['path:exports/folder']}"
    return f"{stage}: {said}"


def _some(count: Any, thing: str) -> str:
    ending = "" if count == 1 else "es" if thing.endswith("x") else "s"
    return f"{count} {thing}{ending}"
