"""cost_report.json: the cost report as JSON.

Money is a number of USD with at most ten decimals, which JSON's numbers represent exactly below a
hundred thousand. Times are ISO 8601, UTC. Unknown values are null.
"""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from odins_ravne_assets.odin.report import CostReport

# To be raised when a key changes its meaning.
VERSION = 1
DIGITS = 10


def report_json(report: CostReport) -> str:
    """Return the whole report as indented JSON, keys in a fixed order."""
    tree = asdict(report)
    for name, value in tree["scope"].items():
        if name in ("since", "now") and value is not None:
            tree["scope"][name] = datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    tree["jobs"]["success_rate"] = report.jobs.success_rate
    tree["savings"]["rate"] = report.savings.rate
    tree["savings"]["effective"] = report.savings.effective
    tree["month"]["usd"] = report.month.usd
    for difference, entry in zip(report.aws or (), tree["aws"] or (), strict=True):
        entry["usd"] = difference.usd
    if tree["storage"]:
        tree["storage"].pop("quotes")  # they are among the prices
    return json.dumps({"version": VERSION, **tree}, default=_json_value, indent=2) + "\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(round(value, DIGITS))
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
