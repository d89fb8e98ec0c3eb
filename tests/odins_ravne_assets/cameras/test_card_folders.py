"""A camera's id is the name of its folder; folders that a camera makes on its card are none."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odins_ravne_assets.cameras.card_folders import camera_folder, camera_id_of
from odins_ravne_assets.cameras.folder_tree import LocalTree
from resources.errors import UsageError
from resources.settings.camera_ids import CAMERA_ID_PATTERN


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def camera_id(folder: Path) -> str:
    path = PurePosixPath(folder)
    return camera_id_of(camera_folder(path, lambda above: LocalTree(Path(above))))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("camera1", "camera1"),
        ("Taï_cam192_679012", "Tai_cam192_679012"),
        ("card 1.2_location", "card-1-2_location"),
        ("camera1/DCIM", "camera1"),
        ("camera1/DCIM/100RECNX", "camera1"),
        ("camera1/101RECNX", "camera1"),
        ("camera1/100EK113", "camera1"),
        ("camera1/100_BTCF", "camera1"),
        ("camera1/100MEDIA", "camera1"),
        ("camera1/100DSCIM", "camera1"),
        ("camera1/dcim/999_____", "camera1"),
        ("camera1/DCIM/10060501", "camera1"),  # Sony names folders by date, below DCIM
        ("study/099RECNX", "099RECNX"),
        ("study/100RECNX1", "100RECNX1"),
        ("study/100RECN", "100RECN"),
        ("study/20260501", "20260501"),
        ("study/10050028", "10050028"),
        ("study/101_0528", "101_0528"),
    ],
)
@pytest.mark.parametrize("medium", ["IMG_0001.JPG", "RCNX0999.jpg", "20210531082538-RCNX0031.JPG"])
def test_a_folder_gives_the_id_of_its_camera(
    folder: str, expected: str, medium: str, tmp_path: Path
) -> None:
    put(tmp_path, f"{folder}/{medium}")
    assert camera_id(tmp_path / folder) == expected


@pytest.mark.parametrize("medium", ["a.jpg", "2021-05-28 08.25.38.jpg", "IMG_20210528_093011.jpg"])
def test_media_that_no_camera_named_are_on_no_card(medium: str, tmp_path: Path) -> None:
    put(tmp_path, f"study/101NORTH/{medium}")
    assert camera_id(tmp_path / "study/101NORTH") == "101NORTH"


def test_an_empty_folder_is_on_no_card(tmp_path: Path) -> None:
    put(tmp_path, "study/101NORTH/notes.txt", "study/101NORTH/inner/IMG_0001.JPG")
    assert camera_id(tmp_path / "study/101NORTH") == "101NORTH"


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["101NORTH", "205_EAST"], ["101NORTH", "205_EAST"]),
        (["20260501", "20260601"], ["20260501", "20260601"]),
        (["10050028", "10050031", "101NORTH"], ["10050028", "10050031", "101NORTH"]),
        (["100RECNX", "100_BTCF"], ["100RECNX", "100_BTCF"]),
        (["100RECNX", "101RECNX", "102recnx"], ["study", "study", "study"]),
        (["100RECNX", "old", "notes"], ["study", "old", "notes"]),
    ],
)
def test_folders_beside_it_tell_a_site_from_a_card(
    folders: list[str], expected: list[str], tmp_path: Path
) -> None:
    put(tmp_path, *(f"study/{folder}/IMG_0001.JPG" for folder in folders))
    assert [camera_id(tmp_path / "study" / folder) for folder in folders] == expected


def test_a_folder_beside_it_counts_only_with_media(tmp_path: Path) -> None:
    put(tmp_path, "north/100RECNX/IMG_0001.JPG", "north/100NOTES/a.txt")
    assert camera_id(tmp_path / "north/100RECNX") == "north"


@pytest.mark.parametrize("name", ["相机", "---"])
def test_a_folder_that_gives_no_id_is_refused(name: str, tmp_path: Path) -> None:
    put(tmp_path, f"{name}/1.jpg")
    with pytest.raises(UsageError, match="--camera"):
        camera_id(tmp_path / name)


def test_a_card_at_the_root_of_a_disk_is_refused() -> None:
    with pytest.raises(UsageError, match="--camera"):
        camera_id(Path("/DCIM"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(blacklist_characters="/\0"), min_size=1, max_size=80))
def test_whatever_a_folder_is_called_its_id_is_allowed(name: str) -> None:
    try:
        found = camera_id_of(PurePosixPath("/data", name))
    except UsageError:
        return
    assert CAMERA_ID_PATTERN.fullmatch(found)
    assert camera_id_of(PurePosixPath("/data", found)) == found
