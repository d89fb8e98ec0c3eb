"""Tables from outside: corrections, deployments, clock corrections, species.

One reader for all of them, so that a table is read the same way whatever it is about. The content
decides what the file is, not its name.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from resources.errors import UsageError
from resources.spreadsheets.csv_text import HEADER_WITHIN, csv_records
from resources.spreadsheets.formula_marks import unmark
from resources.user_path import special_file

MAX_BYTES = 512 * 1024**2
MAX_ROWS = 5_000_000
MAX_COLUMNS = 1_000
ZIP_START = b"PK\x03\x04"
MISSING = "NA"  # as R writes a missing value into a CSV

# Errors of formulas as spreadsheets show them, in any language: #N/A, #REF!, #NAMN?, Err:508.
_ERROR = re.compile(r"#(?:N/A|I/T|[A-ZÀ-Ý/]{2,20}[0-9]?[!?])|Err:\d{3}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")

Record = tuple[int, list[str]]


class Cells(Mapping[str, str]):
    """The cells of a row by their column: stripped text without formula mark; "" is empty, or
    MISSING."""

    __slots__ = ("_places", "_texts")

    def __init__(self, places: Mapping[str, int], texts: tuple[str, ...]) -> None:
        self._places, self._texts = places, texts

    def __getitem__(self, column: str) -> str:
        place = self._places[column]
        return self._texts[place] if place < len(self._texts) else ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        line: 1-based line of a CSV file at which it begins, or row of a sheet; for messages.
        cells: a cell for each named column.
    """

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table, without its blank rows.

    Attributes:
        name: of the file, for messages.
        columns: names of the columns, in order; blank columns are left out.
        unnamed: columns with values but without a name, as `column 7`; they are not in `cells`.
        decimal_comma: `59,32` is a number; see `values.parse_number`.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool = False
    unnamed: tuple[str, ...] = ()

    def unknown(self, known: Collection[str]) -> tuple[str, ...]:
        """Return the columns that are not known, for a message."""
        return (*(name for name in self.columns if name not in known), *self.unnamed)


def read_table(path: Path, *, required: Collection[str] = (), known: Collection[str] = ()) -> Table:
    """Read a table from a file; see `parse_table`.

    Raises:
        UsageError: also if the file cannot be read.
    """
    try:
        if kind := special_file(path.stat().st_mode):
            raise UsageError(f"{path}: {kind}; name a CSV or XLSX file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_table(data, str(path), required=required, known=known)


def parse_table(
    data: bytes, name: str, *, required: Collection[str] = (), known: Collection[str] = ()
) -> Table:
    """Parse the content of a CSV or XLSX file; the content decides which of the two it is.

    Args:
        name: of the file, for messages.
        required: columns that the table must have.
        known: further columns that it may have, by which its first line is recognised. A column
            that differs from a required or known one in case alone gets its name.

    Raises:
        UsageError: the file is no table, lacks a required column, names a column twice, or is
            longer than MAX_BYTES or MAX_ROWS; names the line.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name}: is larger than {MAX_BYTES // 1024**2} MB; split the table")
    separator, records = _parsed(data, name, required, known)
    return _table(name, records, required, known, separator)


def _parsed(
    data: bytes, name: str, required: Collection[str], known: Collection[str]
) -> tuple[str, Iterator[Record]]:
    """The separator of a CSV file, none of a workbook; and the records."""
    if data.startswith(ZIP_START):
        from resources.spreadsheets.xlsx_reader import xlsx_records  # loads a large library

        return "", xlsx_records(data, name, required, known)
    return csv_records(data, name, {*required, *known})


def _table(
    name: str,
    records: Iterator[Record],
    required: Collection[str],
    known: Collection[str],
    separator: str,
) -> Table:
    line, header, records = _header(records, required, known)
    if not header:
        raise UsageError(f"{name}: has no rows; its first line must name the columns")
    if len(header) > MAX_COLUMNS:
        raise UsageError(f"{name}, line {line}: has more than {MAX_COLUMNS} columns")
    names = _in_known_case([unmark(text.strip()) for text in header], {*required, *known})
    _check_columns(name, line, names, required)
    rows, filled = _rows(name, records, names)
    _check_errors(name, rows, {*required, *known} or set(names))
    return Table(
        name=name,
        columns=tuple(filter(None, names)),
        rows=rows,
        decimal_comma=_has_decimal_comma(rows, separator),
        unnamed=tuple(f"column {place + 1}" for place in sorted(filled)),
    )


def _header(
    records: Iterator[Record], required: Collection[str], known: Collection[str]
) -> tuple[int, list[str], Iterator[Record]]:
    """The header, its line, and the records below it.

    The header is the first record that has the required columns and any known one, so that a title
    may be above it; else the first that is not blank.
    """
    first = list(itertools.islice(records, HEADER_WITHIN))
    wanted = {each.casefold() for each in required}
    any_of = {each.casefold() for each in (*required, *known)}
    names = [{unmark(text.strip()).casefold() for text in cells} - {""} for _, cells in first]
    filled = [place for place, each in enumerate(names) if each]
    likely = [p for p in filled if wanted <= names[p] and (not any_of or names[p] & any_of)]
    if not filled:
        return 1, [], records
    place = (likely or filled)[0]
    return *first[place], itertools.chain(first[place + 1 :], records)


def _in_known_case(names: list[str], known: Collection[str]) -> list[str]:
    """The names, in which one that no known name equals but for its case has that case."""
    by_folded = {each.casefold(): each for each in sorted(known) if each not in names}
    return [name if name in known else by_folded.get(name.casefold(), name) for name in names]


def _check_columns(name: str, line: int, names: list[str], required: Collection[str]) -> None:
    for column, times in Counter(filter(None, names)).items():
        if times > 1:
            places = [str(place) for place, each in enumerate(names, 1) if each == column]
            raise UsageError(
                f"{name}, line {line}: {times} columns are named {column} (columns "
                f"{', '.join(places)}); rename or delete all but one"
            )
    missing = [column for column in required if column not in names]
    if missing:
        raise UsageError(
            f"{name}, line {line}: column {missing[0]} is missing; the first line names the columns"
        )


def _rows(
    name: str, records: Iterable[Record], names: list[str]
) -> tuple[tuple[Row, ...], set[int]]:
    """The rows, and the places of columns with values but without a name."""
    places = {column: place for place, column in enumerate(names) if column}
    pool: dict[str, str] = {}
    rows: list[Row] = []
    filled: set[int] = set()
    for line, record in records:
        texts = [_cell(text) for text in record]
        if not any(texts):
            continue
        if any(texts[len(names) :]):
            raise UsageError(
                f"{name}, line {line}: has more values than the first line has columns"
            )
        if len(rows) == MAX_ROWS:
            raise UsageError(f"{name}: has more than {MAX_ROWS:,} rows; split the table")
        filled |= {place for place, text in enumerate(texts) if text and not names[place]}
        pooled = tuple(pool.setdefault(text, text) for text in texts[: len(names)])
        rows.append(Row(line, Cells(places, pooled)))
    return tuple(rows), filled


def _cell(text: str) -> str:
    plain = unmark(text.strip()).strip()
    return "" if plain == MISSING else plain


def _check_errors(name: str, rows: Iterable[Row], used: Collection[str]) -> None:
    """Refuse a cell of a used column that shows the error of a formula."""
    for row in rows:
        for column, text in row.cells.items():
            if text[:1] in "#E" and _ERROR.fullmatch(text) and column in used:
                raise UsageError(
                    f"{name}, line {row.line}: {column} is the error {text}; correct the formula "
                    "or clear the cell"
                )


def _has_decimal_comma(rows: Iterable[Row], separator: str) -> bool:
    """True if a comma in a number can only be a decimal comma.

    Spreadsheets write semicolons where the comma is the decimal separator. Else a number must show
    it: one that cannot have separators of thousands, with no decimal point in another.
    """
    if separator == ";":
        return True
    texts = {text for row in rows for text in row.cells.values() if text[-1:].isdecimal()}
    if any(_DECIMAL_POINT.fullmatch(text) for text in texts):
        return False
    return any(_DECIMAL_COMMA.fullmatch(t) and not _THOUSANDS.fullmatch(t) for t in texts)
