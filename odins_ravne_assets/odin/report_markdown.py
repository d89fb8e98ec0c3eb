"""The cost report as Markdown, for the Dagster UI."""

from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_text import TextTable, report_tables, summary_sentences

MARKDOWN_SPECIAL = "\\`*_{}[]<>#|!$"


def report_markdown(report: CostReport) -> str:
    """Render the summary, all tables and the remarks."""
    parts = [*map(_escape, summary_sentences(report)), *map(_table, report_tables(report))]
    remarks = [f"- {_escape(remark)}" for remark in report.remarks]
    return "\n\n".join([*parts, "\n".join(remarks)]).strip() + "\n"


def _table(table: TextTable) -> str:
    head = " | ".join(_escape(name) for name, _ in table.columns)
    line = " | ".join("--:" if number else "---" for _, number in table.columns)
    rows = [" | ".join(map(_escape, row)) for row in table.rows]
    text = "\n".join(f"| {row} |" for row in (head, line, *rows))
    return f"### {table.heading}\n\n{text}" + (f"\n\n{_escape(table.note)}" if table.note else "")


def _escape(text: str) -> str:
    """Escape text that would end a cell or be rendered as Markdown."""
    return " ".join("".join(f"\\{c}" if c in MARKDOWN_SPECIAL else c for c in text).split())
