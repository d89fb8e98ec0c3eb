"""Reviewers' files: what they say becomes rows of `tables.CORRECTIONS`.

Four kinds are told apart by their columns; a row whose label is empty says nothing.

- Our `observations.csv`, with `confirmed_species` filled: about the boxes of that visit.
- A table with `path` and `species`, and `frame_number` and `box_number` if it is about one box, or
  `count` if it says how many there are.
- Timelapse's export, CSV: `RelativePath`, `File`, a column of labels, and `Count` if it has one:
  about whole media.
- Timelapse's own file, `.ddb` (SQLite, table DataTable), with the same columns.

A label is a scientific or a common name of the taxonomy or of the project's species, or person,
vehicle, unknown, or nothing (also: empty, blank, none).
"""

import csv
import difflib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import CATEGORY_NAMES, UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.munin.tables import schemas
from resources.errors import UsageError

EMPTY_LABELS = {"nothing", "empty", "blank", "none"}
SPECIAL_LABELS = {
    "person": ("person", *CATEGORY_NAMES["person"]),
    "human": ("person", *CATEGORY_NAMES["person"]),
    "vehicle": ("vehicle", *CATEGORY_NAMES["vehicle"]),
    "unknown": ("animal", UNKNOWN_ANIMAL, None),
    UNKNOWN_ANIMAL: ("animal", UNKNOWN_ANIMAL, None),
}
LABEL_COLUMN_NAMES = ("confirmed_species", "species", "Species")
COUNT_COLUMN_NAMES = ("count", "Count")
MAX_COUNT = 100_000  # animals in one picture; more is a slip

Cells = dict[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class ReviewTables:
    """The tables that a file's words are about: a camera's media, detections and visits."""

    camera_id: str
    media: pl.DataFrame  # path, content_hash
    detections: pl.DataFrame  # of tables.DETECTIONS
    observations: pl.DataFrame  # of tables.OBSERVATIONS
    others: frozenset[str] = frozenset()  # further cameras that a project's file may be about


def parse_review_file(
    path: Path,
    footage: ReviewTables,
    taxonomy: Taxonomy,
    reviewed_by: str,
    reviewed_on: date,
    column: str | None = None,
) -> pl.DataFrame:
    """The rows of `tables.CORRECTIONS` of a reviewer's file.

    Args:
        path: the file.
        footage: of the camera that it is about; rows of other cameras are left out.
        taxonomy: the names that are known.
        reviewed_by, reviewed_on: who said it, and when.
        column: the one with labels; the first of LABELS that is there when not given.

    Raises:
        UsageError: the file cannot be read, or a row names what is not there; names the line.
    """
    rows = list(_rows(path))
    if not rows:
        raise UsageError(f"{path}: has no rows; hand in a CSV or a Timelapse file")
    labels = _label_column(path, rows[0], column)
    reader = _CorrectionParser(path, footage, taxonomy, labels)
    told = {"reviewed_by": reviewed_by, "reviewed_on": reviewed_on}
    found = [
        {**word, **told}
        for number, cells in enumerate(rows, start=2)
        if cells.get(labels)
        for word in reader.words(number, cells)
    ]
    if not found:
        raise UsageError(
            f"{path}: says nothing about camera {footage.camera_id}; fill its column {labels}"
        )
    return pl.DataFrame(found, schema=schemas.CORRECTIONS, orient="row")


def _rows(path: Path) -> Iterator[Cells]:
    try:
        if path.suffix.lower() == ".ddb":
            yield from _timelapse_rows(path)
            return
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                yield {str(name).strip(): str(value or "").strip() for name, value in row.items()}
    except (OSError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: cannot be read: {reason}") from None


def _timelapse_rows(path: Path) -> Iterator[Cells]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute("SELECT * FROM DataTable ORDER BY Id"):
            yield {name: str(row[name] or "").strip() for name in row.keys()}  # noqa: SIM118


def _label_column(path: Path, first: Cells, column: str | None) -> str:
    wanted: Sequence[str] = (column,) if column else LABEL_COLUMN_NAMES
    for name in wanted:
        if name in first:
            return name
    raise UsageError(
        f"{path}: has no column {' or '.join(wanted)}; name the one with the labels with --column"
    )


class _CorrectionParser:
    """Reads the lines of one file."""

    def __init__(self, path: Path, footage: ReviewTables, taxonomy: Taxonomy, labels: str) -> None:
        self._path, self._footage, self._knowledge, self._labels = path, footage, taxonomy, labels
        self._hashes = dict(footage.media.select("path", "content_hash").iter_rows())
        self._visits: dict[str, pl.DataFrame] = {}

    def words(self, line: int, cells: Cells) -> Iterator[Row]:
        """What a line says."""
        if cells.get("camera_id", self._footage.camera_id) != self._footage.camera_id:
            return
        label = self._label(line, cells[self._labels])
        said = dict(zip(("category", "species", "scientific_name"), label, strict=True))
        said["comment"] = cells.get("comment") or None
        if "observation_id" in cells:
            for place in self._of_visit(line, cells["observation_id"]):
                yield {**place, **said}
        else:
            medium = self._of_medium(line, cells)
            if medium:
                yield {**medium, **said}

    def _label(self, line: int, text: str) -> tuple[str | None, str | None, str | None]:
        word = text.casefold()
        if word in EMPTY_LABELS:
            return None, None, None
        if word in SPECIAL_LABELS:
            return SPECIAL_LABELS[word]
        taxon = self._knowledge.named(text)
        if taxon is None:
            known = [*self._knowledge.common_names(), *SPECIAL_LABELS, *EMPTY_LABELS]
            close = difflib.get_close_matches(word, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            self._refuse(
                line,
                f"{self._labels} {text!r} is not known; {hint}Names are those of the taxonomy "
                "and of project.species",
            )
        return "animal", taxon.common_name or taxon.scientific_name, taxon.scientific_name

    def _of_visit(self, line: int, identifier: str) -> Iterator[Row]:
        visit = self._footage.observations.filter(pl.col("observation_id") == identifier)
        if visit.is_empty():
            self._refuse(
                line,
                f"observation_id {identifier} is no visit any more; export the visits again and "
                "fill the new table",
            )
        members = (
            visit.select("detection_timeline")
            .explode("detection_timeline")
            .unnest("detection_timeline")
        )
        place = ["path", "frame_number", "box_number"]
        boxes = self._footage.detections.join(members.select(place), on=place, how="semi")
        yield from boxes.select("content_hash", "frame_number", *"xywh").iter_rows(named=True)
        for path in members.filter(pl.col("box_number").is_null())["path"]:
            yield self._whole(path) | {"instead_of": visit["species"].item()}

    def _whole(self, path: str) -> Row:
        return {"content_hash": self._hashes[path], **dict.fromkeys(("frame_number", *"xywh"))}

    def _of_medium(self, line: int, cells: Cells) -> Row | None:
        path = self._medium(cells)
        if path not in self._hashes:
            if path.split("/")[0] in self._footage.others:
                return None
            self._refuse(line, f"{path} is no medium of camera {self._footage.camera_id}")
        frame, box = cells.get("frame_number"), cells.get("box_number")
        count = self._count(line, cells)
        if not frame:
            return self._whole(path) | {"count": count}
        if count is not None:
            self._refuse(line, "a count is of a whole medium; leave it or frame_number empty")
        found = self._footage.detections.filter(
            (pl.col("path") == path)
            & (pl.col("frame_number").cast(pl.String) == frame)
            & (pl.col("box_number").cast(pl.String) == (box or "0"))
        )
        if found.is_empty():
            self._refuse(line, f"{path} has no box {box or 0} in frame {frame}")
        return found.select("content_hash", "frame_number", *"xywh").row(0, named=True)

    def _count(self, line: int, cells: Cells) -> int | None:
        """How many there are; 0 is what Timelapse writes where nobody counted."""
        name = next((name for name in COUNT_COLUMN_NAMES if cells.get(name)), "")
        text = cells.get(name, "0")
        if not text.isascii() or not text.isdecimal() or int(text) > MAX_COUNT:
            self._refuse(line, f"{name} {text!r} is no number of animals; write it in digits")
        return int(text) or None

    def _medium(self, cells: Cells) -> str:
        if "path" in cells:
            return cells["path"]
        folder = cells.get("RelativePath", "").replace("\\", "/").strip("/")
        path = f"{folder}/{cells.get('File', '')}".strip("/")
        # Of a whole project's file, in which each camera's media lie below its id.
        inside = path.removeprefix(f"{self._footage.camera_id}/")
        return inside if inside in self._hashes else path

    def _refuse(self, line: int, why: str) -> NoReturn:
        raise UsageError(f"{self._path}, line {line}: {why}")
