"""The plots of the report. Import this module only to write a report: Matplotlib loads slowly."""

from collections.abc import Mapping, Sequence
from math import ceil, cos, log10, pi, radians
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from odins_ravne_assets.hugin.report.sampling_effort import HOURS, Calendar, CameraPosition
from odins_ravne_assets.page.plots import (
    ACCENT,
    INK,
    LINE,
    QUIET,
    SERIES,
    clock_axes,
    inline_svg,
    new_figure,
    plain_axes,
)

CLOCK_WIDTH, SMALL_CLOCK_WIDTH = 440, 190  # pixels
KM_PER_DEGREE = 111.2  # of latitude: the earth's circumference is 40,030 km
MAX_MAP_LABELS = 40  # on a map


class PlotSize(NamedTuple):
    """The size of a plot: its CSS class, width and height in pixels, and number of date labels."""

    name: str
    width: int
    height: int
    dates: int


# The page has both and shows one, because the text of a scaled-down plot is unreadable.
PLOT_SIZES = (PlotSize("wide", 900, 300, 8), PlotSize("narrow", 360, 300, 4))


def clock(counts: Sequence[int]) -> Markup:
    """Draw the visits by hour of the day as a 24-hour clock, with midnight at the top.

    Args:
        counts: visits of the 24 hours, from midnight.
    """
    figure = new_figure(CLOCK_WIDTH, 330)
    axes = clock_axes(figure)
    _draw_hours(axes, counts, ACCENT)
    axes.set_rlabel_position(45)
    busiest = max(range(HOURS), key=lambda hour: counts[hour])
    text = f"Visits by hour of the day. Maximum: {counts[busiest]}, from {busiest}:00."
    return inline_svg(figure, "clock", text)


def small_clock(number: int, species: str, counts: Sequence[int]) -> Markup:
    """Draw the clock of one species.

    Args:
        number: index among the clocks of the page, which selects the colour.
        counts: see `clock`.
    """
    figure = new_figure(SMALL_CLOCK_WIDTH, SMALL_CLOCK_WIDTH)
    axes = clock_axes(figure)
    _draw_hours(axes, counts, SERIES[number % len(SERIES)])
    axes.set_rticks([])
    busiest = max(range(HOURS), key=lambda hour: counts[hour])
    text = f"{species} by hour of the day. Maximum: {counts[busiest]} visits, from {busiest}:00."
    return inline_svg(figure, f"clock-{number}", text)


def _draw_hours(axes: PolarAxes, counts: Sequence[int], colour: str) -> None:
    hour = 2 * pi / HOURS
    middles = [(number + 0.5) * hour for number in range(HOURS)]
    axes.bar(middles, counts, width=0.9 * hour, color=colour)
    axes.set_rmax(max(*counts, 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def over_time(
    calendar: Calendar,
    species: Mapping[str, Sequence[int]],
    camera_counts: Sequence[float],
    size: PlotSize,
) -> Markup:
    """Draw the visits per period as stacked bars, and below them the number of active cameras.

    Args:
        calendar: the periods.
        species: visits per period of each species, the lowest bar first.
        camera_counts: average number of active cameras per period.
        size: the size of the plot.
    """
    figure = new_figure(size.width, size.height)
    grid = figure.add_gridspec(2, 1, height_ratios=[4, 1])
    above, below = plain_axes(figure, grid[0]), plain_axes(figure, grid[1])
    positions = range(calendar.periods)
    bottom = [0] * calendar.periods
    for number, counts in enumerate(species.values()):
        colour = SERIES[number % len(SERIES)]
        above.bar(positions, counts, bottom=bottom, width=0.85, color=colour)
        bottom = [low + count for low, count in zip(bottom, counts, strict=True)]
    above.set_ylabel(f"visits per {calendar.period_name}")
    above.set_xticks([])
    below.bar(positions, camera_counts, width=1, color=QUIET)
    below.set_ylabel("cameras")
    step = ceil(calendar.periods / size.dates)
    below.set_xticks(list(positions)[::step], list(map(calendar.label, calendar.starts[:-1:step])))
    for axes in (above, below):
        axes.set_xlim(-0.6, calendar.periods - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    figure.align_ylabels()
    most = max(range(calendar.periods), key=lambda part: bottom[part])
    text = (
        f"Visits per {calendar.period_name} from {calendar.starts[0]}, and number of active "
        f"cameras. Maximum: {bottom[most]} visits, from {calendar.starts[most]}."
    )
    return inline_svg(figure, f"over-time-{size.name}", text)


def camera_map(cameras: Sequence[CameraPosition], size: PlotSize) -> Markup:
    """Draw a map of the cameras, north up; the area of a dot is the number of visits."""
    figure = new_figure(size.width, min(480, size.width))
    axes = plain_axes(figure)
    north = [camera.latitude for camera in cameras]
    east = [camera.longitude for camera in cameras]
    most = max(1, *(camera.visits for camera in cameras))
    sizes = [30 + 250 * camera.visits / most for camera in cameras]
    axes.scatter(east, north, s=sizes, color=ACCENT, alpha=0.75, linewidths=0)
    for camera in cameras[:MAX_MAP_LABELS]:
        axes.annotate(
            camera.camera_id,
            (camera.longitude, camera.latitude),
            (6, 6),
            textcoords="offset points",
            color=INK,
        )
    middle = (min(north) + max(north)) / 2
    axes.set_aspect(1 / max(cos(radians(middle)), 0.01), adjustable="datalim")
    axes.margins(0.15)
    axes.grid(True, axis="both", color=LINE, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(size.dates))
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    _draw_scale_bar(axes, middle)
    return inline_svg(figure, f"map-{size.name}", f"Map of {len(cameras)} cameras.")


def _draw_scale_bar(axes: Axes, latitude: float) -> None:
    """Draw a scale bar with a round length of at most a quarter of the map's width."""
    axes.apply_aspect()
    west, east = axes.get_xlim()
    south, north = axes.get_ylim()
    degree = KM_PER_DEGREE * max(cos(radians(latitude)), 0.01)
    longest = (east - west) * degree / 4
    power = 10.0 ** int(log10(longest) // 1)
    km = max(step * power for step in (1, 2, 5) if step * power <= longest)
    left, height = west + 0.03 * (east - west), south + 0.04 * (north - south)
    axes.plot([left, left + km / degree], [height, height], color=INK, linewidth=2)
    text = f"{km:g} km" if km >= 1 else f"{km * 1000:g} m"
    axes.annotate(text, (left, height), (0, 5), textcoords="offset points", color=INK)
