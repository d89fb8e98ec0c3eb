"""Cameras are found by the names of files in folders of camera folders."""

from pathlib import Path

import pytest
from s3_rig import S3Rig, s3, s3_server

from odins_ravne_assets.cameras.card_folders import is_card_folder
from odins_ravne_assets.cameras.folder_tree import LocalTree, S3Tree
from odins_ravne_assets.cameras.folders import CameraFolder, cameras_in
from odins_ravne_assets.cameras.one_camera import SeveralCameras, find_several_cameras
from resources.aws.clients import AwsClients
from resources.errors import UsageError
from resources.storage.s3.store import S3Store

__all__ = ["s3", "s3_server"]  # pytest finds fixtures by their names


def cameras_in_folder(root: Path, one_camera: bool = False) -> list[CameraFolder]:
    return cameras_in(LocalTree(root), one_camera)


def ids(root: Path) -> list[str]:
    return [camera.camera_id for camera in cameras_in_folder(root)]


def put(root: Path, *names: str) -> None:
    """Empty files. Cameras are found by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_each_folder_with_media_below_it_is_a_camera(tmp_path: Path) -> None:
    put(tmp_path, "north/IMG_0001.JPG", "Taï cam/2021/May/a.avi", "south/DCIM/100RECNX/1.jpg")
    put(tmp_path, "notes/readme.txt", "README", "notes/.cache/1.jpg", ".Trashes/1.jpg")
    (tmp_path / "empty").mkdir()
    assert cameras_in_folder(tmp_path) == [
        CameraFolder("Tai-cam", (tmp_path / "Taï cam").as_uri()),
        CameraFolder("north", (tmp_path / "north").as_uri()),
        CameraFolder("south", (tmp_path / "south").as_uri()),
    ]


def test_folders_without_media_are_named(tmp_path: Path) -> None:
    put(tmp_path, "north/1.jpg", "phone/1.psd", "bin/#recycle/1.jpg", ".cache/a.txt")
    (tmp_path / "empty").mkdir()
    lines: list[str] = []
    assert len(cameras_in(LocalTree(tmp_path), log=lines.append)) == 1
    assert lines == [f"{tmp_path}: left out, without pictures and videos: bin, empty, phone"]


def test_a_folder_whose_name_gives_no_id_is_named_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "north/1.jpg", "лес/1.jpg")
    with pytest.raises(UsageError, match=f"^{tmp_path}/лес: no camera id .* rename it, or run it"):
        cameras_in_folder(tmp_path)


def test_overflow_folders_belong_to_their_camera(tmp_path: Path) -> None:
    put(tmp_path, "north/100RECNX/1.jpg", "north/101RECNX/1.jpg", "south/DCIM/102RECNX/1.jpg")
    assert [camera.camera_id for camera in cameras_in_folder(tmp_path)] == ["north", "south"]


def test_two_folders_of_one_id_are_refused_with_both_names(tmp_path: Path) -> None:
    put(tmp_path, "cam 1/1.jpg", "cam.1/1.jpg")
    with pytest.raises(UsageError) as caught:
        cameras_in_folder(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path}/cam 1 and {tmp_path}/cam.1" in message and "cam-1" in message


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "Ridge/1.jpg", "ridge/1.jpg")
    with pytest.raises(UsageError, match="have the same camera id ridge"):
        cameras_in_folder(tmp_path)


def test_media_outside_of_camera_folders_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "north/1.jpg", "a.jpg", "b.MP4", "notes.txt")
    with pytest.raises(UsageError, match=r"2 media files \(such as a\.jpg\) are outside") as caught:
        cameras_in_folder(tmp_path)
    assert "as one camera" in str(caught.value)


@pytest.mark.parametrize(
    ("root", "folders"),
    [
        ("card", ["DCIM/100RECNX"]),
        ("card", ["DCIM/100RECNX", "MISC", "old"]),
        ("card", ["100RECNX"]),
        ("card", ["100RECNX", "101RECNX"]),
        ("DCIM", ["100RECNX", "101_BTCF"]),
        ("dcim", ["10060501", "10160502"]),
    ],
)
def test_a_card_is_not_a_folder_of_cameras(root: str, folders: list[str], tmp_path: Path) -> None:
    put(tmp_path / root, *(f"{folder}/IMG_0001.JPG" for folder in folders))
    with pytest.raises(UsageError, match=r"is one camera, not a folder of cameras.*--camera NAME"):
        cameras_in_folder(tmp_path / root)


@pytest.mark.parametrize(
    "folders",
    [
        ["101NORTH", "205_EAST"],
        ["20260501", "20260601"],
        ["10050028", "10050031", "101NORTH"],
        ["100RECNX", "100_BTCF"],
        ["101RECNX", "north"],
    ],
)
def test_sites_and_dates_with_names_as_on_a_card_are_cameras(
    folders: list[str], tmp_path: Path
) -> None:
    put(tmp_path, *(f"{folder}/IMG_0001.JPG" for folder in folders))
    assert ids(tmp_path) == folders


def test_folders_of_other_names_than_cameras_give_are_cameras(tmp_path: Path) -> None:
    put(tmp_path, "101NORTH/fox.jpg", "102NORTH/hare.jpg")
    assert ids(tmp_path) == ["101NORTH", "102NORTH"]


def test_folders_of_camera_folders_are_refused_unless_each_is_one_camera(tmp_path: Path) -> None:
    put(tmp_path, "site-1/cam-a/1.jpg", "site-1/cam-b/1.jpg", "site-2/1.jpg")
    with pytest.raises(UsageError, match=r"site-1: its folders cam-a and cam-b look like cameras"):
        cameras_in_folder(tmp_path)
    assert [each.camera_id for each in cameras_in_folder(tmp_path, one_camera=True)] == [
        "site-1",
        "site-2",
    ]


def test_folders_of_years_are_no_cameras_if_cameras_are_in_them(tmp_path: Path) -> None:
    put(tmp_path, "2025/north/1.jpg", "2025/south/1.jpg", "2026/north/1.jpg")
    with pytest.raises(UsageError, match=r"2025: its folders north and south look like cameras"):
        cameras_in_folder(tmp_path)
    assert len(cameras_in_folder(tmp_path, one_camera=True)) == 2


def test_cards_and_visits_of_a_camera_are_taken_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "north/card 1/1.jpg", "north/card 2/1.jpg", "south/deployment1/1.jpg")
    put(tmp_path, "south/deployment2/1.jpg", "lake/fox/1.jpg", "lake/hare/1.jpg")
    assert ids(tmp_path) == ["lake", "north", "south"]


def test_recycle_bins_are_no_cameras(tmp_path: Path) -> None:
    put(tmp_path, "north/1.jpg", "#recycle/1.jpg", "FOUND.001/1.jpg", "RECYCLER/S-1-5/1.jpg")
    assert ids(tmp_path) == ["north"]


def test_a_folder_without_cameras_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "notes/readme.txt")
    with pytest.raises(UsageError, match="no folder in it holds pictures or videos"):
        cameras_in_folder(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone: cannot be listed: No such file or directory"):
        cameras_in_folder(tmp_path / "gone")


def test_links_in_circles_are_no_cameras(tmp_path: Path) -> None:
    put(tmp_path, "north/1.jpg")
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / "again").symlink_to(tmp_path / "circle")
    (tmp_path / "nothing").symlink_to(tmp_path / "gone")
    assert [camera.camera_id for camera in cameras_in_folder(tmp_path)] == ["north"]


# On S3


class Bucket:
    """Empty objects in a bucket of the rig's S3."""

    def __init__(self, clients: AwsClients, url: str) -> None:
        self._clients = clients
        self.url = f"{url}/cards"

    def put(self, *names: str) -> None:
        for name in names:
            self.store(self.url).write_bytes(name, b"")

    def store(self, url: str) -> S3Store:
        return S3Store(url, self._clients)

    def cameras(self) -> list[CameraFolder]:
        return cameras_in(S3Tree(self.store(self.url)))


@pytest.fixture
def bucket(s3: S3Rig) -> Bucket:
    clients = s3.clients()
    return Bucket(clients, f"s3://{s3.bucket(clients)}")


def test_each_first_level_prefix_with_media_below_it_is_a_camera(bucket: Bucket) -> None:
    bucket.put("north/DCIM/100RECNX/1.JPG", "notes/readme.txt", "south 1/a.mp4", "list.csv")
    assert bucket.cameras() == [
        CameraFolder("north", f"{bucket.url}/north"),
        CameraFolder("south-1", f"{bucket.url}/south 1"),
    ]


def test_recycle_bins_and_names_that_no_file_can_have_are_no_cameras_on_s3(bucket: Bucket) -> None:
    bucket.put("north/1.JPG", "#recycle/1.jpg")
    client = bucket.store(bucket.url).location.client
    name = bucket.store(bucket.url).location.bucket
    for key in ("cards//1.jpg", "cards/south//1.jpg"):
        client.put_object(Bucket=name, Key=key, Body=b"x")
    with pytest.raises(UsageError, match=r"south/: cannot be listed: S3 holds objects under"):
        bucket.cameras()
    bucket.put("south/2.jpg")
    assert [each.camera_id for each in bucket.cameras()] == ["north", "south"]


def test_several_cameras_are_found_on_s3(bucket: Bucket) -> None:
    bucket.put("data/camera1/DCIM/IMG_0001.JPG", "data/camera2/1.JPG", "data/notes/a.txt")
    bucket.put("north/100RECNX/RCNX0001.JPG", "north/101RECNX/RCNX0001.JPG")
    found = find_several_cameras(S3Tree(bucket.store(f"{bucket.url}/data")))
    assert found == SeveralCameras("", ("camera1", "camera2"), False)
    north = S3Tree(bucket.store(f"{bucket.url}/north"))
    assert find_several_cameras(north) is None
    assert is_card_folder(north, "100RECNX", in_dcim=False)
    bucket.put("north/205_EAST/RCNX0001.JPG")
    assert not is_card_folder(north, "100RECNX", in_dcim=False)


def test_what_is_refused_here_is_refused_on_s3(bucket: Bucket) -> None:
    bucket.put("Ridge/1.jpg", "ridge/1.jpg")
    with pytest.raises(
        UsageError, match=f"{bucket.url}/Ridge and {bucket.url}/ridge have the same"
    ):
        bucket.cameras()
    bucket.put("loose.jpg")
    with pytest.raises(UsageError, match=r"1 media files .* are outside of camera folders"):
        bucket.cameras()
