"""Tables that an office suite has saved, in Swedish, are taken back without loss.

LibreOffice has opened and saved each of them: `tools/make_saved_tables.py`.
"""

import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from filled_tables import CAMERA_ID, DEPLOYMENTS, LABELS, SAVED_TABLES, make_store

from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.deployments import TABLE_COLUMNS, Deployment
from resources.settings.profile import Privacy, Stage3
from resources.settings.table_models import parse_rows
from resources.spreadsheets.tables import Cells, Table, read_table
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.review.test_corrections import import_file

NUMBERS = {"duration_seconds", "max_confidence", "avg_confidence", "vote_share", "count"}
NUMBERS |= {"detection_count", "frame_count", "media_count"}
# Shown in the language of the suite, as FALSKT; nobody reads it.
NOT_READ = {"needs_review"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("saved") / CAMERA_ID).root


def files(prefix: str) -> list[str]:
    names = sorted(path.name for path in SAVED_TABLES.glob(f"{prefix}_*"))
    assert len(names) in {3, 6}
    return names


def number(text: str, table: Table) -> float | None:
    return float(text.replace(",", ".") if table.decimal_comma else text) if text else None


@pytest.mark.parametrize("name", files("observations"))
def test_every_cell_of_a_saved_table_is_the_one_that_was_exported(name: str, results: Path) -> None:
    saved = read_table(SAVED_TABLES / name)
    exported = read_table(results / "stage3" / "observations.csv")
    assert saved.columns == exported.columns
    assert saved.decimal_comma or not name.endswith(".csv")

    def cells(row: Cells, table: Table) -> list[str | float | None]:
        known = [each for each in exported.columns if each not in (NOT_READ | {"comment"})]
        known.remove("confirmed_species")
        return [number(row[each], table) if each in NUMBERS else row[each] for each in known]

    for row, other in zip(saved.rows, exported.rows, strict=True):
        assert cells(row.cells, saved) == cells(other.cells, exported)
        label = (row.cells["confirmed_species"], row.cells["comment"])
        assert label == LABELS[row.cells["first_medium"]]


@pytest.mark.parametrize("name", files("observations"))
def test_the_labels_of_a_saved_table_are_imported(name: str, results: Path, tmp_path: Path) -> None:
    store = LocalStore(shutil.copytree(results, tmp_path / CAMERA_ID))
    assert import_file(store, SAVED_TABLES / name, "Anna", date(2026, 6, 1)).new == len(LABELS)
    run_stage3(store, Stage3(), {}, Privacy())
    visits = pl.read_parquet(store.root / "stage3" / "observations.parquet")
    assert visits["species"].to_list() == ["red fox", "mountain hare"]
    (stored,) = (store.root / "tables" / "corrections").iterdir()
    comments = set(pl.read_parquet(stored)["comment"])
    assert comments == {comment for _, comment in LABELS.values()}


@pytest.mark.parametrize("name", files("deployments"))
def test_deployments_are_the_same_however_they_are_saved(name: str) -> None:
    data = (SAVED_TABLES / name).read_bytes()
    ridge, river = parse_rows(Deployment, data, name, TABLE_COLUMNS)
    _, first, second = DEPLOYMENTS
    assert (ridge.latitude, ridge.longitude, river.cameraID) == (*first[1:3], second[0])
    assert (river.latitude, river.longitude) == second[1:3]
    assert ridge.starts and ridge.starts.isoformat() == "2026-05-01T09:30:00"
    assert ridge.ends and ridge.ends.isoformat() == "2026-05-03T23:59:59"
    assert ridge.utc_offset_minutes == 120
