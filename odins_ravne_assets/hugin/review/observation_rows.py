"""Place the rows of an exported `observations.csv` on the detections that their labels are for.

A row is of the observation with its id. Observations change: corrections, windows, thresholds, new
footage and other models merge, split and prolong them. Then the row's first detection says where
it belongs. If several rows of a file are in one observation by now, each has the detections from
its first one to the next row's; detections that were labelled as another observation stay with that
one, those that were labelled as this one belong to it wherever they are.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import BOX_KEY
from odins_ravne_assets.hugin.identification.observation_ids import (
    ADDED,
    CONTENT_DIGITS,
    added_animal,
    is_observation_id,
    is_shown_as,
    may_be_0_1,
    observation_id,
    observation_id_0_1,
)
from odins_ravne_assets.hugin.review.label_history import LabelHistory

ID, FIRST = "observation_id", "first_detection"

Row = dict[str, Any]
BOX = ("content_hash", "frame_number", *"xywh")
NO_BOX = dict.fromkeys(("frame_number", *"xywh"))


class NotPlacedError(Exception):
    """A row cannot be placed; the message has the reason."""


@dataclass(frozen=True)
class ObservationRow:
    """A row of a file that is of an observation: its first detection, and what the file says."""

    line: int
    first: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class _Member:
    """A detection of an observation: rows of `tables.CORRECTIONS` without a label."""

    detection_id: str
    box: Row


class Observations:
    """The observations of a camera, by the detections in them.

    Args:
        camera_id: the camera.
        observations: rows of `tables.OBSERVATIONS`, also of version 0.1.
        detections: rows of `tables.DETECTIONS`.
        media: path and content_hash.
        added: content_hash, species and number of `labels_in_effect`.
    """

    def __init__(
        self,
        camera_id: str,
        observations: pl.DataFrame,
        detections: pl.DataFrame,
        media: pl.DataFrame,
        added: pl.DataFrame,
    ) -> None:
        self._camera_id = camera_id
        self._detections = detections
        self._members = _members(observations, detections, media, added)
        first = self._members.filter(pl.col("position") == 0).select("observation", "detection_id")
        numbered = observations.select("observation_id").with_row_index("observation")
        self._firsts = dict(
            numbered.join(first, on="observation").select("observation_id", "detection_id").rows()
        )
        self._species = observations["species"].to_list()

    def first_detection(self, cells: Mapping[str, str]) -> str:
        """Return the first detection of the observation that a row is of.

        Raises:
            NotPlacedError: the row names no observation of these results.
        """
        identifier, first = cells.get(ID, ""), cells.get(FIRST, "")
        if first:
            if is_observation_id(identifier):
                if observation_id(self._camera_id, first) != identifier:
                    raise NotPlacedError(
                        f"{ID} and {FIRST} are of different visits; sort whole rows of the table"
                    )
            return first
        if identifier in self._firsts:
            return self._firsts[identifier]
        if found := self._recomputed(cells):
            return found
        raise NotPlacedError(
            f"{ID} {identifier or '(empty)'} is of no visit of these results; export the visits "
            "again and fill in the new table"
        )

    def targets(
        self, rows: Sequence[ObservationRow], history: LabelHistory
    ) -> dict[int, list[Row]]:
        """Return what the labels of rows are for, by line; rows that cannot be placed are missing.

        Args:
            rows: of one file, also those without a label: they have their detections, too.

        Returns:
            Rows of `tables.CORRECTIONS` without a label, with `instead_of`.
        """
        places = self._places({row.first for row in rows})
        in_one: dict[int, list[tuple[int, ObservationRow]]] = defaultdict(list)
        alone: dict[int, list[Row]] = {}
        for row in rows:
            if row.first in places:
                observation, position = places[row.first]
                in_one[observation].append((position, row))
            else:
                alone[row.line] = self._outside(row.first, history)
        members = self._members_of(in_one)
        for observation, placed in in_one.items():
            placed.sort(key=lambda pair: pair[0])
            alone |= _divide(placed, members[observation], history)
        return {line: boxes for line, boxes in alone.items() if boxes}

    def _recomputed(self, cells: Mapping[str, str]) -> str | None:
        """The first detection of an id that is not in the table: of 0.1, or of another state."""
        identifier = cells.get(ID, "")
        if is_observation_id(identifier):
            ids = (observation_id(self._camera_id, each) for each in self._candidates(cells))
            pairs = zip(ids, self._candidates(cells), strict=True)
            return next((first for own, first in pairs if own == identifier), None)
        if not may_be_0_1(identifier):
            return None
        category, species = cells.get("category", ""), cells.get("species", "")
        found = [
            first
            for first in self._candidates(cells)
            if is_shown_as(
                observation_id_0_1(self._camera_id, category, species, first), identifier
            )
        ]
        named = [first for first in found if self._added_species(first) == species]
        return next(iter(named or found), None)

    def _candidates(self, cells: Mapping[str, str]) -> list[str]:
        """Ids of all detections of the row's first medium; of all media, if it names none."""
        path = cells.get("first_medium")
        detections, members = self._detections, self._members
        if path:
            detections = detections.filter(pl.col("path") == path)
            members = members.filter(pl.col("path") == path)
        added = members.filter(pl.col("x").is_null())["detection_id"]
        return [*detections["detection_id"], *added]

    def _added_species(self, first: str) -> str | None:
        place = self._places({first}).get(first)
        return self._species[place[0]] if place else None

    def _places(self, firsts: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The observation and the position in it of each detection that is in one."""
        found = self._members.filter(pl.col("detection_id").is_in(list(firsts)))
        return {
            first: (observation, position)
            for first, observation, position in found.select(
                "detection_id", "observation", "position"
            ).iter_rows()
        }

    def _members_of(self, observations: Iterable[int]) -> dict[int, list[_Member]]:
        found: dict[int, list[_Member]] = defaultdict(list)
        rows = self._members.filter(
            pl.col("observation").is_in(pl.Series(list(observations), dtype=pl.UInt32))
        )
        for row in rows.iter_rows(named=True):
            box = {name: row[name] for name in BOX}
            if row["x"] is None:
                box |= {**NO_BOX, "instead_of": self._species[row["observation"]]}
            found[row["observation"]].append(_Member(row["detection_id"], box))
        return found

    def _outside(self, first: str, history: LabelHistory) -> list[Row]:
        """The boxes of a row whose first detection is in no observation."""
        before = {
            tuple(row[name] for name in BOX): {name: row[name] for name in BOX}
            for row in history.boxes_of(first)
        }
        if before:
            return list(before.values())
        own = self._detections.filter(pl.col("detection_id") == first)
        return own.select(BOX).rows(named=True)


def _members(
    observations: pl.DataFrame, detections: pl.DataFrame, media: pl.DataFrame, added: pl.DataFrame
) -> pl.DataFrame:
    """A row per detection and observation: observation, position, path, detection_id and BOX."""
    timeline = (
        observations.select("species", "detection_timeline")
        .with_row_index("observation")
        .explode("detection_timeline")
        .unnest("detection_timeline")
        .with_columns(position=pl.int_range(pl.len()).over("observation"))
        .select("observation", "position", "species", *BOX_KEY)
    )
    boxes = timeline.join(
        detections.select(*BOX_KEY, "detection_id", "content_hash", *"xywh"), on=BOX_KEY
    )
    without = (
        timeline.filter(pl.col("box_number").is_null())
        .join(media.select("path", "content_hash"), on="path")
        .join(added, on=["content_hash", "species"], how="left")
        .with_columns(
            detection_id=pl.format(
                f"{{}}-{ADDED}-{{}}",
                pl.col("content_hash").str.slice(0, CONTENT_DIGITS),
                pl.col("number").fill_null(0),
            )
        )
        .drop("number")
    )
    return pl.concat([boxes, without], how="diagonal").sort("observation", "position")


def _divide(
    placed: list[tuple[int, ObservationRow]], members: list[_Member], history: LabelHistory
) -> dict[int, list[Row]]:
    """The boxes of each row in an observation.

    Args:
        placed: rows with the position of their first detection, in this order.
    """
    if len(placed) == 1 and _is_unchanged(*placed[0], members):
        return {placed[0][1].line: [member.box for member in members]}
    targets: dict[int, list[Row]] = {}
    # The first row has what came in front of it, such as detections of a lower threshold.
    starts = [0, *(position for position, _ in placed[1:]), len(members)]
    for (_, row), start, end in zip(placed, starts, starts[1:], strict=False):
        own = [
            member.box
            for number, member in enumerate(members)
            if (labelled_as := history.first_detection_of(member.box)) == row.first
            or (labelled_as is None and start <= number < end)
        ]
        targets[row.line] = own or [
            {name: before[name] for name in BOX} for before in history.boxes_of(row.first)
        ]
    return targets


def _is_unchanged(position: int, row: ObservationRow, members: list[_Member]) -> bool:
    """True if the row describes the observation as it is."""
    boxes = sum(member.box["x"] is not None for member in members)
    count = row.cells.get("detection_count", "")
    return position == 0 and count.removesuffix(".0").removesuffix(",0") == str(boxes)
