"""The texts and tables of the report page, computed from the results of cameras.

The parameter `effort` is the result of `sampling_effort` for all cameras, `visits` their
observations with `counted`, the result of `counted_visits`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import CATEGORY_NAMES
from odins_ravne_assets.hugin.report.camera_effort import (
    UNKNOWN,
    VisitRate,
    format_number,
    implausible,
    visit_rate,
)
from odins_ravne_assets.hugin.report.camera_results import CameraResults
from odins_ravne_assets.hugin.report.sampling_effort import first_and_last_day
from odins_ravne_assets.hugin.review.staff import STAFF_LABELS
from odins_ravne_assets.hugin.review.without_effect import describe_label
from odins_ravne_assets.hugin.visits.report_json import LEFT_OUT_DESCRIPTIONS
from odins_ravne_assets.hugin.visits.species_summary import IS_ANIMAL_SPECIES
from odins_ravne_assets.munin.media.shared_media import SharedMedia, shared_media_lines
from resources.settings.profile import Privacy, Stage3

MINUTE_FORMAT = "%Y-%m-%d %H:%M"
MAX_PATHS = 200  # of the files that failed for one reason
STAGE_TITLES = ("reading", "detection", "classification", "compression to visits")
UNIT_NAMES = {"media": ("file", "files"), "detections": ("box", "boxes")}

Row = dict[str, Any]


def title(effort: pl.DataFrame) -> str:
    """Return the id of the camera, or the number of cameras."""
    return str(effort["camera_id"].item()) if effort.height == 1 else f"{effort.height} cameras"


def period(effort: pl.DataFrame) -> str:
    """Return the first and the last day of the cameras."""
    days = first_and_last_day(effort)
    if days is None:
        return "The period is unknown because no file has a time."
    first, last = days
    clock = "the camera's clock" if effort.height == 1 else "the cameras' clocks"
    if effort["deployed"].all():
        clock = "the deployments"
    return f"{first} by {clock}" if first == last else f"{first} to {last} by {clock}"


def summary_tiles(
    visits: pl.DataFrame, effort: pl.DataFrame, cameras: Sequence[CameraResults]
) -> list[Row]:
    """Return the totals at the top of the page."""
    totals = Counter[str]()
    for camera in cameras:
        totals.update(camera.report["totals"])
    values = [
        ("visit", "visits", visits.height),
        ("to review", "to review", int(visits["needs_review"].sum())),
        (
            "animal species",
            "animal species",
            visits.filter(IS_ANIMAL_SPECIES)["species"].n_unique(),
        ),
        ("camera", "cameras", effort.height),
        ("camera day", "camera days", round(visit_rate(effort).camera_days or 0, 1)),
        ("picture", "pictures", totals["stills"]),
        ("video", "videos", totals["videos"]),
        ("failed file", "failed files", totals["failed"]),
    ]
    return [
        {"name": singular if number == 1 else plural, "value": format_number(number)}
        for singular, plural, number in values
        if (singular != "camera" or number > 1) and (singular != "camera day" or number)
    ]


def warnings(
    effort: pl.DataFrame, cameras: Sequence[CameraResults], privacy: Privacy
) -> Iterator[str]:
    """Yield warnings about privacy and implausible times."""
    people = sum(camera.people_left_out for camera in cameras)
    if people:
        yield f"People are left out ({people:,} visit{'s' * (people > 1)}) by the privacy settings."
    if not privacy.blur_people:
        yield "People in the pictures are not blurred. Consider this before you share this file."
    for camera in cameras:
        for remark in camera.cost_remarks:
            yield f"{camera.effort['camera_id'].item()}: {remark}."
    shared = {
        camera.effort["camera_id"].item(): [
            SharedMedia(row["camera_id"], row["media"])
            for row in camera.report.get("shared_media", ())
        ]
        for camera in cameras
    }
    yield from (f"{line}." for line in shared_media_lines(shared))
    for row in effort.filter(pl.col("files_outside") > 0).iter_rows(named=True):
        number = row["files_outside"]
        yield (
            f"{row['camera_id']}: {number:,} file{'s are' if number > 1 else ' is'} outside of the "
            "camera's deployments; check the table of deployments and the camera's clock."
        )
    for row in implausible(effort).iter_rows(named=True):
        yield (
            f"{row['camera_id']}: the files are from {row['first_day']} to {row['last_day']}, but "
            f"only {row['days_with_media']:,} of these days have files. The camera's clock may "
            "have been wrong; do not rely on counts by day until its times are corrected."
        )


def species_rows(visits: pl.DataFrame, rate: VisitRate) -> list[Row]:
    """Return a row per species, the most frequent first; rates are of the visits that count."""
    species = (
        visits.group_by("category", "species")
        .agg(
            pl.col("scientific_name").drop_nulls().min(),
            pl.len().alias("observations"),
            pl.col("counted").sum(),
            pl.col("count").max().alias("max_count"),
            pl.col("needs_review").sum(),
            pl.col("start_at").min().dt.strftime(MINUTE_FORMAT).fill_null(UNKNOWN).alias("first"),
            pl.col("end_at").max().dt.strftime(MINUTE_FORMAT).fill_null(UNKNOWN).alias("last"),
        )
        .sort("observations", "category", "species", descending=[True, False, False])
    )
    return [
        row | {"number": number, "rate": rate.of(row["counted"])}
        for number, row in enumerate(species.iter_rows(named=True))
    ]


def window_description(cameras: Sequence[CameraResults]) -> str:
    """Return the window of the visits in minutes."""
    minutes = sorted({camera.report["settings"]["compression_window"] for camera in cameras})
    return " or ".join(f"{each:g} minutes" for each in minutes)


def exclusions(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return the numbers of files and boxes in no visit, by stage and reason."""
    counts = Counter[tuple[int, str, str]]()
    for camera in cameras:
        for excluded in camera.report["left_out"]:
            counts[excluded["stage"], excluded["what"], excluded["why"]] += excluded["count"]
    return [
        {
            "stage": STAGE_TITLES[stage],
            "what": UNIT_NAMES[what][count > 1],
            "why": why.partition(" (see ")[0],
            "count": count,
        }
        for (stage, what, why), count in counts.items()
        if count
    ]


def left_out_rows(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return the media with boxes that a rule left out, by reason, with times."""
    several = len(cameras) > 1
    rows = []
    for reason, why in LEFT_OUT_DESCRIPTIONS.items():
        media = [
            (camera.effort["camera_id"].item(), row)
            for camera in cameras
            for row in camera.left_out.filter(pl.col("reason") == reason).iter_rows(named=True)
        ]
        shown = [
            f"{f'{camera}: ' if several else ''}{_medium_with_boxes(row)}"
            for camera, row in media[:MAX_PATHS]
        ]
        boxes = sum(row["boxes"] for _, row in media)
        rows.append({"why": why, "boxes": boxes, "media": shown, "more": len(media) - len(shown)})
    return [row for row in rows if row["media"]]


def _medium_with_boxes(row: Row) -> str:
    time = f"{row['captured_at']:%Y-%m-%d %H:%M:%S}" if row["captured_at"] else "unknown time"
    boxes = f" ({row['boxes']:,} box{'es' * (row['boxes'] > 1)})" if row["boxes"] else ""
    return f"{time} {row['path']}{boxes}"


def failure_rows(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return the failed files by reason, the most frequent first."""
    return _by_reason(cameras, [camera.failures for camera in cameras])


def truncated_rows(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return the files of which a part is missing by what was used, the most frequent first."""
    return _by_reason(cameras, [camera.truncated for camera in cameras])


def other_file_rows(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return the files that are not media by kind, with examples."""
    counts, examples = Counter[str](), dict[str, list[str]]()
    for camera in cameras:
        prefix = f"{camera.effort['camera_id'].item()}: " if len(cameras) > 1 else ""
        for row in camera.report.get("other_files", ()):
            counts[row["kind"]] += row["files"]
            examples.setdefault(row["kind"], []).extend(prefix + key for key in row["examples"])
    return [
        {"kind": kind, "count": count, "paths": examples[kind][:MAX_PATHS]}
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _by_reason(cameras: Sequence[CameraResults], tables: Sequence[pl.DataFrame]) -> list[Row]:
    several = len(cameras) > 1
    named = pl.concat(
        table.with_columns(
            path=pl.format("{}: {}", pl.lit(camera.effort["camera_id"].item()), "path")
        )
        if several
        else table
        for camera, table in zip(cameras, tables, strict=True)
    )
    by_reason = (
        named.group_by("reason")
        .agg(pl.len().alias("count"), pl.col("path").head(MAX_PATHS).alias("paths"))
        .sort("count", "reason", descending=[True, False])
        .select(pl.col("reason").fill_null(UNKNOWN).alias("why"), "count", "paths")
    )
    return by_reason.to_dicts()


def review_summary(cameras: Sequence[CameraResults], privacy: Privacy) -> Row:
    """Return the agreement of reviewers with the machine, what it missed, and unused labels."""
    counts, missed = Counter[tuple[str, str]](), Counter[str]()
    empty = 0
    for camera in cameras:
        review = camera.report["review"]
        for pair in review["by_species"]:
            counts[pair["machine"], pair["reviewer"]] += pair["boxes"]
        empty += review["empty_media"]["reviewed"]
        missed.update({row["species"]: row["media"] for row in review["empty_media"]["missed"]})
    boxes = counts.total()
    agreed = sum(count for (machine, reviewer), count in counts.items() if machine == reviewer)
    return {
        "boxes": boxes,
        "agreed": agreed,
        "share": f"{agreed / boxes:.0%}" if boxes else "",
        "empty_media": empty,
        "missed": sorted(missed.items(), key=lambda item: (-item[1], item[0])),
        **_labels_without_effect(cameras, privacy),
        "pairs": [
            {"machine": machine, "reviewer": reviewer, "boxes": count}
            for (machine, reviewer), count in sorted(
                counts.items(), key=lambda item: (-item[1], item[0])
            )
        ],
    }


def _labels_without_effect(cameras: Sequence[CameraResults], privacy: Privacy) -> Row:
    """The number of labels without effect, and the first of them, one text each."""
    several = len(cameras) > 1
    people = {CATEGORY_NAMES["person"].species, *STAFF_LABELS}
    total, listed = 0, []
    for camera in cameras:
        review = camera.report["review"]
        total += review.get("words_without_effect", 0)  # earlier versions have no list, or neither
        prefix = f"{camera.effort['camera_id'].item()}: " if several else ""
        listed += [
            (row["words"], prefix + describe_label(row))
            for row in review.get("without_effect", [])
            if not (privacy.leave_out_people and row["species"] in people)
        ]
    shown = listed[:MAX_PATHS]
    return {
        "without_effect": total,
        "unused_labels": [text for _, text in shown],
        "more_unused": total - sum(words for words, _ in shown),
    }


def cost_description(cameras: Sequence[CameraResults]) -> str:
    """Return a description of the computing costs."""
    rows = pl.concat(camera.costs for camera in cameras)
    usd, on_demand, wasted = (
        Decimal(rows[name].sum() or 0) for name in ("usd", "usd_on_demand", "usd_wasted")
    )
    if not usd:
        rented = rows.filter(pl.col("market") != "local").height
        return (
            "No costs were known when this page was written."
            if rented
            else "There are no cloud costs: everything ran on a local machine."
        )
    text = f"${usd:.4f} for computing"
    if usd < on_demand:
        saved = f"{1 - usd / on_demand:.0%}"
        text += f", {saved} less than the on-demand price of ${on_demand:.4f}"
    if wasted:
        text += f". ${wasted:.4f} of it was spent on interrupted or failed work"
    return f"{text}. Storage and data transfer are not included."


def provenance(cameras: Sequence[CameraResults]) -> list[Row]:
    """Return models and settings, grouped by cameras that have the same."""
    groups: list[tuple[list[Row], list[str]]] = []
    for camera in cameras:
        rows = list(_settings_rows(camera.report))
        camera_ids = next((ids for each, ids in groups if each == rows), None)
        if camera_ids is None:
            groups.append((rows, camera_ids := []))
        camera_ids.append(camera.effort["camera_id"].item())
    return [{"rows": rows, "cameras": ", ".join(ids)} for rows, ids in groups]


def _settings_rows(report: Row) -> Iterator[Row]:
    for role, name in report["models"].items():
        yield {"name": role.replace("_", " "), "value": name, "description": "model and hash"}
    for key, value in report["settings"].items():
        description = Stage3.model_fields[key].description or ""
        text = f"{value:g}" if isinstance(value, float) else value
        yield {"name": key, "value": text, "description": description}
