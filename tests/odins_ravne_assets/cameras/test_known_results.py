"""Results are used where they are copied to, without paths of the machine that made them."""

import shutil
from pathlib import Path

import pytest
from camera_tables import NIGHT
from camera_tables import Camera as Tables

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.known_results import camera_of_results, cameras_of_results
from odins_ravne_assets.munin.media.sources import Source, save_sources
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore

CONTENT = b"a picture"


class Machine:
    """A machine with a catalog of its own."""

    def __init__(self, folder: Path) -> None:
        self.catalog = CameraCatalog(folder)
        self.lines: list[str] = []

    def find(self, output: Path) -> list[Camera]:
        return cameras_of_results(str(output), self.catalog, Profile(), self.lines.append)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "catalog")


def study(folder: Path, *cameras: str, listed: bool = True) -> Path:
    """A folder with footage/CAMERA and results/CAMERA, as the first machine leaves it."""
    for name in cameras:
        footage = folder / "footage" / name
        (footage / "DCIM").mkdir(parents=True)
        (footage / "DCIM" / "1.jpg").write_bytes(CONTENT)
        tables = Tables(name)
        tables.medium("DCIM/1.jpg", NIGHT, [{}], bytes=len(CONTENT))
        store = tables.store(folder / "results" / name)
        if listed:
            save_sources(store, name, [Source(name, footage.as_uri())])
    return folder


def moved(folder: Path, *parts: str) -> Path:
    """Move a study to another place, or only some of its folders."""
    target = folder.parent / "stick" / "anywhere"
    for part in parts:
        shutil.move(folder / part, target / part)
    shutil.rmtree(folder)
    return target


def test_copied_results_are_added_with_the_footage_beside_them(
    tmp_path: Path, machine: Machine
) -> None:
    folder = moved(study(tmp_path / "first", "ridge"), "footage", "results")
    [camera] = machine.find(folder / "results" / "ridge")
    footage, output = (folder / part / "ridge" for part in ("footage", "results"))
    assert camera == Camera("ridge", footage.as_uri(), output.as_uri())
    assert machine.catalog.list() == (camera,)
    assert machine.lines == [
        f"ridge: results at {output} are added to the cameras of this machine",
        f"ridge: its footage is at {footage}",
    ]
    assert machine.find(output) == [camera]
    assert len(machine.lines) == 2


def test_without_footage_it_says_what_works_and_how_to_name_it(
    tmp_path: Path, machine: Machine
) -> None:
    first = study(tmp_path / "first", "ridge")
    folder = moved(first, "results")
    [camera] = machine.find(folder / "results" / "ridge")
    assert camera.footage_url == (first / "footage" / "ridge").as_uri()
    assert machine.lines[1] == (
        "ridge: its footage is not on this machine; visits, reports and exports need none. To add "
        f"media: munin batch FOOTAGE {folder}/results/ridge --camera ridge"
    )


@pytest.mark.parametrize(
    "place", ["file://nas/study/footage/ridge", "file:///E:/study/footage/ridge"]
)
def test_footage_of_another_system_is_found_beside_the_results(
    tmp_path: Path, machine: Machine, place: str
) -> None:
    """A share or a drive of Windows."""
    first = study(tmp_path / "first", "ridge")
    save_sources(LocalStore(first / "results" / "ridge"), "ridge", [Source("ridge", place)])
    folder = moved(first, "footage", "results")
    [camera] = machine.find(folder / "results" / "ridge")
    assert camera.footage_url == (folder / "footage" / "ridge").as_uri()


def test_a_share_that_this_machine_cannot_open_is_no_place(
    tmp_path: Path, machine: Machine
) -> None:
    first = study(tmp_path / "first", "ridge")
    results = first / "results" / "ridge"
    save_sources(LocalStore(results), "ridge", [Source("ridge", "file://nas/else")])
    [camera] = machine.find(results)
    assert camera.footage_url == f"{results.as_uri()}/footage"


def test_other_footage_of_the_same_name_is_not_taken_for_it(
    tmp_path: Path, machine: Machine
) -> None:
    folder = moved(study(tmp_path / "first", "ridge"), "footage", "results")
    (folder / "footage" / "ridge" / "DCIM" / "1.jpg").write_bytes(b"another one")
    machine.find(folder / "results" / "ridge")
    assert "is not on this machine" in machine.lines[1]


def test_results_of_version_0_1_have_the_camera_in_their_tables(
    tmp_path: Path, machine: Machine
) -> None:
    folder = moved(study(tmp_path / "first", "ridge", listed=False), "results")
    [camera] = machine.find(folder / "results" / "ridge")
    assert (camera.camera_id, camera.output_url) == (
        "ridge",
        (folder / "results" / "ridge").as_uri(),
    )


def test_a_folder_of_results_is_all_its_cameras(tmp_path: Path, machine: Machine) -> None:
    folder = study(tmp_path / "first", "lake", "ridge", "wood")
    known = Camera("ridge", "file:///elsewhere", (folder / "results" / "ridge").as_uri())
    machine.catalog.put(known)
    found = machine.find(folder / "results")
    assert [each.camera_id for each in found] == ["lake", "ridge", "wood"]
    assert found[1] == known
    with pytest.raises(UsageError, match=r"holds the results of 3 cameras; name the folder of one"):
        camera_of_results(str(folder / "results"), machine.catalog, Profile(), machine.lines.append)


def test_another_camera_of_the_same_id_is_not_replaced(tmp_path: Path, machine: Machine) -> None:
    own = study(tmp_path / "own", "ridge")
    [camera] = machine.find(own / "results" / "ridge")
    copy = study(tmp_path / "first", "ridge")
    with pytest.raises(
        UsageError, match=r"has those of its own camera ridge at .*; name these, or"
    ):
        machine.find(copy / "results" / "ridge")
    assert machine.catalog.list() == (camera,)


def test_results_that_were_moved_on_one_machine_stay_the_camera_s(
    tmp_path: Path, machine: Machine
) -> None:
    first = study(tmp_path / "first", "ridge")
    machine.find(first / "results" / "ridge")
    folder = moved(first, "footage", "results")
    [camera] = machine.find(folder / "results" / "ridge")
    assert machine.catalog.list() == (camera,)
    assert machine.lines[2] == (
        f"ridge: its results are at {folder}/results/ridge, and not at {first}/results/ridge any "
        "more"
    )


def test_a_folder_without_results_is_refused(tmp_path: Path, machine: Machine) -> None:
    LocalStore(tmp_path / "empty").write_bytes("readme.txt", b"")
    for folder in ("empty", "missing"):
        with pytest.raises(UsageError, match=r"holds no results of a camera; `munin status` lists"):
            machine.find(tmp_path / folder)
