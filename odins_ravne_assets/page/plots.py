"""Inline SVG plots by Matplotlib, in the colours and font of the page.

    figure = new_figure(440, 240)
    axes = plain_axes(figure)
    axes.bar(hours, visits, color=SERIES[0])
    page_values["by_hour"] = inline_svg(figure, "by-hour", "Visits by hour. Maximum: 2:00.")

Colours are CSS variables of the page (`base.html`), so that plots follow dark mode and print.
Matplotlib only supports fixed colours: each variable has a placeholder colour, which is replaced in
the SVG. Import this module only to draw: Matplotlib takes half a second to load.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

if TYPE_CHECKING:
    from matplotlib.projections.polar import PolarAxes
    from matplotlib.typing import RcKeyType

# Placeholder colours that plots do not use otherwise.
INK, QUIET, LINE, CARD, ACCENT, WARN, BAD = (f"#0ddba{number}" for number in range(7))
SERIES = tuple(f"#0ddbb{number}" for number in range(1, 7))
PAGE_COLOURS = {
    INK: "--ink",
    QUIET: "--quiet",
    LINE: "--line",
    CARD: "--card",
    ACCENT: "--accent",
    WARN: "--warn",
    BAD: "--bad",
} | {placeholder: f"--series-{number}" for number, placeholder in enumerate(SERIES, 1)}

DOTS_PER_INCH = 72  # one SVG user unit is one CSS pixel
TEXT_SIZE = 11  # pixels

STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "font.size": TEXT_SIZE,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": TEXT_SIZE,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


def new_figure(width: int, height: int) -> Figure:
    """Return an empty figure.

    Args:
        width: in CSS pixels; 440 fits a phone, 900 the page.
        height: in CSS pixels.
    """
    size = (width / DOTS_PER_INCH, height / DOTS_PER_INCH)
    return Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="none", layout="constrained")


def plain_axes(figure: Figure, place: SubplotSpec | None = None) -> Axes:
    """Add axes without a frame and ticks.

    Args:
        place: the position in a figure with several axes (`figure.add_gridspec`).
    """
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot() if place is None else figure.add_subplot(place)
        axes.tick_params(length=0)
    return axes


def clock_axes(figure: Figure, place: SubplotSpec | None = None) -> "PolarAxes":
    """Add polar axes as a 24-hour clock, in radians: midnight at the top, clockwise.

    Args:
        place: see `plain_axes`.
    """
    with mpl.rc_context(STYLE):
        position = figure.add_gridspec(1, 1)[0] if place is None else place
        axes = cast("PolarAxes", figure.add_subplot(position, projection="polar"))
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        axes.set_thetagrids([0, 90, 180, 270], ["0 h", "6 h", "12 h", "18 h"])
        axes.spines["polar"].set_edgecolor(LINE)
        axes.tick_params(colors=LINE, labelcolor=QUIET)
        axes.grid(color=LINE, linewidth=0.8)
    return axes


def add_legend(axes: Axes) -> None:
    """Add a legend in one row above the axes, for two or three short labels.

    Use `legend` for names that come from footage.
    """
    with mpl.rc_context(STYLE):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(SERIES), borderaxespad=0.3)


def legend(names: Sequence[str]) -> Markup:
    """Return an HTML legend of SERIES, in their order; unlike text in a plot, it wraps."""
    items = (
        Markup('<li><i style="background: var(--series-{})"></i>{}</li>').format(
            number % len(SERIES) + 1, name
        )
        for number, name in enumerate(names)
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an SVG element; equal figures give equal text.

    Args:
        name: a name that is unique on the page.
        description: alternative text for screen readers.
    """
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    # A style element would apply to the whole page.
    svg = re.sub(r"<style .*?</style>", "", svg, flags=re.S)
    # Use the page's font, and let the SVG shrink with the page.
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"(<svg [^>]*?)width=\"[^\"]*\" height=\"[^\"]*\"", r"\1", svg, count=1)
    # Make ids unique on the page.
    svg = re.sub(r"(\bid=\"|url\(#|href=\"#)", rf"\1{name}-", svg)
    for placeholder, variable in PAGE_COLOURS.items():
        svg = svg.replace(placeholder, f"var({variable})")
    width = round(figure.get_figwidth() * DOTS_PER_INCH)
    style = f"stroke-linejoin: round; max-width: {width}px"
    attributes = f'role="img" aria-label="{escape(description)}" style="{style}"'
    return Markup(svg.replace("<svg ", f"<svg {attributes} ", 1))
