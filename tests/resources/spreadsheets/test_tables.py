"""Tables as spreadsheets and people save them: CSV."""

import logging
from pathlib import Path

import pytest

from resources.errors import UsageError
from resources.spreadsheets.ignored_columns import warn_of_ignored_columns
from resources.spreadsheets.tables import MAX_COLUMNS, Table, parse_table, read_table

TEXT = "path,species,count\nDCIM/1.jpg,räv,2\n"
ROW = {"path": "DCIM/1.jpg", "species": "räv", "count": "2"}


def parse(data: str | bytes, **names: list[str]) -> Table:
    data = data.encode() if isinstance(data, str) else data
    return parse_table(data, "t.csv", **names)


def error_of(data: str | bytes, **names: list[str]) -> str:
    with pytest.raises(UsageError) as refused:
        parse(data, **names)
    message = str(refused.value)
    assert message.startswith("t.csv") and "\n" not in message
    return message


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_as_spreadsheets_save_it(encoding: str, separator: str, end: str) -> None:
    text = TEXT.replace(",", separator).replace("\n", end)
    (row,) = parse(text.encode(encoding)).rows
    assert (row.line, dict(row.cells)) == (2, ROW)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised_without_and_with_a_byte_order_mark(encoding: str) -> None:
    for data in (TEXT.encode(encoding), f"\ufeff{TEXT}".encode(encoding)):
        assert dict(parse(data).rows[0].cells) == ROW


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (TEXT.encode() + "räv\n".encode("cp1252"), "line 3: is partly in UTF-8 and partly not"),
        (b"path,species\n1,\x81\n", "line 2: is not text in UTF-8 or Windows-1252"),
        (b"\xff\xfep\0a", "line 1: is not text in UTF-16"),
        ("\ufeff".encode() + b"path\nr\xe4v\n", "line 2: is not text in UTF-8"),
        (b"path,species\n1,a\0b\n", "line 2: has a null character"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_line(data: bytes, reason: str) -> None:
    assert reason in error_of(data)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
            "an Excel workbook of before 2007 (.xls)",
        ),
        (
            b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"),
            "a workbook with a password",
        ),
        (b"<!DOCTYPE html><table><tr><td>path", "a web page (HTML)"),
        (b"\xef\xbb\xbf<html xmlns:x=''>", "a web page (HTML)"),
        (b"<?xml version='1.0'?><Workbook>", "an XML document"),
        (b'{"media": []}', "JSON"),
        (b"%PDF-1.7", "a PDF"),
        (b"SQLite format 3\0" + bytes(99), "a database"),
    ],
)
def test_another_kind_of_file_is_refused_by_what_it_is(data: bytes, kind: str) -> None:
    assert f"t.csv: is {kind}, which is not read as a table; save the table as" in error_of(data)


# Separators and records


def test_the_line_that_names_the_separator_is_no_row() -> None:
    table = parse("sep=;\r\npath;species\r\n1,5;a\r\n")
    assert (table.columns, table.rows[0].line) == (("path", "species"), 3)
    assert table.rows[0].cells["path"] == "1,5"
    assert "the separator '|' is not read" in error_of("sep=|\na|b\n")


def test_the_separator_is_the_one_that_finds_known_columns() -> None:
    text = 'name; with, many, commas;path;"a;b"\n1;2;3\n'
    assert parse(text, known=["path"]).columns == ("name", "with, many, commas", "path", "a;b")


def test_a_table_of_one_column_is_read() -> None:
    assert parse("path\n1.jpg\n").rows[0].cells["path"] == "1.jpg"


def test_a_quoted_cell_may_have_separators_quotes_and_line_breaks() -> None:
    table = parse('path,comment\n1,"a ""b"",\nc"\n2,d\n')
    assert [(row.line, row.cells["comment"]) for row in table.rows] == [(2, 'a "b",\nc'), (4, "d")]
    assert "line 2: is not CSV" in error_of('path,comment\n1,"a\n2,b\n')


def test_blank_rows_and_columns_are_left_out() -> None:
    table = parse(",,\n\n path ,,species,\n,,,\n1,,a,\n , ,\t,\n2,,b\n,,,\n")
    assert table.columns == ("path", "species")
    assert [(row.line, row.cells["path"]) for row in table.rows] == [(5, "1"), (7, "2")]
    assert table.unnamed == ()


def test_missing_values_of_r_are_blank() -> None:
    table = parse('"","path","species","count"\n"1","NA.jpg",NA,2\n"2","b.jpg","NANA",NA\n')
    assert [dict(row.cells) for row in table.rows] == [
        {"path": "NA.jpg", "species": "", "count": "2"},
        {"path": "b.jpg", "species": "NANA", "count": ""},
    ]


def test_a_short_row_has_empty_cells_and_a_long_one_is_refused() -> None:
    table = parse("path,species,count\n1,a\n2\n3,b,,\n")
    assert [row.cells["species"] for row in table.rows] == ["a", "", "b"]
    assert "line 2: has more values than the first line has columns" in error_of("a,b\n59,32,1\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "t.csv: has no rows; its first line must name the columns"),
        (",,\n,,\n", "t.csv: has no rows"),
        ("path,species,path\n", "line 1: 2 columns are named path (columns 1, 3)"),
        ("\npath,species\n", "line 2: column count is missing"),
        (",".join(map(str, range(MAX_COLUMNS + 1))), f"line 1: has more than {MAX_COLUMNS} col"),
        ("count,path\n1,#N/A\n", "line 2: path is the error #N/A"),
        ("count,path\n1,#NAMN?\n", "line 2: path is the error #NAMN?"),
        ("count,path\n1,Err:508\n", "line 2: path is the error Err:508"),
        ("count\n" + "x" * 200_000, "line 2: is not CSV: field larger than"),
        ("count\n\n" + "," * 5_000_000, "line 3: is not CSV: a row is longer than"),
        ('count\n1,"' + '\n","' * 1_500_000, "line 2: is not CSV: a row is longer than"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, reason: str) -> None:
    assert reason in error_of(text, required=["count"], known=["path"])


def test_a_title_may_be_above_a_header_that_is_known() -> None:
    text = "Deployments, spring\n\nridge;x\nCameraID;latitude\nridge;59,32\n"
    table = parse(text, required=["cameraID", "latitude"])
    assert [(row.line, dict(row.cells)) for row in table.rows] == [
        (5, {"cameraID": "ridge", "latitude": "59,32"})
    ]


def test_a_column_in_another_case_is_the_known_one() -> None:
    table = parse("Path,SPECIES,Note\n1,a,b\n", required=["path"], known=["species"])
    assert table.columns == ("path", "species", "Note")
    assert parse("Species,species\na,b\n", known=["species", "Species"]).rows[0].cells == {
        "Species": "a",
        "species": "b",
    }


def test_the_mark_of_a_formula_is_removed() -> None:
    (row,) = parse("path,comment\n'-1.jpg,''=1\n").rows
    assert row.cells == {"path": "-1.jpg", "comment": "'=1"}


# Decimal commas


@pytest.mark.parametrize(
    ("text", "comma"),
    [
        ("a;b\n59,32;1\n", True),
        ("a,b\n59.32,1\n", False),
        ("a\tb\n59,32\t1\n", True),
        ("a\tb\n1,234\t1\n", False),  # may have a separator of thousands
        ("a\tb\n59,32\t1.5\n", False),
        ('a,b\n"59,32",1\n', True),
        ('a,b\n"59,329",1\n', False),
    ],
)
def test_a_decimal_comma_is_known_by_the_separator_or_shown(text: str, comma: bool) -> None:
    assert parse(text).decimal_comma is comma


# Columns without a use, files


def test_unknown_columns_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    table = parse("path,Latitud,note,\n1,2,3,4\n")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            warn_of_ignored_columns(table, ["path", "latitude"])
    assert caplog.messages == [
        "t.csv: unknown columns, ignored: Latitud (did you mean latitude?), note, column 4"
    ]


def test_of_equally_close_columns_the_first_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_ignored_columns(parse("Problem_to\nx\n"), [f"Problem{n}_to" for n in range(1, 50)])
    assert "(did you mean Problem1_to?)" in caplog.text


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}/gone.csv: cannot be read: No such file"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match=f"^{tmp_path}: is a folder; name a CSV or XLSX file"):
        read_table(tmp_path)
