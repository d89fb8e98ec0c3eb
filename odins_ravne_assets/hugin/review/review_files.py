"""Review files: read the rows of a reviewer's file, whatever camera they are of.

The columns of a file decide which of four formats it has; `camera_labels` says what the rows mean.
Tables are CSV as spreadsheets save it, or XLSX (`resources.spreadsheets`).

- The exported `observations.csv` or `observations.xlsx` with `confirmed_species` filled in.
- A table with `path` and `species`, optionally `count`, or `frame_number` and `box_number`.
- A CSV exported by Timelapse (`RelativePath`, `File`, a column of labels, optionally `Count`).
- A database of Timelapse, `.ddb` (SQLite, table DataTable), with the same columns.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from odins_ravne_assets.munin.tables import schemas
from resources.errors import UsageError
from resources.spreadsheets.ignored_columns import warn_of_ignored_columns
from resources.spreadsheets.tables import read_table

LABEL_COLUMN_NAMES = ("confirmed_species", "species", "Species")

# All columns of observations.csv and, below, what Timelapse writes beside the labels.
KNOWN_COLUMNS = (
    *schemas.OBSERVATIONS.names(),
    *("start_time", "end_time", "first_medium"),
    *("confirmed_species", "comment", "path", "frame_number", "box_number"),
    *("RootFolder", "RelativePath", "File", "Folder", "DateTime", "Date", "Time", "DeleteFlag"),
    *("Species", "Count"),
)

Cells = Mapping[str, str]


@dataclass(frozen=True)
class ReviewFile:
    """The rows of a reviewer's file.

    Attributes:
        name: of the file, for messages.
        rows: the line and the cells of each row that is not blank.
        label_column: the column of labels.
    """

    name: str
    rows: tuple[tuple[int, Cells], ...]
    label_column: str

    def label(self, cells: Cells) -> str:
        """Return the label of a row; empty: none."""
        return cells.get(self.label_column, "")


def read_review_file(path: Path, column: str | None = None) -> ReviewFile:
    """Read a review file.

    Args:
        path: the file.
        column: the column of labels; by default the first of LABEL_COLUMN_NAMES in the file.

    Raises:
        UsageError: the file cannot be read, is empty, or has no such column.
    """
    rows = _read(path, column)
    if not rows:
        raise UsageError(f"{path}: has no rows; pass a table or a Timelapse file with labels")
    return ReviewFile(str(path), tuple(rows), _label_column(path, rows[0][1], column))


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
