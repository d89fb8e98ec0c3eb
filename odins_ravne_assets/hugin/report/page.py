"""`report.html`: the report of one or more cameras as a self-contained HTML page."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.privacy.places import covered_cameras
from odins_ravne_assets.hugin.report import content
from odins_ravne_assets.hugin.report.camera_effort import (
    camera_positions,
    camera_rows,
    format_number,
    visit_rate,
)
from odins_ravne_assets.hugin.report.camera_results import CameraResults, load_camera_results
from odins_ravne_assets.hugin.report.gallery import gallery_data, picture_chunks
from odins_ravne_assets.hugin.report.sampling_effort import (
    Calendar,
    CameraPosition,
    cameras_per_period,
    counted_visits,
    exact_positions,
    first_and_last_day,
    make_calendar,
    visits_per_hour,
    visits_per_period,
)
from odins_ravne_assets.hugin.visits.report_json import GENERATOR
from odins_ravne_assets.munin.tables.instants import instant
from odins_ravne_assets.page.pages import write_page
from resources.settings.deployments import Deployment
from resources.settings.profile import Privacy
from resources.storage.layout import REPORT_PAGE
from resources.storage.object_store import ObjectStore

REPORT_TEMPLATE = Path(__file__).parent / "page.html"

# Maximum number of species with a separate clock, and minimum number of visits for one.
MAX_CLOCKS, MIN_CLOCK_VISITS = 6, 5
MAX_COLOURED_SPECIES = 5  # the other species share one colour
OTHER_SPECIES = "other species"


def make_report_page(
    source: ObjectStore,
    results: ObjectStore,
    privacy: Privacy,
    deployments: Sequence[Deployment] | None = None,
) -> tuple[str, ...]:
    """Write `stage3/report.html` of one camera.

    Args:
        source, results, privacy, deployments: see `load_camera_results`.

    Returns:
        Sentences on costs that are left out, which the page has too.

    Raises:
        StoreError: the store refuses access, or a crop is damaged.
    """
    camera = load_camera_results(source, results, privacy, deployments)
    with results.writing(REPORT_PAGE) as path:
        write_report_page(path, [camera], privacy)
    return camera.cost_remarks


def write_report_page(path: Path, cameras: Sequence[CameraResults], privacy: Privacy) -> None:
    """Write the page of one or more cameras to a file.

    Raises:
        UsageError: a name of `privacy.sensitive_species` is unknown.
    """
    thumbnails = pl.concat(camera.thumbnails for camera in cameras).unique("detection_id")
    visits = (
        pl.concat(camera.observations for camera in cameras)
        .join(thumbnails, on="detection_id", how="left")
        # The initial order of the gallery.
        .sort(
            pl.col("needs_review").not_(),
            instant("start_at"),
            "camera_id",
            "observation_id",
            nulls_last=True,
        )
    )
    effort = pl.concat(camera.effort for camera in cameras).sort("camera_id")
    places = covered_cameras(
        [(_id(each), each.observations, each.taxonomy) for each in cameras],
        exact_positions(effort),
        privacy,
    )
    positions = camera_positions(visits, effort, places)
    visits = visits.with_columns(counted_visits(visits, effort))
    rate = visit_rate(effort, visits.height - int(visits["counted"].sum()))
    species = content.species_rows(visits, rate)
    values: dict[str, Any] = {
        "title": content.title(effort),
        "period": content.period(effort),
        "tiles": content.summary_tiles(visits, effort, cameras),
        "warnings": list(content.warnings(effort, cameras, privacy)),
        "species": species,
        "window": content.window_description(cameras),
        "plots": _plots(visits, effort, positions),
        "undated": animals(visits)["start_at"].null_count(),
        "rate": rate,
        "cameras": camera_rows(visits, effort, places),
        "camera_days": format_number(rate.camera_days or 0),
        "deployed": bool(effort["deployed"].any()),
        "has_positions": bool(positions),
        "visits": gallery_data(visits, species, effort["camera_id"].to_list()),
        "pictures": picture_chunks(visits),
        "without_picture": visits["webp"].null_count(),
        "people_blurred": privacy.blur_people,
        "reviewed": content.review_summary(cameras, privacy),
        **_excluded(cameras),
        "cost": content.cost_description(cameras),
        "methods": content.provenance(cameras),
        "version": version(GENERATOR),
    }
    write_page(path, REPORT_TEMPLATE, values)


def _excluded(cameras: Sequence[CameraResults]) -> dict[str, Any]:
    return {
        "exclusions": content.exclusions(cameras),
        "left_out": content.left_out_rows(cameras),
        "failures": content.failure_rows(cameras),
        "truncated": content.truncated_rows(cameras),
        "other_files": content.other_file_rows(cameras),
    }


def _id(camera: CameraResults) -> str:
    return str(camera.effort["camera_id"].item())


def animals(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the visits of animals."""
    return visits.filter(pl.col("category") == "animal")


def _plots(
    visits: pl.DataFrame, effort: pl.DataFrame, positions: list[CameraPosition]
) -> dict[str, Any]:
    from odins_ravne_assets.hugin.report import plots
    from odins_ravne_assets.page.plots import legend

    dated = animals(visits).drop_nulls("start_at")
    by_species = _by_species(dated)
    clocks = {
        name: visits_per_hour(rows)
        for name, rows in by_species.items()
        if rows.height >= MIN_CLOCK_VISITS and name != UNKNOWN_ANIMAL
    }
    over_time, series_legend = [], None
    if days := first_and_last_day(effort):
        calendar = make_calendar(*days)
        series, cameras = _series(by_species, calendar), cameras_per_period(effort, calendar)
        over_time = [
            (size.name, plots.over_time(calendar, series, cameras, size))
            for size in plots.PLOT_SIZES
        ]
        series_legend = legend(list(series))
    return {
        "clock": plots.clock(visits_per_hour(dated)) if dated.height else None,
        "clocks": [
            (name, sum(counts), plots.small_clock(number, name, counts))
            for number, (name, counts) in enumerate(list(clocks.items())[:MAX_CLOCKS])
        ],
        "over_time": over_time,
        "legend": series_legend,
        "map": [
            (size.name, plots.camera_map(positions, size))
            for size in plots.PLOT_SIZES
            if len(positions) > 1
        ],
    }


def _by_species(visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The visits of each species, the most frequent first."""
    by_name = visits.partition_by("species", as_dict=True)
    ordered = sorted(by_name.items(), key=lambda item: (-item[1].height, item[0]))
    return {str(name): rows for (name,), rows in ordered}


def _series(by_species: Mapping[str, pl.DataFrame], calendar: Calendar) -> dict[str, list[int]]:
    """Visits per period of the most frequent species, and of all others together."""
    counts = {name: visits_per_period(rows, calendar) for name, rows in by_species.items()}
    if len(counts) <= MAX_COLOURED_SPECIES + 1:
        return counts
    names = list(counts)
    others = [
        sum(column)
        for column in zip(*(counts[n] for n in names[MAX_COLOURED_SPECIES:]), strict=True)
    ]
    return {name: counts[name] for name in names[:MAX_COLOURED_SPECIES]} | {OTHER_SPECIES: others}
