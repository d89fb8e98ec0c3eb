"""Place the rows of an exported `observations.csv` on the detections that their labels are for.

A row is of the observation with its id. Observations change: corrections, windows, thresholds, new
footage and other models merge, split and prolong them. Then the row's first detection says where
it belongs. If several rows of a file are in one observation by now, each has the detections from
its first one to the next row's. Detections that were labelled as another observation stay with that
one, unless the row has no others; those that were labelled as this one belong to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import BOX_KEY
from odins_ravne_assets.hugin.identification.observation_ids import (
    added_detection_id,
    is_observation_id,
    is_shown_as,
    may_be_0_1,
    observation_id,
    observation_id_0_1,
)
from odins_ravne_assets.hugin.review.label_history import LabelHistory, Said

ID, FIRST = "observation_id", "first_detection"

Row = dict[str, Any]
BOX = ("content_hash", "frame_number", *"xywh")


class NotPlacedError(Exception):
    """A row cannot be placed; the message has the reason."""


@dataclass(frozen=True)
class ObservationRow:
    """A row of a file that is of an observation: its first detection, and its cells."""

    first: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """What a label is for.

    Attributes:
        row: a row of `tables.CORRECTIONS` without a label.
        said: the label of what has no box, which is a reviewer's.
    """

    row: Row
    said: Said | None = None

    @property
    def has_box(self) -> bool:
        """True for a box; False for what a reviewer added to a medium."""
        return self.row["x"] is not None


class Observations:
    """The observations of a camera, by the detections in them.

    Args:
        camera_ids: the id of the camera, and those before it was renamed.
        observations: rows of `tables.OBSERVATIONS`, also of version 0.1.
        detections: rows of `tables.DETECTIONS`.
        media: path, content_hash and source.
        added: content_hash, species and number of `labels_in_effect`.
    """

    def __init__(
        self,
        camera_ids: tuple[str, ...],
        observations: pl.DataFrame,
        detections: pl.DataFrame,
        media: pl.DataFrame,
        added: pl.DataFrame,
    ) -> None:
        self._camera_ids = camera_ids
        self._detections, self._media = detections, media
        self._members = _members(observations, detections, media, added)
        first = self._members.filter(pl.col("position") == 0).select("observation", "detection_id")
        numbered = observations.select("observation_id").with_row_index("observation")
        self._firsts: dict[str, str] = dict(
            numbered.join(first, on="observation").select("observation_id", "detection_id").rows()
        )
        self._observations = observations.select(
            "category", "species", "reviewed_by", "reviewed_on"
        )
        self._known_ids_0_1: dict[tuple[str, str, str], dict[str, list[str]]] = {}

    def first_detection(self, cells: Mapping[str, str]) -> str:
        """Return the first detection of the observation that a row is of.

        Raises:
            NotPlacedError: the row names no observation of these results.
        """
        identifier, first = cells.get(ID, ""), cells.get(FIRST, "")
        if first:
            own = {observation_id(each, first) for each in self._camera_ids}
            if is_observation_id(identifier) and identifier not in own:
                raise NotPlacedError(
                    f"{ID} and {FIRST} are of different visits; sort whole rows of the table"
                )
            return first
        if known := self._firsts.get(identifier):
            return known
        if found := self._recomputed(cells):
            return found
        raise NotPlacedError(
            f"{ID} {identifier or '(empty)'} is of no visit of these results; export the visits "
            "again and fill in the new table"
        )

    def targets(
        self, rows: Sequence[ObservationRow], history: LabelHistory
    ) -> dict[str, list[Target]]:
        """Return what the labels of rows are for, by first detection; empty: nothing is left.

        Args:
            rows: of one file, also those without a label: they have their detections, too.
        """
        by_first = {row.first: row for row in rows}
        places = self._places(by_first)
        in_one: dict[int, list[tuple[int, ObservationRow]]] = defaultdict(list)
        targets: dict[str, list[Target]] = {}
        for first, row in by_first.items():
            if first in places:
                observation, position = places[first]
                in_one[observation].append((position, row))
        outside = self._boxes_of(first for first in by_first if first not in places)
        for first in by_first:
            if first not in places:
                targets[first] = _boxes_before(first, history) or outside.get(first, [])
        members = self._members_of(in_one)
        for observation, placed in in_one.items():
            placed.sort(key=lambda pair: pair[0])
            targets |= _divide(placed, members[observation], history)
        return targets

    def _recomputed(self, cells: Mapping[str, str]) -> str | None:
        """The first detection of an id that is not in the table: of 0.1, or of another state."""
        identifier = cells.get(ID, "")
        if is_observation_id(identifier):
            return self._all_ids.get(identifier)
        if not may_be_0_1(identifier):
            return None
        species = cells.get("species", "")
        ids = self._ids_0_1(cells.get("first_medium", ""), cells.get("category", ""), species)
        found = [
            first for own, firsts in ids.items() if is_shown_as(own, identifier) for first in firsts
        ]
        if len(found) > 1:  # version 0.1 has no numbers of what reviewers added to one medium
            found = [first for first in found if self._species_of(first) == species]
        return found[0] if len(found) == 1 else None

    @cached_property
    def _all_ids(self) -> dict[str, str]:
        """The first detection of the id that an observation would have, for all detections."""
        return {
            observation_id(each, first): first
            for first in self._candidates("")
            for each in self._camera_ids
        }

    def _ids_0_1(self, path: str, category: str, species: str) -> dict[str, list[str]]:
        """First detections by the id that version 0.1 would give their observation."""
        key = path, category, species
        if key not in self._known_ids_0_1:
            found: dict[str, list[str]] = defaultdict(list)
            for first in self._candidates(path):
                for camera_id in self._camera_ids:
                    found[observation_id_0_1(camera_id, category, species, first)].append(first)
            self._known_ids_0_1[key] = found
        return self._known_ids_0_1[key]

    def _candidates(self, path: str) -> list[str]:
        """The ids of all detections of a medium; of all media, if there is no path."""
        if path:
            return self._ids_of_media.get(path, [])
        added = self._members.filter(pl.col("x").is_null())["detection_id"]
        return [*self._detections["detection_id"], *added]

    @cached_property
    def _ids_of_media(self) -> dict[str, list[str]]:
        """The ids of detections by path, and by the path without the source.

        The path had no source when the camera had one card.
        """
        added = self._members.filter(pl.col("x").is_null())
        rows = pl.concat(each.select("path", "detection_id") for each in (self._detections, added))
        sources = dict(self._media.select("path", "source").drop_nulls().iter_rows())
        found: dict[str, list[str]] = defaultdict(list)
        for path, identifier in rows.iter_rows():
            found[path].append(identifier)
            if path in sources:
                found[path.removeprefix(f"{sources[path]}/")].append(identifier)
        return found

    def _species_of(self, first: str) -> str | None:
        place = self._places({first}).get(first)
        return str(self._observations["species"][place[0]]) if place else None

    def _places(self, firsts: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The observation and the position in it of each detection that is in one."""
        found = self._members.filter(pl.col("detection_id").is_in(list(firsts)))
        return {
            first: (observation, position)
            for first, observation, position in found.select(
                "detection_id", "observation", "position"
            ).iter_rows()
        }

    def _members_of(self, observations: Iterable[int]) -> dict[int, list[Target]]:
        found: dict[int, list[Target]] = defaultdict(list)
        rows = self._members.filter(
            pl.col("observation").is_in(pl.Series(list(observations), dtype=pl.UInt32).implode())
        )
        for row in rows.iter_rows(named=True):
            found[row["observation"]].append(self._target(row))
        return found

    def _target(self, member: Row) -> Target:
        box = {name: member[name] for name in BOX}
        if member["x"] is not None:
            return Target(box)
        observation = self._observations.row(member["observation"], named=True)
        species = observation["species"]
        said = Said(
            frozenset({(observation["category"], species, None)}),
            observation["reviewed_by"],
            observation["reviewed_on"],
        )
        return Target({**box, "instead_of": species}, said)

    def _boxes_of(self, firsts: Iterable[str]) -> dict[str, list[Target]]:
        """The box of each first detection, also of one that is in no observation."""
        own = self._detections.filter(pl.col("detection_id").is_in(list(firsts)))
        return {
            row["detection_id"]: [Target({name: row[name] for name in BOX})]
            for row in own.select("detection_id", *BOX).iter_rows(named=True)
        }


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
        .with_columns(detection_id=added_detection_id())
        .drop("number")
    )
    return pl.concat([boxes, without], how="diagonal").sort("observation", "position")


def _divide(
    placed: list[tuple[int, ObservationRow]], members: list[Target], history: LabelHistory
) -> dict[str, list[Target]]:
    """The boxes of each row in an observation, by first detection.

    Args:
        placed: rows with the position of their first detection, in this order.
    """
    if len(placed) == 1 and _is_unchanged(*placed[0], members):
        return {placed[0][1].first: members}
    targets: dict[str, list[Target]] = {}
    labelled_as = [history.first_detection_of(member.row) for member in members]
    # The first row has what came in front of it, such as detections of a lower threshold.
    starts = [0, *(position for position, _ in placed[1:]), len(members)]
    for (_, row), start, end in zip(placed, starts, starts[1:], strict=False):
        own = [
            member
            for number, (member, first) in enumerate(zip(members, labelled_as, strict=True))
            if first == row.first or (first is None and start <= number < end)
        ]
        targets[row.first] = own or _boxes_before(row.first, history) or members[start:end]
    return targets


def _boxes_before(first: str, history: LabelHistory) -> list[Target]:
    """The boxes that were labelled as an observation."""
    rows = [{name: row[name] for name in BOX} for row in history.boxes_of(first)]
    return [Target(row) for row in {tuple(row.values()): row for row in rows}.values()]


def _is_unchanged(position: int, row: ObservationRow, members: list[Target]) -> bool:
    """True if the row describes the observation as it is, as far as its columns say."""
    count = row.cells.get("detection_count", "")
    boxes = sum(member.has_box for member in members)
    return position == 0 and (not count or count.removesuffix(".0") == str(boxes))
