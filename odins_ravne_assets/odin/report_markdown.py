"""The cost report as Markdown, for the Dagster UI."""

from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_text import TextTable, report_tables, summary_sentences

SPECIAL = "\\`*_{}[]<>#|!$"


def report_markdown(report: CostReport) -> str:
    """The summary, every table, and what is to be remarked."""
    parts = [*map(_escaped, summary_sentences(report)), *map(_table, report_tables(report))]
    remarks = [f"- {_escaped(remark)}" for remark in report.remarks]
    return "\n\n".join([*parts, "\n".join(remarks)]).strip() + "\n"


def _table(table: TextTable) -> str:
    head = " | ".join(_escaped(name) for name, _ in table.columns)
    line = " | ".join("--:" if number else "---" for _, number in table.columns)
    rows = [" | ".join(map(_escaped, row)) for row in table.rows]
    text = "\n".join(f"| {row} |" for row in (head, line, *rows))
    return f"### {table.heading}\n\n{text}" + (f"\n\n{_escaped(table.note)}" if table.note else "")


def _escaped(text: str) -> str:
    """Text that cannot break out of a cell, or be read as Markdown."""
    return " ".join("".join(f"\\{c}" if c in SPECIAL else c for c in text).split())
