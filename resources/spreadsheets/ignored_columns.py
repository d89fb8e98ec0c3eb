"""The warning about columns of a table that are not used."""

import difflib
import logging
from collections.abc import Collection
from functools import cache

from resources.printable import printable
from resources.spreadsheets.tables import Table

MAX_NAMED = 10  # columns in a warning
CLOSE = 0.75  # the least ratio of difflib at which a column may be meant

log = logging.getLogger(__name__)


def warn_of_ignored_columns(table: Table, known: Collection[str]) -> None:
    """Log a warning that names the columns that are not known; once for a file and process.

    One whose name is close to a known column that the table lacks is shown with it.
    """
    if ignored := table.unknown(known):
        free = [name for name in known if name not in table.columns]
        shown = [_with_hint(name, free) for name in ignored[:MAX_NAMED]]
        more = len(ignored) - len(shown)
        shown += [f"{more} more"] * bool(more)
        what = "column" if len(ignored) == 1 else "columns"
        _warn_once(f"{table.name}: unknown {what}, ignored: {', '.join(shown)}")


def _with_hint(name: str, free: Collection[str]) -> str:
    exact = {each.casefold(): each for each in free}
    # Of equally close names the first: Problem1_from, not Problem9_from.
    folded = name.casefold()
    close = max(exact, key=lambda each: _closeness(folded, each), default="")
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    is_close = _closeness(folded, close) >= CLOSE
    return f"{shown} (did you mean {exact[close]}?)" if is_close else shown


def _closeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, name, other).ratio()


@cache
def _warn_once(message: str) -> None:
    log.warning(printable(message))
