"""Is a folder one camera, or does it hold several?"""

from pathlib import Path

import pytest

from odins_ravne_assets.cameras.folder_tree import LocalTree
from odins_ravne_assets.cameras.one_camera import find_several_cameras, is_part_of_camera
from resources.errors import UsageError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path) -> tuple[str, tuple[str, ...]] | None:
    several = find_several_cameras(LocalTree(root))
    return (several.parent, several.folders) if several else None


@pytest.mark.parametrize(
    "files",
    [
        ["camera1/1.jpg", "camera2/1.jpg", "camera3/1.jpg"],
        ["camera1/DCIM/100RECNX/IMG_0001.JPG", "camera2/DCIM/100RECNX/IMG_0001.JPG"],
        ["North ridge/1.jpg", "Lake/2026-05-01/1.jpg"],
        ["10050028/IMG_0001.JPG", "10050031/IMG_0001.JPG"],
        ["101NORTH/IMG_0001.JPG", "205_EAST/IMG_0001.JPG"],
        ["100RECNX/IMG_0001.JPG", "100_BTCF/IMG_0001.JPG"],
        ["1/1.jpg", "2/1.jpg"],
        ["räv/1.jpg", "相机/1.jpg"],
        ["site1/1.jpg", "site2/1.jpg", "map.jpg"],
        ["a/DCIM/1.jpg", "b/100RECNX/1.jpg", "map.jpg"],
        ["camera1/IMG_0001.JPG", "camera2/IMG_0001.JPG", "IMG_0001.JPG"],
        ["north/1.jpg", "south/1.jpg", "photos/1.jpg", "2026-05-01/1.jpg", "notes/a.txt"],
    ],
)
def test_folders_that_look_like_cameras_are_found(files: list[str], tmp_path: Path) -> None:
    put(tmp_path, *files)
    assert found(tmp_path) is not None


@pytest.mark.parametrize(
    "files",
    [
        ["1.jpg"],
        ["north/1.jpg"],
        ["DCIM/100RECNX/IMG_0001.JPG", "DCIM/101RECNX/IMG_0001.JPG"],
        ["DCIM/100RECNX/IMG_0001.JPG", "old cam/1.jpg", "other cam/1.jpg"],
        ["100RECNX/IMG_0001.JPG", "101RECNX/IMG_0001.JPG"],
        ["2026-05-01/1.jpg", "2026-06-01/1.jpg"],
        ["2026-05-01/DCIM/100RECNX/IMG_0001.JPG", "2026-06-01/DCIM/100RECNX/IMG_0001.JPG"],
        ["20260501/IMG_0001.JPG", "20260601/IMG_0001.JPG"],
        [f"2026-0{n % 9 + 1}-{n + 1:02}/{n}.jpg" for n in range(28)],
        ["check1/1.jpg", "check2/1.jpg", "Visit 3/1.jpg"],
        ["photos/1.jpg", "videos/1.mp4"],
        ["animals/1.jpg", "empty/1.jpg", "people/1.jpg"],
        ["IMG_0001.JPG", "deer/IMG_0002.JPG", "fox/IMG_0003.JPG"],
        ["fox.jpg", "deer/1.jpg", "hare/1.jpg"],
        ["north/1.jpg", "notes/a.txt", "#recycle/1.jpg", ".trash/1.jpg"],
    ],
)
def test_the_footage_of_one_camera_raises_no_alarm(files: list[str], tmp_path: Path) -> None:
    put(tmp_path, *files)
    assert found(tmp_path) is None


def test_cameras_are_found_below_folders_of_a_project_or_a_date(tmp_path: Path) -> None:
    put(tmp_path, "a/2026/project/north/1.jpg", "a/2026/project/south/1.jpg")
    put(
        tmp_path, "b/2026-05-01/north/1.jpg", "b/2026-05-01/south/1.jpg", "b/2026-06-01/north/1.jpg"
    )
    assert found(tmp_path / "a") == ("2026/project", ("north", "south"))
    assert found(tmp_path / "b") == ("2026-05-01", ("north", "south"))


class ClosedTree(LocalTree):
    """A tree in which folders named `closed…` cannot be listed, as without permission."""

    def holds_media(self, path: str = "") -> bool:
        if "closed" in path:
            raise UsageError(f"{path}: cannot be listed: Permission denied")
        return super().holds_media(path)

    def folders(self, path: str = "") -> list[str]:
        if "closed" in path:
            raise UsageError(f"{path}: cannot be listed: Permission denied")
        return super().folders(path)


def test_folders_that_cannot_be_listed_are_left_to_the_run(tmp_path: Path) -> None:
    put(tmp_path, "closed-1/1.jpg", "closed-2/1.jpg", "north/1.jpg")
    assert find_several_cameras(ClosedTree(tmp_path)) is None
    put(tmp_path, "map.jpg")
    assert find_several_cameras(ClosedTree(tmp_path)) is None
    put(tmp_path / "more", "south/1.jpg", "north/1.jpg", "closed/1.jpg")
    assert find_several_cameras(ClosedTree(tmp_path / "more")) is not None


def test_a_message_names_the_first_folders(tmp_path: Path) -> None:
    put(tmp_path, *(f"camera{number}/1.jpg" for number in range(1, 6)))
    several = find_several_cameras(LocalTree(tmp_path))
    assert several is not None
    assert several.named == "camera1, camera2, camera3 and others"


@pytest.mark.parametrize(
    "name",
    [
        "2026-05-01",
        "2026-05-13",
        "2026-12-31 2",
        "31.12.2026",
        "20261231",
        "2026-05",
        "2026",
        "20260501",
        "202605",
        "01.05.2026",
        "2026-05-01_2026-06-01",
        "20260501_1030",
        "May 2026",
        "2026-05 check",
        "1st check",
        "Vår 2026",
        "photos2",
        "MP4",
    ],
)
def test_dates_visits_and_kinds_are_parts_of_one_camera(name: str) -> None:
    assert is_part_of_camera(name)


@pytest.mark.parametrize(
    "name",
    [
        "camera1",
        "north",
        "7",
        "10050028",
        "20261301",
        "1850",
        "2099",
        "260501",
        "W1",
        "st2",
        "cam may",
    ],
)
def test_other_names_may_be_cameras(name: str) -> None:
    assert not is_part_of_camera(name)
