"""The labels of a review file for one camera, as rows of `tables.CORRECTIONS`.

- A row with `observation_id` or `first_detection` labels the detections of an observation
  (`row_placement`).
- A row with `path`, or with `RelativePath` and `File`, labels a medium (`media_paths`), or one box
  of it; `count` is the number of animals in the medium.

Rows of other cameras are left to these; rows that cannot be used are listed with the reason. What a
reviewer has entered before is not stored again (`label_history`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.review.label_history import WITHDRAWN, LabelHistory, Said, Words
from odins_ravne_assets.hugin.review.labels import Label, parse_label
from odins_ravne_assets.hugin.review.media_paths import (
    CameraNames,
    MediaPaths,
    Place,
    first_folder,
)
from odins_ravne_assets.hugin.review.missed_detections import labels_in_effect
from odins_ravne_assets.hugin.review.review_files import Cells, ReviewFile
from odins_ravne_assets.hugin.review.row_placement import (
    BOX,
    FIRST,
    ID,
    NotPlacedError,
    ObservationRow,
    Observations,
    Target,
)
from odins_ravne_assets.hugin.review.withdrawals import without_withdrawn
from odins_ravne_assets.munin.tables import schemas
from resources.spreadsheets.values import parse_count

COUNT_COLUMN_NAMES = ("count", "Count")
MAX_COUNT = 100_000  # animals in one medium; a larger number is a typing error
NO_BOX = dict.fromkeys(("frame_number", *"xywh"))
MAX_SHOWN = 20  # characters of a count that is wrong
LOST = (
    "its first detection is not in the results any more, because the file or the box is gone; "
    "label the file, with path and species"
)

Row = dict[str, Any]


@dataclass(frozen=True)
class ReviewTables:
    """The tables of a camera that a review file refers to.

    Attributes:
        names: the camera.
        media: path, content_hash, source.
        detections: rows of `tables.DETECTIONS`.
        observations: rows of `tables.OBSERVATIONS`.
        corrections: the result of `read_all_corrections`.
        others: the other cameras that the file may mention.
    """

    names: CameraNames
    media: pl.DataFrame
    detections: pl.DataFrame
    observations: pl.DataFrame
    corrections: pl.DataFrame
    others: tuple[CameraNames, ...] = ()


@dataclass(frozen=True)
class Review:
    """Who hands in a file.

    Attributes:
        by, on: author and date of the labels.
        confirms: the date is that of a review: labels of an earlier date are said anew.
        at: the time of the import, UTC.
    """

    by: str
    on: date
    confirms: bool
    at: datetime


@dataclass
class CameraLabels:
    """What a file says about one camera.

    Attributes:
        rows: rows of `tables.CORRECTIONS` by line; those of known labels are left out.
        new, changed, known: the lines of labels.
        differences: lines for users on labels that differ from those of other reviewers.
        by_path: lines whose file this camera has, without a name of the camera in the row.
        failed: the reason for each line that cannot be used.
        others: the name of the other camera for each line of one.
    """

    rows: dict[int, list[Row]] = field(default_factory=dict)
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    differences: dict[int, str] = field(default_factory=dict)
    by_path: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)

    @property
    def placed(self) -> list[int]:
        """The lines of all labels of this camera."""
        return [*self.new, *self.changed, *self.known]

    def remove(self, line: int) -> None:
        """Take out a label, which is another camera's."""
        self.by_path.discard(line)
        self.rows.pop(line, None)
        self.differences.pop(line, None)
        for lines in (self.new, self.changed, self.known):
            lines[:] = [each for each in lines if each != line]

    def corrections(self) -> pl.DataFrame:
        """Return rows of `tables.CORRECTIONS`."""
        rows = [row for line in sorted(self.rows) for row in self.rows[line]]
        return pl.DataFrame(rows, schema=schemas.CORRECTIONS, orient="row")


def parse_camera_labels(
    file: ReviewFile, tables: ReviewTables, taxonomy: Taxonomy, review: Review
) -> CameraLabels:
    """Parse the labels of a file for one camera.

    Args:
        taxonomy: the names that a label may have.
    """
    return _Parser(file, tables, taxonomy, review).parsed()


@dataclass
class _MediumLabel:
    """A label of a medium or a box: its line, and a row of CORRECTIONS."""

    line: int
    row: Row


class _Parser:
    def __init__(
        self, file: ReviewFile, tables: ReviewTables, taxonomy: Taxonomy, review: Review
    ) -> None:
        self._file, self._tables, self._taxonomy = file, tables, taxonomy
        self._review = review
        self._hashes = dict(tables.media.select("path", "content_hash").iter_rows())
        self._history = LabelHistory(tables.corrections, review.by, review.on)
        self._result = CameraLabels()

    def parsed(self) -> CameraLabels:
        of_observations: list[tuple[int, Cells]] = []
        of_media: list[tuple[int, Cells]] = []
        for line, cells in self._file.rows:
            camera = cells.get("camera_id", "")
            if camera and not self._tables.names.match(camera):
                self._leave(line, cells, camera)
            elif cells.get(ID) or cells.get(FIRST):
                of_observations.append((line, cells))
            elif self._file.label(cells) or "File" in cells:
                of_media.append((line, cells))
        if any(self._file.label(cells) for _, cells in of_observations):
            self._label_observations(of_observations)
        if of_media:
            self._label_media(of_media)
        return self._result

    def _leave(self, line: int, cells: Cells, camera: str) -> None:
        if self._file.label(cells):
            self._result.others[line] = camera

    # Rows of observations.

    def _label_observations(self, lines: Sequence[tuple[int, Cells]]) -> None:
        observations = self._observations()
        rows: dict[int, ObservationRow] = {}
        labels: dict[int, Label] = {}
        for line, cells in lines:
            text = self._file.label(cells)
            try:
                rows[line] = ObservationRow(observations.first_detection(cells), cells)
                if text:
                    labels[line] = self._label(text)
            except (NotPlacedError, ValueError) as error:
                if text:
                    self._result.failed[line] = str(error)
        targets = observations.targets(list(rows.values()), self._history)
        said: dict[str, tuple[int, Label]] = {}
        for line, label in labels.items():
            row = rows[line]
            earlier, same = said.setdefault(row.first, (line, label))
            if same != label:
                self._result.failed[line] = f"line {earlier} names the same visit {same.name}"
                continue
            self._label_observation(line, label, row, targets[row.first])

    def _label_observation(
        self, line: int, label: Label, row: ObservationRow, targets: Sequence[Target]
    ) -> None:
        fixed = {FIRST: row.first, "comment": row.cells.get("comment") or None}
        own = self._history.own_of_observation(row.first)
        if own is None and targets:  # version 0.1 did not store the first detection
            own = self._history.own_of_target(targets[0].row)
        before = [each.said or self._history.in_effect(each.row) for each in targets]
        if not self._is_known(_words(label), own, before):
            if not targets:
                self._result.failed[line] = LOST
                return
            columns = {**self._columns(label), **fixed}
            self._result.rows[line] = [{**target.row, **columns} for target in targets]
        self._count(line, label, own, before)

    def _observations(self) -> Observations:
        effective = without_withdrawn(self._tables.corrections).with_row_index("review")
        added = labels_in_effect(effective).select(
            "content_hash", pl.col("species").fill_null(""), "number"
        )
        tables = self._tables
        return Observations(
            tables.names.camera_ids, tables.observations, tables.detections, tables.media, added
        )

    # Rows of media.

    def _label_media(self, lines: Sequence[tuple[int, Cells]]) -> None:
        paths = MediaPaths(
            self._tables.names,
            self._tables.media.select("path", "source").iter_rows(),
            self._tables.others,
        )
        places = {line: paths.place(cells) for line, cells in lines}
        of_project = any(place.path and place.names_camera for place in places.values())
        found: list[_MediumLabel] = []
        for line, cells in lines:
            text, place = self._file.label(cells), places[line]
            if not text:
                continue
            if place.path is None:
                self._not_found(line, place, of_project)
                continue
            try:
                found.append(_MediumLabel(line, self._medium_row(place.path, cells, text)))
            except ValueError as error:
                self._result.failed[line] = str(error)
                continue
            if not place.names_camera:
                self._result.by_path.add(line)
        by_target: dict[tuple[Any, ...], list[_MediumLabel]] = defaultdict(list)
        for each in found:
            by_target[tuple(each.row[name] for name in BOX)].append(each)
        for labels in by_target.values():
            self._label_medium(labels)

    def _not_found(self, line: int, place: Place, of_project: bool) -> None:
        """A row whose medium this camera lacks: in a file of a project it may be another's."""
        other = place.other or (of_project and first_folder(place.missing))
        if other and not place.names_camera:
            self._result.others[line] = other
        else:
            camera = self._tables.names.camera_id
            self._result.failed[line] = f"camera {camera} has no medium {place.missing}"

    def _label_medium(self, labels: Sequence[_MediumLabel]) -> None:
        """Store the labels of one medium, or box, unless all are known."""
        target = labels[0].row
        withdraws = any(each.row["withdraws"] for each in labels)
        said: Words = (
            WITHDRAWN
            if withdraws
            else frozenset(
                (each.row["category"], each.row["species"], each.row["count"]) for each in labels
            )
        )
        own = self._history.own_of_target(target)
        before = [self._history.in_effect(target)]
        known = self._is_known(said, own, before)
        for each in labels:
            if not known:
                self._result.rows[each.line] = [each.row]
            label = Label(each.row["category"], each.row["species"], None, withdraws)
            self._count(each.line, label, own, before)

    def _medium_row(self, path: str, cells: Cells, text: str) -> Row:
        label = {**self._columns(self._label(text)), "comment": cells.get("comment") or None}
        frame, box = (_digits(cells.get(name, "")) for name in ("frame_number", "box_number"))
        count = _count(cells)
        whole = {"content_hash": self._hashes[path], **NO_BOX}
        if not frame:
            return {**whole, **label, "count": count}
        if count is not None:
            raise ValueError("a count applies to a whole medium; clear count or frame_number")
        found = self._tables.detections.filter(
            (pl.col("path") == path)
            & (pl.col("frame_number").cast(pl.String) == frame)
            & (pl.col("box_number").cast(pl.String) == (box or "0"))
        )
        if found.is_empty():
            raise ValueError(f"{path} has no box {box or 0} in frame {frame}")
        return {**found.select(BOX).row(0, named=True), **label, "count": None}

    # Both.

    def _label(self, text: str) -> Label:
        try:
            return parse_label(text, self._taxonomy)
        except ValueError as error:
            raise ValueError(f"{self._file.label_column} {error}") from None

    def _columns(self, label: Label) -> Row:
        return {
            "category": label.category,
            "species": label.species,
            "scientific_name": label.scientific_name,
            "withdraws": label.withdraws,
            "reviewed_by": self._review.by,
            "reviewed_on": self._review.on,
            "imported_at": self._review.at,
        }

    def _is_known(self, said: Words, own: Said | None, before: Sequence[Said | None]) -> bool:
        """True if the reviewer said this before, or if it is in effect."""
        if own and own.words == said and not (self._review.confirms and own.on < self._review.on):
            return True
        return bool(before) and all((each.words if each else WITHDRAWN) == said for each in before)

    def _count(
        self, line: int, label: Label, own: Said | None, before: Sequence[Said | None]
    ) -> None:
        """Count a label as new, changed or known, and note how it differs from others'."""
        result = self._result
        is_known = line not in result.rows
        others = [each for each in before if each and each.name != label.name]
        if is_known:
            result.known.append(line)
        else:
            (result.changed if own or others else result.new).append(line)
        last = max(others, key=lambda each: each.on, default=None)
        if last and last.by != self._review.by:
            stays = is_known or last.on > self._review.on
            result.differences[line] = (
                f"{label.name} by {self._review.by}; the later {last.name} by {last.by}, "
                f"{last.on}, stays"
                if stays
                else f"{label.name} by {self._review.by} replaces {last.name} by {last.by}, "
                f"{last.on}"
            )


def _words(label: Label) -> Words:
    return WITHDRAWN if label.withdraws else frozenset({(label.category, label.species, None)})


def _count(cells: Cells) -> int | None:
    """The number of animals; None for 0, which Timelapse writes if the user did not count."""
    name = next((name for name in COUNT_COLUMN_NAMES if cells.get(name)), "")
    text = cells.get(name, "0")
    try:
        count = parse_count(text)
    except ValueError:
        count = MAX_COUNT + 1
    if count > MAX_COUNT:
        raise ValueError(
            f"{name} {text[:MAX_SHOWN]!r} is not a number of animals; write it in digits"
        )
    return count or None


def _digits(text: str) -> str:
    """The number of a frame or box, which a spreadsheet may write as 2.0; another text as it is."""
    try:
        return str(parse_count(text))
    except ValueError:
        return text
