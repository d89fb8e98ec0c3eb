"""A run's plan as tables for the terminal; imported when a command needs it, not by --help."""

from collections.abc import Iterator

from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.model_library.used_models import used_models_line
from odins_ravne_assets.munin.workload.footage_estimate import FootageCount
from odins_ravne_assets.odin.formatting import (
    MARKET_LABELS,
    format_count,
    format_duration,
    format_size,
    format_usd,
)
from odins_ravne_assets.odin.run_plan import RunPlan, recommendations
from resources.planning.estimate import Estimate


def print_plan(plan: RunPlan) -> None:
    """Print the amount of footage, a table of estimates, recommendations and models."""
    for line in _footage_lines(plan):
        out.print(line, soft_wrap=True)
    for line in plan.settings:
        out.print(escape(line), soft_wrap=True)
    if plan.has_work:
        out.print()
        out.print(_table(plan), crop=False)
        for line in (*_footnotes(plan), *plan.remarks):
            out.print(escape(line), style="dim", soft_wrap=True)
    out.print()
    for line in recommendations(plan):
        out.print(escape(line), soft_wrap=True)
    if plan.has_work:
        out.print(escape(f"Now: {plan.decision}."), soft_wrap=True)
    for line in _model_lines(plan):
        out.print(line, soft_wrap=True, markup=False)


def _model_lines(plan: RunPlan) -> Iterator[str]:
    """Yield the models of the run; for each camera if they differ."""
    lines = {name: used_models_line(models) for name, models in plan.models.items()}
    if len(set(lines.values())) == 1:
        yield from set(lines.values())
    else:
        yield from (f"{name}: {line}" for name, line in lines.items())


def _footage_lines(plan: RunPlan) -> Iterator[str]:
    counts = list(plan.counts.values())
    total = _sum(counts)
    cameras = f"{format_count(len(counts), 'camera')}, " if len(counts) > 1 else ""
    videos = f"{format_count(total.videos, 'video')} ({format_duration(total.video_seconds)})"
    pictures = format_count(total.images, "picture")
    yield (
        f"{cameras}{pictures} and {videos}, {format_size(total.bytes)}: "
        f"at most {format_count(total.frames, 'frame')} to process."
    )
    if total.videos_read < total.videos:
        yield (
            f"The length of {total.videos_read:,} videos was read; for the others it is estimated "
            "from their size."
        )
    if total.videos_unreadable:
        videos = format_count(total.videos_unreadable, "video")
        yield f"{videos} cannot be read and will cost nothing."
    if total.media_finished:
        yield (
            f"{total.media_finished:,} of {total.media:,} media are already processed and cost "
            f"nothing: {format_count(total.frames_left, 'frame')} left."
        )
    if total.crops_left:
        yield f"{format_count(total.crops_left, 'crop')} of processed media to classify again."


def _sum(counts: list[FootageCount]) -> FootageCount:
    names = FootageCount.__dataclass_fields__
    return FootageCount(**{name: sum(getattr(each, name) for each in counts) for name in names})


def _table(plan: RunPlan) -> Table:
    """Return a table that fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("machine", no_wrap=True)
    table.add_column("market", no_wrap=True)
    table.add_column("frames/s", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("5 to 95 %", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for estimate in plan.estimates:
        style = "bold" if estimate is plan.likely else None
        table.add_row(*_cells(estimate), style=style)
    return table


def _cells(estimate: Estimate) -> tuple[str, ...]:
    return (
        estimate.instance_type,
        MARKET_LABELS.get(estimate.market, estimate.market) if estimate.market != "local" else "",
        f"{estimate.frames_per_second:.1f}{'' if estimate.measured else '?'}",
        format_usd(estimate.usd.expected) + ("" if estimate.within_bid else "!"),
        f"{format_usd(estimate.usd.low)} – {format_usd(estimate.usd.high)}",
        format_duration(estimate.seconds.expected),
    )


def _footnotes(plan: RunPlan) -> Iterator[str]:
    """Yield the meaning of the marks in the table."""
    used = {each.instance_type for each in plan.estimates}
    sources = {each.source for kind, each in plan.throughputs.items() if kind in used}
    assumed = sorted(source for source in sources if source.startswith("assumed"))
    if assumed:
        reasons = " / ".join(source.removeprefix("assumed: ") for source in assumed)
        yield f"? assumed until a first run measures it: {reasons}"
    if any(not each.within_bid for each in plan.estimates):
        yield "! above bid_percentage of the on-demand price: not used"
