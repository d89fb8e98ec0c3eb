"""Earlier labels of reviewers: which labels of a file are new, changed, or known.

A label that its reviewer imports again is known, whatever others have entered since: it keeps its
date. So is a label that is in effect already. An explicit later date confirms a label anew.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

Row = dict[str, Any]
# Category, species and count of each label; of a medium there may be several.
Words = frozenset[tuple[str | None, str | None, int | None]]

WITHDRAWN: Words = frozenset()


@dataclass(frozen=True)
class Said:
    """Labels of one medium or box, with their author and date; no words: they are withdrawn."""

    words: Words
    by: str
    on: date

    @property
    def name(self) -> str:
        """The labels as a person writes them."""
        return ", ".join(sorted(species or "nothing" for _, species, _ in self.words))


def words_of(rows: Iterable[Row]) -> Words:
    """Return the labels of corrections."""
    return frozenset(
        (row["category"], row["species"], row["count"]) for row in rows if not row["withdraws"]
    )


class LabelHistory:
    """The stored corrections of a camera.

    Args:
        corrections: the result of `read_all_corrections`.
        by, until: the reviewer whose own labels are asked for, and the day until which.
    """

    def __init__(self, corrections: pl.DataFrame, by: str, until: date) -> None:
        self._by, self._until = by, until
        self._of_content: dict[str, list[Row]] = defaultdict(list)
        self._of_first: dict[str, list[Row]] = defaultdict(list)
        for row in corrections.iter_rows(named=True):
            self._of_content[row["content_hash"]].append(row)
            if row["first_detection"] is not None:
                self._of_first[row["first_detection"]].append(row)

    def own_of_observation(self, first: str) -> Said | None:
        """Return what the reviewer said last about an observation, as such."""
        return _last(filter(self._is_own, self._of_first[first]))

    def own_of_target(self, target: Row) -> Said | None:
        """Return what the reviewer said last about a medium as a whole, or about a box as such."""
        rows = self._of_content[target["content_hash"]]
        if target["x"] is None:
            said = [row for row in rows if row["x"] is None and row["instead_of"] is None]
        else:
            said = [
                row for row in rows if row["first_detection"] is None and _same_box(row, target)
            ]
        return _last(filter(self._is_own, said))

    def _is_own(self, row: Row) -> bool:
        return bool(row["reviewed_by"] == self._by and row["reviewed_on"] <= self._until)

    def in_effect(self, target: Row) -> Said | None:
        """Return the labels that a medium has now; of a box, without counts.

        Args:
            target: a row of `tables.CORRECTIONS`, which need not have a label.
        """
        rows = self._of_content[target["content_hash"]]
        if target["x"] is not None:
            rows = [row for row in rows if row["x"] is None or _same_box(row, target)]
            rows = [{**row, "count": None} for row in _preferring_boxes(rows)]
        said = _last(rows)
        return said if said and said.words else None

    def first_detection_of(self, box: Row) -> str | None:
        """Return the observation, by its first detection, as which a box was labelled last.

        Returns:
            None also for what has no box: it belongs to one observation only.
        """
        if box["x"] is None:
            return None
        named = [
            row["first_detection"]
            for row in self._of_content[box["content_hash"]]
            if row["first_detection"] is not None and _same_box(row, box)
        ]
        return named[-1] if named else None

    def boxes_of(self, first: str) -> list[Row]:
        """Return the corrections of boxes that were labelled as an observation."""
        return [row for row in self._of_first[first] if row["x"] is not None]


def _last(rows: Iterable[Row]) -> Said | None:
    """The labels of the last file."""
    found = list(rows)
    if not found:
        return None
    latest = [row for row in found if row["handed_in"] == found[-1]["handed_in"]]
    return Said(words_of(latest), latest[-1]["reviewed_by"], latest[-1]["reviewed_on"])


def _preferring_boxes(rows: list[Row]) -> list[Row]:
    """The labels of the last file, only those of the box if it has some."""
    latest = [row for row in rows if row["handed_in"] == rows[-1]["handed_in"]]
    return [row for row in latest if row["x"] is not None] or latest


def _same_box(row: Row, box: Row) -> bool:
    return all(row[name] == box[name] for name in ("frame_number", *"xywh"))
