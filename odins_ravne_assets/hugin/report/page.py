"""`report.html`: what was seen, for people. One file that opens anywhere, of one camera or many."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.report import content as values
from odins_ravne_assets.hugin.report.camera_results import CameraResults, load_camera_results
from odins_ravne_assets.hugin.report.gallery import gallery_data, picture_chunks
from odins_ravne_assets.hugin.report.sampling_effort import (
    Calendar,
    CameraPosition,
    cameras_per_period,
    first_and_last_day,
    make_calendar,
    visits_per_hour,
    visits_per_period,
)
from odins_ravne_assets.hugin.visits.report_json import GENERATOR
from odins_ravne_assets.page.pages import write_page
from resources.settings.profile import Privacy
from resources.storage.layout import REPORT_PAGE
from resources.storage.object_store import ObjectStore

REPORT_TEMPLATE = Path(__file__).parent / "page.html"

# Species that have a clock of their own, and the visits that make one worth drawing.
MAX_CLOCKS, MIN_CLOCK_VISITS = 6, 5
MAX_COLOURED_SPECIES = 5  # species that have a colour of their own; the others share one
OTHER_SPECIES = "others"


def make_report_page(source: ObjectStore, made: ObjectStore, privacy: Privacy) -> None:
    """Write `stage3/report.html` of one camera.

    Args:
        source, made, privacy: see `load_camera_results`.

    Raises:
        StoreError: the store refuses, or a crop is damaged.
    """
    results = load_camera_results(source, made, privacy)
    with made.writing(REPORT_PAGE) as path:
        write_report_page(path, [results], privacy)


def write_report_page(path: Path, cameras: Sequence[CameraResults], privacy: Privacy) -> None:
    """Write the page of some cameras, one or more, to a file."""
    thumbnails = pl.concat(camera.thumbnails for camera in cameras).unique("detection_id")
    visits = (
        pl.concat(camera.observations for camera in cameras)
        .join(thumbnails, on="detection_id", how="left")
        # What the page first shows; a null sorts last.
        .sort(
            pl.col("needs_review").not_(),
            "start_at",
            "camera_id",
            "observation_id",
            nulls_last=True,
        )
    )
    out = pl.concat(camera.effort for camera in cameras).sort("camera_id")
    rates = values.visit_rate(out)
    species = values.species_rows(visits, rates)
    filled: dict[str, Any] = {
        "title": values.title(out),
        "period": values.period(out),
        "tiles": values.summary_tiles(visits, out, cameras),
        "remarks": list(values.warnings(out, cameras, privacy)),
        "species": species,
        "window": values.window_description(cameras),
        "plots": _plots(visits, out, values.camera_positions(visits, out, privacy)),
        "undated": animals(visits)["start_at"].null_count(),
        "rates": rates,
        "cameras": values.camera_rows(visits, out, privacy),
        "places_known": bool(values.camera_positions(visits, out, privacy)),
        "visits": gallery_data(visits, species, out["camera_id"].to_list()),
        "pictures": picture_chunks(visits),
        "without_picture": visits["webp"].null_count(),
        "people_blurred": privacy.blur_people,
        "reviewed": values.review_summary(cameras),
        "left_out": values.exclusions(cameras),
        "failures": values.failure_rows(cameras),
        "cost": values.cost_description(cameras),
        "ways": values.provenance(cameras),
        "version": version(GENERATOR),
    }
    write_page(path, REPORT_TEMPLATE, filled)


def animals(visits: pl.DataFrame) -> pl.DataFrame:
    """The visits of animals."""
    return visits.filter(pl.col("category") == "animal")


def _plots(visits: pl.DataFrame, out: pl.DataFrame, places: list[CameraPosition]) -> dict[str, Any]:
    from odins_ravne_assets.hugin.report import plots
    from odins_ravne_assets.page.plots import legend

    seen = animals(visits).drop_nulls("start_at")
    by_species = _by_species(seen)
    clocks = {
        name: visits_per_hour(rows)
        for name, rows in by_species.items()
        if rows.height >= MIN_CLOCK_VISITS and name != UNKNOWN_ANIMAL
    }
    over_time, colours = [], None
    if days := first_and_last_day(out):
        parts = make_calendar(*days)
        coloured, cameras = _series(by_species, parts), cameras_per_period(out, parts)
        over_time = [
            (sheet.name, plots.over_time(parts, coloured, cameras, sheet))
            for sheet in plots.PLOT_SIZES
        ]
        colours = legend(list(coloured))
    return {
        "clock": plots.clock(visits_per_hour(seen)) if seen.height else None,
        "clocks": [
            (name, sum(counts), plots.small_clock(number, name, counts))
            for number, (name, counts) in enumerate(list(clocks.items())[:MAX_CLOCKS])
        ],
        "over_time": over_time,
        "legend": colours,
        "map": [
            (sheet.name, plots.camera_map(places, sheet))
            for sheet in plots.PLOT_SIZES
            if len(places) > 1
        ],
    }


def _by_species(visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The visits of each species, the one with most first."""
    parts = visits.partition_by("species", as_dict=True)
    ordered = sorted(parts.items(), key=lambda item: (-item[1].height, item[0]))
    return {str(name): rows for (name,), rows in ordered}


def _series(by_species: Mapping[str, pl.DataFrame], parts: Calendar) -> dict[str, list[int]]:
    """Visits over time of the species seen most, and of all others together."""
    counts = {name: visits_per_period(rows, parts) for name, rows in by_species.items()}
    if len(counts) <= MAX_COLOURED_SPECIES + 1:
        return counts
    names = list(counts)
    others = [
        sum(column)
        for column in zip(*(counts[n] for n in names[MAX_COLOURED_SPECIES:]), strict=True)
    ]
    return {name: counts[name] for name in names[:MAX_COLOURED_SPECIES]} | {OTHER_SPECIES: others}
