"""The cost report as tables for the terminal; imported when a command needs it, not by --help."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.costs.report_inputs import (
    collect_inputs,
    costs_folder,
    refresh_ledgers,
    write_cost_report,
)
from odins_ravne_assets.odin.formatting import format_count
from odins_ravne_assets.odin.job_tables import attempt_tables
from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_json import report_json
from odins_ravne_assets.odin.report_text import (
    TextTable,
    cost_breakdown_table,
    report_tables,
    summary_sentences,
    unit_cost_table,
)
from resources.clock import clock_at
from resources.settings.profile import Profile

# By the profile's clock. Each refresh calls Batch and EC2, which is free.
WATCH_INTERVAL_SECONDS = 30.0
# Longer names of cameras are folded.
FIRST_COLUMN_MAX_WIDTH = 36


def print_report(
    cameras: Sequence[Camera],
    profile: Profile,
    all_cameras: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Print the report on cameras, and write its files.

    Args:
        all_cameras: True if these are all known cameras; see `collect_inputs`.
        output: folder of the files; None writes none.
    """
    remarks = refresh_ledgers(cameras, profile)
    inputs = collect_inputs(cameras, profile, remarks=remarks, all_cameras=all_cameras)
    if as_json:
        sys.stdout.write(report_json(inputs.report()))
    else:
        for part in cost_tables(inputs.report()):
            out.print(part)
    for path in write_cost_report(inputs, output) if output else ():
        print_log(f"written: {path}")


def watch_costs(cameras: Sequence[Camera], profile: Profile) -> None:
    """Show the costs until no job is running or queued, or Ctrl-C."""
    clock = clock_at(profile.aws.clock_url)
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                report = _current_report(cameras, profile)
                live.update(Group(*short_tables(report)), refresh=out.is_terminal)
                if not report.jobs.open:
                    break
                clock.sleep(WATCH_INTERVAL_SECONDS)
    except KeyboardInterrupt:
        out.print("Jobs continue; nothing was stopped.")


def _current_report(cameras: Sequence[Camera], profile: Profile) -> CostReport:
    remarks = refresh_ledgers(cameras, profile)
    return collect_inputs(cameras, profile, with_bill=False, remarks=remarks).report()


def print_costs(cameras: Sequence[Camera], profile: Profile, since: float) -> None:
    """Print the costs of this command, and write the report on all runs of the cameras.

    Args:
        since: start of the command, by the profile's clock; earlier jobs are left out.
    """
    remarks = refresh_ledgers(cameras, profile)
    inputs = collect_inputs(cameras, profile, with_bill=False, remarks=remarks)
    report = inputs.report(since)
    if not report.computing.usd and profile.cloud is None:
        out.print(
            f"cost: $0.00 for {format_count(len(cameras), 'camera')}; everything ran on this "
            "machine, nothing was rented or transferred"
        )
        return
    if not report.jobs.attempts:
        out.print("cost: $0.00; no job ran on AWS")
        return
    for part in short_tables(report, attempt_tables(inputs.rows, since, report.scope.now)):
        out.print(part)
    page, *_ = write_cost_report(inputs, costs_folder())
    out.print(f"cost report: {page}", soft_wrap=True, markup=False)


def cost_tables(report: CostReport) -> Iterator[RenderableType]:
    """Yield all tables of the report, then its summary."""
    return _render(report, report_tables(report))


def short_tables(
    report: CostReport, attempts: Iterable[TextTable] = ()
) -> Iterator[RenderableType]:
    """Yield the cost breakdown, the unit costs and the summary, for a run that ends or goes on.

    Args:
        attempts: tables that come first.
    """
    return _render(report, [*attempts, cost_breakdown_table(report), unit_cost_table(report)])


def _render(report: CostReport, tables: Iterable[TextTable]) -> Iterator[RenderableType]:
    for table in tables:
        if not table.rows:
            continue
        yield Text(table.heading, style="bold")
        yield _table(table)
        if table.note:
            yield Text(table.note, style="dim")
        yield ""
    for sentence in summary_sentences(report):
        yield Text(sentence)
    for remark in report.remarks:
        yield Text(f"Note: {remark}", style="yellow")


def _table(table: TextTable) -> Table:
    """Return a table that fits a terminal of 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for place, (name, number) in enumerate(table.columns):
        shown.add_column(
            name,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number and " " not in name,
            max_width=None if place else FIRST_COLUMN_MAX_WIDTH,
        )
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
