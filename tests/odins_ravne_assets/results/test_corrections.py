"""Corrections of results of version 0.1.0, and of several cameras at once."""

import csv
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from camera_tables import NIGHT, Camera
from stored_data import STORED, hashes, unpack

from odins_ravne_assets.cameras.catalog import Camera as KnownCamera
from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.review.camera_labels import Review
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.results.corrections import ImportResult, import_corrections
from resources.errors import UsageError
from resources.settings.profile import Privacy, Profile, Stage3
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

V0_1_0 = STORED / "v0_1_0"
FILLED = V0_1_0 / "said" / "filled.csv"


def known(folder: Path, name: str, place: str = "") -> KnownCamera:
    return KnownCamera(name, place or f"file:///study/{name}", (folder / name).as_uri())


def hand_in(
    cameras: list[KnownCamera], file: Path, by: str, others: tuple[KnownCamera, ...] = ()
) -> ImportResult:
    review = Review(by, date(2026, 6, 3), confirms=False, at=datetime(2026, 6, 3, 12))
    return import_corrections(cameras, others, Profile(), file, review)


def relabelled(folder: Path, old: str, new: str) -> Path:
    """A copy of the file that was filled in with version 0.1.0, with another label."""
    file = folder / "filled.csv"
    file.write_text(FILLED.read_text("utf-8").replace(f",{old},", f",{new},"), "utf-8")
    return file


def species(results: LocalStore) -> list[tuple[str, str | None]]:
    with results.reading("stage3/observations.parquet") as path:
        return pl.read_parquet(path).select("species", "reviewed_by").rows()


@pytest.fixture
def ridge(tmp_path: Path) -> LocalStore:
    """Results of version 0.1.0, with labels that were imported by it."""
    unpack(V0_1_0 / "results.tar.xz", tmp_path)
    return LocalStore(tmp_path / "ridge")


@pytest.mark.parametrize("updated", [False, True])
def test_a_file_of_0_1_0_is_imported_before_and_after_the_update(
    ridge: LocalStore, tmp_path: Path, updated: bool
) -> None:
    """By then its visits have the names that Anna gave them, and so other ids."""
    before = hashes(ridge.root / "tables" / "corrections")
    if updated:
        run_stage3(ridge, Stage3(), {}, Privacy())
    again = hand_in([known(tmp_path, "ridge")], FILLED, "Anna Ek")
    assert (again.new, again.changed, again.known, again.failed) == (0, 0, 2, {})
    file = relabelled(tmp_path, "Meles meles", "raccoon")
    changed = hand_in([known(tmp_path, "ridge")], file, "Bo Li")
    assert (changed.new, changed.changed, changed.known) == (0, 2, 0)
    assert changed.lines[-2:] == (
        "  line 2: raccoon by Bo Li replaces European badger by Anna Ek, 2026-06-01",
        "  line 3: raccoon by Bo Li replaces European badger by Anna Ek, 2026-06-01",
    )
    run_stage3(ridge, Stage3(), {}, Privacy())
    assert species(ridge) == [
        ("raccoon", "Bo Li"),
        ("red fox", "Bo Li"),
        ("raccoon", "Bo Li"),
        ("person", None),
    ]
    assert hashes(ridge.root / "tables" / "corrections").items() > before.items()
    assert hand_in([known(tmp_path, "ridge")], file, "Bo Li").known == 2


def test_ids_of_0_1_0_stay_findable_as_numbers(ridge: LocalStore, tmp_path: Path) -> None:
    """The file is saved by a spreadsheet; ids that are no numbers are as they were."""
    lines = FILLED.read_text("utf-8").splitlines()
    file = tmp_path / "saved.csv"
    file.write_text("\n".join([lines[0], *lines[:0:-1]]), "utf-8")  # in reverse order
    assert hand_in([known(tmp_path, "ridge")], file, "Anna Ek").known == 2


@pytest.fixture
def study(tmp_path: Path) -> list[KnownCamera]:
    """Two cameras with files of the same names."""
    cameras = [
        known(tmp_path, "Rav-7-north", "file:///study/R%C3%A4v%207%20(north)"),
        known(tmp_path, "lake"),
    ]
    for each in cameras:
        tables = Camera(each.camera_id)
        tables.medium("DCIM/1.jpg", NIGHT, [{}])
        store = tables.store(tmp_path / each.camera_id)
        run_stage3(store, Stage3(), {}, Privacy())
        export_camera(store, each.camera_id, Project(), Privacy())
    return cameras


TIMELAPSE = (
    "RootFolder,File,RelativePath,Species\n"
    "study,1.jpg,Räv 7 (north)\\DCIM,Red fox\n"
    "study,1.jpg,lake\\DCIM,moose\n"
    "study,1.jpg,Älg 2\\DCIM,moose\n"
)


def test_a_table_of_a_project_is_imported_for_all_its_cameras(
    study: list[KnownCamera], tmp_path: Path
) -> None:
    file = tmp_path / "timelapse.csv"
    file.write_text(TIMELAPSE, "utf-8")
    result = hand_in(study, file, "Anna")
    assert result.cameras == tuple(study)
    assert result.lines == (
        "Rav-7-north: 1 label of Anna: 1 new, 0 changed, 0 known already",
        "lake: 1 label of Anna: 1 new, 0 changed, 0 known already",
        "1 row of other cameras skipped: Älg 2 (1)",
    )
    assert (result.new, result.failed) == (2, {})


def test_a_table_of_a_project_is_imported_for_one_camera(
    study: list[KnownCamera], tmp_path: Path
) -> None:
    file = tmp_path / "timelapse.csv"
    file.write_text(TIMELAPSE, "utf-8")
    north, lake = study
    result = hand_in([north], file, "Anna", (lake,))
    assert (result.cameras, result.new, result.failed) == ((north,), 1, {})
    assert result.lines[1] == "2 rows of other cameras skipped: lake (1), Älg 2 (1)"


def test_a_path_that_two_cameras_have_needs_the_name_of_one(
    study: list[KnownCamera], tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("path,species\nDCIM/1.jpg,moose\nlake/DCIM/1.jpg,moose\n", "utf-8")
    result = hand_in(study, file, "Anna")
    assert (result.new, list(result.failed)) == (1, [2])
    assert result.failed[2] == (
        "cameras Rav-7-north, lake have a file of this name; add a column camera_id"
    )


def test_the_observations_of_a_project_are_imported_for_all_its_cameras(
    study: list[KnownCamera], tmp_path: Path
) -> None:
    rows = []
    for each in study:
        table = tmp_path / each.camera_id / "stage3" / "observations.csv"
        with table.open(encoding="utf-8", newline="") as file:
            rows += [{**row, "confirmed_species": "moose"} for row in csv.DictReader(file)]
    filled = tmp_path / "filled.csv"
    pl.DataFrame(rows).write_csv(filled)
    assert hand_in(study, filled, "Anna").new == 2
    assert hand_in(study, filled, "Anna").known == 2


def test_a_file_of_other_cameras_alone_says_so(study: list[KnownCamera], tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("camera_id,path,species\nlake,DCIM/1.jpg,moose\n", "utf-8")
    with pytest.raises(UsageError) as refused:
        hand_in([study[0]], file, "Anna", (study[1],))
    assert str(refused.value) == (
        f"{file}: has no label for camera Rav-7-north; 1 row of other cameras skipped: lake (1); "
        "fill in its column species"
    )


def test_rows_with_errors_are_listed_and_the_rest_is_imported(
    study: list[KnownCamera], tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("path,species\nDCIM/1.jpg,moose\nDCIM/2.jpg,moose\nDCIM/1.jpg,mooose\n")
    result = hand_in([study[0]], file, "Anna")
    assert result.new == 1
    assert result.lines[1:] == (
        f"{file}: 2 rows not imported; correct and import the file again",
        "  line 3: camera Rav-7-north has no medium DCIM/2.jpg",
        "  line 4: species 'mooose' is unknown; did you mean moose? Use a name of the taxonomy or "
        "of project.species",
    )
