"""Review files: parse the labels of reviewers into rows of `tables.CORRECTIONS`.

The columns of a file decide which of four formats it has. Rows with an empty label are skipped.
Tables are CSV as spreadsheets save it, or XLSX (`resources.spreadsheets`).

- The exported `observations.csv` or `observations.xlsx` with `confirmed_species` filled in: labels
  the detections of an observation.
- A table with `path` and `species`: labels a medium, or one box if it has `frame_number` and
  `box_number`; `count` is the number of animals in the medium.
- A CSV exported by Timelapse (`RelativePath`, `File`, a column of labels, optionally `Count`):
  labels whole media.
- A database of Timelapse, `.ddb` (SQLite, table DataTable), with the same columns.

A label is a scientific or a common name of the taxonomy or of the project's species, or person,
vehicle, unknown, or nothing (also: empty, blank, none).
"""

import difflib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    CATEGORY_NAMES,
    UNKNOWN_ANIMAL,
)
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.munin.tables import schemas
from resources.errors import UsageError
from resources.spreadsheets.ignored_columns import warn_of_ignored_columns
from resources.spreadsheets.tables import read_table
from resources.spreadsheets.values import parse_count

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
MAX_COUNT = 100_000  # animals in one medium; a larger number is a typing error
MAX_DIGITS = 20  # shown of a count that is too long

# All columns of observations.csv and, below, what Timelapse writes beside the labels.
KNOWN_COLUMNS = (
    *schemas.OBSERVATIONS.names(),
    *("start_time", "end_time", "first_medium", "first_detection"),
    *("confirmed_species", "comment", "path", "frame_number", "box_number"),
    *("RootFolder", "RelativePath", "File", "Folder", "DateTime", "Date", "Time", "DeleteFlag"),
    *("Species", "Count"),
)

Cells = Mapping[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class ReviewTables:
    """The tables of a camera that a review file refers to."""

    camera_id: str
    media: pl.DataFrame  # path, content_hash
    detections: pl.DataFrame  # rows of tables.DETECTIONS
    observations: pl.DataFrame  # rows of tables.OBSERVATIONS
    others: frozenset[str] = frozenset()  # ids of other cameras that the file may mention


def parse_review_file(
    path: Path,
    tables: ReviewTables,
    taxonomy: Taxonomy,
    reviewed_by: str,
    reviewed_on: date,
    column: str | None = None,
) -> pl.DataFrame:
    """Parse a review file into rows of `tables.CORRECTIONS`.

    Args:
        path: the file.
        tables: of one camera; rows about other cameras are skipped.
        taxonomy: the names that a label may have.
        reviewed_by, reviewed_on: author and date of the corrections.
        column: the column of labels; by default the first of LABEL_COLUMN_NAMES in the file.

    Raises:
        UsageError: the file cannot be read, or a row refers to something that does not exist; the
            message names the line.
    """
    rows = _read(path, column)
    if not rows:
        raise UsageError(f"{path}: has no rows; pass a CSV or a Timelapse file with labels")
    label_column = _label_column(path, rows[0][1], column)
    parser = _CorrectionParser(path, tables, taxonomy, label_column)
    author = {"reviewed_by": reviewed_by, "reviewed_on": reviewed_on}
    corrections = [
        {**correction, **author}
        for line, cells in rows
        if cells.get(label_column)
        for correction in parser.corrections(line, cells)
    ]
    if not corrections:
        raise UsageError(
            f"{path}: has no label for camera {tables.camera_id}; fill in its column {label_column}"
        )
    return pl.DataFrame(corrections, schema=schemas.CORRECTIONS, orient="row")


def _read(path: Path, column: str | None) -> list[tuple[int, Cells]]:
    """The rows of a file with their lines; of a database, with their numbers from 2 on."""
    if path.suffix.lower() == ".ddb":
        try:
            return list(enumerate(_timelapse_rows(path), start=2))
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
    known = (*KNOWN_COLUMNS, *([column] if column else []))
    table = read_table(path, known=known)
    warn_of_ignored_columns(table, known)
    return [(row.line, row.cells) for row in table.rows]


def _timelapse_rows(path: Path) -> Iterator[Cells]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute("SELECT * FROM DataTable ORDER BY Id"):
            yield {name: str(row[name] or "").strip() for name in row.keys()}  # noqa: SIM118


def _label_column(path: Path, first: Cells, column: str | None) -> str:
    candidates: Sequence[str] = (column,) if column else LABEL_COLUMN_NAMES
    for name in candidates:
        if name in first:
            return name
    raise UsageError(
        f"{path}: has no column {' or '.join(candidates)}; pass the column of labels with --column"
    )


class _CorrectionParser:
    """Parser of the lines of one file."""

    def __init__(
        self, path: Path, tables: ReviewTables, taxonomy: Taxonomy, label_column: str
    ) -> None:
        self._path, self._tables, self._taxonomy = path, tables, taxonomy
        self._label_column = label_column
        self._hashes = dict(tables.media.select("path", "content_hash").iter_rows())

    def corrections(self, line: int, cells: Cells) -> Iterator[Row]:
        """Yield the corrections of a line."""
        if cells.get("camera_id", self._tables.camera_id) != self._tables.camera_id:
            return
        names = self._label(line, cells[self._label_column])
        label = dict(zip(("category", "species", "scientific_name"), names, strict=True))
        label["comment"] = cells.get("comment") or None
        if "observation_id" in cells:
            for target in self._observation_targets(line, cells["observation_id"]):
                yield {**target, **label}
        else:
            medium = self._medium_target(line, cells)
            if medium:
                yield {**medium, **label}

    def _label(self, line: int, text: str) -> tuple[str | None, str | None, str | None]:
        """Category, species and scientific name of a label; None for an empty medium."""
        word = text.casefold()
        if word in EMPTY_LABELS:
            return None, None, None
        if word in SPECIAL_LABELS:
            return SPECIAL_LABELS[word]
        taxon = self._taxonomy.find(text)
        if taxon is None:
            known = [*self._taxonomy.common_names(), *SPECIAL_LABELS, *EMPTY_LABELS]
            close = difflib.get_close_matches(word, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            self._fail(
                line,
                f"{self._label_column} {text!r} is unknown; {hint}Use a name of the taxonomy or of "
                "project.species",
            )
        return "animal", taxon.common_name or taxon.scientific_name, taxon.scientific_name

    def _observation_targets(self, line: int, identifier: str) -> Iterator[Row]:
        observation = self._tables.observations.filter(pl.col("observation_id") == identifier)
        if observation.is_empty():
            self._fail(
                line,
                f"observation_id {identifier} does not exist any more; export the observations "
                "again and fill in the new table",
            )
        timeline = (
            observation.select("detection_timeline")
            .explode("detection_timeline")
            .unnest("detection_timeline")
        )
        boxes = self._tables.detections.join(timeline.select(BOX_KEY), on=BOX_KEY, how="semi")
        yield from boxes.select("content_hash", "frame_number", *"xywh").iter_rows(named=True)
        for path in timeline.filter(pl.col("box_number").is_null())["path"]:
            yield self._whole_medium(path) | {"instead_of": observation["species"].item()}

    def _whole_medium(self, path: str) -> Row:
        return {"content_hash": self._hashes[path], **dict.fromkeys(("frame_number", *"xywh"))}

    def _medium_target(self, line: int, cells: Cells) -> Row | None:
        path = self._medium_path(cells)
        if path not in self._hashes:
            if path.split("/")[0] in self._tables.others:
                return None
            self._fail(line, f"camera {self._tables.camera_id} has no medium {path}")
        frame, box = (_digits(cells.get(name, "")) for name in ("frame_number", "box_number"))
        count = self._count(line, cells)
        if not frame:
            return self._whole_medium(path) | {"count": count}
        if count is not None:
            self._fail(line, "a count applies to a whole medium; clear count or frame_number")
        found = self._tables.detections.filter(
            (pl.col("path") == path)
            & (pl.col("frame_number").cast(pl.String) == frame)
            & (pl.col("box_number").cast(pl.String) == (box or "0"))
        )
        if found.is_empty():
            self._fail(line, f"{path} has no box {box or 0} in frame {frame}")
        return found.select("content_hash", "frame_number", *"xywh").row(0, named=True)

    def _count(self, line: int, cells: Cells) -> int | None:
        """The number of animals; None for 0, which Timelapse writes if the user did not count."""
        name = next((name for name in COUNT_COLUMN_NAMES if cells.get(name)), "")
        text = cells.get(name, "0")
        try:
            count = parse_count(text)
        except ValueError:
            count = MAX_COUNT + 1
        if count > MAX_COUNT:
            self._fail(
                line, f"{name} {text[:MAX_DIGITS]!r} is not a number of animals; write it in digits"
            )
        return count or None

    def _medium_path(self, cells: Cells) -> str:
        if "path" in cells:
            return cells["path"]
        folder = cells.get("RelativePath", "").replace("\\", "/").strip("/")
        path = f"{folder}/{cells.get('File', '')}".strip("/")
        # In a file of a whole project, the media of a camera are below its id.
        inside = path.removeprefix(f"{self._tables.camera_id}/")
        return inside if inside in self._hashes else path

    def _fail(self, line: int, reason: str) -> NoReturn:
        raise UsageError(f"{self._path}, line {line}: {reason}")


def _digits(text: str) -> str:
    """The number of a frame or box, which a spreadsheet may write as 2.0; another text as it is."""
    try:
        return str(parse_count(text))
    except ValueError:
        return text
