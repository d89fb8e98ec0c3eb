"""Write XLSX: sheets of rows with a frozen head, as a stream. The same rows are the same bytes.

Texts are cells of text, whatever they begin with; nothing becomes a formula, a link or a number.
XlsxWriter holds one row in memory, the rest in a file next to the result until that is packed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

MAX_ROWS = 1_048_576  # of a sheet, with its head
MAX_CHARACTERS = 32_767  # of a cell
# A workbook states when it was made; a constant, so that the same rows are the same bytes.
_MADE = datetime(2000, 1, 1, tzinfo=UTC)

Value = str | int | float | bool | date | None


@dataclass(frozen=True)
class SheetColumn:
    """A column of a sheet.

    Attributes:
        width: in characters.
        choices: the sheet whose first column lists what to choose from; other values are possible.
        to_fill: is for people to fill in; its head has a colour.
    """

    name: str
    width: int = 12
    choices: "Sheet | None" = None
    to_fill: bool = False


@dataclass(frozen=True)
class Sheet:
    """A sheet: a head and its rows, with a value for each column."""

    title: str
    columns: tuple[SheetColumn, ...]
    rows: Iterable[Sequence[Value]]
    row_count: int


def write_workbook(path: Path, sheets: Sequence[Sheet]) -> None:
    """Write a workbook.

    Raises:
        ValueError: a sheet has more than MAX_ROWS with its head.
    """
    import xlsxwriter  # only for those who write one

    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        **dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False),
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        book.set_properties({"created": _MADE})
        for sheet in sheets:
            _SheetWriter(book, sheet).write()


class _SheetWriter:
    """Writer of one sheet."""

    def __init__(self, book: Any, sheet: Sheet) -> None:
        if sheet.row_count >= MAX_ROWS:
            raise ValueError(f"{sheet.row_count} rows are more than a sheet has")
        self._sheet, self._page = sheet, book.add_worksheet(sheet.title)
        self._text = book.add_format({"num_format": "@"})
        self._day = book.add_format({"num_format": "yyyy-mm-dd"})
        self._head = book.add_format({"bold": True})
        self._head_to_fill = book.add_format({"bold": True, "bg_color": "#FFF2CC"})

    def write(self) -> None:
        """Write the head, the rows, and what the columns offer."""
        columns, page = self._sheet.columns, self._page
        for place, column in enumerate(columns):
            page.set_column(place, place, column.width, self._text if column.to_fill else None)
            head = self._head_to_fill if column.to_fill else self._head
            page.write_string(0, place, column.name, head)
        for row, values in enumerate(self._sheet.rows, start=1):
            for place, value in enumerate(values):
                if value is not None:
                    self._write(row, place, value)
        page.freeze_panes(1, 0)
        last = max(self._sheet.row_count, 1)
        if len(columns) > 1:
            page.autofilter(0, 0, last, len(columns) - 1)
        for place, column in enumerate(columns):
            if column.choices:
                page.data_validation(1, place, last, place, _choice(column.choices))

    def _write(self, row: int, place: int, value: Value) -> None:
        if isinstance(value, str):
            text = value if len(value) <= MAX_CHARACTERS else f"{value[: MAX_CHARACTERS - 1]}…"
            self._page.write_string(row, place, text, self._text)
        elif isinstance(value, bool):
            self._page.write_boolean(row, place, value)
        elif isinstance(value, date):
            self._page.write_datetime(row, place, value, self._day)
        else:
            self._page.write_number(row, place, value)


def _choice(choices: Sheet) -> dict[str, Any]:
    return {
        "validate": "list",
        "source": f"='{choices.title}'!$A$2:$A${choices.row_count + 1}",
        "error_type": "information",
        "error_title": "Not in the list",
        "error_message": "A name that is not in the list is possible, if the taxonomy has it.",
    }
