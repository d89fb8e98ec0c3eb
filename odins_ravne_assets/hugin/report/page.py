"""`report.html`: what was seen, for people. One file that opens anywhere, of one camera or many."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.report import content as values
from odins_ravne_assets.hugin.report.camera_results import ReportCamera, camera_results
from odins_ravne_assets.hugin.report.gallery import gallery, pictures
from odins_ravne_assets.hugin.report.sampling_effort import (
    Calendar,
    CameraPosition,
    calendar,
    cameras_by_part,
    first_and_last_day,
    visits_by_hour,
    visits_by_part,
)
from odins_ravne_assets.hugin.visits.report_json import GENERATOR
from odins_ravne_assets.page.pages import write_page
from resources.settings.profile import Privacy
from resources.storage.layout import REPORT_PAGE
from resources.storage.object_store import ObjectStore

TEMPLATE = Path(__file__).parent / "page.html"

# Species that have a clock of their own, and the visits that make one worth drawing.
CLOCKS, CLOCK_VISITS = 6, 5
COLOURS = 5  # species that have a colour of their own; the others share one
OTHERS = "others"


def make_report_page(source: ObjectStore, made: ObjectStore, privacy: Privacy) -> None:
    """Write `stage3/report.html` of one camera.

    Args:
        source, made, privacy: see `camera_results`.

    Raises:
        StoreError: the store refuses, or a crop is damaged.
    """
    results = camera_results(source, made, privacy)
    with made.writing(REPORT_PAGE) as path:
        write_report_page(path, [results], privacy)


def write_report_page(path: Path, cameras: Sequence[ReportCamera], privacy: Privacy) -> None:
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
    rates = values.rates(out)
    species = values.species(visits, rates)
    filled: dict[str, Any] = {
        "title": values.title(out),
        "period": values.period(out),
        "tiles": values.tiles(visits, out, cameras),
        "remarks": list(values.remarks(out, cameras, privacy)),
        "species": species,
        "window": values.windows(cameras),
        "plots": _plots(visits, out, values.places(visits, out, privacy)),
        "undated": animals(visits)["start_at"].null_count(),
        "rates": rates,
        "cameras": values.camera_rows(visits, out, privacy),
        "places_known": bool(values.places(visits, out, privacy)),
        "visits": gallery(visits, species, out["camera_id"].to_list()),
        "pictures": pictures(visits),
        "without_picture": visits["webp"].null_count(),
        "people_blurred": privacy.blur_people,
        "reviewed": values.reviewed(cameras),
        "left_out": values.left_out(cameras),
        "failures": values.failures(cameras),
        "cost": values.cost(cameras),
        "ways": values.ways(cameras),
        "version": version(GENERATOR),
    }
    write_page(path, TEMPLATE, filled)


def animals(visits: pl.DataFrame) -> pl.DataFrame:
    """The visits of animals."""
    return visits.filter(pl.col("category") == "animal")


def _plots(visits: pl.DataFrame, out: pl.DataFrame, places: list[CameraPosition]) -> dict[str, Any]:
    from odins_ravne_assets.hugin.report import plots
    from odins_ravne_assets.page.plots import legend

    seen = animals(visits).drop_nulls("start_at")
    by_species = _by_species(seen)
    clocks = {
        name: visits_by_hour(rows)
        for name, rows in by_species.items()
        if rows.height >= CLOCK_VISITS and name != UNKNOWN_ANIMAL
    }
    over_time, colours = [], None
    if days := first_and_last_day(out):
        parts = calendar(*days)
        coloured, cameras = _coloured(by_species, parts), cameras_by_part(out, parts)
        over_time = [
            (sheet.name, plots.over_time(parts, coloured, cameras, sheet)) for sheet in plots.SHEETS
        ]
        colours = legend(list(coloured))
    return {
        "clock": plots.clock(visits_by_hour(seen)) if seen.height else None,
        "clocks": [
            (name, sum(counts), plots.small_clock(number, name, counts))
            for number, (name, counts) in enumerate(list(clocks.items())[:CLOCKS])
        ],
        "over_time": over_time,
        "legend": colours,
        "map": [
            (sheet.name, plots.map_of(places, sheet)) for sheet in plots.SHEETS if len(places) > 1
        ],
    }


def _by_species(visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The visits of each species, the one with most first."""
    parts = visits.partition_by("species", as_dict=True)
    ordered = sorted(parts.items(), key=lambda item: (-item[1].height, item[0]))
    return {str(name): rows for (name,), rows in ordered}


def _coloured(by_species: Mapping[str, pl.DataFrame], parts: Calendar) -> dict[str, list[int]]:
    """Visits over time of the species seen most, and of all others together."""
    counts = {name: visits_by_part(rows, parts) for name, rows in by_species.items()}
    if len(counts) <= COLOURS + 1:
        return counts
    names = list(counts)
    others = [sum(column) for column in zip(*(counts[n] for n in names[COLOURS:]), strict=True)]
    return {name: counts[name] for name in names[:COLOURS]} | {OTHERS: others}
