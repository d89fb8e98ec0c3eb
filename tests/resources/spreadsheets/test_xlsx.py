"""XLSX: tables from workbooks, and workbooks of tables."""

import io
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest

from resources.errors import UsageError
from resources.spreadsheets import xlsx_package, xlsx_writer
from resources.spreadsheets.tables import Table, parse_table
from resources.spreadsheets.xlsx_writer import Sheet, SheetColumn, write_workbook

Change = Callable[[Any], None]


def workbook(*sheets: Sequence[Sequence[object]], change: Change | None = None) -> bytes:
    """The bytes of a workbook with these rows; `change` gets the library's workbook."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(list(row))
    if change:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def parse(data: bytes, **names: list[str]) -> Table:
    return parse_table(data, "t.xlsx", **names)


def error_of(data: bytes, **names: list[str]) -> str:
    with pytest.raises(UsageError) as refused:
        parse(data, **names)
    message = str(refused.value)
    assert message.startswith("t.xlsx") and "\n" not in message
    return message


# Values


def test_cells_are_text_as_a_csv_would_have_it() -> None:
    values = {
        "räv": "räv",
        " '=1 ": "=1",
        59.32: "59.32",
        17.0: "17",
        12: "12",
        datetime(2026, 5, 3, 9, 30, 11): "2026-05-03T09:30:11",
        datetime(2026, 5, 3, 9, 30, 10, 999_900): "2026-05-03T09:30:11",
        date(2026, 5, 3): "2026-05-03",
        time(2, 0): "02:00:00",
        timedelta(days=1, hours=6, minutes=30): "1.06:30:00",
    }
    (row,) = parse(workbook([[f"c{each}" for each in range(len(values))], list(values)])).rows
    assert list(row.cells.values()) == list(values.values())
    (row,) = parse(workbook([["a", "b", "c"], [True, False, None]])).rows
    assert dict(row.cells) == {"a": "true", "b": "false", "c": ""}


def test_midnight_is_a_day_unless_the_cell_shows_a_time() -> None:
    def show_days(book: Any) -> None:
        book.worksheets[0]["A2"].number_format = 'd "h" mmm yyyy'

    midnight = datetime(2026, 5, 3)
    (row,) = parse(workbook([["a", "b"], [midnight, midnight]], change=show_days)).rows
    assert dict(row.cells) == {"a": "2026-05-03", "b": "2026-05-03T00:00:00"}


def test_lines_are_rows_of_the_sheet_also_behind_blank_and_hidden_ones() -> None:
    def hide(book: Any) -> None:
        book.worksheets[0].row_dimensions[3].hidden = True

    rows = [[], ["a", None, "b"], [1, None, 2], [None, None, " "], [3, None, 4]]
    table = parse(workbook(rows, change=hide))
    assert table.columns == ("a", "b")
    assert [(row.line, row.cells["b"]) for row in table.rows] == [(3, "2"), (5, "4")]


# Sheets


def test_the_first_sheet_with_a_known_header_is_the_table() -> None:
    guide = [["How to fill this in"], ["path", "is the path"]]
    other = [["Deployments of 2026"], [], ["CameraID", "Latitude", "note"], ["ridge", 59.32, "x"]]
    table = parse(workbook(guide, other), required=["cameraID", "latitude"])
    assert table.rows[0].cells == {"cameraID": "ridge", "latitude": "59.32", "note": "x"}
    assert table.rows[0].line == 4
    assert "line 1: column cameraID is missing" in error_of(workbook(guide), required=["cameraID"])
    assert "has no rows" in error_of(workbook([], []))


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        (["A1:B1"], "the cells A1:B1 are merged in a header of the table; unmerge them"),
        (["A2:A3"], "the cells A2:A3 are merged in a row of the table"),
    ],
)
def test_merged_cells_of_the_table_are_refused(ranges: list[str], reason: str) -> None:
    def merge(book: Any) -> None:
        for each in ranges:
            book.worksheets[0].merge_cells(each)

    assert reason in error_of(workbook([["a", "b"], [1, 2], [3, 4]], change=merge))


def test_a_merged_title_above_the_table_is_none_of_its_cells() -> None:
    rows = [["Title", None], ["path", "species"], ["1", "2"]]
    data = workbook(rows, change=lambda book: book.worksheets[0].merge_cells("A1:B1"))
    assert parse(data, required=["path"]).rows[0].line == 3


# Formulas


def test_a_formula_is_its_stored_value_and_one_without_is_refused() -> None:
    rows = [["a", "b"], [1, "=A2+1"]]
    assert "line 2: the formula in B2 has no value; open the table" in error_of(workbook(rows))
    stored = replaced(workbook(rows), "xl/worksheets/sheet1.xml", b"<v />", b"<v>2</v>")
    assert parse(stored).rows[0].cells["b"] == "2"
    empty = replaced(workbook(rows), "xl/worksheets/sheet1.xml", b'r="B2"', b'r="B2" t="str"')
    assert parse(empty).rows[0].cells["b"] == ""


def test_the_error_of_a_formula_is_refused_in_a_column_that_is_used() -> None:
    data = workbook([["path", "note"], ["#N/A", "#N/A"]])
    assert "line 2: path is the error #N/A; correct the formula" in error_of(data, known=["path"])
    assert parse(workbook([["path", "note"], ["1", "#N/A"]]), known=["path"]).rows


# Hostile and other files


def replaced(data: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """The archive with a part in which something is replaced."""
    file = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as source, ZipFile(file, "w", ZIP_DEFLATED) as target:
        for each in source.infolist():
            content = source.read(each)
            assert each.filename != part or old in content
            target.writestr(each, content.replace(old, new) if each.filename == part else content)
    return file.getvalue()


def archive(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as target:
        for name, content in parts.items():
            target.writestr(name, content)
    return file.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"photo.jpg": b"x"}, "a ZIP archive"),
        (
            {"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"},
            "an OpenDocument spreadsheet (.ods)",
        ),
        ({"word/document.xml": b"<a/>"}, "a Word document"),
        ({"xl/workbook.bin": b"x"}, "a binary Excel workbook (.xlsb)"),
        ({"Index/Document.iwa": b"x"}, "a Numbers document"),
    ],
)
def test_another_archive_is_refused_by_what_it_is(parts: dict[str, bytes], kind: str) -> None:
    assert f"is {kind}, which is not read as a table" in error_of(archive(**parts))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"<sheetData>", b'<!DOCTYPE a [<!ENTITY b "c">]><sheetData>', "is not plain XML"),
        (b"<sheetData>", b"<![CDATA[</row>]]><sheetData>", "is not plain XML"),
        (b"<sheetData>", b"<!--</row>--><sheetData>", "is not plain XML"),
        (b"<sheetData>", b"<?x </row>?><sheetData>", "is not plain XML"),
        (b"<sheetData>", b'<?xml encoding="cp037"?><sheetData>', "is not plain XML"),
        (b"<sheetData>", b"<sheetData>" + b"<c/>" * 3_000_000, "too many or too long"),
        (b"<sheetData>", b"<sheetData>" + b"<row/>" * 1_100_000, "too many or too long"),
        (b"</sheetData>", b"", "cannot be read as a workbook"),
        (b'<row r="2"', b'<row r="99999999999"', "has more than 1,048,576 rows"),
    ],
)
def test_what_no_spreadsheet_writes_is_refused(old: bytes, new: bytes, reason: str) -> None:
    assert reason in error_of(replaced(workbook([["a"], [1]]), SHEET, old, new))


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = workbook([["a"], [1]])
    monkeypatch.setattr(xlsx_package, "MAX_UNPACKED", 1000)
    assert "is larger than 0 MB unpacked; save the table as CSV" in error_of(data)


def test_a_damaged_part_is_an_error_of_one_line() -> None:
    data = workbook([["a"], [1]])
    style = replaced(data, "xl/styles.xml", b'numFmtId="0"', b'numFmtId="99999999999999999999"')
    types = replaced(data, "[Content_Types].xml", b"worksheet+xml", b"other+xml")
    number = replaced(data, SHEET, b"<v>1</v>", b"<v>one</v>")
    for damaged in (style, number):
        assert "cannot be read as a workbook" in error_of(damaged)
    assert parse(types).rows, "the relations say what is a sheet"


def test_damaged_archives_are_refused() -> None:
    data = workbook([["a"], [1]])
    for damaged in (data[:-30], data[:60] + bytes(200) + data[260:], b"PK\x03\x04"):
        assert "is damaged" in (message := error_of(damaged)) or "cannot be read" in message


# Written


def written(path: Path, rows: list[tuple[xlsx_writer.Value, ...]]) -> bytes:
    names = Sheet("names", (SheetColumn("names to choose from", 30),), [("red fox",)], 1)
    columns = (
        SheetColumn("id", 20),
        SheetColumn("count"),
        SheetColumn("confirmed_species", choices=names, to_fill=True),
    )
    write_workbook(path, [Sheet("observations", columns, rows, len(rows)), names])
    return path.read_bytes()


def test_a_workbook_has_a_frozen_head_a_filter_and_names_to_choose_from(tmp_path: Path) -> None:
    written(tmp_path / "t.xlsx", [("6600", 1, None), ("=1+1", 2, "http://x")])
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx")["observations"]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:C3")
    (choice,) = sheet.data_validations.dataValidation
    assert (str(choice.sqref), choice.formula1) == ("C2:C3", "'names'!$A$2:$A$2")
    assert [(cell.value, cell.data_type) for cell in sheet["A"][1:]] == [
        ("6600", "s"),
        ("=1+1", "s"),  # text, not a formula
    ]
    assert sheet["B2"].data_type == "n" and sheet["C3"].hyperlink is None


def test_the_same_rows_are_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    rows = [("6600", 1, "a\u00e4\U0001f98a"), ("x" * 40_000, 2.5, None)]
    data = written(tmp_path / "a.xlsx", rows)
    assert data == written(tmp_path / "b.xlsx", rows)
    first, second = parse(data, known=["id"]).rows
    assert dict(first.cells) == {"id": "6600", "count": "1", "confirmed_species": rows[0][2]}
    assert second.cells["id"] == "x" * 32_766 + "…"
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".xlsx"] == []


def test_more_rows_than_a_sheet_has_are_not_written(tmp_path: Path) -> None:
    sheet = Sheet("a", (SheetColumn("a"),), [], xlsx_writer.MAX_ROWS)
    with pytest.raises(ValueError, match="1048576 rows are more than a sheet has"):
        write_workbook(tmp_path / "t.xlsx", [sheet])
