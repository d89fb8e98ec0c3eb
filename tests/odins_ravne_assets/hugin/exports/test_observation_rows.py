"""The visits as CSV and as a workbook: the same rows, safe to open, and read again."""

import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera

from odins_ravne_assets.hugin.exports import export
from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.exports.observation_rows import observation_rows, offered_names
from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.review.labels import parse_label
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import ListedSpecies, Project
from resources.spreadsheets.tables import read_table
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.review.test_corrections import import_file, observations

FIRST = date(2026, 6, 1)
PERSON = {"category": "person", "label": "person", "scientific_name": "Homo sapiens"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two visits, of names that a spreadsheet would run or change."""
    camera = Camera()
    camera.medium("=cmd|räv 1.jpg", NIGHT, [{"label": "@fox", "scientific_name": None}])
    camera.medium("DCIM/2,5;.jpg", NIGHT + 40_000 * SECOND, [{}, PERSON])
    store = camera.store(tmp_path / "camera7")
    run_stage3(store, Stage3(), {}, Privacy())
    return store


def exported(store: LocalStore, privacy: Privacy | None = None) -> Path:
    export_camera(store, "camera7", Project(), privacy or Privacy())
    return store.root / "stage3"


# Both files


def test_the_workbook_has_the_rows_of_the_csv(store: LocalStore) -> None:
    folder = exported(store)
    rows, cells = (read_table(folder / f"observations.{kind}") for kind in ("csv", "xlsx"))
    assert cells.columns == rows.columns
    for row, other in zip(rows.rows, cells.rows, strict=True):
        numbers = {"duration_seconds", "max_confidence", "avg_confidence", "vote_share"}
        for column, text in row.cells.items():
            mine = other.cells[column]
            assert mine == text or (column in numbers and float(mine) == float(text)), column
    assert rows.rows[0].cells["first_medium"] == "=cmd|räv 1.jpg"


def test_the_workbook_is_the_same_bytes_for_the_same_visits(store: LocalStore) -> None:
    before = (exported(store) / "observations.xlsx").read_bytes()
    assert (exported(store) / "observations.xlsx").read_bytes() == before


def test_what_is_left_out_of_the_csv_is_left_out_of_the_workbook(store: LocalStore) -> None:
    folder = exported(store, Privacy(leave_out_people=True))
    (row,) = (row.cells for row in read_table(folder / "observations.xlsx").rows[1:])
    assert (row["species"], row["first_medium"]) == ("red fox", "")


def test_every_text_column_is_marked_and_no_number_is(store: LocalStore) -> None:
    rows = pl.read_parquet(store.root / "stage3" / "observations.parquet").head(1)
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    formula = rows.with_columns(pl.lit("=1+1").alias(name) for name in texts)
    shown = observation_rows(formula.with_columns(avg_confidence=pl.lit(-0.5))).row(0, named=True)
    marked = {name for name, value in shown.items() if value == "'=1+1"}
    assert {"reviewed_by", "machine_species", "camera_id", "species", "first_medium"} <= marked
    assert "=1+1" not in shown.values()
    assert shown["avg_confidence"] == -0.5


def test_cells_of_the_workbook_are_texts_and_numbers_never_formulas(store: LocalStore) -> None:
    book = openpyxl.load_workbook(exported(store) / "observations.xlsx")
    assert book.sheetnames == ["observations", "names", "help"]
    head, row, *_ = book["observations"].iter_rows()
    kinds = {name.value: cell.data_type for name, cell in zip(head, row, strict=True)}
    assert kinds["observation_id"] == kinds["first_medium"] == kinds["start_time"] == "s"
    assert kinds["count"] == kinds["max_confidence"] == "n"
    assert "f" not in kinds.values()
    (choice,) = book["observations"].data_validations.dataValidation
    names = [cell.value for cell in book["names"]["A"]]
    assert choice.formula1 == f"'names'!$A$2:$A${len(names)}"
    assert {"nothing", "person", "setup", "calibration", "red fox"} <= set(names)


def test_names_to_choose_from_are_those_of_the_project_and_are_read() -> None:
    listed = (ListedSpecies(scientific_name="Vulpes vulpes"), ListedSpecies(scientific_name="Lynx"))
    for species in (listed, ()):
        taxonomy = project_taxonomy(species)
        names = offered_names(taxonomy)
        assert all(parse_label(name, taxonomy) for name in names)
        assert len(names) == len(set(names))
    assert offered_names(project_taxonomy(listed))[-2:] == ["lynx", "red fox"]


def test_more_visits_than_a_sheet_has_rows_are_in_the_csv_alone(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (exported(store) / "observations.xlsx").exists()
    monkeypatch.setattr(export, "MAX_XLSX_ROWS", 1)
    result = export_camera(store, "camera7", Project(), Privacy())
    (remark,) = (each for each in result.remarks if "xlsx" in each)
    assert remark.startswith("no observations.xlsx: 3 visits are more than the 1 rows of a sheet")
    assert not (store.root / "stage3" / "observations.xlsx").exists()


# Filled in, and read again


def filled(rows: list[list[str]], comma: bool = False) -> list[list[str]]:
    """The rows as a reviewer has filled them in."""
    place = {name: number for number, name in enumerate(rows[0])}
    copy = [list(row) for row in rows]
    copy[1][place["confirmed_species"]] = "red fox"
    copy[1][place["comment"]] = 'räv; "två",\n\'=inte en formel'
    for row in copy[1:] if comma else []:
        for name in ("duration_seconds", "max_confidence", "avg_confidence"):
            row[place[name]] = row[place[name]].replace(".", ",")
        row[place["needs_review"]] = row[place["needs_review"]].upper()
    return copy


def as_csv(separator: str, encoding: str, head: str = "", tail: str = "") -> Callable[..., bytes]:
    def save(rows: list[list[str]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=separator)
        writer.writerows(filled(rows, comma=separator != ","))
        return f"{head}{text.getvalue()}{tail}".encode(encoding)

    return save


def as_workbook(rows: list[list[str]]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["What we did"])
    sheet: Any = book.create_sheet("Tabelle1")
    for row in filled(rows):
        sheet.append([*row, "", "extra"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "save",
    [
        as_csv(",", "utf-8"),
        as_csv(",", "cp1252"),
        as_csv(";", "utf-8-sig"),
        as_csv(";", "cp1252", head="sep=;\r\n", tail=";;;;;;\r\n\r\n"),
        as_csv("\t", "utf-16"),
        as_csv(",", "utf-8-sig", tail=",,,\r\n,,,\r\n"),
        as_workbook,
    ],
)
def test_a_filled_table_is_imported_however_it_is_saved(
    store: LocalStore, save: Callable[..., bytes], tmp_path: Path
) -> None:
    with (exported(store) / "observations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    (tmp_path / "filled").write_bytes(save(rows))
    assert import_file(store, tmp_path / "filled", "Anna", FIRST).new == 1
    run_stage3(store, Stage3(), {}, Privacy())
    first = next(row for row in observations(store) if "cmd" in row["source_video"])
    assert (first["species"], first["machine_species"]) == ("red fox", "@fox")
    (stored,) = [pl.read_parquet(path) for path in (store.root / "tables/corrections").iterdir()]
    assert stored["comment"].to_list() == ['räv; "två",\n\'=inte en formel']


def test_offered_names_that_differ_by_case_have_an_order() -> None:
    """The order of a set is another one in each process."""
    names = offered_names(project_taxonomy(()))
    assert names.index("Caracal") + 1 == names.index("caracal")
