"""cost_report.json: the cost report for programs.

Money is a number of USD with ten digits after the point at most, which JSON's numbers hold exactly
below a hundred thousand. Times are ISO 8601, UTC. What is not known is null.
"""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from odins_ravne_assets.odin.report import CostReport

# Of what the tables, and so this file, are made; to be raised when a key changes its meaning.
VERSION = 1
DIGITS = 10


def report_json(report: CostReport) -> str:
    """The whole report, keys in a fixed order, UTF-8 and indented."""
    tree = asdict(report)
    for name, value in tree["scope"].items():
        if name in ("since", "now") and value is not None:
            tree["scope"][name] = datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    tree["jobs"]["success_rate"] = report.jobs.success_rate
    tree["savings"]["rate"] = report.savings.rate
    tree["savings"]["effective"] = report.savings.effective
    tree["month"]["usd"] = report.month.usd
    for difference, told in zip(report.aws or (), tree["aws"] or (), strict=True):
        told["usd"] = difference.usd
    if tree["storage"]:
        tree["storage"].pop("quotes")  # they are among the prices
    return json.dumps({"version": VERSION, **tree}, default=_plain, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(round(value, DIGITS))
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
