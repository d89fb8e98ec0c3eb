"""The cost report in a terminal."""

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_text import (
    TextTable,
    summary,
    tables,
    what_one_costs,
    where_it_went,
)

# A camera's name is folded where it is longer than this.
WIDEST_FIRST = 36


def cost_tables(report: CostReport) -> Iterator[RenderableType]:
    """All that there is to show, in order: the tables, then what they come to."""
    return _shown(report, tables(report))


def short_tables(
    report: CostReport, attempts: Iterable[TextTable] = ()
) -> Iterator[RenderableType]:
    """Where the money went, what one costs and what it comes to: of a run that has just ended, or
    still goes on.

    Args:
        attempts: tables that come before.
    """
    return _shown(report, [*attempts, where_it_went(report), what_one_costs(report)])


def _shown(report: CostReport, found: Iterable[TextTable]) -> Iterator[RenderableType]:
    for table in found:
        if not table.rows:
            continue
        yield Text(table.heading, style="bold")
        yield _table(table)
        if table.note:
            yield Text(table.note, style="dim")
        yield ""
    for sentence in summary(report):
        yield Text(sentence)
    for remark in report.remarks:
        yield Text(f"Note: {remark}", style="yellow")


def _table(table: TextTable) -> Table:
    """Fits a terminal of 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for place, (name, number) in enumerate(table.columns):
        shown.add_column(
            name,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number and " " not in name,
            max_width=None if place else WIDEST_FIRST,
        )
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
