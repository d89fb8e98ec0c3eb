"""The cost report as a self-contained HTML page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from odins_ravne_assets.odin.formatting import KIND_LABELS, format_count, format_share, format_usd
from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_text import report_tables, summary_sentences, total_usd
from odins_ravne_assets.page.pages import write_page

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = Path(__file__).parent / "cost_page.html"
PLOT_WIDTH, PLOT_HEIGHT = 440, 250
# Monthly cost of storage from which on it is plotted.
MIN_PLOTTED_USD = Decimal("0.01")
# Cameras in the plot; the table has more.
MAX_BARS = 12


@dataclass(frozen=True)
class _Plot:
    svg: "Markup"
    caption: str


def write_cost_page(report: CostReport, path: Path) -> None:
    """Write the page with its plots."""
    made = datetime.fromtimestamp(report.scope.now, UTC)
    values = {
        "scope": report.scope,
        "description": _description(report),
        "tiles": list(_tiles(report)),
        "summary": list(summary_sentences(report)),
        "remarks": report.remarks,
        "plots": list(_plots(report)),
        "tables": list(report_tables(report)),
        "made_at": f"{made:%Y-%m-%d %H:%M} UTC",
    }
    write_page(path, TEMPLATE, values)


def _description(report: CostReport) -> str:
    where = f" in {report.scope.region}" if report.scope.region else ""
    days = [each.day for each in report.days]
    span = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(map(str, days))
    when = f", {span}" if span else ""
    return f"{format_count(len(report.scope.cameras), 'camera')}{where}{when}"


def _tiles(report: CostReport) -> Iterator[dict[str, str]]:
    units, jobs = report.units, report.jobs
    done = "" if jobs.success_rate is None else f", {format_share(jobs.success_rate)} done"
    yield {"value": format_usd(total_usd(report)), "label": "in total"}
    count, noun = format_count(jobs.total, "job").split()
    yield {"value": count, "label": f"{noun}{done}"}
    for cost, label in (
        (units.per_1000_images, "per 1,000 images"),
        (units.per_video_hour, "per hour of video"),
        (units.per_species_observation, "per observation of a known species"),
    ):
        if cost is not None:
            yield {"value": format_usd(cost), "label": label}
    for saving, label in (
        (report.savings.rate, "rate savings"),
        (report.savings.effective, "effective savings"),
    ):
        if saving is not None:
            yield {"value": format_share(saving), "label": label}


def _plots(report: CostReport) -> Iterator[_Plot]:
    """The plots with data. Matplotlib is imported on first use, as it loads slowly."""
    if report.computing.usd:
        yield _by_kind(report)
        yield _by_day(report)
    if len(report.by_camera) > 1:
        yield _by_camera(report)
    if report.storage and report.storage.usd_per_month >= MIN_PLOTTED_USD:
        yield _storage_forecast(report)


def _by_kind(report: CostReport) -> _Plot:
    from odins_ravne_assets.page import plots

    bars = [(KIND_LABELS[part.name], part.usd) for part in report.parts if part.usd]
    if report.storage and report.storage.usd_so_far and report.scope.since is None:
        bars.append(("storage", report.storage.usd_so_far))
    figure = plots.new_figure(PLOT_WIDTH, PLOT_HEIGHT)
    axes = plots.plain_axes(figure)
    axes.grid(False)
    axes.barh([name for name, _ in bars], [float(cost) for _, cost in bars], color=plots.SERIES[0])
    axes.invert_yaxis()
    axes.set_xlabel("USD", color=plots.QUIET)
    alt = "; ".join(f"{name} {format_usd(cost)}" for name, cost in bars)
    return _Plot(plots.inline_svg(figure, "by-kind", alt), "Costs by kind.")


def _by_day(report: CostReport) -> _Plot:
    from odins_ravne_assets.page import plots

    days = [f"{each.day:%d %b}" for each in report.days]
    paid = [float(each.usd) for each in report.days]
    on_demand = [float(each.usd_on_demand) for each in report.days]
    figure = plots.new_figure(PLOT_WIDTH, PLOT_HEIGHT)
    axes = plots.plain_axes(figure)
    positions = range(len(days))
    width = 0.38
    axes.bar([at - width / 2 for at in positions], paid, width, color=plots.SERIES[0], label="paid")
    axes.bar(
        [at + width / 2 for at in positions],
        on_demand,
        width,
        color=plots.SERIES[5],
        label="the same on demand",
    )
    axes.set_xlim(-max(1, 3 - len(days)), len(days) - 1 + max(1, 3 - len(days)))
    step = max(1, len(days) // 6)
    axes.set_xticks(list(positions)[::step], days[::step])
    axes.set_ylabel("USD", color=plots.QUIET)
    plots.add_legend(axes)
    alt = f"Paid and on-demand cost of {format_count(len(days), 'day')}"
    caption = "By day, without storage: amount paid, and the same hours on demand."
    return _Plot(plots.inline_svg(figure, "by-day", alt), caption)


def _by_camera(report: CostReport) -> _Plot:
    from odins_ravne_assets.page import plots

    shown = report.by_camera[:MAX_BARS]
    figure = plots.new_figure(PLOT_WIDTH, max(PLOT_HEIGHT, 40 + 22 * len(shown)))
    axes = plots.plain_axes(figure)
    axes.grid(False)
    names = [each.name if len(each.name) <= 18 else f"{each.name[:17]}…" for each in shown]
    useful = [float(each.usd - each.usd_wasted) for each in shown]
    positions = list(range(len(shown)))
    axes.barh(positions, useful, color=plots.SERIES[0], label="useful")
    wasted = [float(each.usd_wasted) for each in shown]
    if any(wasted):
        axes.barh(positions, wasted, left=useful, color=plots.SERIES[1], label="wasted")
        plots.add_legend(axes)
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.set_xlabel("USD", color=plots.QUIET)
    is_cut = len(report.by_camera) > len(shown)
    caption = "The most expensive cameras" if is_cut else "By camera"
    caption += ", compute only."
    alt = "; ".join(f"{each.name} {format_usd(each.usd)}" for each in shown)
    return _Plot(plots.inline_svg(figure, "by-camera", alt), caption)


def _storage_forecast(report: CostReport) -> _Plot:
    from odins_ravne_assets.page import plots

    assert report.storage is not None
    forecast = report.storage.ahead
    months = [each.month for each in forecast]
    with_policy = [float(each.usd_with_policy) for each in forecast]
    unchanged = [float(each.usd_left_alone) for each in forecast]
    figure = plots.new_figure(PLOT_WIDTH, PLOT_HEIGHT)
    axes = plots.plain_axes(figure)
    axes.plot(months, unchanged, color=plots.SERIES[5], label="unchanged")
    axes.plot(
        months, with_policy, color=plots.SERIES[0], label="with the lifecycle policy", marker="o"
    )
    axes.set_ylim(bottom=0)
    axes.set_xticks(months)
    axes.set_xlabel("month from now", color=plots.QUIET)
    axes.set_ylabel("USD a month", color=plots.QUIET)
    plots.add_legend(axes)
    now, then = format_usd(forecast[0].usd_left_alone), format_usd(forecast[-1].usd_with_policy)
    alt = f"Storage: {now} a month now, {then} in a year with the lifecycle policy"
    caption = "Forecast of the data on S3 now, if nothing is added."
    return _Plot(plots.inline_svg(figure, "storage-ahead", alt), caption)
