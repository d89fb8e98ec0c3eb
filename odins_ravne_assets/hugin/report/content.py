"""What the report says in words and tables, made of cameras' results."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from odins_ravne_assets.hugin.report.camera_results import CameraResults
from odins_ravne_assets.hugin.report.sampling_effort import CameraPosition, first_and_last_day
from odins_ravne_assets.hugin.visits.species_summary import IS_ANIMAL_SPECIES
from resources.settings.profile import Privacy, Stage3

MINUTE_FORMAT = "%Y-%m-%d %H:%M"
NOT_KNOWN = "not known"
MAX_PATHS = 200  # of the files that failed for one reason
# Days between a camera's first and last file that are more likely a clock that was wrong.
MAX_PLAUSIBLE_DAYS = 4 * 365
# Camera days from which on visits per 100 of them say more than chance does.
MIN_SIGNIFICANT_DAYS = 30
STAGE_TITLES = ("reading files", "finding", "labelling", "making visits")
UNIT_NAMES = {"media": ("file", "files"), "detections": ("box", "boxes")}

Row = dict[str, Any]


class VisitRate(NamedTuple):
    """By what visits are divided to be told per 100 camera days.

    Attributes:
        camera_days: of all cameras together; None: no rates are told.
        says: how they are counted, or why they are not.
    """

    camera_days: int | None
    says: str

    def of(self, visits: int) -> str:
        """Visits per 100 camera days, with as many digits as say something."""
        if not self.camera_days:
            return ""
        rate = 100 * visits / self.camera_days
        return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def visit_rate(out: pl.DataFrame) -> VisitRate:
    """How often visits were; only where the days can be believed."""
    days = int(out["camera_days"].sum())
    if not _implausible(out).is_empty():
        return VisitRate(
            None,
            "Visits per 100 camera days are not told: a clock may have been wrong, so nobody knows "
            "for how long the cameras were out.",
        )
    if not days:
        return VisitRate(None, "Visits per 100 camera days are not told: no file says when it was.")
    one = "1 day" if days == 1 else f"{days:,} days"
    said = f"Per 100 camera days: the visits, divided by the {one} that cameras were out, times 100"
    return VisitRate(
        days, f"{said}; so few days say little." if days < MIN_SIGNIFICANT_DAYS else f"{said}."
    )


def _implausible(out: pl.DataFrame) -> pl.DataFrame:
    return out.filter(pl.col("camera_days") > MAX_PLAUSIBLE_DAYS)


def title(out: pl.DataFrame) -> str:
    """The camera's id, or how many there are. `out` is, here and below, `effort.effort`'s."""
    return str(out["camera_id"].item()) if out.height == 1 else f"{out.height} cameras"


def period(out: pl.DataFrame) -> str:
    """From when to when, by the files."""
    days = first_and_last_day(out)
    if days is None:
        return "When is not known: no file says it."
    first, last = days
    whose = "the camera's clock" if out.height == 1 else "the cameras' clocks"
    return f"{first}, by {whose}" if first == last else f"{first} to {last}, by {whose}"


def summary_tiles(
    visits: pl.DataFrame, out: pl.DataFrame, cameras: Sequence[CameraResults]
) -> list[Row]:
    """The numbers that are asked for first."""
    totals = Counter[str]()
    for camera in cameras:
        totals.update(camera.report["totals"])
    shown = [
        ("visit", "visits", visits.height),
        ("to review", "to review", int(visits["needs_review"].sum())),
        (
            "animal species",
            "animal species",
            visits.filter(IS_ANIMAL_SPECIES)["species"].n_unique(),
        ),
        ("camera", "cameras", out.height),
        ("camera day", "camera days", visit_rate(out).camera_days or 0),
        ("picture", "pictures", totals["stills"]),
        ("video", "videos", totals["videos"]),
        ("file not used", "files not used", totals["failed"]),
    ]
    return [
        {"name": one if number == 1 else many, "value": f"{number:,}"}
        for one, many, number in shown
        if (one != "camera" or number > 1) and (one != "camera day" or number)
    ]


def warnings(
    out: pl.DataFrame, cameras: Sequence[CameraResults], privacy: Privacy
) -> Iterator[str]:
    """What a reader must know before believing the rest."""
    people = sum(camera.people_left_out for camera in cameras)
    if people:
        yield f"People are left out, as the settings ask: {people:,} visit{'s' * (people > 1)}."
    if not privacy.blur_people:
        yield "People on the pictures are not blurred: think before you pass this file on."
    for row in _implausible(out).iter_rows(named=True):
        yield (
            f"{row['camera_id']}: its files are from {row['first_day']} to {row['last_day']}, "
            f"but only {row['days_with_media']:,} days have any: its clock may have been wrong. "
            "Until its times are corrected, nothing that is counted by days is to be trusted."
        )


def species_rows(visits: pl.DataFrame, per_days: VisitRate) -> list[Row]:
    """A row per species, the one with most visits first."""
    tally = (
        visits.group_by("category", "species")
        .agg(
            pl.col("scientific_name").drop_nulls().min(),
            pl.len().alias("observations"),
            pl.col("count").max().alias("most_at_once"),
            pl.col("needs_review").sum(),
            pl.col("start_at").min().dt.strftime(MINUTE_FORMAT).fill_null(NOT_KNOWN).alias("first"),
            pl.col("end_at").max().dt.strftime(MINUTE_FORMAT).fill_null(NOT_KNOWN).alias("last"),
        )
        .sort("observations", "category", "species", descending=[True, False, False])
    )
    return [
        row | {"number": number, "rate": per_days.of(row["observations"])}
        for number, row in enumerate(tally.iter_rows(named=True))
    ]


def window_description(cameras: Sequence[CameraResults]) -> str:
    """The window of the visits, in words."""
    minutes = sorted({camera.report["settings"]["compression_window"] for camera in cameras})
    return " or ".join(f"{each:g} minutes" for each in minutes)


def camera_positions(
    visits: pl.DataFrame, out: pl.DataFrame, privacy: Privacy
) -> list[CameraPosition]:
    """The cameras whose place is known; rounded where a sensitive species was seen."""
    sensitive = {name.casefold() for name in privacy.sensitive_species}
    at_risk = visits.filter(pl.col("scientific_name").str.to_lowercase().is_in(list(sensitive)))[
        "camera_id"
    ].to_list()
    counts = dict(visits["camera_id"].value_counts().iter_rows())
    found = []
    for row in out.drop_nulls(["latitude", "longitude"]).iter_rows(named=True):
        rounded = row["camera_id"] in at_risk
        digits = privacy.sensitive_decimals if rounded else 6
        found.append(
            CameraPosition(
                row["camera_id"],
                round(row["latitude"], digits),
                round(row["longitude"], digits),
                counts.get(row["camera_id"], 0),
                rounded,
            )
        )
    return found


def camera_rows(visits: pl.DataFrame, out: pl.DataFrame, privacy: Privacy) -> list[Row]:
    """A row per camera, in the order of `out`."""
    seen = dict(visits["camera_id"].value_counts().iter_rows())
    named = dict(
        visits.filter(IS_ANIMAL_SPECIES)
        .group_by("camera_id")
        .agg(pl.col("species").n_unique())
        .rows()
    )
    standing = {place.camera_id: place for place in camera_positions(visits, out, privacy)}
    return [
        row
        | {
            "first_day": row["first_day"] or NOT_KNOWN,
            "last_day": row["last_day"] or NOT_KNOWN,
            "camera_days": f"{row['camera_days']:,}" if row["first_day"] else NOT_KNOWN,
            "visits": seen.get(row["camera_id"], 0),
            "species": named.get(row["camera_id"], 0),
            "place": _format_position(standing.get(row["camera_id"]), privacy),
        }
        for row in out.iter_rows(named=True)
    ]


def _format_position(place: CameraPosition | None, privacy: Privacy) -> str:
    if place is None:
        return ""
    digits = privacy.sensitive_decimals if place.rounded else 5
    text = f"{place.latitude:.{digits}f}, {place.longitude:.{digits}f}"
    return f"{text} (rounded)" if place.rounded else text


def exclusions(cameras: Sequence[CameraResults]) -> list[Row]:
    """What did not become part of a visit, by stage and reason; nothing that is zero."""
    counts = Counter[tuple[int, str, str]]()
    for camera in cameras:
        for loss in camera.report["left_out"]:
            counts[loss["stage"], loss["what"], loss["why"]] += loss["count"]
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


def failure_rows(cameras: Sequence[CameraResults]) -> list[Row]:
    """The files that could not be used, by reason, the most frequent first."""
    several = len(cameras) > 1
    failed = pl.concat(
        camera.failures.with_columns(
            path=pl.format("{}: {}", pl.lit(camera.effort["camera_id"].item()), "path")
        )
        if several
        else camera.failures
        for camera in cameras
    )
    by_reason = (
        failed.group_by("reason")
        .agg(pl.len().alias("count"), pl.col("path").head(MAX_PATHS).alias("paths"))
        .sort("count", "reason", descending=[True, False])
        .select(pl.col("reason").fill_null("not known").alias("why"), "count", "paths")
    )
    return by_reason.to_dicts()


def review_summary(cameras: Sequence[CameraResults]) -> Row:
    """What reviewers said of boxes, and how often the machine had said the same; and of how many
    files in which it had found nothing, and what it had missed there."""
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
        "pairs": [
            {"machine": machine, "reviewer": reviewer, "boxes": count}
            for (machine, reviewer), count in sorted(
                counts.items(), key=lambda item: (-item[1], item[0])
            )
        ],
    }


def cost_description(cameras: Sequence[CameraResults]) -> str:
    """What computing has cost, in words."""
    rows = pl.concat(camera.cost for camera in cameras)
    usd, on_demand, wasted = (
        Decimal(rows[name].sum() or 0) for name in ("usd", "usd_on_demand", "usd_wasted")
    )
    if not usd:
        rented = rows.filter(pl.col("market") != "local").height
        return (
            "Nothing yet, as far as it was known when this page was written."
            if rented
            else "Nothing was rented: all of it ran on a machine of your own."
        )
    said = f"${usd:.4f} for computing"
    if usd < on_demand:
        saved = f"{1 - usd / on_demand:.0%}"
        said += f"; on demand it would have been ${on_demand:.4f}, of which {saved} were saved"
    if wasted:
        said += f". ${wasted:.4f} of it bought nothing: work that was interrupted or failed"
    return f"{said}. Storage and transfer are not in it."


def provenance(cameras: Sequence[CameraResults]) -> list[Row]:
    """Models and settings, once for all cameras that were looked at in the same way."""
    found: list[tuple[list[Row], list[str]]] = []
    for camera in cameras:
        rows = list(_settings_rows(camera.report))
        alike = next((names for each, names in found if each == rows), None)
        if alike is None:
            found.append((rows, alike := []))
        alike.append(camera.effort["camera_id"].item())
    return [{"rows": rows, "cameras": ", ".join(names)} for rows, names in found]


def _settings_rows(report: Row) -> Iterator[Row]:
    for role, name in report["models"].items():
        yield {"name": role.replace("_", " "), "value": name, "about": "model, with its hash"}
    for key, value in report["settings"].items():
        about = Stage3.model_fields[key].description or ""
        shown = f"{value:g}" if isinstance(value, float) else value
        yield {"name": key, "value": shown, "about": about}
