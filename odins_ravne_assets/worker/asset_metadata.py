"""The metadata of each stage's asset in Dagster, and its line in the log.

Keys are flat. Numbers have their unit in the key, so that Dagster plots them. The prefix `md:`
marks Markdown, `path:` a path or URL. Dagster keeps the order: failures first, then the most
important results.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.exports.export import ExportResult
from odins_ravne_assets.hugin.privacy.places import Places, places_before_visits
from odins_ravne_assets.hugin.visits.stage3 import Stage3Result
from odins_ravne_assets.munin.media.footage import FootageCounts
from odins_ravne_assets.munin.media.other_files import describe_other_files
from odins_ravne_assets.munin.progress import Metadata
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.worker.contact_sheet import contact_sheet
from resources.printable import printable
from resources.settings.deployments import Deployment
from resources.settings.profile import Privacy
from resources.storage import layout
from resources.storage.layout import REPORT_PAGE, STAGE3_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import display_url
from resources.storage.parquet_files import scan_parquet

# Rows of a Markdown table; the Parquet tables hold all.
MAX_ROWS = 20


def footage_metadata(
    store: ObjectStore, files: FootageCounts, footage_url: str, deployment: Metadata
) -> Metadata:
    """Return the metadata of Stage 0's table.

    Args:
        files: counts of the footage's files.
        deployment: see `deployment_metadata`.
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
                pl.col("source").n_unique().alias("media/sources"),
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
    metadata: Metadata = {
        key: value for key, value in counts.items() if not key.startswith("time/")
    }
    for key in ("time/first", "time/last"):
        metadata[key] = counts[key].isoformat(sep=" ") if counts[key] else "unknown"
    for source, count in sources.iter_rows():
        metadata[f"time/from_{source}" if source else "time/missing"] = count
    not_media = {
        "files/not_media": files.other_files.total,
        "files/hidden_media": sum(files.hidden.values()),
    }
    other = describe_other_files(files.other_files.rows())
    named = {"files/other": printable(other)} if other else {}
    footage = {"path:footage": _shown(footage_url)}
    return {**reasons, **deployment, **metadata, **not_media, **named, **footage}


def detection_metadata(store: ObjectStore, journal: Stage1Journal) -> Metadata:
    """Return the metadata of Stage 1's tables, with a contact sheet of the best crops.

    Args:
        journal: the journal that the tables were built from; holds the crops.
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


def classification_metadata(store: ObjectStore, journal: Stage1Journal) -> Metadata:
    """Return the metadata of Stage 2's table, with a contact sheet of the best crops.

    Args:
        journal: Stage 1's, which holds the crops.
    """
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
            .head(MAX_ROWS)
            .collect(engine="streaming")
        )
    lines = [
        f"| {cell(label)} | {cell(name or '')} | {count} | {best:.2f} |"
        for label, name, count, best in species.iter_rows()
    ]
    table = "| label | scientific name | boxes | best |\n|---|---|---|---|\n" + "\n".join(lines)
    counts: Metadata = {"boxes/labelled": boxes, "boxes/auto_ok": int(sure)}
    sheet = contact_sheet(store, journal)
    return (
        ({"md:labels": table} if lines else {})
        | ({"md:best crops": sheet} if sheet else {})
        | counts
    )


def observation_metadata(result: Stage3Result, output_url: str) -> Metadata:
    """Return the metadata of Stage 3's observations.

    Args:
        output_url: the camera's output, with the report.
    """
    return {
        "md:species": result.species_table,
        "visits/total": result.observations,
        "path:report": f"{_shown(output_url)}/{REPORT_PAGE}",
        "visits/needs_review": result.needs_review,
        "visits/dropped_as_too_short": result.observations_too_short,
        "rows/below_min_confidence": result.rows_below_confidence,
        "rows/names_below_min_confidence": result.rows_lowered,
        **{f"rows/{reason}": count for reason, count in result.rows_left_out.items()},
        "rows/without_time": result.rows_without_time,
    }


def export_metadata(exported: ExportResult, output_url: str) -> Metadata:
    """Return the metadata of the exports.

    Args:
        output_url: the camera's output, with the exports.
    """
    metadata: Metadata = {
        "exports/visits": exported.observations,
        "path:exports/folder": f"{_shown(output_url)}/{STAGE3_FOLDER}",
    }
    if exported.camtrap_dp is None:
        return {"exports/no_camtrap_dp_because": exported.camtrap_dp_error or "", **metadata}
    return metadata | {
        "exports/media_left_out_of_camtrap_dp": exported.camtrap_dp.media,
        "exports/visits_left_out_of_camtrap_dp": exported.camtrap_dp.observations,
    }


def _reasons(failed: pl.LazyFrame) -> Metadata:
    """Return a Markdown table of failures by reason; empty if there are none."""
    reasons = (
        failed.group_by("reason")
        .agg(pl.len().alias("files"), pl.col("path").min().alias("for example"))
        .sort("files", "reason", descending=[True, False])
        .head(MAX_ROWS)
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
    """Return a URL as users write it, with `?` for bytes that are not text."""
    return display_url(url).encode(errors="replace").decode()


def cell(text: str) -> str:
    """Return text escaped for a cell of a Markdown table."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in text)
    return " ".join(escaped.split())


def _scan(store: ObjectStore, key: str, stack: ExitStack) -> pl.LazyFrame:
    return scan_parquet(stack.enter_context(store.reading(key)))


def deployment_metadata(
    deployments: Sequence[Deployment], now: datetime, privacy: Privacy | None = None
) -> Metadata:
    """Return the place and dates of the camera's last deployment; empty if none is known.

    The camera's visits are not known yet: if there are sensitive species, its place is covered.

    Args:
        deployments: of this camera.
        now: local time, to about a day.
        privacy: the privacy settings.
    """
    if not deployments:
        return {}
    in_order = sorted(deployments, key=lambda each: each.starts or datetime.min)
    places = places_before_visits({each.cameraID for each in in_order}, privacy or Privacy())
    last = in_order[-1]
    metadata: Metadata = {
        "deployment/state": _state(in_order, now),
        "deployment/place": _place(last, places),
        "deployment/coordinates": _coordinates(last, places),
    }
    if last.starts:
        metadata["deployment/first_day"] = f"{last.starts:%Y-%m-%d}"
    if last.ends:
        metadata["deployment/last_day"] = f"{last.ends:%Y-%m-%d}"
    if clock := list(filter(None, (last.clockShift, last.utcOffset, last.timeZone))):
        metadata["deployment/clock"] = " ".join(clock)
    if len(in_order) > 1:
        lines = [
            f"| {cell(_place(each, places))} | {_coordinates(each, places)} | "
            f"{_day(each.starts)} | {_day(each.ends)} |"
            for each in in_order
        ]
        head = "| place | coordinates | first day | last day |\n|---|---|---|---|\n"
        metadata["md:deployments"] = head + "\n".join(lines)
    return metadata


def _state(in_order: Sequence[Deployment], now: datetime) -> str:
    if all(each.ends and each.ends < now for each in in_order):
        return "retired"
    started = any(each.starts is None or each.starts <= now for each in in_order)
    return "active" if started else "planned"


def _place(deployment: Deployment, places: Places) -> str:
    if places.covers(deployment.cameraID):
        return deployment.cameraID
    names = (deployment.remarks.get(name) for name in ("locationName", "locationID"))
    return next(filter(None, names), deployment.deploymentID or deployment.cameraID)


def _coordinates(deployment: Deployment, places: Places) -> str:
    latitude, longitude = places.position(
        deployment.cameraID, deployment.latitude, deployment.longitude
    )
    rounded = " (rounded)" if places.covers(deployment.cameraID) else ""
    return f"{latitude}, {longitude}{rounded}"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""


def log_line(stage: str, metadata: Metadata) -> str:
    """Return one line for the log.

    Args:
        stage: the name of the asset.
        metadata: the metadata of the stage.
    """
    value = metadata.get
    match stage:
        case "footage":
            media = (
                f"{_count(value('media/images'), 'picture')}, "
                f"{_count(value('media/videos'), 'video')}"
            )
            times = f"{value('time/first')} to {value('time/last')}"
            text = f"{media}, {value('media/failed')} unusable; {times}"
        case "detections":
            text = (
                f"{value('media/newly_looked_at')} new media processed, {value('media/done')} in "
                f"total, {value('media/empty')} of them empty; boxes: {value('boxes/animal')} of "
                f"animals, {value('boxes/person')} of people, {value('boxes/vehicle')} of vehicles"
            )
        case "classifications":
            text = (
                f"{_count(value('boxes/newly_labelled'), 'crop')} newly labelled; "
                f"{value('boxes/auto_ok')} of {_count(value('boxes/labelled'), 'box')} are auto_ok"
            )
        case "observations":
            text = (
                f"{_count(value('visits/total'), 'visit')}, {value('visits/needs_review')} to "
                f"review; report: {value('path:report')}"
            )
        case _:
            visits = _count(value("exports/visits"), "visit")
            text = f"{visits} written to {value('path:exports/folder')}"
    return f"{stage}: {text}"


def _count(number: Any, noun: str) -> str:
    ending = "" if number == 1 else "es" if noun.endswith("x") else "s"
    return f"{number} {noun}{ending}"
