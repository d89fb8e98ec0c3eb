"""What a run did not use: failed and truncated media, and files that are no media, as sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from odins_ravne_assets.munin.media.other_files import plural_kind
from resources.printable import printable
from resources.storage.layout import REPORT_JSON

# Paths of each kind; the report has more.
MAX_NAMED = 5


def unused_media_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line each on media that failed, on truncated ones, and on files that are no media.

    Args:
        report: the content of a camera's `stage3/report.json`.
    """
    totals, reasons = report["totals"], list(report.get("failed_by_reason", {}))
    if totals["failed"]:
        why = (
            f": {reasons[0]}"
            if len(reasons) == 1
            else f"; the reasons are in {REPORT_JSON}, failed_by_reason"
        )
        names = _named(report.get("failed_examples", []), totals["failed"])
        yield f"{totals['failed']} of {totals['media']} media could not be used{why}{names}"
    if cut := totals.get("truncated", 0):
        names = _named(report.get("truncated_examples", []), cut)
        yield f"{cut} of {totals['media']} media are truncated, and used as far as they go{names}"
    if others := report.get("other_files"):
        kinds = ", ".join(
            f"{row['files']:,} {plural_kind(row['kind'], row['files'])}" for row in others
        )
        examples = [path for row in others for path in row["examples"]]
        count = sum(row["files"] for row in others)
        yield f"files that are no pictures or videos: {kinds}{_named(examples, count)}"


def _named(paths: Sequence[str], count: int) -> str:
    """Return the first paths in brackets, with an ellipsis if there are more."""
    shown = [printable(path) for path in paths[:MAX_NAMED]]
    more = ", …" if shown and count > len(shown) else ""
    return f" ({', '.join(shown)}{more})" if shown else ""
