"""XLSX: the records of the sheet that holds the table, with values as text.

openpyxl parses the sheets, as a stream. Numbers are decimal, dates ISO 8601, booleans true and
false; a formula is the value that the spreadsheet stored for it. Hidden rows count.
"""

import io
import itertools
import re
import warnings
import zlib
from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile, ZipFile

from resources.errors import UsageError
from resources.spreadsheets.csv_text import HEADER_WITHIN
from resources.spreadsheets.xlsx_package import MAX_SHEET_ROWS, SheetFacts, check_package

MAX_SHEETS = 100
# Characters of a number format that show a time of day; text in quotes and brackets is left out.
_TIME_FORMAT = re.compile(r"[hHsS]")
_QUOTED = re.compile(r'"[^"]*"|\\.|\[(?!h|m|s)[^\]]*\]', re.IGNORECASE)
_RANGE = re.compile(r"[A-Z]+(\d+)(?::[A-Z]+(\d+))?")
# What the library raises for a file that is not as it expects.
_UNREADABLE = (
    *(ParseError, BadZipFile, zlib.error, OSError, EOFError, UnicodeDecodeError),
    *(KeyError, ValueError, IndexError, TypeError, AttributeError, NotImplementedError),
    *(RuntimeError, ArithmeticError),
)

Record = tuple[int, list[str]]
SheetRow = tuple[int, tuple[Any, ...]]  # its number and its cells, of the library


def xlsx_records(
    data: bytes, name: str, required: Collection[str], known: Collection[str]
) -> Iterator[Record]:
    """Yield the records of the first sheet with a known header, from the header on, by their rows.

    Without such a sheet, those of the first sheet that has any.

    Args:
        name: of the file, for messages.
        required, known: columns by which a header is recognised.

    Raises:
        UsageError: it is no workbook, its table has merged cells, or a formula has no value.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            sheets = check_package(archive, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of features that are not read
            yield from _records(data, name, sheets, required, known)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{name}: cannot be read as a workbook ({type(error).__name__}: {reason}); save it "
            "again from the spreadsheet as XLSX or CSV UTF-8"
        ) from None


def _records(
    data: bytes,
    name: str,
    sheets: dict[str, SheetFacts],
    required: Collection[str],
    known: Collection[str],
) -> Iterator[Record]:
    import openpyxl

    def opened(data_only: bool) -> Any:
        return openpyxl.load_workbook(
            io.BytesIO(data), read_only=True, data_only=data_only, keep_links=False
        )

    book = opened(data_only=True)
    place, first = _table_place(book, name, required, known)
    if place is None:
        return
    sheet = book.worksheets[place]
    # The path of a sheet's part has no public name in the library.
    facts = sheets[str(sheet._worksheet_path).lstrip("/")]
    _check_merged(facts.merged, first, f"{name}, sheet {sheet.title}")
    rows: Iterator[SheetRow] = itertools.islice(_rows(sheet, name), first - 1, None)
    if facts.has_formulas:
        rows = _with_values(rows, _rows(opened(data_only=False).worksheets[place], name), name)
    for row, cells in rows:
        yield row, [_text(cell) for cell in cells]


def _with_values(
    rows: Iterator[SheetRow], formulas: Iterator[SheetRow], name: str
) -> Iterator[SheetRow]:
    """Yield the rows; a formula without a stored value is an error, not an empty cell.

    Args:
        formulas: the rows of the same sheet with formulas instead of values, from the first.
    """
    for row, cells in rows:
        written = next(cells for number, cells in formulas if number == row)
        for cell, source in zip(cells, written, strict=True):
            if cell.value is None and source.data_type == "f" and cell.data_type != "str":
                raise UsageError(
                    f"{name}, line {row}: the formula in {source.coordinate} has no value; open "
                    "the table in a spreadsheet and save it again"
                )
        yield row, cells


def _table_place(
    book: Any, name: str, required: Collection[str], known: Collection[str]
) -> tuple[int | None, int]:
    """The place of the sheet that holds the table, and the row of its header."""
    if len(book.worksheets) > MAX_SHEETS:
        raise UsageError(f"{name}: has more than {MAX_SHEETS} sheets; save the table alone")
    fallback: tuple[int | None, int] = (None, 1)
    wanted = {each.casefold() for each in required}
    any_of = {each.casefold() for each in (*required, *known)}
    for place, sheet in enumerate(book.worksheets):
        for row, cells in itertools.islice(_rows(sheet, name), HEADER_WITHIN):
            names = {_text(cell).strip().casefold() for cell in cells} - {""}
            if names and fallback[0] is None:
                fallback = place, row
            if names and wanted <= names and (not any_of or names & any_of):
                return place, row
    return fallback


def _rows(sheet: Any, name: str) -> Iterator[SheetRow]:
    sheet.reset_dimensions()  # they are stated by the file, and may be false
    for row, cells in enumerate(sheet.iter_rows(), start=1):
        if row > MAX_SHEET_ROWS:
            raise UsageError(f"{name}, sheet {sheet.title}: has more than {MAX_SHEET_ROWS:,} rows")
        yield row, cells


def _check_merged(ranges: Collection[str], first: int, where: str) -> None:
    for each in ranges:
        match = _RANGE.fullmatch(each)
        last = int(match[2] or match[1]) if match else first
        if last >= first:
            what = "header" if match and int(match[1]) <= first else "row"
            raise UsageError(
                f"{where}: the cells {each} are merged in a {what} of the table; unmerge them, so "
                "that each cell has its own value"
            )


def _text(cell: Any) -> str:
    """The text of a cell: a number in decimals, a day or a time in ISO 8601, true or false."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return _moment(value, str(cell.number_format))
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, time):
        return value.replace(microsecond=0).isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def _moment(value: datetime, number_format: str) -> str:
    """A day if the cell shows no time of day, else a time; to the second, which is exact."""
    rounded = (value + timedelta(milliseconds=500)).replace(microsecond=0)
    if rounded.time() == time() and not _TIME_FORMAT.search(_QUOTED.sub("", number_format)):
        return rounded.date().isoformat()
    return rounded.isoformat()


def _duration(value: timedelta) -> str:
    """A duration as `parse_shift` reads it: [-][D.]HH:MM:SS."""
    seconds = round(abs(value.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    sign = "-" if value < timedelta() else ""
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{sign}{days}.{clock}" if days else f"{sign}{clock}"
